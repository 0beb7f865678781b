package import ClusterModel
package import ClusterStore

/// What a step of the manager would make of the store: a tentative copy, and the changes that lead to it.
///
/// Deciders read the draft, so each sees what those before it decided; the copy is dropped if the changes are not
/// committed.
package struct Draft {
    package private(set) var store: ClusterStore
    package let now: Cluster.Timestamp
    package var ids: IDSource

    private var changes: [StoreChange?] = []
    /// Where the last change of an object stands, so that a later one takes its place.
    private var places: [ObjectKey: Int] = [:]
    package private(set) var count = 0
    private var events: [StoreEvent] = []
    /// Versions of objects that this step changed. Nobody can have seen one yet.
    private let provisionalIndex: UInt64

    package init(store: ClusterStore, now: Cluster.Timestamp, ids: IDSource) {
        self.store = store
        self.now = now
        self.ids = ids
        provisionalIndex = store.index + 1
    }

    package mutating func make(_ change: StoreChange) {
        events += store.apply(Proposal(changes: [change], at: now), at: provisionalIndex)
        if let key = ObjectKey(change) {
            if let place = places[key] {
                changes[place] = nil
                count -= 1
            }
            places[key] = changes.count
        }
        changes.append(change)
        count += 1
    }

    package mutating func change(_ task: Cluster.Task, _ edit: (inout Cluster.Task) -> Void) {
        var task = task
        edit(&task)
        make(.putTask(task))
    }

    /// What happened since the last call.
    package mutating func takeEvents() -> [StoreEvent] {
        defer { events.removeAll(keepingCapacity: true) }
        return events
    }

    /// The changes in their order, each object's last one only; nil when there are none.
    package var proposal: Proposal? {
        let changes = changes.compactMap(\.self)
        return changes.isEmpty ? nil : Proposal(changes: changes, at: now)
    }
}

private enum ObjectKey: Hashable {
    case swarm
    case node(Cluster.ID<Cluster.Node>)
    case service(Cluster.ID<Cluster.Service>)
    case task(Cluster.ID<Cluster.Task>)
    case network(Cluster.ID<Cluster.Network>)
    case dependency(Cluster.ID<Cluster.Dependency>)

    /// Nil where every change counts.
    init?(_ change: StoreChange) {
        switch change {
        case .putSwarm: self = .swarm
        case .putNode(let node): self = .node(node.id)
        case .removeNode(let id): self = .node(id)
        case .putService(let service): self = .service(service.id)
        case .removeService(let id): self = .service(id)
        case .putTask(let task): self = .task(task.id)
        case .removeTask(let id): self = .task(id)
        case .putNetwork(let network): self = .network(network.id)
        case .removeNetwork(let id): self = .network(id)
        case .putDependency(let dependency): self = .dependency(dependency.id)
        case .removeDependency(let id): self = .dependency(id)
        case .putRevision, .removeRevision: return nil
        }
    }
}
