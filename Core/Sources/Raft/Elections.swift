// Who leads: timers, PreVote (§9.6), votes (§3.4, §3.6.1), CheckQuorum (§6.2), leadership transfer (§3.10).

// MARK: - Time

extension RaftMachine {
    /// A member asks for votes if its own latest membership has it as a voter, or would have but for a removal that is
    /// not known to be committed: nobody else may have that entry, and then nobody else can win (§4.2.2). Not while its
    /// state is being replaced.
    var mayCampaign: Bool {
        guard installing == nil, !wasRemoved else { return false }
        return log.membership.isVoter(id) || log.uncertainMembership(committed: commitIndex)?.isVoter(id) ?? false
    }

    mutating func restartElectionTimer() {
        ticksSinceContact = 0
        ticksUntilElection = Int.random(in: settings.electionTicks..<2 * settings.electionTicks, using: &random)
    }

    mutating func tickTowardsElection(_ effects: inout [Effect]) {
        guard ticksSinceContact >= ticksUntilElection else { return }
        restartElectionTimer()
        if mayCampaign {
            askForPreVotes(&effects)
        } else {
            setLeader(nil, &effects)
        }
    }

    mutating func tickAsLeader(_ effects: inout [Effect]) {
        if ticksSinceContact >= settings.electionTicks {
            ticksSinceContact = 0
            guard isHeardByQuorum() else { return follow(term, leader: nil, &effects) }
        }
        if transfer != nil {
            transfer!.ticksLeft -= 1
            if transfer!.ticksLeft <= 0 { transfer = nil }
        }
        ticksUntilHeartbeat -= 1
        if ticksUntilHeartbeat <= 0 { beginRound(&effects) }
    }

    /// CheckQuorum: a leader that no majority hears must not go on, lest clients wait on it for ever (§6.2).
    private mutating func isHeardByQuorum() -> Bool {
        let heard = log.membership.hasQuorum { peer in
            peer == id || slot(of: peer).map { followers[$0].isRecentlyActive } ?? false
        }
        for slot in followers.indices { followers[slot].isRecentlyActive = false }
        return heard
    }

    /// Its process is gone or its host is: no need to wait out the timeout. The voters go in turn, a tick apart, lest
    /// they split the vote.
    mutating func linkClosed(_ peer: MemberID) {
        if role == .leader { return unreachable(peer) }
        guard role == .follower, leader == peer, ticksUntilHintCounts == 0, mayCampaign else { return }
        ticksUntilHintCounts = settings.electionTicks
        let turn = log.membership.voters.filter { $0 != peer }.firstIndex(of: id) ?? 0
        // From here on others' requests are answered too: `hearsLeader` is no longer true.
        ticksSinceContact = max(ticksSinceContact, settings.electionTicks)
        ticksUntilElection = ticksSinceContact + 1 + turn
    }
}

// MARK: - Standing

extension RaftMachine {
    /// Asks whether a majority would vote, before disturbing anyone with a new term (§9.6).
    private mutating func askForPreVotes(_ effects: inout [Effect]) {
        setLeader(nil, &effects)
        role = .preCandidate
        granted = [id]
        denied = []
        if isElected { return stand(isTransfer: false, &effects) }
        requestVotes({ .preVoteRequest($0) }, forTerm: term + 1, isTransfer: false, &effects)
    }

    private mutating func stand(isTransfer: Bool, _ effects: inout [Effect]) {
        setLeader(nil, &effects)
        role = .candidate
        hardState = HardState(term: term + 1, votedFor: id)
        effects.append(.persist(hardState))
        restartElectionTimer()
        granted = [id]
        denied = []
        if isElected { return takeOffice(&effects) }
        requestVotes({ .voteRequest($0) }, forTerm: term, isTransfer: isTransfer, &effects)
    }

    private var isElected: Bool { log.membership.hasQuorum { granted.contains($0) } }
    private var isLost: Bool { log.membership.hasQuorum { denied.contains($0) } }

    private mutating func requestVotes(
        _ kind: (VoteRequest) -> Message, forTerm term: Term, isTransfer: Bool, _ effects: inout [Effect]
    ) {
        let request = VoteRequest(
            term: term, lastIndex: log.lastIndex, lastTerm: log.lastTerm, isTransfer: isTransfer)
        for peer in log.membership.voters where peer != id { send(kind(request), to: peer, &effects) }
    }

    private mutating func takeOffice(_ effects: inout [Effect]) {
        precondition(role == .candidate, "\(id) cannot lead term \(term) as \(role)")
        role = .leader
        ticksSinceContact = 0
        staged = []
        transfer = nil
        awaitsOwnDisk = granted == [id]
        followers = log.membership.members.filter { $0.id != id }
            .map { Progress(id: $0.id, next: log.lastIndex + 1) }
        uncommittedBytes = 0
        if commitIndex < log.lastIndex {
            for entry in log[commitIndex + 1...log.lastIndex] { uncommittedBytes += entry.weight }
        }
        effects.append(.becameLeader(term))
        setLeader(id, &effects)
        readsTakeOffice()
        // What earlier terms left is committed only together with an entry of this one (§3.6.2).
        appendAsLeader(.noop)
        releaseStaged(&effects)
        ticksUntilHeartbeat = settings.heartbeatTicks  // until then the append of the noop says who leads
    }
}

// MARK: - Voting

extension RaftMachine {
    /// Whether the leader was heard within the shortest election timeout; a leader hears itself.
    private var hearsLeader: Bool { leader != nil && ticksSinceContact < settings.electionTicks }

    /// Who hears a leader does not help to depose it, unless that leader asked for it (§4.2.3).
    func ignoresElections(_ request: VoteRequest) -> Bool { hearsLeader && !request.isTransfer }

    mutating func receivePreVoteRequest(_ request: VoteRequest, from sender: MemberID, _ effects: inout [Effect]) {
        if ignoresElections(request) { return tellIfRemoved(sender, inTerm: request.term &- 1, &effects) }
        let isGranted =
            request.term > term && log.isOutdone(byLastTerm: request.lastTerm, lastIndex: request.lastIndex)
        // A refusal carries our own term, so that one who is behind learns it.
        let reply = VoteReply(term: isGranted ? request.term : term, isGranted: isGranted)
        send(.preVoteReply(reply), to: sender, &effects)
    }

    mutating func receiveVoteRequest(_ request: VoteRequest, from sender: MemberID, _ effects: inout [Effect]) {
        let mayVote = hardState.votedFor == sender || (hardState.votedFor == nil && leader == nil)
        let isGranted = mayVote && log.isOutdone(byLastTerm: request.lastTerm, lastIndex: request.lastIndex)
        if isGranted {
            if hardState.votedFor == nil {
                hardState.votedFor = sender
                effects.append(.persist(hardState))
            }
            restartElectionTimer()
        }
        send(.voteReply(VoteReply(term: term, isGranted: isGranted)), to: sender, &effects)
    }

    mutating func receivePreVoteReply(_ reply: VoteReply, from sender: MemberID, _ effects: inout [Effect]) {
        guard role == .preCandidate, !reply.isGranted || reply.term == term + 1 else { return }
        count(reply, from: sender)
        if isElected { stand(isTransfer: false, &effects) } else if isLost { follow(term, leader: nil, &effects) }
    }

    mutating func receiveVoteReply(_ reply: VoteReply, from sender: MemberID, _ effects: inout [Effect]) {
        guard role == .candidate else { return }  // late: already decided
        count(reply, from: sender)
        if isElected { takeOffice(&effects) } else if isLost { follow(term, leader: nil, &effects) }
    }

    private mutating func count(_ reply: VoteReply, from sender: MemberID) {
        if reply.isGranted { granted.insert(sender) } else { denied.insert(sender) }
    }
}

// MARK: - Handing over

extension RaftMachine {
    mutating func transferLeadership(to target: MemberID?) {
        guard role == .leader else { return }
        guard let target = target ?? bestSuccessor, target != id, log.membership.isVoter(target) else { return }
        if transfer?.target == target { return }
        transfer = Transfer(target: target, ticksLeft: settings.electionTicks)
    }

    /// The voter that has most of the log, of those that are alive.
    private var bestSuccessor: MemberID? {
        followers.filter { log.membership.isVoter($0.id) && $0.isRecentlyActive }.max { $0.match < $1.match }?.id
            ?? followers.filter { log.membership.isVoter($0.id) }.max { $0.match < $1.match }?.id
    }

    /// Once the target has the whole log, it is told to stand at once (§3.10).
    mutating func finishTransfer(_ effects: inout [Effect]) {
        guard let transfer, !transfer.wasTold, let slot = slot(of: transfer.target),
            followers[slot].match == log.lastIndex, !awaitsOwnDisk
        else { return }
        self.transfer!.wasTold = true
        send(.timeoutNow(term: term), to: transfer.target, &effects)
    }

    mutating func receiveTimeoutNow(from sender: MemberID, _ effects: inout [Effect]) {
        guard role != .leader, leader == sender, mayCampaign else { return }
        stand(isTransfer: true, &effects)
    }

    /// A leader that left the membership leads until that is committed, then goes (§4.2.2).
    mutating func resign(_ effects: inout [Effect]) {
        replicate(&effects)  // the commit index, as a farewell
        if let successor = bestSuccessor { send(.timeoutNow(term: term), to: successor, &effects) }
        follow(term, leader: nil, &effects)
    }
}
