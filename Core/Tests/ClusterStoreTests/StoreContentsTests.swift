import ClusterModel
import ClusterStore
import EngineAPI
import Testing

@Suite("The contents of a store")
struct StoreContentsTests {
    let now = Cluster.Timestamp(nanoseconds: 1_000)

    func filled() throws -> ClusterStore {
        var store = ClusterStore()
        let web = Cluster.Service(id: .init(bits: 1), at: now)
        let gone = Cluster.Service(id: .init(bits: 2), at: now)
        func revision(_ number: UInt64, of service: Cluster.Service, _ name: String) throws -> Cluster.Revision {
            let spec = try Cluster.ServiceSpec(
                parsing: ["Name": .string(name), "TaskTemplate": ["ContainerSpec": ["Image": "nginx"]]])
            return Cluster.Revision(
                service: service.id, number: number, template: 1, spec: spec, createdAt: now, registryAuth: "secret")
        }
        func task(_ bits: UInt128, of service: Cluster.Service, on node: UInt128?) -> Cluster.Task {
            Cluster.Task(
                id: .init(bits: bits), service: service.id, slot: Int(bits), revision: 1,
                node: node.map { .init(bits: $0) }, status: .init(.pending, at: now, message: ""), at: now)
        }
        let swarm = Cluster.Swarm(
            id: .init(bits: 9), spec: try .init(parsing: [:]),
            trust: .init(rootCertificate: "r", rootKey: "k", issuerSubject: "s", issuerPublicKey: "p"),
            joinTokens: .init(worker: "w", manager: "m"), at: now)
        let node = Cluster.Node(
            id: .init(bits: 7), spec: .init(role: .manager), status: .init(state: .ready, address: ""), at: now)
        let dependency = Cluster.Dependency(
            id: .init(bits: 6), spec: .init(kind: .secret, name: "key", data: "YQ=="), at: now)
        let network = Cluster.Network(id: .init(bits: 8), spec: .ingress, vni: 4096, subnets: [], at: now)
        _ = store.apply(
            Proposal(
                changes: [.putSwarm(swarm), .putNode(node), .putNetwork(network), .putDependency(dependency)], at: now),
            at: 2)
        var newer = web
        (newer.current, newer.newest) = (2, 2)
        _ = store.apply(
            Proposal(
                changes: [
                    .putRevision(try revision(1, of: web, "web")), .putRevision(try revision(2, of: web, "web")),
                    .putService(newer), .putRevision(try revision(1, of: gone, "gone")), .putService(gone),
                    .putTask(task(20, of: web, on: 7)), .putTask(task(21, of: gone, on: nil)),
                ], at: .init(nanoseconds: 2_000)), at: 5)
        _ = store.apply(Proposal(changes: [.removeService(gone.id)], at: .init(nanoseconds: 3_000)), at: 6)
        store.advance(to: 8)
        return store
    }

    @Test func `make the same store again, with its versions and times`() throws {
        let store = try filled()
        var again = ClusterStore()
        for change in store.contents {
            let isRestored = again.restore(change)
            #expect(isRestored)
        }
        again.advance(to: store.index)

        #expect(again.index == 8)
        #expect(again.swarm == store.swarm)
        #expect(again.nodes == store.nodes)
        #expect(again.dependencies == store.dependencies && again.dependency(.secret, named: "key") != nil)
        #expect(again.networks == store.networks && again.networks.count == 1)
        #expect(again.services == store.services && again.services[0].meta.version == 5)
        #expect(again.tasks == store.tasks)
        #expect(again.revisions == store.revisions && again.revisions.count == 3)
        #expect(again.service(named: "WEB")?.id == .init(bits: 1))
        #expect(again.service(named: "gone") == nil)
        #expect(again.tasks(on: .init(bits: 7)).map(\.id) == [.init(bits: 20)])
        // The last task of a removed service takes its revisions along, as in the store that was copied.
        _ = again.apply(Proposal(changes: [.removeTask(.init(bits: 21))], at: now), at: 9)
        #expect(again.revisions.count == 2)
    }

    @Test func `leave out nothing that the store holds`() {
        // A new table must come into `StoreContents` too, or a manager that is brought up by a snapshot lacks it. What is
        // derived from other tables (indexes, names) need not.
        let known: Set = [
            "index", "swarm", "nodeTable", "serviceTable", "taskTable", "revisionTable", "networkTable",
            "dependencyTable", "dependenciesByName",
            "servicesByName",
            "tasksByService",
            "tasksByNode", "tasksByNetwork",
        ]
        let stored = Mirror(reflecting: ClusterStore()).children.compactMap(\.label)
        #expect(Set(stored) == known, "write the new table in StoreContents.swift, test it above, then name it here")
    }

    @Test func `hold no removals`() {
        var store = ClusterStore()
        let isRestored = store.restore(.removeNode(.init(bits: 1)))
        #expect(!isRestored)
    }
}
