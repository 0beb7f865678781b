public import ClusterModel

/// Where the Engine API takes what concerns the cluster. A manager answers; any other node refuses with the reason.
public protocol ClusterAccess: Sendable {
    /// Carries a request out, here or at the leader.
    ///
    /// Returns only once its effect can be read here. What `createService` asks of the registry was settled before.
    func submit(_ request: Control.Request) async throws(ControlError) -> Control.Reply

    /// The state of the cluster with everything that was acknowledged to anyone before this call.
    func snapshot() async throws(ControlError) -> ClusterStore

    /// Hands on what tasks wrote, from all nodes, until it is all or, following, until cancelled.
    ///
    /// A node that does not answer costs a word in the end.
    ///
    /// - Parameter receive: the next lines are not asked for before it has returned; what it throws ends the whole.
    func logs(
        _ wish: Dispatch.LogWish, to receive: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void
    ) async throws

    /// Who leads and who answers, as this manager sees it.
    func managers() async -> ManagersView
}

/// The managers as one of them sees them now. Not replicated: each looks for itself.
public struct ManagersView: Sendable, Equatable {
    public var leader: Cluster.ID<Cluster.Node>?
    /// Those that answer, this node included.
    public var reachable: Set<Cluster.ID<Cluster.Node>>

    public init(leader: Cluster.ID<Cluster.Node>? = nil, reachable: Set<Cluster.ID<Cluster.Node>> = []) {
        self.leader = leader
        self.reachable = reachable
    }
}
