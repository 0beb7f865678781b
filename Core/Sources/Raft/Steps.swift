/// What goes into ``RaftMachine/step(_:into:)``.
public enum Input: Sendable, Equatable {
    /// One unit of time has passed. The owner decides how long a tick is (50 ms in production).
    case tick
    case received(Message, from: MemberID)
    case propose(ProposalToken, [UInt8])
    case changeMembership(ProposalToken, MembershipChange)
    /// A linearizable read: ``Effect/readReady(_:_:)`` says how far to apply before answering it.
    case read(ReadToken)
    /// All that earlier effects asked to make durable is: hard states, and the log up to this index, whose entry has
    /// this term (so that a word about entries that were truncated meanwhile is known as such).
    case persisted(upTo: LogIndex, term: Term)
    case applied(upTo: LogIndex)
    /// Hands leadership over; to the follower that is furthest when nil. Nothing happens unless this leads.
    case transferLeadership(to: MemberID?)
    /// The link to a member was closed. If it was the leader, it need not be waited for.
    case linkClosed(MemberID)
    /// Sending to a member failed: what was on its way is lost.
    case unreachable(MemberID)
    /// The owner has a durable snapshot up to here: the log before it may go.
    case compacted(SnapshotMeta)
    /// What ``Effect/installSnapshot(_:from:)`` asked for is durable and is the state now; the log on disk is empty.
    case snapshotInstalled(SnapshotMeta)
    /// What ``Effect/sendSnapshot(to:atLeast:)`` asked for has ended.
    case snapshotSent(to: MemberID, ok: Bool)
}

/// What the owner must do, in order.
public enum Effect: Sendable, Equatable {
    /// Make durable. A later one covers those before it.
    case persist(HardState)
    /// Make durable, in the place of all entries from the first one's index on.
    case append([Entry])
    /// See ``Message/mustFollowDisk``.
    case send(Message, to: MemberID)
    /// Newly committed, in order, each once since the machine was made (then from behind the snapshot on).
    case committed([Entry])
    /// Where a proposal went. It is done when that index is committed in that term, and lost when in another.
    case proposed(ProposalToken, LogIndex, Term)
    case refused(ProposalToken, Refusal)
    /// Answer the read from a state in which this index, at least, is applied.
    case readReady(ReadToken, LogIndex)
    case readFailed(ReadToken, Refusal)
    case becameLeader(Term)
    case steppedDown(Term, leader: MemberID?)
    case leaderChanged(MemberID?, Term)
    /// Stream the newest snapshot (it reaches at least this index), then the message of
    /// ``RaftMachine/snapshotOffer(of:)``, then say ``Input/snapshotSent(to:ok:)``.
    case sendSnapshot(to: MemberID, atLeast: LogIndex)
    /// In one durable write: the state becomes this snapshot and the whole log is deleted. Then say
    /// ``Input/snapshotInstalled(_:)``. Until then this member takes no entries.
    case installSnapshot(SnapshotMeta, from: MemberID)
    /// This member is out of the group, by a committed change. It will never be needed again.
    case removed
}

/// Why a proposal, a change or a read was not taken. Nothing has happened; it may be tried again.
public enum Refusal: Sendable, Equatable {
    case notLeader(hint: MemberID?)
    /// Too much is uncommitted, or too many reads wait.
    case busy
    /// Another membership change is uncommitted, or this leader has not committed anything in its term yet.
    case changeInProgress
    case transferring
    /// It will never be taken, for the reason given.
    case invalid(String)
}
