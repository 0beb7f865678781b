// The log: proposals, appends and their answers (§3.5), commitment (§3.6.2), snapshots and compaction (§5).

// MARK: - Proposing

extension RaftMachine {
    mutating func propose(_ token: ProposalToken, _ command: [UInt8], _ effects: inout [Effect]) {
        if let refusal = refusal(ofWeight: command.count + 32) { return effects.append(.refused(token, refusal)) }
        if command.count > settings.maxCommandBytes {
            let reason = "a command of \(command.count) bytes; at most \(settings.maxCommandBytes) are taken"
            return effects.append(.refused(token, .invalid(reason)))
        }
        appendAsLeader(.command(command))
        effects.append(.proposed(token, log.lastIndex, term))
    }

    /// Why nothing is proposed now. Something too heavy is still taken when it is alone.
    func refusal(ofWeight weight: Int) -> Refusal? {
        if role != .leader { return .notLeader(hint: leader) }
        if transfer != nil { return .transferring }
        let uncommitted = log.lastIndex - commitIndex
        if uncommitted >= settings.maxUncommittedEntries { return .busy }
        if uncommitted > 0, uncommittedBytes + weight > settings.maxUncommittedBytes { return .busy }
        return nil
    }

    mutating func appendAsLeader(_ payload: Payload) {
        precondition(role == .leader, "\(id) is \(role) in term \(term): only a leader appends")
        let entry = Entry(index: log.lastIndex + 1, term: term, payload: payload)
        log.append([entry])
        staged.append(entry)
        uncommittedBytes += entry.weight
    }

    mutating func releaseStaged(_ effects: inout [Effect]) {
        guard !staged.isEmpty else { return }
        effects.append(.append(staged))
        staged = []
    }
}

// MARK: - Leading

extension RaftMachine {
    func slot(of peer: MemberID) -> Int? { followers.firstIndex { $0.id == peer } }

    /// Sends each follower all that it may be sent now; nothing if there is nothing.
    mutating func replicate(_ effects: inout [Effect]) {
        guard role == .leader, !awaitsOwnDisk else { return }
        for slot in followers.indices { replicate(to: slot, &effects) }
    }

    private mutating func replicate(to slot: Int, _ effects: inout [Effect]) {
        while followers[slot].maySend(window: settings.maxInflightAppends) {
            let next = followers[slot].next
            guard next <= log.lastIndex || followers[slot].wantsWord(ofCommit: commitIndex) else { return }
            guard let previousTerm = log.term(at: next - 1) else { return beginSnapshot(to: slot, &effects) }
            let entries = log.entries(from: next, maxBytes: settings.maxEntryBytesPerAppend)
            followers[slot].sent(entries, commit: commitIndex)
            let request = AppendRequest(
                term: term, previousIndex: next - 1, previousTerm: previousTerm, entries: entries, commit: commitIndex)
            send(.append(request), to: followers[slot].id, &effects)
        }
    }

    /// Heartbeats to all. Their answers keep the leader in office and confirm the reads that wait.
    mutating func beginRound(_ effects: inout [Effect]) {
        ticksUntilHeartbeat = settings.heartbeatTicks
        openReadRound()
        guard !awaitsOwnDisk else { return }
        for follower in followers {
            let heartbeat = Heartbeat(term: term, commit: min(commitIndex, follower.match), round: reads.round)
            send(.heartbeat(heartbeat), to: follower.id, &effects)
        }
    }

    mutating func receiveAppendReply(_ reply: AppendReply, from sender: MemberID, _ effects: inout [Effect]) {
        guard role == .leader, let slot = slot(of: sender) else { return }
        followers[slot].isRecentlyActive = true
        switch reply.outcome {
        case .accepted(let match):
            precondition(
                match <= log.lastIndex,
                "\(sender) has \(match) of term \(term), but its leader \(id) only \(log.lastIndex)")
            if followers[slot].accepted(upTo: match, logBegins: log.firstIndex) { commitWhatQuorumHas(&effects) }
        case .rejected(let previous, let hintIndex, let hintTerm):
            let agreement = log.lastIndex(upTo: hintIndex, termAtMost: hintTerm)
            followers[slot].rejected(previous: previous, agreement: agreement)
        }
    }

    mutating func receiveHeartbeatReply(_ reply: HeartbeatReply, from sender: MemberID, _ effects: inout [Effect]) {
        guard role == .leader, let slot = slot(of: sender) else { return }
        followers[slot].isRecentlyActive = true
        followers[slot].answeredHeartbeat(window: settings.maxInflightAppends, lastIndex: log.lastIndex)
        if reply.round > followers[slot].confirmedRound {
            followers[slot].confirmedRound = reply.round
            confirmReads(&effects)
        }
    }

    mutating func unreachable(_ peer: MemberID) {
        guard let slot = slot(of: peer), followers[slot].phase == .replicate else { return }
        followers[slot].probe()
    }

    mutating func persisted(upTo index: LogIndex, term persistedTerm: Term, _ effects: inout [Effect]) {
        guard log.term(at: index) == persistedTerm else { return }  // truncated meanwhile
        log.markPersisted(upTo: index)
        guard role == .leader else { return }
        if persistedTerm == term { awaitsOwnDisk = false }
        commitWhatQuorumHas(&effects)
    }

    /// Commits what a majority has on disk, by counting only entries of this term: those of earlier terms can still be
    /// overwritten though a majority has them (§3.6.2, figure 3.7).
    mutating func commitWhatQuorumHas(_ effects: inout [Effect]) {
        guard role == .leader else { return }
        let reached = log.membership.reachedByQuorum { peer in
            peer == id ? log.persisted : slot(of: peer).map { followers[$0].match } ?? 0
        }
        guard reached > commitIndex, log.term(at: reached) == term else { return }
        commit(upTo: reached, &effects)
    }
}

// MARK: - Following

extension RaftMachine {
    mutating func receiveAppend(_ request: AppendRequest, from sender: MemberID, _ effects: inout [Effect]) {
        guard installing == nil else { return }  // soon there is another log
        let lastNew = request.previousIndex + LogIndex(request.entries.count)
        if lastNew <= commitIndex || request.previousIndex < log.baseIndex {
            // All of it, or its beginning, is committed here: it is the same, and need not be in memory any more.
            return reply(.accepted(match: commitIndex), to: sender, &effects)
        }
        guard log.term(at: request.previousIndex) == request.previousTerm else {
            let hint = log.lastIndex(upTo: request.previousIndex, termAtMost: request.previousTerm)
            let outcome = AppendReply.Outcome.rejected(
                previous: request.previousIndex, hintIndex: hint, hintTerm: log.term(at: hint) ?? 0)
            return reply(outcome, to: sender, &effects)
        }
        if let firstNew = request.entries.firstIndex(where: { log.term(at: $0.index) != $0.term }) {
            let new = Array(request.entries[firstNew...])
            precondition(
                new[0].index > commitIndex,
                "leader \(sender) of term \(term) would overwrite \(new[0].index), but \(commitIndex) is committed")
            log.truncate(from: new[0].index)
            log.append(new)
            effects.append(.append(new))
        }
        reply(.accepted(match: lastNew), to: sender, &effects)
        commit(upTo: min(request.commit, lastNew), &effects)
    }

    mutating func receiveHeartbeat(_ heartbeat: Heartbeat, from sender: MemberID, _ effects: inout [Effect]) {
        send(.heartbeatReply(HeartbeatReply(term: term, round: heartbeat.round)), to: sender, &effects)
        guard installing == nil else { return }
        commit(upTo: heartbeat.commit, &effects)
    }

    private mutating func reply(_ outcome: AppendReply.Outcome, to sender: MemberID, _ effects: inout [Effect]) {
        send(.appendReply(AppendReply(term: term, outcome: outcome)), to: sender, &effects)
    }

    mutating func commit(upTo index: LogIndex, _ effects: inout [Effect]) {
        guard index > commitIndex else { return }
        precondition(
            index <= log.lastIndex, "\(id) cannot commit \(index): its log ends at \(log.lastIndex). Was its disk lost?"
        )
        let entries = log[commitIndex + 1...index]
        commitIndex = index
        effects.append(.committed(entries))
        if role == .leader { for entry in entries { uncommittedBytes -= entry.weight } }
        if entries.contains(where: \.isMembership) { membershipCommitted(&effects) }
    }
}

extension Entry {
    var isMembership: Bool { if case .membership = payload { true } else { false } }
}

// MARK: - Snapshots

extension RaftMachine {
    private mutating func beginSnapshot(to slot: Int, _ effects: inout [Effect]) {
        // To one that is silent it would be sent in vain; its next word brings us here again.
        guard followers[slot].isRecentlyActive else { return }
        followers[slot].beginSnapshot(at: log.baseIndex)
        effects.append(.sendSnapshot(to: followers[slot].id, atLeast: log.baseIndex))
    }

    mutating func snapshotSent(to peer: MemberID, ok: Bool) {
        guard let slot = slot(of: peer) else { return }
        followers[slot].endSnapshot(ok: ok)
    }

    mutating func receiveSnapshotOffer(_ offer: SnapshotOffer, from sender: MemberID, _ effects: inout [Effect]) {
        guard installing == nil else { return }
        let meta = offer.meta
        if meta.index <= commitIndex { return reply(.accepted(match: commitIndex), to: sender, &effects) }
        if log.term(at: meta.index) == meta.term {
            // We have that entry, so we have all before it: nothing to install, only to commit.
            reply(.accepted(match: meta.index), to: sender, &effects)
            return commit(upTo: meta.index, &effects)
        }
        installing = meta
        effects.append(.installSnapshot(meta, from: sender))
    }

    mutating func snapshotInstalled(_ meta: SnapshotMeta, _ effects: inout [Effect]) {
        guard installing == meta else { return }
        precondition(role == .follower, "\(id) is \(role) while it installs snapshot \(meta.index)")
        installing = nil
        log.reset(to: meta)
        commitIndex = meta.index
        appliedIndex = meta.index
        membershipCommitted(&effects)
        if let leader { reply(.accepted(match: meta.index), to: leader, &effects) }
    }

    mutating func compacted(_ meta: SnapshotMeta) {
        precondition(
            meta.index <= commitIndex, "a snapshot of \(meta.index), but \(id) has only \(commitIndex) committed")
        guard meta.index > log.baseIndex + settings.keptEntries else { return }
        log.compact(upTo: meta.index - settings.keptEntries)
    }
}
