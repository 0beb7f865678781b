// The words of consensus: what a member, an entry and a promise to the disk are.

/// Who a member is, for ever: a number that is drawn once and never given to another.
///
/// A member that lost its disk comes back under a new one. Under its old number it would be believed to still keep
/// promises that it has forgotten.
public struct MemberID: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    public let rawValue: UInt64
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    public static func < (left: MemberID, right: MemberID) -> Bool { left.rawValue < right.rawValue }
    public var description: String { String(rawValue) }
}

/// A period with at most one leader; terms only grow.
public typealias Term = UInt64

/// A place in the log. The first entry is 1; 0 is the place before it.
public typealias LogIndex = UInt64

/// What a member has promised beside its log: on disk before any message that depends on it.
public struct HardState: Sendable, Equatable {
    public var term: Term
    public var votedFor: MemberID?

    public init(term: Term = 0, votedFor: MemberID? = nil) {
        self.term = term
        self.votedFor = votedFor
    }
}

public struct Entry: Sendable, Equatable {
    public let index: LogIndex
    public let term: Term
    public let payload: Payload

    public init(index: LogIndex, term: Term, payload: Payload) {
        self.index = index
        self.term = term
        self.payload = payload
    }

    /// What the limits of ``Settings`` count: the payload and a fixed share for everything around it.
    var weight: Int { payload.byteCount + 32 }
}

public enum Payload: Sendable, Equatable {
    /// Opaque to Raft.
    case command([UInt8])
    /// The whole new membership; in force from the moment it is in a log (§4.1).
    case membership(Membership)
    /// What a new leader commits first, so that all before it is committed too (§6.4).
    case noop

    var byteCount: Int {
        switch self {
        case .command(let bytes): bytes.count
        case .membership(let membership):
            membership.members.reduce(0) { $0 + 24 + $1.address.utf8.count + $1.context.utf8.count }
        case .noop: 0
        }
    }
}

/// What a snapshot stands for: everything up to `index`, and who were members then.
public struct SnapshotMeta: Sendable, Equatable {
    public let index: LogIndex
    public let term: Term
    public let membership: Membership

    public init(index: LogIndex, term: Term, membership: Membership) {
        self.index = index
        self.term = term
        self.membership = membership
    }
}

/// What the disk gave back. What is committed is not among it: that is learned again.
public struct Restored: Sendable {
    public var hardState: HardState
    public var snapshot: SnapshotMeta?
    /// Without gaps and after `snapshot`; entries that the snapshot covers may still be among them and are skipped.
    public var entries: [Entry]
    /// In force before the first entry when there is no snapshot. Empty for a first member (its log begins with
    /// itself) and for a joiner (it waits for a leader).
    public var initialMembership: Membership

    public init(
        hardState: HardState = HardState(), snapshot: SnapshotMeta? = nil, entries: [Entry] = [],
        initialMembership: Membership = Membership([])
    ) {
        self.hardState = hardState
        self.snapshot = snapshot
        self.entries = entries
        self.initialMembership = initialMembership
    }

    /// A new group of one. The owner makes it durable (hard state and entry 1) before it starts the machine.
    public static func bootstrap(_ member: Member) -> Restored {
        Restored(
            hardState: HardState(term: 1),
            entries: [Entry(index: 1, term: 1, payload: .membership(Membership([member])))])
    }

    /// The same log, with `member` alone from here on: the last resort when a majority is lost for good.
    ///
    /// Unsafe by nature: what the lost majority had committed beyond this log is gone, and the others, should they
    /// come back, must be refused by the owner (a new epoch). To be made durable before the machine is started.
    public func forcingNewGroup(of member: Member) -> Restored {
        var forced = self
        forced.hardState = HardState(term: hardState.term + 1)
        let last = max(entries.last?.index ?? 0, snapshot?.index ?? 0)
        forced.entries.append(
            Entry(index: last + 1, term: forced.hardState.term, payload: .membership(Membership([member]))))
        return forced
    }
}

/// Numbers that all members of a group share, the limits aside.
public struct Settings: Sendable, Equatable {
    /// Ticks without a leader before a member asks for votes; drawn anew each time from here to twice this.
    public var electionTicks = 10
    /// Ticks from one heartbeat to the next; well below `electionTicks`.
    public var heartbeatTicks = 1
    /// A message carries at least one entry, however large.
    public var maxEntryBytesPerAppend = 512 * 1024
    /// Appends on their way to one follower before it is waited for.
    public var maxInflightAppends = 64
    /// Proposals beyond these are refused as `.busy` until some are committed.
    public var maxUncommittedBytes = 64 * 1024 * 1024
    public var maxUncommittedEntries = 16_384
    /// A larger command is refused as `.invalid`.
    public var maxCommandBytes = 16 * 1024 * 1024
    /// Entries kept in memory behind a snapshot, so that a follower a little behind needs no snapshot.
    public var keptEntries: LogIndex = 1_024
    /// Reads that may wait for one round of heartbeats; beyond them reads are refused as `.busy`.
    public var maxWaitingReads = 65_536

    public init() {}
}

/// The owner's name for a proposal, given back when it is taken or refused.
public struct ProposalToken: Hashable, Sendable {
    public let rawValue: UInt64
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// The owner's name for a linearizable read.
public struct ReadToken: Hashable, Sendable {
    public let rawValue: UInt64
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
}
