import ClusterModel
import EngineAPI
import Orchestration
import Testing

@Suite("A task's container")
struct ContainerDocumentTests {
    /// What the spec says of the container, and what the engine is told.
    @Test(arguments: [
        (#""Command":["sh","-c"]"#, "Entrypoint", #"["sh","-c"]"#),
        (#""Args":["-v"]"#, "Cmd", #"["-v"]"#),
        (#""Dir":"/srv""#, "WorkingDir", #""/srv""#),
        (#""User":"app""#, "User", #""app""#),
        (#""TTY":true"#, "Tty", "true"),
        (#""OpenStdin":true"#, "OpenStdin", "true"),
        (#""StopSignal":"SIGINT""#, "StopSignal", #""SIGINT""#),
        (#""Hostname":"{{.Service.Name}}-{{.Task.Slot}}""#, "Hostname", #""web-1""#),
        (
            #""Env":["A={{.Node.Hostname}}","B={{ .Service.Labels.tier }}","{{C}}"]"#, "Env",
            #"["A=host1","B=front","{{C}}"]"#
        ),
    ])
    func `is what its spec says`(spec: String, name: String, expected: String) throws {
        #expect(try document(container: spec)[name]?.text == expected)
    }

    @Test(arguments: [
        (#""Groups":["audio"]"#, "GroupAdd", #"["audio"]"#),
        (#""ReadOnly":true"#, "ReadonlyRootfs", "true"),
        (#""Hosts":["10.0.0.1 db cache"]"#, "ExtraHosts", #"["db:10.0.0.1"]"#),
        (#""DNSConfig":{"Nameservers":["1.1.1.1"]}"#, "Dns", #"["1.1.1.1"]"#),
        (
            #""Mounts":[{"Source":"v-{{.Task.Slot}}","Target":"/d"}]"#, "Mounts",
            #"[{"Source":"v-1","Target":"/d","Type":"volume"}]"#
        ),
        (#""CapabilityAdd":["CAP_NET_ADMIN"]"#, "CapAdd", #"["CAP_NET_ADMIN"]"#),
        (#""Init":true"#, "Init", "true"),
    ])
    func `is hosted as its spec says`(spec: String, name: String, expected: String) throws {
        #expect(try document(container: spec)["HostConfig"]?[name]?.text == expected)
    }

    @Test func `has its limits`() throws {
        let host = try document(
            template: #"""
                "Resources":{"Limits":{"NanoCPUs":500000000,"MemoryBytes":8388608,"Pids":7},
                "Reservations":{"MemoryBytes":4194304}},"LogDriver":{"Name":"json-file","Options":{"max-size":"1m"}}
                """#)["HostConfig"]
        #expect(host?["NanoCpus"]?.int == 500_000_000)
        #expect(host?["Memory"]?.int == 8_388_608)
        #expect(host?["PidsLimit"]?.int == 7)
        #expect(host?["MemoryReservation"] == nil, "reservations are for the scheduler")
        #expect(host?["LogConfig"]?.text == #"{"Type":"json-file","Config":{"max-size":"1m"}}"#)
    }

    @Test(arguments: [
        (#""Resources":{"Limits":{"MemoryBytes":8388608},"SwapBytes":4194304,"MemorySwappiness":10}"#, 12_582_912, 10),
        (#""Resources":{"SwapBytes":-1}"#, -1, nil),
    ])
    func `has memory and swap counted as one`(template: String, swap: Int, swappiness: Int?) throws {
        let host = try document(template: template)["HostConfig"]
        #expect(host?["MemorySwap"]?.int == swap)
        #expect(host?["MemorySwappiness"]?.int == swappiness)
    }

    @Test func `is confined as its spec says`() throws {
        let host = try document(
            container: #"""
                "Privileges":{"NoNewPrivileges":true,"AppArmor":{"Mode":"disabled"},
                "Seccomp":{"Mode":"custom","Profile":"e30="},"SELinuxContext":{"User":"u","Level":"s0"}}
                """#)["HostConfig"]
        #expect(
            host?["SecurityOpt"]?.text
                == #"["label=user:u","label=level:s0","seccomp={}","apparmor=unconfined","no-new-privileges=true"]"#)
    }

    /// An engine leaves out in silence what it is too old for.
    @Test(arguments: [
        (#""Healthcheck":{"Test":["CMD","true"],"StartInterval":1000000000}"#, "--health-start-interval", "1.44"),
        (#""Mounts":[{"Target":"/a","Source":"v","VolumeOptions":{"Subpath":"x"}}]"#, "volume-subpath", "1.45"),
        (
            #""Mounts":[{"Type":"bind","Target":"/a","Source":"/b","BindOptions":{"CreateMountpoint":true}}]"#,
            "bind-create-src", "1.42"
        ),
        (#""Mounts":[{"Type":"image","Target":"/a","Source":"nginx"}]"#, "type=image", "1.48"),
    ])
    func `asks for nothing that the engine is too old for`(container: String, option: String, version: String) throws {
        let error = try #require(throws: ContainerDocument.Unfit.self) {
            try document(container: container, on: .init(hostname: "host1", engine: .init(1, 41)))
        }
        #expect(error.description.hasPrefix("\(option) needs Docker "))
        #expect(error.description.contains("(Engine API \(version)), the engine of host1 speaks 1.41"))
        #expect(throws: Never.self) { try document(container: container) }
    }

    @Test func `bears the labels by which the swarm knows it`() throws {
        let labels = try document(container: #""Labels":{"mine":"1"}"#)["Labels"]
        let task = "\(TestWorker.one)"
        #expect(labels?["mine"]?.string == "1")
        #expect(labels?["com.docker.swarm.task"]?.string == "")
        #expect(labels?["com.docker.swarm.task.id"]?.string == task)
        #expect(labels?["com.docker.swarm.task.name"]?.string == "web.1.\(task)")
        #expect(labels?["com.docker.swarm.service.name"]?.string == "web")
    }

    @Test func `publishes the ports of its own host and no others`() throws {
        var assignment = try TestWorker.assignment()
        assignment.ports = [
            .init(target: 80, published: 8080, mode: .host), .init(transport: .udp, target: 53, mode: .host),
            .init(target: 90, published: 9090, mode: .ingress),
        ]
        let document = try ContainerDocument.make(assignment, on: .init(hostname: "host1"))
        #expect(document["ExposedPorts"]?.text == #"{"80/tcp":{},"53/udp":{}}"#)
        #expect(
            document["HostConfig"]?["PortBindings"]?.text
                == #"{"80/tcp":[{"HostPort":"8080"}],"53/udp":[{"HostPort":""}]}"#)
    }

    private func document(
        container: String = "", template: String = "", on node: ContainerDocument.Node = .init(hostname: "host1")
    ) throws -> JSON {
        func after(_ text: String) -> String { text.isEmpty ? "" : "," + text }
        let assignment = try TestWorker.assignment(
            spec: #"""
                {"Name":"web","Labels":{"tier":"front"},"TaskTemplate":{"ContainerSpec":{"Image":"nginx"\#(after(container))}
                \#(after(template))}}
                """#)
        return try ContainerDocument.make(assignment, on: node)
    }
}
