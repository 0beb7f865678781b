import ClusterModel
import ClusterStore
import EngineAPI
import Orchestration
import Testing

@Suite("Secrets and configs")
struct DependencyTests {
    static func create(_ name: String, _ kind: Cluster.DependencyKind = .secret, in cluster: inout TestCluster) throws
        -> String
    {
        try cluster.ask(.createDependency(.init(kind: kind, name: name, data: "YQ=="))).get().created!
    }

    static func using(_ id: String, _ name: String, replicas: Int = 1) -> String {
        """
        {"Mode":{"Replicated":{"Replicas":\(replicas)}},"TaskTemplate":{"ContainerSpec":{"Secrets":[\
        {"SecretID":"\(id)","SecretName":"\(name)","File":{"Name":"\(name)","UID":"0","GID":"0","Mode":292}}]}}}
        """
    }

    @Test func `have names of their own, each once`() throws {
        var cluster = TestCluster()
        _ = try Self.create("key", in: &cluster)
        _ = try Self.create("key", .config, in: &cluster)
        #expect(
            cluster.ask(.createDependency(.init(kind: .secret, name: "KEY", data: "YQ==")))
                == .failure(.alreadyExists("secret KEY already exists")))
    }

    @Test func `stay while a service uses them`() throws {
        var cluster = TestCluster()
        let id = try Self.create("key", in: &cluster)
        try cluster.create("web", Self.using(id, "key"))
        try cluster.create("api", Self.using(id, "key"))
        let remove = Control.Request.removeDependency(.init(id)!, .secret)
        #expect(
            cluster.ask(remove)
                == .failure(.invalidArgument("secret 'key' is in use by the following services: api, web")))
        for name in ["web", "api"] {
            _ = try cluster.ask(.removeService(cluster.store.service(named: name)!.id)).get()
        }
        _ = try cluster.ask(remove).get()
        #expect(cluster.ask(remove) == .failure(.notFound(kind: "secret", reference: id)))
    }

    @Test func `must be there when a service names them`() throws {
        var cluster = TestCluster()
        let config = try Self.create("key", .config, in: &cluster)
        #expect(throws: ControlError.invalidArgument("secret not found: key")) {
            try cluster.create("web", Self.using("nosuch", "key"))
        }
        #expect(throws: ControlError.invalidArgument("secret not found: key")) {
            try cluster.create("web", Self.using(config, "key"))
        }
        #expect(cluster.store.serviceCount == 0)
    }

    @Test func `go to the nodes that run a task which uses them, and to no other`() throws {
        var cluster = TestCluster()
        let id = try Self.create("key", in: &cluster)
        try cluster.create("web", Self.using(id, "key"))
        let node = try #require(cluster.running().first?.node)
        #expect(cluster.kept.filter { !$0.value.isEmpty } == [node: [.init(id)!]])
        // What is told anew is told whole.
        cluster.connect(cluster.name(of: node))
        #expect(cluster.kept[node] == [.init(id)!])
        _ = try cluster.ask(.removeService(cluster.store.service(named: "web")!.id)).get()
        #expect(cluster.kept.allSatisfy { $0.value.isEmpty })
    }

    @Test func `are named by ID and name together`() throws {
        var cluster = TestCluster()
        let id = try Self.create("key", in: &cluster)
        #expect(throws: ControlError.invalidArgument("secret not found: other")) {
            try cluster.create("web", Self.using(id, "other"))
        }
    }

    @Test func `have a limit of their kind`() throws {
        let data = String(repeating: "AAAA", count: 170_667)  // 512,001 bytes
        #expect(
            throws: ControlError.invalidArgument("secret data must be larger than 0 and less than 512000 bytes")
        ) { try Cluster.DependencySpec(.secret, parsing: ["Name": "s", "Data": .string(data)]) }
        _ = try Cluster.DependencySpec(.config, parsing: ["Name": "s", "Data": .string(data)])
        #expect(
            throws: ControlError.invalidArgument("config data must be larger than 0 and less than 1024000 bytes")
        ) { try Cluster.DependencySpec(.config, parsing: ["Name": "s", "Data": .string(data + data)]) }
    }

    @Test func `are sent in messages that a link can carry`() throws {
        var cluster = TestCluster(nodes: ["a"])
        let data = String(repeating: "AAAA", count: 170_000)
        var secrets: [JSON] = []
        for name in ["p", "q", "r", "s", "t"] {
            let id = try cluster.ask(.createDependency(.init(kind: .secret, name: name, data: data))).get().created!
            secrets.append(["SecretID": .string(id), "SecretName": .string(name), "File": ["Name": .string(name)]])
        }
        try cluster.create("web", (["TaskTemplate": ["ContainerSpec": ["Secrets": .array(secrets)]]] as JSON).text)
        let sizes = cluster.sent.compactMap { message -> Int? in
            guard case .dependencies(let news) = message else { return nil }
            return news.put.map(\.spec.data.utf8.count).reduce(0, +)
        }
        #expect(sizes.reduce(0, +) == 5 * 680_000)
        #expect(sizes.allSatisfy { $0 <= 2 << 20 })
        #expect(cluster.kept[cluster.nodes["a"]!]!.count == 5)
    }
}
