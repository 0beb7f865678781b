import Logging
import Raft
import Synchronization

/// What one write makes durable, and what may leave only then.
struct DiskWrite: Sendable {
    var hardState: HardState?
    var appends: [[Entry]] = []
    var messages: [(message: Message, peer: MemberID)] = []
    /// After all of the above, in the place of the whole log.
    var install: SnapshotMeta?
    var entryCount = 0
    var byteCount = 0

    var isEmpty: Bool { hardState == nil && appends.isEmpty && install == nil }

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

/// What the state machine is to do next.
enum ApplyOrder: Sendable {
    case entries(CommittedBatch)
    case install(SnapshotMeta)
}

/// What the applier knows.
struct ApplyProgress {
    /// Where the last snapshot was made, begun or installed.
    var snapshotAt: LogIndex
    var numbers = ConsensusNumbers()
}

/// A snapshot to be made.
struct SnapshotOrder: Sendable {
    var meta: SnapshotMeta
    var state: any FrozenState
    var retention: SnapshotRetention
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
    /// A copy of the state that waits to become a snapshot; a newer one takes its place.
    var frozen: (index: LogIndex, state: any FrozenState)?
    var isMakingSnapshot = false
    /// Who is sent a snapshot just now.
    var sending: Set<MemberID> = []
    var numbers = ConsensusNumbers()
    var membership: Membership
    var status: RaftStatus

    // Reused from turn to turn.
    var orders: [RaftDriver.Order] = []
    var inputs: [Input] = []
    var effects: [Effect] = []
    var answers: [(Ticket, Answer)] = []
    var committed: [ApplyOrder] = []

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
        // Before it has applied anything, that is where its snapshot ends.
        status.snapshotIndex = machine.appliedIndex
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
            case .frozen(let index, let frozen): state.frozen = (index, frozen)
            case .snapshotSaved(let meta):
                state.isMakingSnapshot = false
                state.status.snapshotIndex = max(state.status.snapshotIndex, meta.index)
                state.inputs.append(.compacted(meta))
            case .numbers(let numbers): adopt(numbers, &state)
            case .input(.snapshotSent(let peer, _)):
                state.sending.remove(peer)
                if case .input(let input) = order { state.inputs.append(input) }
            case .input(.snapshotInstalled(let meta)):
                state.status.snapshotIndex = max(state.status.snapshotIndex, meta.index)
                state.inputs.append(.snapshotInstalled(meta))
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

    private func adopt(_ numbers: ConsensusNumbers, _ state: inout LoopState) {
        state.numbers = numbers
        guard let settings = numbers.applied(to: state.machine.settings) else {
            logger.warning(
                "the swarm's election tick is not above its heartbeat tick: the old ones stay",
                metadata: ["election": "\(numbers.electionTicks)", "heartbeat": "\(numbers.heartbeatTicks)"])
            return
        }
        state.machine.adopt(settings)
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
        if let meta = write.install { batches.putAlways(.install(meta)) }
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
            case .sendSnapshot(let peer, let index):
                // Only a leader may offer one, and by the end of these effects it may lead no more.
                guard state.machine.role == .leader else { continue }
                state.sending.insert(peer)
                transport.sendSnapshot(to: peer, atLeast: index, term: state.machine.term)
            case .installSnapshot(let meta, let peer):
                logger.info(
                    "taking over a snapshot", metadata: ["raft.member": "\(peer)", "raft.index": "\(meta.index)"])
                state.next.install = meta
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
        state.committed.append(.entries(CommittedBatch(entries: entries, outcomes: outcomes)))
    }

    private func leaveOffice(_ state: inout LoopState) {
        state.tenure?.ended?.finish()
        state.tenure = nil
        // What this leader proposed may still be committed by the next one. Nobody here waits to find out.
        for (ticket, _) in state.underWay.values { state.answers.append((ticket, .failure(.outcomeUnknown))) }
        state.underWay.removeAll()
        state.sending.removeAll()
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
        beginSnapshot(&state)
        publish(&state)
        openOffice(&state)
        for batch in state.committed { batches.putAlways(batch) }
        state.committed.removeAll(keepingCapacity: true)
        answer(&state)
    }

    /// Only of what is on this disk, or a restart would find a snapshot that its log does not reach. And not while one
    /// is being sent: when that has arrived, the entries behind it must still be here.
    private func beginSnapshot(_ state: inout LoopState) {
        guard let (index, frozen) = state.frozen, !state.isMakingSnapshot, state.sending.isEmpty,
            state.machine.persistedIndex >= index
        else { return }
        state.frozen = nil
        guard let meta = state.machine.snapshotMeta(at: index) else { return }  // overtaken by one that was installed
        state.isMakingSnapshot = true
        snapshots.putAlways(SnapshotOrder(meta: meta, state: frozen, retention: state.numbers.retention))
    }

    private func publish(_ state: inout LoopState) {
        var status = RaftStatus(of: state.machine)
        status.snapshotIndex = state.status.snapshotIndex
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
