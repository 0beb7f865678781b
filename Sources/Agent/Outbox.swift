internal import ClusterModel
internal import Synchronization

/// What is to be said to the leader: of each task every status that it passed, in order, and whether a heartbeat is due.
///
/// A task only moves forward, so it has few of them however long nobody listens.
final class Outbox: Sendable {
    private struct State {
        var statuses: [Cluster.ID<Cluster.Task>: [Cluster.TaskStatus]] = [:]
        var isHeartbeatDue = false
    }

    static let messageLimit = 1_000
    private let state = Mutex(State())
    private let ring = Mutex<AsyncStream<Void>.Continuation?>(nil)

    /// A new bell for a new session: one whose listener was cancelled never rings again. It rings at once.
    func bell() -> AsyncStream<Void> {
        let (bell, new) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        ring.withLock { $0 = new }
        new.yield()
        return bell
    }

    func put(_ reports: [Dispatch.StatusReport]) {
        state.withLock { state in
            for report in reports {
                // The same state again, with more to say of it, takes the place of what was said before.
                if state.statuses[report.task]?.last?.state == report.status.state {
                    state.statuses[report.task]?.removeLast()
                }
                state.statuses[report.task, default: []].append(report.status)
            }
        }
        ring.withLock { _ = $0?.yield() }
    }

    func putHeartbeat() {
        state.withLock { $0.isHeartbeatDue = true }
        ring.withLock { _ = $0?.yield() }
    }

    /// All that there is to say now.
    func take() -> [Dispatch.FromWorker] {
        let (statuses, isHeartbeatDue) = state.withLock { state in
            defer { state = State() }
            return (state.statuses, state.isHeartbeatDue)
        }
        var messages: [Dispatch.FromWorker] = isHeartbeatDue ? [.heartbeat] : []
        let reports = statuses.sorted { $0.key < $1.key }.flatMap { task, passed in
            passed.map { Dispatch.StatusReport(task: task, status: $0) }
        }
        for start in stride(from: 0, to: reports.count, by: Self.messageLimit) {
            messages.append(.status(Array(reports[start..<min(start + Self.messageLimit, reports.count)])))
        }
        return messages
    }
}
