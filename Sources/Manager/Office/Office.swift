package import ClusterModel
package import ClusterStore
package import Logging
import Orchestration
import Raft
import Synchronization

/// The leader's work: takes requests and workers' words, has the machine decide, has Raft agree, then answers.
///
/// Open exactly as long as this node leads: `serve` is a scope. What is asked while it is closed is refused with
/// `.notOpen`, and the caller asks whoever leads.
package final class Office: Sendable {
    package enum Refusal: Error, Sendable {
        /// This node does not lead (any more), and the request was not carried out.
        case notOpen
    }

    private typealias Input = ManagerMachine.Input

    private struct Desk {
        var inbox: Inbox<Input>
        var waiting: [ManagerMachine.RequestToken: Waiter] = [:]
        var sessions: [ManagerMachine.SessionID: AsyncStream<Dispatch.FromManager>.Continuation] = [:]
        /// The newest session of each node.
        var nodes: [Cluster.ID<Cluster.Node>: ManagerMachine.SessionID] = [:]
    }

    private struct Waiter {
        let continuation: CheckedContinuation<Result<Control.Reply, any Error>, Never>
        /// It has gone into a proposal: if the office ends now, nobody knows what became of it.
        var isProposed = false
    }

    /// Requests, reports and heartbeats that may wait; more are refused, and the worker comes back with all it has.
    private static let inboxLimit = 20_000
    /// What may wait for one slow worker before its session is closed and begun anew.
    private static let sessionLimit = 1_024

    private let desk = Mutex<Desk?>(nil)
    private let tokens = Atomic<UInt64>(0)
    private let depths = Mutex<String>("closed")
    private let log: Logger

    package init(log: Logger) { self.log = log }

    /// For the debug dump.
    package var depthsText: String { depths.withLock { $0 } }
    package var isOpen: Bool { desk.withLock { $0 != nil } }

    // MARK: Asking

    /// - Returns: what became of the request, once it is committed and applied here.
    package func submit(_ request: Control.Request) async throws -> Control.Reply {
        let token = ManagerMachine.RequestToken(nextNumber())
        return try await withCheckedContinuation { continuation in
            let refusal: (any Error)? = desk.withLock { desk in
                guard desk != nil else { return Refusal.notOpen }
                guard desk!.inbox.put(.request(token, request)) else {
                    return ControlError.unavailable(
                        "too many requests are waiting for the leader: try again in a moment")
                }
                desk!.waiting[token] = Waiter(continuation: continuation)
                return nil
            }
            if let refusal { continuation.resume(returning: .failure(refusal)) }
        }.get()
    }

    /// Runs one worker's session: what it says goes in, what it is told comes out of `send`.
    ///
    /// - Parameter words: begins with `hello`; until that has come the worker is not heard.
    package func session<Words: AsyncSequence & Sendable>(
        of node: Cluster.ID<Cluster.Node>, address: String, words: Words,
        send: @escaping @Sendable (Dispatch.FromManager) async throws -> Void
    ) async throws where Words.Element == Dispatch.FromWorker {
        let session = ManagerMachine.SessionID(nextNumber())
        let (orders, writer) = AsyncStream.makeStream(
            of: Dispatch.FromManager.self, bufferingPolicy: .bufferingOldest(Self.sessionLimit))
        let isOpen = desk.withLock { desk in
            guard desk != nil else { return false }
            desk!.sessions[session] = writer
            desk!.nodes[node] = session
            return true
        }
        guard isOpen else { throw Refusal.notOpen }
        defer {
            desk.withLock { desk in
                desk?.sessions[session] = nil
                if desk?.nodes[node] == session { desk?.nodes[node] = nil }
                _ = desk?.inbox.put(.sessionClosed(session, of: node))
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { for await order in orders { try await send(order) } }
            group.addTask { [self] in
                for try await word in words {
                    let input: Input =
                        switch word {
                        case .hello(let description):
                            .sessionOpened(session, of: node, description, address: address)
                        case .heartbeat: .heard(session, of: node)
                        case .status(let reports): .statuses(session, of: node, reports)
                        }
                    guard desk.withLock({ $0?.inbox.put(input) ?? false }) else { throw Refusal.notOpen }
                }
            }
            // Whichever ends first ends the session: no more words, no more orders, or the office.
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Says something to a node that is no decision about the cluster.
    ///
    /// - Returns: false where the node has no session here.
    func tell(_ node: Cluster.ID<Cluster.Node>, _ message: Dispatch.FromManager) -> Bool {
        guard let session = desk.withLock({ $0?.nodes[node] }) else { return false }
        send(message, session)
        return true
    }

    private func nextNumber() -> UInt64 { tokens.wrappingAdd(1, ordering: .relaxed).newValue }

    // MARK: Serving

    /// What the office needs of the consensus below it.
    package struct Hands: Sendable {
        /// Commits and applies; throws when this node no longer leads.
        package var propose: @Sendable (Proposal) async throws -> UInt64
        package var snapshot: @Sendable () -> ClusterStore
        package var removeMember: @Sendable (UInt64) async throws -> Void

        package init(
            propose: @escaping @Sendable (Proposal) async throws -> UInt64,
            snapshot: @escaping @Sendable () -> ClusterStore,
            removeMember: @escaping @Sendable (UInt64) async throws -> Void
        ) {
            self.propose = propose
            self.snapshot = snapshot
            self.removeMember = removeMember
        }
    }

    /// Is the leader until it is cancelled or a proposal is refused.
    package func serve(_ hands: Hands) async throws {
        let inbox = Inbox<Input>(limit: Self.inboxLimit)
        desk.withLock { $0 = Desk(inbox: inbox) }
        defer { close() }
        let clock = OfficeClock()
        var random = SystemRandomNumberGenerator()
        var machine = ManagerMachine(store: hands.snapshot(), ids: IDSource(using: &random), now: clock.now)

        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            var inputs: [Input] = []
            var effects: [ManagerMachine.Effect] = []
            var pendingWake: Cluster.Timestamp?
            _ = inbox.put(.woken)
            for await _ in inbox.rings {
                try Task.checkCancellation()
                inbox.drain(into: &inputs)
                if let wake = pendingWake, wake <= clock.now { pendingWake = nil }
                machine.step(inputs, store: hands.snapshot(), now: clock.now, effects: &effects)
                noteProposed(inputs)
                inputs.removeAll(keepingCapacity: true)
                depths.withLock { $0 = "\(machine.queueDepths)" }

                var index: UInt64 = 0
                for effect in effects {
                    switch effect {
                    case .propose(let proposal): index = try await hands.propose(proposal)
                    case .reply(let token, let outcome): answer(token, outcome, index: index)
                    case .send(let message, _, let session): self.send(message, session)
                    case .close(let session, _):
                        desk.withLock { $0?.sessions.removeValue(forKey: session) }?.finish()
                    case .wake(let moment):
                        guard pendingWake.map({ moment < $0 }) ?? true else { continue }
                        pendingWake = moment
                        let delay = max(0, moment.nanoseconds - clock.now.nanoseconds)
                        group.addTask {
                            try? await Task.sleep(for: .nanoseconds(delay))
                            _ = inbox.put(.woken)
                        }
                    case .removeMember(let member, let node):
                        group.addTask { [self] in await dismiss(member, node, hands) }
                    }
                }
                effects.removeAll(keepingCapacity: true)
            }
        }
    }

    /// Demotion, second half: Raft lets the member go, then the node's object says so.
    private func dismiss(_ member: UInt64, _ node: Cluster.ID<Cluster.Node>, _ hands: Hands) async {
        while !Task.isCancelled {
            do {
                try await hands.removeMember(member)
                _ = try await submit(.setManager(node, nil))
                return
            } catch is Refusal {
                return
            } catch {
                log.warning(
                    "a manager could not be removed yet; trying again",
                    metadata: ["node.id": "\(node)", "error": "\(error)"])
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }

    private func noteProposed(_ inputs: [Input]) {
        desk.withLock { desk in
            for case .request(let token, _) in inputs { desk?.waiting[token]?.isProposed = true }
        }
    }

    private func answer(_ token: ManagerMachine.RequestToken, _ outcome: Control.Outcome, index: UInt64) {
        let waiter = desk.withLock { $0?.waiting.removeValue(forKey: token) }
        let result: Result<Control.Reply, any Error> =
            switch outcome {
            case .success(var reply):
                {
                    reply.index = max(reply.index, index)
                    return .success(reply)
                }()
            case .failure(let error): .failure(error)
            }
        waiter?.continuation.resume(returning: result)
    }

    private func send(_ message: Dispatch.FromManager, _ session: ManagerMachine.SessionID) {
        let writer = desk.withLock { $0?.sessions[session] }
        if case .dropped = writer?.yield(message) {
            // It cannot keep up: the next session begins with everything.
            log.warning("a worker reads too slowly; its session begins anew")
            writer?.finish()
        }
    }

    private func close() {
        let closed = desk.withLock { desk in
            defer { desk = nil }
            return desk
        }
        depths.withLock { $0 = "closed" }
        for session in closed?.sessions.values ?? [:].values { session.finish() }
        for waiter in closed?.waiting.values ?? [:].values {
            let error: any Error =
                waiter.isProposed
                ? ControlError.outcomeUnknown("The leader lost its office while it carried this out.") : Refusal.notOpen
            waiter.continuation.resume(returning: .failure(error))
        }
    }
}
