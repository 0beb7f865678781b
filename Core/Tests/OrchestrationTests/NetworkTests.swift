import ClusterModel
import ClusterStore
import EngineAPI
import Orchestration
import Testing

@Suite("Networks of the swarm")
struct NetworkTests {
    static let published = #"{"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":8080}]}}"#

    static func cluster(nodes: [String] = ["a", "b", "c"]) throws -> TestCluster {
        var cluster = TestCluster(nodes: nodes)
        try cluster.createNetwork("ingress", #"{"Ingress":true}"#)
        return cluster
    }

    static func onNetwork(_ name: String, replicas: Int = 3, more: String = "") -> String {
        #"{"Mode":{"Replicated":{"Replicas":\#(replicas)}},"TaskTemplate":{"Networks":[{"Target":"\#(name)"}]}\#(more)}"#
    }

    @Test func `get subnets from the swarm's pool that overlap nothing`() throws {
        var cluster = try Self.cluster()
        try cluster.createNetwork("mine", #"{"IPAM":{"Config":[{"Subnet":"10.0.1.0/24","Gateway":"10.0.1.9"}]}}"#)
        try cluster.createNetwork("next")
        let networks = cluster.store.networks.sorted { $0.subnets[0].subnet < $1.subnets[0].subnet }
        #expect(networks.map(\.spec.name) == ["ingress", "mine", "next"])
        #expect(networks.map { $0.subnets[0].subnet.description } == ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"])
        #expect(networks.map { $0.subnets[0].gateway.description } == ["10.0.0.1", "10.0.1.9", "10.0.2.1"])
        #expect(Set(networks.map(\.vni)).count == 3)
    }

    @Test(
        "refuse what cannot be",
        arguments: [
            ("ingress", "{}", "network with name ingress already exists"),
            ("host", "{}", "network with name host already exists"),
            ("second", #"{"Ingress":true}"#, "ingress network (ingress) is already present"),
            (
                "x", #"{"IPAM":{"Config":[{"Subnet":"10.0.0.128/25"}]}}"#,
                "Pool overlaps with other one on this address space: 10.0.0.128/25 and 10.0.0.0/24 of the network ingress"
            ),
            ("x", #"{"IPAM":{"Config":[{"Subnet":"10.0.0"}]}}"#, "invalid subnet 10.0.0 : invalid CIDR address"),
            (
                "x", #"{"IPAM":{"Config":[{"Subnet":"10.1.0.0/24","Gateway":"10.2.0.1"}]}}"#,
                "gateway 10.2.0.1 is no address of the subnet 10.1.0.0/24"
            ),
            (
                "x", #"{"IPAM":{"Config":[{"Subnet":"10.1.0.0/16"},{"Subnet":"10.1.2.0/24"}]}}"#,
                "subnets 10.1.0.0/16 and 10.1.2.0/24 overlap"
            ),
        ])
    func refuses(name: String, json: String, words: String) throws {
        var cluster = try Self.cluster()
        let before = cluster.store.index
        do {
            try cluster.createNetwork(name, json)
            Issue.record("it was made")
        } catch let error as ControlError { #expect(error.description == words) }
        #expect(cluster.store.index == before)
    }

    @Test func `give a service one virtual address and each task its own`() throws {
        var cluster = try Self.cluster()
        let network = try cluster.createNetwork("app")
        try cluster.create("web", Self.onNetwork("app"))
        let service = try #require(cluster.store.service(named: "web"))
        let own =
            cluster.running().flatMap(\.attachments) + service.endpoint.virtualIPs
            + cluster.store.nodes.flatMap(\.attachments)
        #expect(own.count == 3 + 1 + 3)
        #expect(Set(own.map(\.address)).count == 7)
        #expect(own.allSatisfy { $0.network == network && $0.address.description.hasPrefix("10.0.1.") })
        #expect(!own.map(\.address.description).contains("10.0.1.1"))
        #expect(cluster.store.currentRevision(of: service)?.spec.networks.map(\.target) == [network.description])
    }

    @Test func `get their addresses back, and none leaks`() throws {
        var cluster = try Self.cluster(nodes: ["a"])
        let network = try cluster.createNetwork("small", #"{"IPAM":{"Config":[{"Subnet":"10.9.0.0/28"}]}}"#)
        // 16 less network, broadcast, gateway: 13; a virtual address, the node's gateway: 11 are left for tasks.
        for _ in 0..<20 {
            try cluster.create("web", Self.onNetwork("small", replicas: 11))
            #expect(cluster.running().count == 11)
            try cluster.update("web", Self.onNetwork("small", replicas: 1))
            _ = try cluster.ask(.removeService(cluster.store.service(named: "web")!.id)).get()
            #expect(cluster.store.nodes.flatMap(\.attachments) == [])
        }
        _ = try cluster.ask(.removeNetwork(network)).get()
        #expect(cluster.store.networks.map(\.spec.name) == ["ingress"])
    }

    @Test func `say when no address is left, and go on when there is one again`() throws {
        var cluster = try Self.cluster(nodes: ["a"])
        try cluster.createNetwork("small", #"{"IPAM":{"Config":[{"Subnet":"10.9.0.0/28"}]}}"#)
        try cluster.create("web", Self.onNetwork("small", replicas: 12))
        #expect(cluster.running().count == 11)
        let waiting = try #require(cluster.tasks().first { $0.status.state == .pending })
        #expect(
            waiting.status.error == """
                no address is left on the network small (10.9.0.0/28): \
                remove tasks from it, or make a network with a larger subnet
                """)
        do {
            try cluster.create("more", Self.onNetwork("small", replicas: 1))
            Issue.record("a virtual address came from nowhere")
        } catch let error as ControlError {
            #expect(error.description.hasPrefix("service more gets no virtual address: no address is left"))
        }
        #expect(cluster.store.service(named: "more") == nil)
        try cluster.update("web", Self.onNetwork("small", replicas: 11))
        #expect(cluster.running().count == 11)
        #expect(cluster.tasks().allSatisfy { $0.status.error.isEmpty })
    }

    @Test func `publish ports on every node, each number once`() throws {
        var cluster = try Self.cluster()
        let id = try cluster.create("web", Self.published)
        let ingress = try #require(cluster.store.ingress)
        #expect(cluster.store.nodes.allSatisfy { $0.attachments.map(\.network) == [ingress.id] })
        do {
            try cluster.create("other", Self.published)
            Issue.record("8080 was given twice")
        } catch let error as ControlError {
            #expect(error.description == "port '8080' is already in use by service 'web' (\(id)) as an ingress port")
        }
        let host = #"{"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":8080,"PublishMode":"host"}]}}"#
        #expect(throws: ControlError.self) { try cluster.create("other", host) }
        try cluster.create(
            "udp", #"{"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":8080,"Protocol":"udp"}]}}"#)
        cluster.join("d")
        #expect(cluster.store.node(cluster.nodes["d"]!)?.attachments.map(\.network) == [ingress.id])
        for name in ["web", "udp"] {
            _ = try cluster.ask(.removeService(cluster.store.service(named: name)!.id)).get()
        }
        try cluster.create("other", Self.published)
    }

    @Test func `choose open ports, and keep them`() throws {
        var cluster = try Self.cluster()
        let open = #"{"EndpointSpec":{"Ports":[{"TargetPort":80}]}}"#
        try cluster.create("one", open)
        try cluster.create("two", open)
        #expect(cluster.store.service(named: "one")?.endpoint.ports.map(\.published) == [30_000])
        #expect(cluster.store.service(named: "two")?.endpoint.ports.map(\.published) == [30_001])
        let tasks = Set(cluster.running("two").map(\.id))
        try cluster.update(
            "two", #"{"EndpointSpec":{"Ports":[{"TargetPort":80},{"TargetPort":81,"PublishedPort":9000}]}}"#)
        #expect(cluster.store.service(named: "two")?.endpoint.ports.map(\.published) == [30_001, 9_000])
        #expect(Set(cluster.running("two").map(\.id)) == tasks, "publishing one more port restarts nothing")
    }

    @Test func `bring a service's first port to new tasks, and keep the tasks when the last is gone`() throws {
        var cluster = try Self.cluster()
        try cluster.create("web", "{}")
        let bare = Set(cluster.running().map(\.id))
        try cluster.update("web", Self.published)
        cluster.pass(seconds: 30)
        let published = Set(cluster.running().map(\.id))
        #expect(!bare.isEmpty && published.isDisjoint(with: bare))
        try cluster.update("web", "{}")
        cluster.pass(seconds: 30)
        #expect(Set(cluster.running().map(\.id)) == published)
    }

    @Test func `are not removed while somebody is on them`() throws {
        var cluster = try Self.cluster()
        let network = try cluster.createNetwork("app")
        let service = try cluster.create("web", Self.onNetwork("app"))
        #expect(
            cluster.ask(.removeNetwork(network))
                == .failure(.failedPrecondition("network \(network) is in use by service \(service)")))
        try cluster.create("site", Self.published)
        #expect(throws: ControlError.self) { try cluster.ask(.removeNetwork(cluster.store.ingress!.id)).get() }
    }

    @Test func `are named by their own names, and unknown ones are refused`() throws {
        var cluster = try Self.cluster()
        #expect(throws: ControlError.notFound(kind: "network", reference: "nosuch")) {
            try cluster.create("web", Self.onNetwork("nosuch"))
        }
        #expect(throws: ControlError.self) { try cluster.create("web", Self.onNetwork("ingress")) }
        try cluster.create("web", Self.onNetwork("host"))
        #expect(cluster.running().allSatisfy { $0.attachments.isEmpty })
    }

    /// However a node came to what it knows, it knows what it would be told if it came anew.
    @Test(arguments: 0..<10 as Range<UInt64>)
    func `are the same picture by differences and at once`(seed: UInt64) throws {
        var random = FixedRandom(state: seed)
        var cluster = try Self.cluster()
        for name in ["n0", "n1", "n2"] { try cluster.createNetwork(name) }
        for turn in 0..<60 {
            let name = "s\(Int.random(in: 0..<4, using: &random))"
            let networks = ["n0", "n1", "n2"].filter { _ in Bool.random(using: &random) }
                .map { #"{"Target":"\#($0)"}"# }.joined(separator: ",")
            let port = Bool.random(using: &random) ? #"{"TargetPort":80,"PublishedPort":\#(8000 + turn)}"# : ""
            let json = """
                {"Mode":{"Replicated":{"Replicas":\(Int.random(in: 0..<5, using: &random))}},
                "TaskTemplate":{"Networks":[\(networks)]},"EndpointSpec":{"Ports":[\(port)]}}
                """
            switch Int.random(in: 0..<8, using: &random) {
            case 0:
                if let service = cluster.store.service(named: name) { _ = cluster.ask(.removeService(service.id)) }
            case 1: if cluster.store.service(named: name) != nil { try? cluster.rollback(name) }
            case 2: try cluster.setAvailability("b", Bool.random(using: &random) ? .drain : .active)
            case 3: cluster.connect("c")
            default:
                if cluster.store.service(named: name) == nil {
                    try cluster.create(name, json)
                } else {
                    try cluster.update(name, json)
                }
            }
            cluster.pass(seconds: 6)
            var anew = cluster
            for node in ["a", "b", "c"] {
                anew.connect(node)
                let (known, told) = (cluster.pictures[cluster.nodes[node]!]!, anew.pictures[anew.nodes[node]!]!)
                let place = Comment(rawValue: "node \(node), turn \(turn)")
                #expect(known.networks.keys.sorted() == told.networks.keys.sorted(), place)
                for (id, network) in known.networks {
                    #expect(network.gateways == told.networks[id]?.gateways, place)
                    #expect(network.network == told.networks[id]?.network, place)
                }
                #expect(known.services == told.services, place)
                #expect(known.endpoints == told.endpoints, place)
            }
        }
    }
}
