import ClusterModel
import ClusterStore
import EngineAPI
import Testing

@Suite("The store")
struct ClusterStoreTests {
    let now = Cluster.Timestamp(nanoseconds: 1_000)
    let later = Cluster.Timestamp(nanoseconds: 2_000)
    let service = Cluster.Service(id: .init(bits: 1), at: .init(nanoseconds: 1_000))

    func revision(_ number: UInt64 = 1) throws -> Cluster.Revision {
        let spec = try Cluster.ServiceSpec(
            parsing: ["Name": "web", "TaskTemplate": ["ContainerSpec": ["Image": "nginx"]]])
        return Cluster.Revision(
            service: service.id, number: number, template: number, spec: spec, createdAt: now, registryAuth: nil)
    }

    func task(_ bits: UInt128, node: Cluster.ID<Cluster.Node>? = nil) -> Cluster.Task {
        Cluster.Task(
            id: .init(bits: bits), service: service.id, slot: Int(bits), revision: 1, node: node,
            status: .init(.pending, at: now, message: ""), at: now)
    }

    @Test func `gives each object the index of its last change as version`() throws {
        var store = ClusterStore()
        _ = store.apply(Proposal(changes: [.putRevision(try revision()), .putService(service)], at: now), at: 7)
        _ = store.apply(Proposal(changes: [.putService(store.service(service.id)!)], at: later), at: 9)
        #expect(store.service(service.id)!.meta.version == 9)
        #expect(store.service(service.id)!.meta.createdAt == now)
        #expect(store.service(service.id)!.meta.updatedAt == later)
        #expect(store.index == 9)
    }

    @Test func `finds tasks by service and by the node they are on now`() throws {
        var store = ClusterStore()
        let (a, b) = (Cluster.ID<Cluster.Node>(bits: 10), Cluster.ID<Cluster.Node>(bits: 11))
        _ = store.apply(
            Proposal(
                changes: [.putRevision(try revision()), .putService(service), .putTask(task(1, node: a))], at: now),
            at: 1)
        _ = store.apply(Proposal(changes: [.putTask(task(1, node: b)), .putTask(task(2))], at: now), at: 2)
        #expect(store.tasks(on: a) == [])
        #expect(store.tasks(on: b).map(\.id) == [.init(bits: 1)])
        #expect(store.tasks(of: service.id).count == 2)
        _ = store.apply(Proposal(changes: [.removeTask(.init(bits: 1))], at: now), at: 3)
        #expect(store.tasks(on: b) == [])
    }

    @Test func `keeps a removed service's revisions until its last task is gone`() throws {
        var store = ClusterStore()
        _ = store.apply(
            Proposal(changes: [.putRevision(try revision()), .putService(service), .putTask(task(1))], at: now), at: 1)
        _ = store.apply(Proposal(changes: [.removeService(service.id)], at: now), at: 2)
        #expect(store.service(named: "web") == nil)
        #expect(store.revision(1, of: service.id) != nil)
        _ = store.apply(Proposal(changes: [.removeTask(.init(bits: 1))], at: now), at: 3)
        #expect(store.revision(1, of: service.id) == nil)
    }

    @Test func `is a snapshot when it is copied`() throws {
        var store = ClusterStore()
        _ = store.apply(Proposal(changes: [.putRevision(try revision()), .putService(service)], at: now), at: 1)
        let before = store
        _ = store.apply(Proposal(changes: [.removeService(service.id)], at: now), at: 2)
        #expect(before.service(named: "web")?.id == service.id)
        #expect(before.serviceCount == 1 && store.serviceCount == 0)
    }

    @Test func `says what each change did`() throws {
        var store = ClusterStore()
        let events = store.apply(
            Proposal(
                changes: [.putRevision(try revision()), .putService(service), .removeTask(.init(bits: 99))], at: now),
            at: 1)
        #expect(events.count == 1)
        guard case .service(old: nil, new: let new?) = events.first else {
            Issue.record("\(events)")
            return
        }
        #expect(new.id == service.id)
    }
}
