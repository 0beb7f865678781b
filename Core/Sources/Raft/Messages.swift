/// What members say to each other: one case per meaning.
public enum Message: Sendable, Equatable {
    /// "Would you vote for me?" Its term is the one it would stand in; nobody adopts it (§9.6).
    case preVoteRequest(VoteRequest)
    case preVoteReply(VoteReply)
    case voteRequest(VoteRequest)
    case voteReply(VoteReply)
    case append(AppendRequest)
    case appendReply(AppendReply)
    case heartbeat(Heartbeat)
    case heartbeatReply(HeartbeatReply)
    /// "What is the commit index now?" From a follower that has reads waiting (§6.4).
    case readRequest(ReadRequest)
    case readReply(ReadReply)
    /// "Stand for election at once": the leader hands over (§3.10).
    case timeoutNow(term: Term)
    /// "This snapshot has come to you whole." Follows the stream that the leader's owner sent.
    case snapshotOffer(SnapshotOffer)
    /// "You are no member any more": the answer to one that asks for votes after its removal.
    case removed(term: Term)
}

public struct VoteRequest: Sendable, Equatable {
    public var term: Term
    /// Where the candidate's log ends; who has more does not vote for it (§3.6.1).
    public var lastIndex: LogIndex
    public var lastTerm: Term
    /// The leader asked for this election: vote although you hear it (§4.2.3).
    public var isTransfer: Bool

    public init(term: Term, lastIndex: LogIndex, lastTerm: Term, isTransfer: Bool = false) {
        self.term = term
        self.lastIndex = lastIndex
        self.lastTerm = lastTerm
        self.isTransfer = isTransfer
    }
}

public struct VoteReply: Sendable, Equatable {
    /// The term asked for when granted; otherwise the voter's own.
    public var term: Term
    public var isGranted: Bool

    public init(term: Term, isGranted: Bool) {
        self.term = term
        self.isGranted = isGranted
    }
}

public struct AppendRequest: Sendable, Equatable {
    public var term: Term
    /// The entry right before `entries`, which the follower must have.
    public var previousIndex: LogIndex
    public var previousTerm: Term
    public var entries: [Entry]
    /// How far the leader knows the log to be committed.
    public var commit: LogIndex

    public init(term: Term, previousIndex: LogIndex, previousTerm: Term, entries: [Entry], commit: LogIndex) {
        self.term = term
        self.previousIndex = previousIndex
        self.previousTerm = previousTerm
        self.entries = entries
        self.commit = commit
    }
}

public struct AppendReply: Sendable, Equatable {
    public enum Outcome: Sendable, Equatable {
        /// All up to here is the leader's log, and durable.
        case accepted(match: LogIndex)
        /// No entry `previous` of that term here. The logs can agree at `hintIndex` at most, and there only if the
        /// leader's term is at most `hintTerm` (§3.5, a whole term skipped per round trip).
        case rejected(previous: LogIndex, hintIndex: LogIndex, hintTerm: Term)
    }
    public var term: Term
    public var outcome: Outcome

    public init(term: Term, outcome: Outcome) {
        self.term = term
        self.outcome = outcome
    }
}

public struct Heartbeat: Sendable, Equatable {
    public var term: Term
    /// Never beyond what this follower is known to have.
    public var commit: LogIndex
    /// Counts up within a term; a majority that answers it confirms the reads that waited when it began.
    public var round: UInt64

    public init(term: Term, commit: LogIndex, round: UInt64) {
        self.term = term
        self.commit = commit
        self.round = round
    }
}

public struct HeartbeatReply: Sendable, Equatable {
    public var term: Term
    public var round: UInt64

    public init(term: Term, round: UInt64) {
        self.term = term
        self.round = round
    }
}

public struct ReadRequest: Sendable, Equatable {
    public var term: Term
    /// Drawn at random, so that an answer from before a restart fits no question after it.
    public var request: UInt64

    public init(term: Term, request: UInt64) {
        self.term = term
        self.request = request
    }
}

public struct ReadReply: Sendable, Equatable {
    public var term: Term
    public var request: UInt64
    public var index: LogIndex

    public init(term: Term, request: UInt64, index: LogIndex) {
        self.term = term
        self.request = request
        self.index = index
    }
}

public struct SnapshotOffer: Sendable, Equatable {
    public var term: Term
    public var meta: SnapshotMeta

    public init(term: Term, meta: SnapshotMeta) {
        self.term = term
        self.meta = meta
    }
}

extension Message {
    public var term: Term {
        switch self {
        case .preVoteRequest(let message), .voteRequest(let message): message.term
        case .preVoteReply(let message), .voteReply(let message): message.term
        case .append(let message): message.term
        case .appendReply(let message): message.term
        case .heartbeat(let message): message.term
        case .heartbeatReply(let message): message.term
        case .readRequest(let message): message.term
        case .readReply(let message): message.term
        case .timeoutNow(let term), .removed(let term): term
        case .snapshotOffer(let message): message.term
        }
    }

    /// Whether it promises something of this machine's disk, and so may leave only after everything that the machine
    /// asked to make durable before it.
    ///
    /// A candidate's request promises its vote for itself; a reply to an append promises the entries. A leader's
    /// appends promise nothing: it counts itself only when its own disk is done (§10.2.1).
    public var mustFollowDisk: Bool {
        switch self {
        case .voteRequest, .voteReply, .appendReply: true
        case .preVoteRequest, .preVoteReply, .append, .heartbeat, .heartbeatReply, .readRequest, .readReply,
            .timeoutNow, .snapshotOffer, .removed:
            false
        }
    }
}
