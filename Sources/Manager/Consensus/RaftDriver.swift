import Dispatch
package import Logging
package import Raft
import Synchronization

/// Carries a member's messages, best effort: Raft expects loss, so there is no error to report.
package protocol RaftTransport: Sendable {
    /// Never waits; may drop.
    func send(_ message: Message, to peer: MemberID)
    /// Whom to hold links to from now on.
    func membershipChanged(_ membership: Membership)
    /// Streams the newest snapshot, which reaches `index` at least, then its offer as the leader of `term`, beside all
    /// other messages; then calls ``RaftDriver/snapshotSent(to:ok:)``.
    func sendSnapshot(to peer: MemberID, atLeast index: LogIndex, term: Term)
}

/// Runs one member of the consensus: feeds its machine, and does what the machine asks, in the order that makes its
/// promises true.
///
///     peers, clients, ticks ──▶ inbox ──▶ loop ──▶ peers            what promises nothing of this disk, at once
///                                 ▲        │ │
///                       "written" ├── disk ◀─┤                     one write for all that gathered during the last
///                                 │          │                     (then what had to follow it leaves)
///                       "applied" └── applier ◀┘ ──▶ clients       committed entries, in order
///
/// One loop takes all that waits and steps it. It waits for nothing: disk and state machine work beside it and answer
/// through the inbox, so a slow disk or a long replay delays no heartbeat and begins no election. Only members' promises
/// (votes, answers to appends) wait for the disk.
package final class RaftDriver: Sendable {
    enum Order: Sendable {
        case input(Input)
        /// The write under way is on the disk.
        case written(took: Duration)
        /// A copy of the state, of which a snapshot is due.
        case frozen(at: LogIndex, any FrozenState)
        /// The snapshot under way is on the disk.
        case snapshotSaved(SnapshotMeta)
        /// The state holds other numbers for consensus.
        case numbers(ConsensusNumbers)
    }

    /// Messages, proposals and reads that may wait.
    private static let inboxLimit = 8_192
    /// Of those, places that only peers take: clients in a hurry must not push heartbeats out.
    private static let roomForPeers = 2_048
    /// Bytes of entries in messages that may wait: twice what one leader has under way to one follower at most.
    private static let inboxBytes = 64 * 1024 * 1024

    let desk = Mutex(Desk())
    let inbox = Inbox<Order>(limit: inboxLimit, weightLimit: inboxBytes)
    let writes = Inbox<DiskWrite>(limit: 1)
    let batches = Inbox<ApplyOrder>(limit: .max)
    let snapshots = Inbox<SnapshotOrder>(limit: 1)
    let ticksDue = Atomic<Int>(0)
    let tenureWriter: AsyncStream<Tenure>.Continuation
    let transport: any RaftTransport
    let tick: Duration
    let clock: any Clock<Duration>
    let logger: Logger

    private let start: Mutex<RaftMachine?>
    private let disk: any DurableLog
    private let state: any StateMachine
    private let applier = DispatchQueue(label: "apus.raft.apply")
    private let numbers = Atomic<UInt64>(0)
    let published: Mutex<RaftStatus>

    /// Each stay in office, as it begins. For one reader: see ``serve(_:)``. A stay that is over before it was read may
    /// be left out.
    package let tenures: AsyncStream<Tenure>

    /// - Parameters:
    ///   - tick: one unit of the machine's time.
    ///   - state: what committed entries make, as the machine's snapshot left it. Called on a queue of its own;
    ///     consensus does not wait for it.
    package init(
        machine: RaftMachine, log: any DurableLog, transport: any RaftTransport,
        tick: Duration = .milliseconds(50), clock: any Clock<Duration> = ContinuousClock(),
        state: any StateMachine, logger: Logger
    ) {
        start = Mutex(machine)
        disk = log
        self.transport = transport
        self.tick = tick
        self.clock = clock
        self.state = state
        self.logger = logger
        desk.withLock { $0.applied = machine.appliedIndex }
        published = Mutex(RaftStatus(of: machine))
        (tenures, tenureWriter) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        transport.membershipChanged(machine.membership)
    }

    /// With a state that is made by entries alone, and of which there are no snapshots.
    package convenience init(
        machine: RaftMachine, log: any DurableLog, transport: any RaftTransport,
        tick: Duration = .milliseconds(50), clock: any Clock<Duration> = ContinuousClock(),
        apply: @escaping @Sendable ([Entry]) throws -> Void, logger: Logger
    ) {
        self.init(
            machine: machine, log: log, transport: transport, tick: tick, clock: clock,
            state: AppliedOnly(make: apply), logger: logger)
    }

    /// As of the last turn of the loop.
    package var status: RaftStatus {
        var status = published.withLock { $0 }
        // The applier runs on meanwhile.
        status.appliedIndex = max(status.appliedIndex, desk.withLock { $0.applied })
        status.inboxDepth = inbox.count
        return status
    }

    /// Runs until cancelled, or until the disk or the state machine fails, with that error: a node that cannot keep
    /// promises must stop. Once only.
    package func run() async throws {
        guard let machine = start.withLock({ $0.take() }) else { throw ProposeError.stopped }
        defer { close() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { [self] in await keepTime() }
            group.addTask { [self] in try await writeToDisk() }
            group.addTask { [self, applied = machine.appliedIndex] in try await applyCommitted(from: applied) }
            group.addTask { [self] in try await makeSnapshots() }
            group.addTask { [self] in await loop(machine) }
            // None of these ends by itself: whichever does, ends all.
            try await group.next()
        }
    }

    private func keepTime() async {
        while (try? await clock.sleep(for: tick)) != nil {
            ticksDue.add(1, ordering: .relaxed)
            inbox.ring()
        }
    }

    private func writeToDisk() async throws {
        var waiting: [DiskWrite] = []
        for await _ in writes.rings {
            writes.drain(into: &waiting)
            for write in waiting {
                let began = ContinuousClock.now
                if write.hardState != nil || !write.appends.isEmpty {
                    try await disk.save(hardState: write.hardState, appends: write.appends)
                }
                if let meta = write.install { try await disk.installSnapshot(meta) }
                inbox.putAlways(.written(took: ContinuousClock.now - began))
            }
            waiting.removeAll(keepingCapacity: true)
        }
    }

    private func applyCommitted(from start: LogIndex) async throws {
        var waiting: [ApplyOrder] = []
        var progress = ApplyProgress(snapshotAt: start)
        noteNumbers(&progress)
        for await _ in batches.rings {
            batches.drain(into: &waiting)
            for order in waiting {
                switch order {
                case .entries(let batch): try await apply(batch, &progress)
                case .install(let meta): try await install(meta, &progress)
                }
            }
            waiting.removeAll(keepingCapacity: true)
        }
    }

    private func apply(_ batch: CommittedBatch, _ progress: inout ApplyProgress) async throws {
        // After a restart this may be a whole log: those who wait for its beginning need not wait for its end.
        for start in stride(from: 0, to: batch.entries.count, by: CommittedBatch.portion) {
            try Task.checkCancellation()
            let portion = Array(batch.entries[start..<min(start + CommittedBatch.portion, batch.entries.count)])
            try await offThePool { [state] in try state.apply(portion) }
            noteNumbers(&progress)
            freezeIfDue(portion[portion.count - 1].index, &progress)
            answer(portion, batch.outcomes)
        }
    }

    private func install(_ meta: SnapshotMeta, _ progress: inout ApplyProgress) async throws {
        try await offThePool { [state] in try state.install(meta) }
        progress.snapshotAt = meta.index
        noteNumbers(&progress)
        let done = desk.withLock { desk in
            desk.applied = meta.index
            return desk.takeWatchers(upTo: meta.index)
        }
        for (waiter, result) in done { waiter.resume(returning: result) }
        inbox.putAlways(.input(.snapshotInstalled(meta)))
    }

    private func noteNumbers(_ progress: inout ApplyProgress) {
        guard let numbers = state.consensus, numbers != progress.numbers else { return }
        progress.numbers = numbers
        inbox.putAlways(.numbers(numbers))
    }

    private func freezeIfDue(_ index: LogIndex, _ progress: inout ApplyProgress) {
        guard index >= progress.snapshotAt + progress.numbers.snapshotInterval, let frozen = state.freeze() else {
            return
        }
        progress.snapshotAt = index
        inbox.putAlways(.frozen(at: index, frozen))
    }

    /// One after another; each encoded on a queue of the log's.
    private func makeSnapshots() async throws {
        var waiting: [SnapshotOrder] = []
        for await _ in snapshots.rings {
            snapshots.drain(into: &waiting)
            for order in waiting {
                try await disk.saveSnapshot(order.meta, of: order.state, keeping: order.retention)
                inbox.putAlways(.snapshotSaved(order.meta))
            }
            waiting.removeAll(keepingCapacity: true)
        }
    }

    /// The pool has as many threads as the machine has cores: on a small one, reading a long log there would leave none
    /// for the loop.
    private func offThePool(_ work: @escaping @Sendable () throws -> Void) async throws {
        try await withCheckedThrowingContinuation { continuation in
            applier.async { continuation.resume(with: Result { try work() }) }
        }
    }

    private func answer(_ entries: [Entry], _ outcomes: [LogIndex: CommittedBatch.Outcome]) {
        guard let last = entries.last?.index else { return }
        let done = desk.withLock { desk in
            desk.applied = last
            var done = desk.takeWatchers(upTo: last)
            guard !outcomes.isEmpty else { return done }
            for entry in entries {
                guard let outcome = outcomes[entry.index],
                    let waiter = desk.waiters.removeValue(forKey: outcome.ticket)
                else { continue }
                done.append((waiter, outcome.isOurs ? .success(entry.index) : .failure(.lost)))
            }
            return done
        }
        for (waiter, result) in done { waiter.resume(returning: result) }
        inbox.putAlways(.input(.applied(upTo: last)))
    }

    private func close() {
        tenureWriter.finish()
        var unread: [Order] = []
        let left = desk.withLock { desk in
            desk.isOpen = false
            inbox.drain(into: &unread)
            return desk.takeAll(neverTaken: unread.compactMap(\.ticket))
        }
        for (waiter, result) in left.waiters { waiter.resume(returning: result) }
        for waiter in left.handovers { waiter.resume() }
    }
}

// MARK: - From peers

extension RaftDriver {
    /// Never waits and never fails: a full inbox drops it.
    package func deliver(_ message: Message, from sender: MemberID) {
        _ = inbox.put(.input(.received(message, from: sender)), weight: message.entryBytes)
    }

    /// The link to a member was closed. If it led, it need not be waited for.
    package func linkClosed(_ peer: MemberID) { _ = inbox.put(.input(.linkClosed(peer))) }

    /// The snapshot that ``RaftTransport/sendSnapshot(to:atLeast:term:)`` was asked for has arrived, or will not.
    package func snapshotSent(to peer: MemberID, ok: Bool) { inbox.putAlways(.input(.snapshotSent(to: peer, ok: ok))) }

    /// What was last sent to a member is lost.
    package func unreachable(_ peer: MemberID) { _ = inbox.put(.input(.unreachable(peer))) }
}

extension Message {
    fileprivate var entryBytes: Int {
        guard case .append(let request) = self else { return 0 }
        return request.entries.reduce(0) { $0 + $1.byteCount }
    }
}

extension Entry {
    /// Of the command; what else may stand in an entry is small and rare.
    var byteCount: Int {
        if case .command(let bytes) = payload { bytes.count } else { 0 }
    }
}

// MARK: - From this node

extension RaftDriver {
    /// - Returns: the index at which the command stands, once it is committed and applied here.
    package func propose(_ command: [UInt8]) async throws(ProposeError) -> LogIndex {
        let number = nextNumber()
        return try await ask(.propose(ProposalToken(number), command), .proposal(ProposalToken(number)))
    }

    /// Returns once the change is committed and applied here. It is in force earlier.
    package func change(_ change: MembershipChange) async throws(ProposeError) {
        let token = ProposalToken(nextNumber())
        _ = try await ask(.changeMembership(token, change), .proposal(token))
    }

    /// - Returns: once everything that was committed anywhere before this call is applied here.
    package func read() async throws(ProposeError) -> LogIndex {
        let token = ReadToken(nextNumber())
        let index = try await ask(.read(token), .read(token))
        try await waitApplied(index)
        return index
    }

    /// Waits until this manager has applied the log up to `index`: for answers that another manager gave.
    package func waitApplied(_ index: LogIndex) async throws(ProposeError) {
        let ticket = Ticket.watch(nextNumber())
        let result: Answer = await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: Waiter) in
                let now: Answer? = desk.withLock { desk in
                    guard desk.isOpen, !Task.isCancelled else { return .failure(.stopped) }
                    guard desk.applied < index else { return .success(index) }
                    guard desk.waiters.count < Desk.limit else { return .failure(.busy) }
                    desk.waiters[ticket] = waiter
                    desk.watched[ticket] = index
                    return nil
                }
                if let now { waiter.resume(returning: now) }
            }
        } onCancel: {
            withdraw(ticket, .stopped)
        }
        _ = try result.get()
    }

    /// Hands leadership to the follower that is furthest. Returns when this node does not lead any more, or when it is
    /// clear that nobody takes it: after two election timeouts.
    package func transferLeadership() async {
        guard status.role == .leader, status.membership.voterCount > 1 else { return }
        let key = nextNumber()
        await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: CheckedContinuation<Void, Never>) in
                let isTaken = desk.withLock { desk in
                    guard desk.isOpen, !Task.isCancelled else { return false }
                    desk.handovers[key] = Desk.Handover(waiter: waiter)
                    return true
                }
                if !isTaken { return waiter.resume() }
                if !inbox.put(.input(.transferLeadership(to: nil))) { withdraw(handover: key) }
            }
        } onCancel: {
            withdraw(handover: key)
        }
    }

    private func nextNumber() -> UInt64 { numbers.wrappingAdd(1, ordering: .relaxed).newValue }

    private func ask(_ input: Input, _ ticket: Ticket) async throws(ProposeError) -> LogIndex {
        let result: Answer = await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: Waiter) in
                let refusal: ProposeError? = desk.withLock { desk in
                    guard desk.isOpen, !Task.isCancelled else { return .stopped }
                    guard desk.waiters.count < Desk.limit,
                        inbox.put(.input(input), weight: input.byteCount, leaving: Self.roomForPeers)
                    else { return .busy }
                    // Under the same lock as `put`: the answer cannot come before the waiter.
                    desk.waiters[ticket] = waiter
                    return nil
                }
                if let refusal { waiter.resume(returning: .failure(refusal)) }
            }
        } onCancel: {
            withdraw(ticket, ticket.isRead ? .stopped : .outcomeUnknown)
        }
        return try result.get()
    }

    private func withdraw(_ ticket: Ticket, _ error: ProposeError) {
        let waiter = desk.withLock { desk in
            desk.watched[ticket] = nil
            return desk.waiters.removeValue(forKey: ticket)
        }
        waiter?.resume(returning: .failure(error))
    }

    private func withdraw(handover key: UInt64) {
        desk.withLock { $0.handovers.removeValue(forKey: key) }?.waiter.resume()
    }
}

extension Input {
    fileprivate var byteCount: Int {
        if case .propose(_, let command) = self { command.count } else { 0 }
    }
}

extension RaftDriver.Order {
    fileprivate var ticket: Ticket? {
        switch self {
        case .input(.propose(let token, _)), .input(.changeMembership(let token, _)): .proposal(token)
        case .input(.read(let token)): .read(token)
        default: nil
        }
    }
}
