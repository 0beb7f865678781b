/// One change of the replicated store. Decisions ask for changes; Raft orders them; every manager makes the same ones.
///
/// A manager that meets a case it does not know stops and says so, rather than go on with another state than the rest.
public enum StoreChange: Sendable, Equatable, Codable {
    case putSwarm(Cluster.Swarm)
    case putNode(Cluster.Node)
    case putService(Cluster.Service)
    case putRevision(Cluster.Revision)
    case putTask(Cluster.Task)
    case putNetwork(Cluster.Network)
    case putDependency(Cluster.Dependency)
    case removeNode(Cluster.ID<Cluster.Node>)
    /// Its revisions go with it. Its tasks are removed one by one, as they end.
    case removeService(Cluster.ID<Cluster.Service>)
    case removeRevision(Cluster.ID<Cluster.Service>, Cluster.Revision.Number)
    case removeTask(Cluster.ID<Cluster.Task>)
    case removeNetwork(Cluster.ID<Cluster.Network>)
    case removeDependency(Cluster.ID<Cluster.Dependency>)
}

/// What one log entry carries: changes that happen together, and when the leader decided them.
public struct Proposal: Sendable, Equatable, Codable {
    public var changes: [StoreChange]
    public var at: Cluster.Timestamp

    public init(changes: [StoreChange], at: Cluster.Timestamp) {
        self.changes = changes
        self.at = at
    }
}
