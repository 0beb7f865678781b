public import ClusterModel

// A store as a list of changes, and back: what a snapshot of it is made of.

extension ClusterStore {
    /// The changes that make an equal store out of an empty one, in an order in which each finds what it refers to.
    ///
    /// Made one at a time as they are asked for, from this value alone: the store that goes on meanwhile is another copy.
    public var contents: StoreContents { StoreContents(self) }

    /// Makes a change of ``contents`` again: what it puts keeps the version and the times that it had.
    ///
    /// - Returns: false for a change that cannot stand in a snapshot, which is then not made.
    public mutating func restore(_ change: StoreChange) -> Bool {
        guard let stamp = change.stamp else { return false }
        _ = apply(Proposal(changes: [change], at: stamp.updatedAt), at: stamp.version)
        return true
    }
}

public struct StoreContents: Sequence, IteratorProtocol, Sendable {
    /// Kinds in their order; what is not begun is not sorted yet.
    private var kinds: [@Sendable () -> [StoreChange]]
    private var current: ArraySlice<StoreChange> = []

    init(_ store: ClusterStore) {
        kinds = [
            { store.swarm.map { [.putSwarm($0)] } ?? [] },
            { store.networks.map(StoreChange.putNetwork) },
            { store.dependencies.map(StoreChange.putDependency) },
            { store.nodes.map(StoreChange.putNode) },
            // Before the services: a service is found by the name in its current revision.
            { store.revisions.map(StoreChange.putRevision) },
            { store.services.map(StoreChange.putService) },
            { store.tasks.map(StoreChange.putTask) },
        ]
    }

    public mutating func next() -> StoreChange? {
        while current.isEmpty {
            guard !kinds.isEmpty else { return nil }
            current = kinds.removeFirst()()[...]
        }
        return current.removeFirst()
    }
}

extension StoreChange {
    /// When what it puts was last changed; nil for a change that puts nothing.
    fileprivate var stamp: (version: UInt64, updatedAt: Cluster.Timestamp)? {
        switch self {
        case .putSwarm(let swarm): (swarm.meta.version, swarm.meta.updatedAt)
        case .putNode(let node): (node.meta.version, node.meta.updatedAt)
        case .putService(let service): (service.meta.version, service.meta.updatedAt)
        case .putTask(let task): (task.meta.version, task.meta.updatedAt)
        case .putDependency(let dependency): (dependency.meta.version, dependency.meta.updatedAt)
        case .putNetwork(let network): (network.meta.version, network.meta.updatedAt)
        case .putRevision(let revision): (0, revision.createdAt)
        case .removeNode, .removeService, .removeRevision, .removeTask, .removeNetwork, .removeDependency: nil
        }
    }
}
