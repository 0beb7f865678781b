import ClusterModel
import ClusterStore
import EngineAPI
import Testing

@Suite("An event of the cluster")
struct ClusterEventTests {
    /// Applies one entry after the other and gives the events of the last.
    private func events(_ entries: [StoreChange]...) -> [ClusterEvent] {
        var store = ClusterStore()
        var events: [ClusterEvent] = []
        for (number, changes) in entries.enumerated() {
            let before = store
            let at = Cluster.Timestamp(nanoseconds: Int64(number + 1))
            let happened = store.apply(Proposal(changes: changes, at: at), at: UInt64(number + 1))
            events = happened.compactMap { ClusterEvent($0, before: before, after: store, at: at) }
        }
        return events
    }

    private let start = Cluster.Timestamp(nanoseconds: 1)
    private let service = Cluster.ID<Cluster.Service>(bits: 7)

    private func revision(_ number: UInt64, image: String, replicas: Int) throws -> StoreChange {
        let spec = try Cluster.ServiceSpec(
            parsing: [
                "Name": "web", "TaskTemplate": ["ContainerSpec": ["Image": .string(image)]],
                "Mode": ["Replicated": ["Replicas": JSON(replicas)]],
            ])
        return .putRevision(
            .init(
                service: service, number: number, template: number, spec: spec, createdAt: start, registryAuth: nil))
    }

    @Test func `of a service names what changed`() throws {
        let created = Cluster.Service(id: service, at: start)
        var updated = created
        updated.current = 2
        updated.update = .init(state: .updating, startedAt: start, message: "")
        let first = try [revision(1, image: "nginx:1", replicas: 1), .putService(created)]
        let second = try [revision(2, image: "nginx:2", replicas: 3), .putService(updated)]

        #expect(
            events(first) == [
                .init(kind: .service, action: .create, id: "\(service)", attributes: ["name": "web"], time: start)
            ])
        #expect(
            events(first, second).map(\.attributes) == [
                [
                    "name": "web", "image.old": "nginx:1", "image.new": "nginx:2", "replicas.old": "1",
                    "replicas.new": "3", "updatestate.new": "updating",
                ]
            ])
        let removed = events(first, second, [.removeService(service)])
        #expect(removed.map(\.action) == [.remove])
        #expect(removed.first?.attributes == ["name": "web"], "the store before still knows its name")
    }

    @Test func `of a node names what changed`() {
        var node = Cluster.Node(
            id: .init(bits: 1), spec: .init(role: .worker, availability: .active),
            status: .init(state: .ready, address: "10.0.0.1"), at: start)
        node.description = .init(hostname: "host1")
        var drained = node
        drained.spec.availability = .drain
        drained.status.state = .down
        let event = events([.putNode(node)], [.putNode(drained)]).first
        #expect(event?.action == .update)
        #expect(
            event?.attributes == [
                "name": "host1", "availability.old": "active", "availability.new": "drain", "state.old": "ready",
                "state.new": "down",
            ])
    }

    @Test func `of a secret shows its name and nothing more`() {
        let secret = Cluster.Dependency(
            id: .init(bits: 3), spec: .init(kind: .secret, name: "key", data: "aGVsbG8="), at: start)
        let event = events([.putDependency(secret)]).first
        #expect(event?.kind == .secret)
        #expect(event?.attributes == ["name": "key"])
    }
}
