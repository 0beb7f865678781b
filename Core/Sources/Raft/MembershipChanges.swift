// Members come and go, one at a time (§4.1, §4.2). A membership is in force from the moment it is in a log.

extension RaftMachine {
    mutating func changeMembership(_ token: ProposalToken, _ change: MembershipChange, _ effects: inout [Effect]) {
        if let refusal = refusal(ofWeight: 0) { return effects.append(.refused(token, refusal)) }
        // Before a leader has committed in its term it cannot know whether an earlier leader's change is (Ongaro's
        // correction on raft-dev, 2015: with two in flight, majorities need not overlap).
        guard log.membershipIndex <= commitIndex, hasCommittedInTerm else {
            return effects.append(.refused(token, .changeInProgress))
        }
        let changed: Membership
        do {
            changed = try log.membership.applying(change)
        } catch {
            return effects.append(.refused(token, .invalid(error.reason)))
        }
        appendAsLeader(.membership(changed))
        effects.append(.proposed(token, log.lastIndex, term))
        releaseStaged(&effects)
        alignFollowers()
    }

    /// The leader's followers are those of the latest membership.
    private mutating func alignFollowers() {
        let membership = log.membership
        followers.removeAll { !membership.contains($0.id) }
        for member in membership.members where member.id != id && slot(of: member.id) == nil {
            followers.append(Progress(id: member.id, next: log.lastIndex))
        }
        followers.sort { $0.id < $1.id }
        if let transfer, !membership.isVoter(transfer.target) { self.transfer = nil }
    }

    /// Called when a membership was committed, or came with a snapshot.
    mutating func membershipCommitted(_ effects: inout [Effect]) {
        let committed = committedMembership
        guard log.membershipIndex <= commitIndex, !committed.contains(id) else { return }
        if role == .leader { resign(&effects) }
        // A log that is read from its beginning tells of memberships before us, and only a former member was removed.
        if committed.isEmpty || !wasMemberBefore { return }
        markRemoved(&effects)
    }

    /// Whether any membership still in the log had us. With a compacted log it may be forgotten; then the leader tells
    /// us when we ask for votes.
    private var wasMemberBefore: Bool { log.memberships.contains { $0.membership.contains(id) } }

    mutating func markRemoved(_ effects: inout [Effect]) {
        guard !wasRemoved else { return }
        wasRemoved = true
        role = .follower
        effects.append(.removed)
    }

    /// One that asks for votes but is no member would ask for ever: it is told, once that is certain.
    ///
    /// It is certain for a leader that has committed in its term, when the latest *and* committed membership lack the
    /// asker and the asker has seen no newer term: had any leader up to this term added it, this log would say so.
    mutating func tellIfRemoved(_ asker: MemberID, inTerm askersTerm: Term, _ effects: inout [Effect]) {
        guard role == .leader, hasCommittedInTerm, askersTerm <= term,
            log.membershipIndex <= commitIndex, !log.membership.contains(asker)
        else { return }
        send(.removed(term: term), to: asker, &effects)
    }
}
