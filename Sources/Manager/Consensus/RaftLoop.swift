import Logging
import Raft
import Synchronization

/// What one write makes durable, and what may leave only then.
struct DiskWrite: Sendable {
    var hardState: HardState?
    var appends: [[Entry]] = []
    var messages: [(message: Message, peer: MemberID)] = []
    var entryCount = 0
    var byteCount = 0

    var isEmpty: Bool { hardState == nil && appends.isEmpty }

    mutating func append(_ entries: [Entry]) {
        appends.append(entries)
        entryCount += entries.count
        byteCount += entries.reduce(0) { $0 + $1.byteCount }
    }

    /// A hard state alone needs no word: what depends on it leaves after it.
    var confirmation: Input? { appends.last?.last.map { .persisted(upTo: $0.index, term: $0.term) } }
}

/// Committed entries on their way to the state machine, and who waits for some of them.
struct CommittedBatch: Sendable {
    struct Outcome: Sendable {
        var ticket: Ticket
        /// False when another leader's entry stands there.
        var isOurs: Bool
    }

    /// Entries that are applied in one go.
    static let portion = 1_024

    var entries: [Entry]
    var outcomes: [LogIndex: Outcome]
}

/// What the loop holds beside the machine.
struct LoopState {
    var machine: RaftMachine
    /// On its way to the disk; one at a time.
    var writing: DiskWrite?
    /// Gathers meanwhile.
    var next = DiskWrite()
    /// Where proposals of this node stand, until they are committed or replaced.
    var underWay: [LogIndex: (ticket: Ticket, term: Term)] = [:]
    var tenure: OpenTenure?
    var membership: Membership
    var status: RaftStatus

    // Reused from turn to turn.
    var orders: [RaftDriver.Order] = []
    var inputs: [Input] = []
    var effects: [Effect] = []
    var answers: [(Ticket, Answer)] = []
    var committed: [CommittedBatch] = []

    struct OpenTenure {
        var term: Term
        /// Once this is applied here, so is all that earlier terms left.
        var firstIndex: LogIndex
        /// Nil until the office is open.
        var ended: AsyncStream<Never>.Continuation?
    }

    init(machine: RaftMachine) {
        self.machine = machine
        membership = machine.membership
        status = RaftStatus(of: machine)
    }

    /// The disk is so far behind that what waits for it must not grow.
    var isDiskFarBehind: Bool { next.entryCount >= 16_384 || next.byteCount >= 64 * 1024 * 1024 }
}

extension RaftDriver {
    /// A loop that was held up is not fed all the ticks that it missed: that alone would begin an election.
    private static let mostTicksAtOnce = 2
    /// A disk that takes longer is worth a word.
    private static let slowDisk: Duration = .seconds(1)

    func loop(_ machine: RaftMachine) async {
        var state = LoopState(machine: machine)
        defer { state.tenure?.ended?.finish() }
        for await _ in inbox.rings {
            takeInputs(&state)
            state.machine.step(all: state.inputs, into: &state.effects)
            state.inputs.removeAll(keepingCapacity: true)
            perform(&state)
            finishTurn(&state)
        }
    }

    // MARK: In

    private func takeInputs(_ state: inout LoopState) {
        inbox.drain(into: &state.orders)
        let isDiskFarBehind = state.isDiskFarBehind
        for order in state.orders {
            switch order {
            case .written(let duration): finishWrite(duration, &state)
            case .input(.propose(let token, _)) where isDiskFarBehind:
                state.answers.append((.proposal(token), .failure(.busy)))
            case .input(.received(.append, from: _)) where isDiskFarBehind: continue  // its leader repeats it
            case .input(let input): state.inputs.append(input)
            }
        }
        state.orders.removeAll(keepingCapacity: true)
        // Last, so that a heartbeat that waited here is heard before the time that it stops.
        let ticks = min(ticksDue.exchange(0, ordering: .relaxed), Self.mostTicksAtOnce)
        for _ in 0..<ticks { state.inputs.append(.tick) }
        if ticks > 0 { ageHandovers(by: ticks, settings: state.machine.settings) }
    }

    private func finishWrite(_ duration: Duration, _ state: inout LoopState) {
        guard let write = state.writing else { return }
        state.writing = nil
        state.status.diskWrites += 1
        state.status.lastDiskWrite = duration
        state.status.slowestDiskWrite = max(state.status.slowestDiskWrite, duration)
        if duration > Self.slowDisk {
            logger.warning("a write of the log took long: is the disk busy?", metadata: ["duration": "\(duration)"])
        }
        for (message, peer) in write.messages { transport.send(message, to: peer) }
        if let confirmation = write.confirmation { state.inputs.append(confirmation) }
    }

    // MARK: Out

    private func perform(_ state: inout LoopState) {
        for (position, effect) in state.effects.enumerated() {
            switch effect {
            case .persist(let hardState): state.next.hardState = hardState
            case .append(let entries): state.next.append(entries)
            case .send(let message, to: let peer): send(message, to: peer, &state)
            case .proposed(let token, let index, let term): state.underWay[index] = (.proposal(token), term)
            case .refused(let token, let refusal):
                state.answers.append((.proposal(token), .failure(ProposeError(refusal))))
            case .committed(let entries): commit(entries, &state)
            case .readReady(let token, let index): state.answers.append((.read(token), .success(index)))
            case .readFailed(let token, let refusal):
                state.answers.append((.read(token), .failure(ProposeError(refusal))))
            case .becameLeader(let term):
                let first = state.effects[position...].lazy.compactMap(\.firstAppended).first
                state.tenure = .init(term: term, firstIndex: first ?? state.machine.lastIndex)
            case .steppedDown: leaveOffice(&state)
            case .leaderChanged(let leader, let term):
                logger.info(
                    "the leader changed",
                    metadata: ["raft.leader": "\(leader.map(\.description) ?? "none")", "raft.term": "\(term)"])
            case .sendSnapshot(let peer, _):
                // Nothing is ever compacted yet, so no follower can need one.
                logger.error(
                    "a manager asks for a snapshot, which this version does not make",
                    metadata: ["raft.member": "\(peer)"])
                inbox.putAlways(.input(.snapshotSent(to: peer, ok: false)))
            case .installSnapshot(_, let peer):
                logger.error(
                    "a manager offers a snapshot, which this version cannot take: install the version that it runs",
                    metadata: ["raft.member": "\(peer)"])
            case .removed:
                state.status.wasRemoved = true
                logger.warning("this member was removed from the managers")
            }
        }
        state.effects.removeAll(keepingCapacity: true)
    }

    /// What promises something of the disk waits for all that was to be written before it.
    private func send(_ message: Message, to peer: MemberID, _ state: inout LoopState) {
        if message.mustFollowDisk, !state.next.isEmpty {
            state.next.messages.append((message, peer))
        } else if message.mustFollowDisk, state.writing != nil {
            state.writing!.messages.append((message, peer))
        } else {
            transport.send(message, to: peer)
        }
    }

    private func commit(_ entries: [Entry], _ state: inout LoopState) {
        var outcomes: [LogIndex: CommittedBatch.Outcome] = [:]
        if !state.underWay.isEmpty {
            for entry in entries {
                guard let (ticket, term) = state.underWay.removeValue(forKey: entry.index) else { continue }
                outcomes[entry.index] = .init(ticket: ticket, isOurs: term == entry.term)
            }
        }
        state.committed.append(CommittedBatch(entries: entries, outcomes: outcomes))
    }

    private func leaveOffice(_ state: inout LoopState) {
        state.tenure?.ended?.finish()
        state.tenure = nil
        // What this leader proposed may still be committed by the next one. Nobody here waits to find out.
        for (ticket, _) in state.underWay.values { state.answers.append((ticket, .failure(.outcomeUnknown))) }
        state.underWay.removeAll()
    }

    /// First the disk, then what others see, then those who wait: whoever is answered finds the status as new as that.
    private func finishTurn(_ state: inout LoopState) {
        if state.writing == nil, !state.next.isEmpty {
            let write = state.next
            state.next = DiskWrite()
            state.writing = write
            writes.putAlways(write)
        }
        if state.machine.membership != state.membership {
            state.membership = state.machine.membership
            transport.membershipChanged(state.membership)
        }
        publish(&state)
        openOffice(&state)
        for batch in state.committed { batches.putAlways(batch) }
        state.committed.removeAll(keepingCapacity: true)
        answer(&state)
    }

    private func publish(_ state: inout LoopState) {
        var status = RaftStatus(of: state.machine)
        status.wasRemoved = state.status.wasRemoved
        status.diskWrites = state.status.diskWrites
        status.lastDiskWrite = state.status.lastDiskWrite
        status.slowestDiskWrite = state.status.slowestDiskWrite
        published.withLock { $0 = status }
    }

    private func openOffice(_ state: inout LoopState) {
        guard let tenure = state.tenure, tenure.ended == nil, state.machine.appliedIndex >= tenure.firstIndex else {
            return
        }
        let (ended, writer) = AsyncStream.makeStream(of: Never.self)
        state.tenure!.ended = writer
        tenureWriter.yield(Tenure(term: tenure.term, ended: ended))
    }

    private func answer(_ state: inout LoopState) {
        let leads = state.machine.role == .leader
        let (done, handedOver) = desk.withLock { desk in
            let done = state.answers.compactMap { ticket, answer in
                desk.waiters.removeValue(forKey: ticket).map { ($0, answer) }
            }
            return (done, leads ? [] : desk.takeHandovers { _ in true })
        }
        state.answers.removeAll(keepingCapacity: true)
        for (waiter, answer) in done { waiter.resume(returning: answer) }
        for waiter in handedOver { waiter.resume() }
    }

    private func ageHandovers(by ticks: Int, settings: Settings) {
        let over = desk.withLock { desk in
            for key in desk.handovers.keys {
                desk.handovers[key]!.ticksLeft = (desk.handovers[key]!.ticksLeft ?? 2 * settings.electionTicks) - ticks
            }
            return desk.takeHandovers { $0.ticksLeft ?? 1 <= 0 }
        }
        for waiter in over { waiter.resume() }
    }
}

extension Desk {
    fileprivate mutating func takeHandovers(
        where isOver: (Handover) -> Bool
    ) -> [CheckedContinuation<Void, Never>] {
        guard !handovers.isEmpty else { return [] }
        let over = handovers.filter { isOver($0.value) }
        for key in over.keys { handovers[key] = nil }
        return over.values.map(\.waiter)
    }
}

extension Effect {
    fileprivate var firstAppended: LogIndex? {
        if case .append(let entries) = self { entries.first?.index } else { nil }
    }
}
