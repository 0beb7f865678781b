package import ClusterModel

/// Opens a session with one manager; `NodeLink` is the real one, a test has its own.
package protocol ManagerDialer: Sendable {
    /// Runs `body` with an open session and closes it when `body` returns or throws.
    func withSession(
        at manager: Dispatch.ManagerAddress,
        _ body:
            @Sendable @escaping (
                AsyncThrowingStream<Dispatch.FromManager, any Error>,
                _ send: @escaping @Sendable (Dispatch.FromWorker) async throws -> Void
            ) async throws -> Void
    ) async throws

    /// Sends logs that the manager asked for; they are whole when `body` returns.
    func publishLogs(
        _ order: UInt64, to manager: Dispatch.ManagerAddress,
        _ body:
            @escaping @Sendable (_ send: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void) async throws
            -> Void
    ) async throws
}

/// What a worker learns from its manager that is not about tasks.
package enum WorkerEvent: Sendable, Equatable {
    case roleChanged(Cluster.Role)
    case managersChanged([Dispatch.ManagerAddress])
    /// This node is no longer a member of the swarm.
    case removed
}
