import Agent
import ClusterModel
import Logging
import NodeLink

/// Carries the agent's sessions over the node's links.
struct LinkDialer: ManagerDialer {
    let tls: TLSState
    let log: Logger

    func withSession(
        at manager: Dispatch.ManagerAddress,
        _ body:
            @Sendable @escaping (
                AsyncThrowingStream<Dispatch.FromManager, any Error>,
                _ send: @escaping @Sendable (Dispatch.FromWorker) async throws -> Void
            ) async throws -> Void
    ) async throws {
        try await once(manager.address) { link in try await link.session(body) }
    }

    func publishLogs(
        _ order: UInt64, to manager: Dispatch.ManagerAddress,
        _ body:
            @escaping @Sendable (_ send: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void) async throws
            -> Void
    ) async throws {
        try await once(manager.address) { link in try await link.publishLogs(order, body) }
    }

    /// A link for one conversation.
    func once<Result: Sendable>(
        _ address: String, _ body: @escaping @Sendable (LinkClient) async throws -> Result
    ) async throws -> Result {
        try await LinkClient.once(to: address, tls: tls, log: log, body)
    }
}
