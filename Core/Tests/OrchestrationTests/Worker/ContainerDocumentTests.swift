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
            #""Env":["A={{.Node.Hostname}}","B={{ .Service.Labels.tier }}","C={{.Unknown}}"]"#, "Env",
            #"["A=host1","B=front","C={{.Unknown}}"]"#
        ),
    ])
    func `is what its spec says`(spec: String, name: String, expected: String) throws {
        #expect(try document(container: spec)[name]?.text == expected)
    }

    @Test(arguments: [
        (#""Groups":["audio"]"#, "GroupAdd", #"["audio"]"#),
        (#""ReadOnly":true"#, "ReadonlyRootfs", "true"),
        (#""Hosts":["10.0.0.1 db cache"]"#, "ExtraHosts", #"["db:10.0.0.1","cache:10.0.0.1"]"#),
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
        #expect(host?["MemoryReservation"]?.int == 4_194_304)
        #expect(host?["LogConfig"]?.text == #"{"Type":"json-file","Config":{"max-size":"1m"}}"#)
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
        let document = ContainerDocument.make(assignment, hostname: "host1")
        #expect(document["ExposedPorts"]?.text == #"{"80/tcp":{},"53/udp":{}}"#)
        #expect(
            document["HostConfig"]?["PortBindings"]?.text
                == #"{"80/tcp":[{"HostPort":"8080"}],"53/udp":[{"HostPort":""}]}"#)
    }

    private func document(container: String = "", template: String = "") throws -> JSON {
        func after(_ text: String) -> String { text.isEmpty ? "" : "," + text }
        let assignment = try TestWorker.assignment(
            spec: #"""
                {"Name":"web","Labels":{"tier":"front"},"TaskTemplate":{"ContainerSpec":{"Image":"nginx"\#(after(container))}
                \#(after(template))}}
                """#)
        return ContainerDocument.make(assignment, hostname: "host1")
    }
}
