package import ClusterModel
import ClusterStore
import Logging
package import NodeLink

// Logs of services and tasks: the leader, which holds the workers' sessions, collects them for any manager.
extension ManagerRole {
    /// - Parameter receive: the next lines are not sent before it has returned.
    package func logs(
        _ wish: Dispatch.LogWish, to receive: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void
    ) async throws {
        let began = ContinuousClock.now
        while true {
            if office.isOpen { return try await collect(wish, to: receive) }
            if let leader = leaderAddress {
                do { return try await peers.link(to: leader).logs(wish, to: receive) } catch let error as ControlError {
                    guard case .unavailable = error else { throw error }
                }
            }
            guard mayWait(since: began) else { throw ControlError.noLeader }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    package func logs(
        _ wish: Dispatch.LogWish, from peer: Peer,
        send: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void
    ) async throws {
        guard office.isOpen else { throw ControlError.unavailable("this manager does not lead") }
        try await collect(wish, to: send)
    }

    package func publishLogs<Batches: AsyncSequence & Sendable>(
        _ batches: Batches, from peer: Peer
    ) async throws where Batches.Element == (order: UInt64, batch: Dispatch.LogBatch) {
        try await logDesk.take(batches, from: peer.node)
    }

    private func collect(
        _ wish: Dispatch.LogWish, to receive: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void
    ) async throws {
        let nodes: @Sendable () -> [Cluster.ID<Cluster.Node>: String] = { [state] in
            let store = state.snapshot
            let tasks: [Cluster.Task] =
                switch wish.subject {
                case .service(let id): store.tasks(of: id)
                case .task(let id): store.task(id).map { [$0] } ?? []
                }
            var nodes = Set(tasks.compactMap(\.node))
            // A task that starts later may start anywhere.
            if wish.follows, case .service = wish.subject {
                nodes.formUnion(store.nodes.filter { $0.status.state == .ready }.map(\.id))
            }
            return Dictionary(
                uniqueKeysWithValues: nodes.map { ($0, store.node($0)?.description?.hostname ?? "\($0)") })
        }
        try await logDesk.collect(
            wish, from: nodes, tell: { [office] node, message in office.tell(node, message) }, to: receive)
    }
}
