package import Logging
package import Raft
import Synchronization

/// Carries a member's messages, best effort: Raft expects loss, so there is no error to report.
package protocol RaftTransport: Sendable {
    /// Never waits; may drop.
    func send(_ message: Message, to peer: MemberID)
    /// Whom to hold links to from now on.
    func membershipChanged(_ membership: Membership)
}

/// Why a proposal or a read came to nothing.
package enum ProposeError: Error, Sendable, Equatable {
    /// Nothing happened; ask the one that `hint` names.
    case notLeader(hint: MemberID?)
    /// Nothing happened; too much is waiting.
    case busy
    /// Nothing happened, and nothing will, for this reason.
    case refused(String)
    /// This node lost its office first. It may be carried out yet, or never.
    case outcomeUnknown
    /// This manager has stopped.
    case stopped
}

/// What a member looks like from outside, published after each turn of its loop.
package struct RaftStatus: Sendable {
    package var role = RaftMachine.Role.follower
    package var term: Term = 0
    package var leader: MemberID?
    package var commitIndex: LogIndex = 0
    package var appliedIndex: LogIndex = 0
    package var lastIndex: LogIndex = 0
    package var membership = Membership([])
    package var progress: [FollowerProgress] = []
    package var inboxDepth = 0
    package var diskWrites = 0
    package var slowestDiskWrite = Duration.zero
}

package struct FollowerProgress: Sendable {
    package var id: MemberID
    package var match: LogIndex
    package var recentActive: Bool
}

/// Runs one member of the consensus: feeds its machine, and does what the machine asks, in the order that makes its
/// promises true.
///
/// One loop takes all that waits, steps it, sends at once what may leave before the disk, makes durable with one write,
/// sends what depended on it, and hands committed entries to the state machine. No decision and no client is waited
/// for here, so nothing delays a heartbeat but the disk.
package final class RaftDriver: Sendable {
    private enum Order: Sendable {
        case input(Input)
        case propose(ProposalToken, [UInt8])
        case change(ProposalToken, MembershipChange)
        case read(ReadToken)
    }

    private typealias Waiter = CheckedContinuation<Result<LogIndex, ProposeError>, Never>

    /// What is asked and not answered yet.
    private struct Desk {
        var isOpen = true
        var proposals: [ProposalToken: Waiter] = [:]
        var reads: [ReadToken: Waiter] = [:]
        var applied: LogIndex = 0
        /// Who waits for this manager to have applied so far.
        var watchers: [UInt64: (index: LogIndex, waiter: Waiter)] = [:]

        mutating func put(_ waiter: Waiter, under ticket: Ticket) {
            switch ticket {
            case .proposal(let token): proposals[token] = waiter
            case .read(let token): reads[token] = waiter
            }
        }

        mutating func take(_ ticket: Ticket) -> Waiter? {
            switch ticket {
            case .proposal(let token): proposals.removeValue(forKey: token)
            case .read(let token): reads.removeValue(forKey: token)
            }
        }
    }

    /// What an asker waits for.
    private enum Ticket: Sendable {
        case proposal(ProposalToken)
        case read(ReadToken)
    }

    /// Messages, proposals and reads that may wait.
    private static let inboxLimit = 8_192
    /// A loop that was held up is not fed all the ticks that it missed: that alone would begin an election.
    private static let mostTicksAtOnce = 2

    private let start: Mutex<RaftMachine?>
    private let disk: any DurableLog
    private let transport: any RaftTransport
    private let apply: @Sendable ([Entry]) throws -> Void
    private let tick: Duration
    private let logger: Logger
    private let inbox = Inbox<Order>(limit: inboxLimit)
    private let desk = Mutex(Desk())
    private let tokens = Atomic<UInt64>(0)
    private let published: Mutex<RaftStatus>
    private let tenures: AsyncStream<Tenure>
    private let tenureWriter: AsyncStream<Tenure>.Continuation

    package init(
        machine: RaftMachine, log: any DurableLog, transport: any RaftTransport,
        tick: Duration = .milliseconds(50), apply: @escaping @Sendable ([Entry]) throws -> Void, logger: Logger
    ) {
        start = Mutex(machine)
        disk = log
        self.transport = transport
        self.tick = tick
        self.apply = apply
        self.logger = logger
        published = Mutex(RaftStatus())
        (tenures, tenureWriter) = AsyncStream.makeStream()
        publish(machine, Loop(machine: machine))
        transport.membershipChanged(machine.membership)
    }

    package var status: RaftStatus { published.withLock { $0 } }

    // MARK: From peers

    /// Never waits and never fails: a full inbox drops it.
    package func deliver(_ message: Message, from sender: MemberID) {
        _ = inbox.put(.input(.received(message, from: sender)))
    }

    package func linkClosed(_ peer: MemberID) {
        _ = inbox.put(.input(.unreachable(peer)))
        _ = inbox.put(.input(.linkClosed(peer)))
    }

    // MARK: From this node

    /// - Returns: the index at which the command stands, once it is committed and applied here.
    package func propose(_ command: [UInt8]) async throws(ProposeError) -> LogIndex {
        let token = ProposalToken(number())
        return try await ask(.propose(token, command), .proposal(token))
    }

    package func change(_ change: MembershipChange) async throws(ProposeError) {
        let token = ProposalToken(number())
        _ = try await ask(.change(token, change), .proposal(token))
    }

    /// - Returns: once everything that was committed anywhere before this call is applied here.
    package func read() async throws(ProposeError) -> LogIndex {
        let token = ReadToken(number())
        let index = try await ask(.read(token), .read(token))
        try await waitApplied(index)
        return index
    }

    /// Waits until this manager has applied the log up to `index`.
    package func waitApplied(_ index: LogIndex) async throws(ProposeError) {
        let key = number()
        let result: Result<LogIndex, ProposeError> = await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: Waiter) in
                let now: Result<LogIndex, ProposeError>? = desk.withLock { desk in
                    guard desk.isOpen, !Task.isCancelled else { return .failure(.stopped) }
                    guard desk.applied < index else { return .success(index) }
                    desk.watchers[key] = (index, waiter)
                    return nil
                }
                if let now { waiter.resume(returning: now) }
            }
        } onCancel: {
            desk.withLock { $0.watchers.removeValue(forKey: key) }?.waiter.resume(returning: .failure(.stopped))
        }
        _ = try result.get()
    }

    /// Hands leadership to the follower that is furthest, and waits a little for it to be taken.
    package func transferLeadership() async {
        guard status.role == .leader, status.membership.voterCount > 1 else { return }
        _ = inbox.put(.input(.transferLeadership(to: nil)))
        for _ in 0..<40 where status.role == .leader {
            guard (try? await Task.sleep(for: .milliseconds(25))) != nil else { return }
        }
    }

    private func number() -> UInt64 { tokens.wrappingAdd(1, ordering: .relaxed).newValue }

    private func ask(_ order: Order, _ ticket: Ticket) async throws(ProposeError) -> LogIndex {
        let result: Result<LogIndex, ProposeError> = await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: Waiter) in
                let isOpen = desk.withLock { desk in
                    guard desk.isOpen, !Task.isCancelled else { return false }
                    desk.put(waiter, under: ticket)
                    return true
                }
                guard isOpen else { return waiter.resume(returning: .failure(.stopped)) }
                if !inbox.put(order) { withdraw(ticket, .busy) }
            }
        } onCancel: {
            withdraw(ticket, .outcomeUnknown)
        }
        return try result.get()
    }

    private func withdraw(_ ticket: Ticket, _ error: ProposeError) {
        desk.withLock { $0.take(ticket) }?.resume(returning: .failure(error))
    }
}

// MARK: - The loop

extension RaftDriver {
    /// What one run of the loop holds beside the machine.
    private struct Loop {
        var machine: RaftMachine
        /// Where proposals of this node stand, until they are committed or replaced.
        var underWay: [LogIndex: (token: ProposalToken, term: Term)] = [:]
        /// Reads that wait until so much is applied stand in the desk; leaders wait for their own first entry here.
        var tenure: (term: Term, ended: AsyncStream<Never>.Continuation?, ready: LogIndex)?
        var diskWrites = 0
        var slowestDiskWrite = Duration.zero
        var membership = Membership([])

        init(machine: RaftMachine) {
            self.machine = machine
            membership = machine.membership
        }
    }

    /// Runs until cancelled, or until the disk or the state machine fails: a node that cannot keep promises must stop.
    package func run() async throws {
        guard let machine = start.withLock({ $0.take() }) else { throw ProposeError.stopped }
        var loop = Loop(machine: machine)
        defer { close(loop) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { [inbox, tick] in
                while true {
                    try await Task.sleep(for: tick)
                    _ = inbox.put(.input(.tick))
                }
            }
            var orders: [Order] = []
            var inputs: [Input] = []
            var effects: [Effect] = []
            for await _ in inbox.rings {
                inbox.drain(into: &orders)
                Self.inputs(of: orders, into: &inputs)
                orders.removeAll(keepingCapacity: true)
                loop.machine.step(all: inputs, into: &effects)
                inputs.removeAll(keepingCapacity: true)
                while !effects.isEmpty {
                    let confirmations = try await perform(effects, &loop)
                    effects.removeAll(keepingCapacity: true)
                    loop.machine.step(all: confirmations, into: &effects)
                }
                openTenure(&loop)
                publish(loop.machine, loop)
            }
        }
    }

    private static func inputs(of orders: [Order], into inputs: inout [Input]) {
        var ticks = 0
        for order in orders {
            switch order {
            case .input(.tick):
                ticks += 1
                if ticks <= mostTicksAtOnce { inputs.append(.tick) }
            case .input(let input): inputs.append(input)
            case .propose(let token, let command): inputs.append(.propose(token, command))
            case .change(let token, let change): inputs.append(.changeMembership(token, change))
            case .read(let token): inputs.append(.read(token))
            }
        }
    }

    /// - Returns: what the machine must hear of it.
    private func perform(_ effects: [Effect], _ loop: inout Loop) async throws -> [Input] {
        for case .send(let message, to: let peer) in effects where !message.mustFollowDisk {
            transport.send(message, to: peer)
        }

        var confirmations: [Input] = []
        if let confirmation = try await makeDurable(effects, &loop) { confirmations.append(confirmation) }

        for case .send(let message, to: let peer) in effects where message.mustFollowDisk {
            transport.send(message, to: peer)
        }

        for effect in effects {
            switch effect {
            case .persist, .append, .send: continue
            case .proposed(let token, let index, let term): loop.underWay[index] = (token, term)
            case .refused(let token, let refusal):
                desk.withLock { $0.proposals.removeValue(forKey: token) }?
                    .resume(returning: .failure(ProposeError(refusal)))
            case .committed(let entries):
                try apply(entries)
                answer(entries, &loop)
                if let last = entries.last { confirmations.append(.applied(upTo: last.index)) }
            case .readReady(let token, let index):
                desk.withLock { $0.reads.removeValue(forKey: token) }?.resume(returning: .success(index))
            case .readFailed(let token, let refusal):
                desk.withLock { $0.reads.removeValue(forKey: token) }?
                    .resume(returning: .failure(ProposeError(refusal)))
            case .becameLeader(let term):
                // The office opens once the first entry of this term, and so all before it, is applied here.
                loop.tenure = (term, nil, loop.machine.lastIndex)
            case .steppedDown: endTenure(&loop)
            case .leaderChanged(let leader, let term):
                logger.info(
                    "the leader changed",
                    metadata: ["raft.leader": "\(leader.map(\.description) ?? "none")", "raft.term": "\(term)"])
            case .sendSnapshot(let peer, _):
                // Nothing is ever compacted yet, so no follower can need one.
                logger.error("a manager asks for a snapshot, which this version does not make", metadata: ["raft.member": "\(peer)"])
                confirmations.append(.snapshotSent(to: peer, ok: false))
            case .installSnapshot(_, let peer):
                logger.error("a manager offers a snapshot, which this version cannot take", metadata: ["raft.member": "\(peer)"])
            case .removed: logger.warning("this member was removed from the managers")
            }
        }

        if loop.machine.membership != loop.membership {
            loop.membership = loop.machine.membership
            transport.membershipChanged(loop.membership)
        }
        return confirmations
    }

    /// One write for all that the effects ask for.
    private func makeDurable(_ effects: [Effect], _ loop: inout Loop) async throws -> Input? {
        var hardState: HardState?
        var appends: [[Entry]] = []
        for effect in effects {
            switch effect {
            case .persist(let state): hardState = state
            case .append(let entries): appends.append(entries)
            default: continue
            }
        }
        guard hardState != nil || !appends.isEmpty else { return nil }
        let began = ContinuousClock.now
        try await disk.save(hardState: hardState, appends: appends)
        loop.diskWrites += 1
        loop.slowestDiskWrite = max(loop.slowestDiskWrite, ContinuousClock.now - began)
        // A hard state alone needs no word: what depends on it leaves after this.
        return appends.last?.last.map { .persisted(upTo: $0.index, term: $0.term) }
    }

    private func answer(_ entries: [Entry], _ loop: inout Loop) {
        var done: [(Waiter, Result<LogIndex, ProposeError>)] = []
        desk.withLock { desk in
            for entry in entries {
                desk.applied = entry.index
                guard let (token, term) = loop.underWay.removeValue(forKey: entry.index),
                    let waiter = desk.proposals.removeValue(forKey: token)
                else { continue }
                // Another leader's entry in its place: this one can never be committed.
                done.append((waiter, term == entry.term ? .success(entry.index) : .failure(.notLeader(hint: nil))))
            }
            let applied = desk.applied
            for (key, watcher) in desk.watchers where watcher.index <= applied {
                desk.watchers[key] = nil
                done.append((watcher.waiter, .success(watcher.index)))
            }
        }
        for (waiter, result) in done { waiter.resume(returning: result) }
    }

    private func openTenure(_ loop: inout Loop) {
        guard let tenure = loop.tenure, tenure.ended == nil, loop.machine.appliedIndex >= tenure.ready else { return }
        let (ended, writer) = AsyncStream.makeStream(of: Never.self)
        loop.tenure?.ended = writer
        tenureWriter.yield(Tenure(term: tenure.term, ended: ended))
    }

    private func endTenure(_ loop: inout Loop) {
        loop.tenure?.ended?.finish()
        loop.tenure = nil
        // What this leader proposed may still be committed by the next one. Nobody here waits to find out.
        let lost = desk.withLock { desk in
            let lost = loop.underWay.values.compactMap { desk.proposals.removeValue(forKey: $0.token) }
            return lost
        }
        loop.underWay.removeAll()
        for waiter in lost { waiter.resume(returning: .failure(.outcomeUnknown)) }
    }

    private func close(_ loop: Loop) {
        loop.tenure?.ended?.finish()
        tenureWriter.finish()
        let left = desk.withLock { desk in
            desk.isOpen = false
            defer { (desk.proposals, desk.reads, desk.watchers) = ([:], [:], [:]) }
            return (desk.proposals.values, Array(desk.reads.values) + desk.watchers.values.map(\.waiter))
        }
        for waiter in left.0 { waiter.resume(returning: .failure(.outcomeUnknown)) }
        for waiter in left.1 { waiter.resume(returning: .failure(.stopped)) }
    }

    private func publish(_ machine: RaftMachine, _ loop: Loop) {
        let status = RaftStatus(
            role: machine.role, term: machine.term, leader: machine.leader, commitIndex: machine.commitIndex,
            appliedIndex: machine.appliedIndex, lastIndex: machine.lastIndex, membership: machine.membership,
            progress: machine.progress.map { .init(id: $0.id, match: $0.match, recentActive: $0.isRecentlyActive) },
            inboxDepth: inbox.count, diskWrites: loop.diskWrites, slowestDiskWrite: loop.slowestDiskWrite)
        published.withLock { $0 = status }
    }
}

extension ProposeError {
    fileprivate init(_ refusal: Refusal) {
        self =
            switch refusal {
            case .notLeader(let hint): .notLeader(hint: hint)
            case .busy, .changeInProgress, .transferring: .busy
            case .invalid(let reason): .refused(reason)
            }
    }
}

// MARK: - Being leader is a scope

/// One stay in office.
struct Tenure: Sendable {
    let term: Term
    /// Finishes the moment this node no longer leads.
    let ended: AsyncStream<Never>
}

extension RaftDriver {
    /// Does the leader's work for exactly as long as this node leads.
    ///
    /// Losing the office cancels everything inside and waits for it to end before the next one can begin. An error in
    /// the work ends the whole.
    package func serve(_ work: @escaping @Sendable (Term) async throws -> Void) async throws {
        for await tenure in tenures {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await work(tenure.term) }
                group.addTask { for await _ in tenure.ended {} }
                defer { group.cancelAll() }
                try await group.next()
            }
        }
    }
}
