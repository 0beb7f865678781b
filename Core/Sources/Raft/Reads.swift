// Linearizable reads without writing to the log: ReadIndex (§6.4), in batches.

struct Reads: Sendable {
    enum Asker: Sendable, Equatable {
        case own(ReadToken)
        case member(MemberID, request: UInt64)
    }

    struct Confirming: Sendable {
        var asker: Asker
        var index: LogIndex
        var round: UInt64
    }

    // A leader's.
    /// The number of the last heartbeat round of this term.
    var round: UInt64 = 0
    /// Wait for a round to begin, or for the first commit of the term.
    var waiting: [Asker] = []
    /// Wait for a majority to answer their round; in the order of rounds.
    var confirming: [Confirming] = []

    // A follower's.
    /// Not yet asked for.
    var unasked: [(token: ReadToken, ticksLeft: Int)] = []
    /// Asked for under one number.
    var asked: [(token: ReadToken, ticksLeft: Int)] = []
    var request: UInt64 = 0
    var askedLeader: MemberID?
    var ticksUntilAskedAgain = 0

    var count: Int { waiting.count + confirming.count + unasked.count + asked.count }
}

// MARK: - Both

extension RaftMachine {
    mutating func read(_ token: ReadToken, _ effects: inout [Effect]) {
        guard reads.count < settings.maxWaitingReads else { return effects.append(.readFailed(token, .busy)) }
        if role == .leader {
            reads.waiting.append(.own(token))
        } else {
            reads.unasked.append((token, 2 * settings.electionTicks))
        }
    }

    mutating func settleReads(_ effects: inout [Effect]) {
        if role == .leader {
            confirmReads(&effects)  // a majority may have become smaller, or be this member alone
            // One round at a time; what comes meanwhile shares the next.
            guard !reads.waiting.isEmpty, reads.confirming.isEmpty, hasCommittedInTerm else { return }
            beginRound(&effects)
            confirmReads(&effects)
        } else {
            askLeader(&effects)
        }
    }

    /// A read is safe to repeat: whoever loses office asks the next leader for its own reads; others ask again themselves.
    mutating func readsLeaveOffice() {
        for asker in reads.confirming.map(\.asker) + reads.waiting {
            guard case .own(let token) = asker else { continue }
            reads.unasked.append((token, 2 * settings.electionTicks))
        }
        reads.confirming = []
        reads.waiting = []
    }

    mutating func readsTakeOffice() {
        reads.round = 0
        reads.waiting = (reads.asked + reads.unasked).map { .own($0.token) }
        reads.asked = []
        reads.unasked = []
        reads.askedLeader = nil
    }
}

// MARK: - Leading

extension RaftMachine {
    mutating func receiveReadRequest(_ request: ReadRequest, from sender: MemberID, _ effects: inout [Effect]) {
        guard role == .leader, reads.count < settings.maxWaitingReads else { return }  // it will ask again
        let asker = Reads.Asker.member(sender, request: request.request)
        guard !reads.waiting.contains(asker), !reads.confirming.contains(where: { $0.asker == asker }) else { return }
        reads.waiting.append(asker)
    }

    /// Called as a round of heartbeats begins: the reads that wait shall be confirmed by it.
    mutating func openReadRound() {
        reads.round += 1
        guard hasCommittedInTerm, !reads.waiting.isEmpty else { return }
        for asker in reads.waiting {
            reads.confirming.append(.init(asker: asker, index: commitIndex, round: reads.round))
        }
        reads.waiting = []
    }

    /// A majority that answered a round had no newer leader when it began: no write can be committed that this leader
    /// did not know of then.
    mutating func confirmReads(_ effects: inout [Effect]) {
        guard !reads.confirming.isEmpty else { return }
        let confirmed = log.membership.reachedByQuorum { peer in
            peer == id ? reads.round : slot(of: peer).map { followers[$0].confirmedRound } ?? 0
        }
        let ready = reads.confirming.prefix { $0.round <= confirmed }
        for read in ready {
            switch read.asker {
            case .own(let token): effects.append(.readReady(token, read.index))
            case .member(let member, request: let request):
                let reply = ReadReply(term: term, request: request, index: read.index)
                send(.readReply(reply), to: member, &effects)
            }
        }
        reads.confirming.removeFirst(ready.count)
    }
}

// MARK: - Following

extension RaftMachine {
    private mutating func askLeader(_ effects: inout [Effect]) {
        guard let leader else { return }
        if reads.asked.isEmpty {
            guard !reads.unasked.isEmpty else { return }
            reads.asked = reads.unasked
            reads.unasked = []
            reads.request = random.next()
        } else if reads.askedLeader == leader, reads.ticksUntilAskedAgain > 0 {
            return
        }
        reads.askedLeader = leader
        reads.ticksUntilAskedAgain = max(1, settings.electionTicks / 2)
        send(.readRequest(ReadRequest(term: term, request: reads.request)), to: leader, &effects)
    }

    mutating func receiveReadReply(_ reply: ReadReply, _ effects: inout [Effect]) {
        guard role != .leader, !reads.asked.isEmpty, reply.request == reads.request else { return }
        for read in reads.asked { effects.append(.readReady(read.token, reply.index)) }
        reads.asked = []
        reads.askedLeader = nil
    }

    mutating func tickReads(_ effects: inout [Effect]) {
        if reads.ticksUntilAskedAgain > 0 { reads.ticksUntilAskedAgain -= 1 }
        guard role != .leader, !(reads.asked.isEmpty && reads.unasked.isEmpty) else { return }
        for index in reads.asked.indices { reads.asked[index].ticksLeft -= 1 }
        for index in reads.unasked.indices { reads.unasked[index].ticksLeft -= 1 }
        for read in reads.asked + reads.unasked where read.ticksLeft <= 0 {
            effects.append(.readFailed(read.token, .notLeader(hint: leader)))
        }
        reads.asked.removeAll { $0.ticksLeft <= 0 }
        reads.unasked.removeAll { $0.ticksLeft <= 0 }
    }
}
