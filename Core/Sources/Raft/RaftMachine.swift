/// Raft as a value: one input in, an ordered list of effects out, nothing else.
///
/// It has no clock, disk, socket, task or lock. Its owner steps inputs, makes durable what `.persist` and `.append` ask
/// for, sends what had to wait for that (``Message/mustFollowDisk``), and says so with ``Input/persisted(upTo:term:)``.
///
///                timeout                majority would               majority of votes
///     follower ───────────▶ preCandidate ────────────▶ candidate ─────────────────────▶ leader
///        ▲                      │                          │                               │
///        └──────────────────────┴──────────────────────────┴───────────────────────────────┘
///              newer term, or the leader of this one, or (leader) silence of a majority
///
/// - Source: Ongaro, "Consensus: Bridging Theory and Practice", 2014; section signs refer to it. Where etcd's raft has
///   learned more (who may ignore whom with PreVote and CheckQuorum, flow control), that is followed.
public struct RaftMachine: Sendable {
    public enum Role: Sendable, Equatable { case follower, preCandidate, candidate, leader }

    public let id: MemberID
    public internal(set) var settings: Settings

    public internal(set) var role = Role.follower
    public internal(set) var hardState: HardState
    public internal(set) var leader: MemberID?
    public internal(set) var commitIndex: LogIndex
    /// As the owner last said.
    public internal(set) var appliedIndex: LogIndex
    var log: Log
    var random: SeededGenerator

    // Time, in ticks.
    /// Since the leader was last heard; for a leader, since the quorum was last counted.
    var ticksSinceContact = 0
    var ticksUntilElection = 0
    var ticksUntilHeartbeat = 0
    /// How long a hint that the leader's link closed is not taken again.
    var ticksUntilHintCounts = 0

    // A candidate's.
    var granted: Set<MemberID> = []
    var denied: Set<MemberID> = []

    // A leader's. Sorted by ID.
    var followers: [Progress] = []
    /// Elected by its own vote alone: what it says depends on its own disk until that has answered in this term.
    var awaitsOwnDisk = false
    var uncommittedBytes = 0
    var transfer: Transfer?
    /// Taken by `propose` in this step and not yet in an effect.
    var staged: [Entry] = []

    /// A snapshot that the owner is making its state.
    var installing: SnapshotMeta?
    var wasRemoved = false
    var reads = Reads()

    struct Transfer: Sendable {
        var target: MemberID
        var ticksLeft: Int
        var wasTold = false
    }

    /// - Parameter random: seeded differently for each member *and each start*: an answer from before a restart must
    ///   not fit a question after it.
    public init(id: MemberID, restored: Restored, settings: Settings = Settings(), random: SeededGenerator) {
        precondition(
            settings.electionTicks > settings.heartbeatTicks && settings.heartbeatTicks > 0,
            "an election after \(settings.electionTicks) ticks needs heartbeats more often than every \(settings.heartbeatTicks)"
        )
        self.id = id
        self.settings = settings
        self.random = random
        hardState = restored.hardState
        log = Log(restored)
        commitIndex = restored.snapshot?.index ?? 0
        appliedIndex = commitIndex
        precondition(
            log.lastTerm <= hardState.term,
            "the log of \(id) reaches term \(log.lastTerm), its hard state only \(hardState.term): the disk lost a promise"
        )
        restartElectionTimer()
        // Alone, there is nobody to wait for.
        if log.membership.voters == [id] { ticksUntilElection = 1 }
    }

    /// Takes other numbers from now on. What is under way, an election's timer above all, ends by the old ones.
    public mutating func adopt(_ new: Settings) {
        precondition(
            new.electionTicks > new.heartbeatTicks && new.heartbeatTicks > 0,
            "an election after \(new.electionTicks) ticks needs heartbeats more often than every \(new.heartbeatTicks)")
        settings = new
    }

    /// Takes one input and appends what must be done about it to `effects`, which the owner reuses.
    public mutating func step(_ input: Input, into effects: inout [Effect]) {
        take(input, &effects)
        settle(&effects)
    }

    /// The same for many inputs at once: proposals in a row become one `.append`, and each follower is sent what all of
    /// them together amount to.
    public mutating func step(all inputs: some Sequence<Input>, into effects: inout [Effect]) {
        for input in inputs { take(input, &effects) }
        settle(&effects)
    }

    private mutating func take(_ input: Input, _ effects: inout [Effect]) {
        if case .propose(let token, let command) = input { return propose(token, command, &effects) }
        releaseStaged(&effects)
        switch input {
        case .propose: break  // above
        case .tick: tick(&effects)
        case .received(let message, from: let sender): receive(message, from: sender, &effects)
        case .changeMembership(let token, let change): changeMembership(token, change, &effects)
        case .read(let token): read(token, &effects)
        case .persisted(upTo: let index, term: let term): persisted(upTo: index, term: term, &effects)
        case .applied(upTo: let index): applied(upTo: index)
        case .transferLeadership(to: let target): transferLeadership(to: target)
        case .linkClosed(let peer): linkClosed(peer)
        case .unreachable(let peer): unreachable(peer)
        case .compacted(let snapshot): compacted(snapshot)
        case .snapshotInstalled(let snapshot): snapshotInstalled(snapshot, &effects)
        case .snapshotSent(to: let peer, ok: let ok): snapshotSent(to: peer, ok: ok)
        }
    }

    /// After what was taken: everything that may be said now is said, once.
    private mutating func settle(_ effects: inout [Effect]) {
        releaseStaged(&effects)
        settleReads(&effects)
        guard role == .leader else { return }
        replicate(&effects)
        finishTransfer(&effects)
    }

    private mutating func tick(_ effects: inout [Effect]) {
        ticksSinceContact += 1
        if ticksUntilHintCounts > 0 { ticksUntilHintCounts -= 1 }
        if role == .leader { tickAsLeader(&effects) } else { tickTowardsElection(&effects) }
        tickReads(&effects)
    }

    private mutating func applied(upTo index: LogIndex) {
        precondition(index <= commitIndex, "\(id) applied \(index), but only \(commitIndex) is committed")
        appliedIndex = max(appliedIndex, index)
    }
}

// MARK: - Terms

extension RaftMachine {
    public var term: Term { hardState.term }

    /// Who has seen a newer term is not up to date with anything: it follows (§3.3).
    mutating func follow(_ term: Term, leader newLeader: MemberID?, _ effects: inout [Effect]) {
        precondition(term >= hardState.term, "\(id) cannot go back from term \(hardState.term) to \(term)")
        let ledTerm = role == .leader ? hardState.term : nil
        let hadOtherRole = role != .follower
        let isNewTerm = term > hardState.term
        if isNewTerm {
            hardState = HardState(term: term)
            effects.append(.persist(hardState))
        }
        role = .follower
        if hadOtherRole { restartElectionTimer() }
        if let ledTerm {
            leaveOffice(&effects)
            effects.append(.steppedDown(ledTerm, leader: newLeader))
        }
        // The same leader in a new term is news too.
        if isNewTerm, newLeader != nil, newLeader == leader { leader = nil }
        setLeader(newLeader, &effects)
    }

    mutating func setLeader(_ newLeader: MemberID?, _ effects: inout [Effect]) {
        guard leader != newLeader else { return }
        leader = newLeader
        effects.append(.leaderChanged(newLeader, hardState.term))
    }

    private mutating func leaveOffice(_ effects: inout [Effect]) {
        followers = []
        transfer = nil
        awaitsOwnDisk = false
        uncommittedBytes = 0
        readsLeaveOffice()
    }

    mutating func send(_ message: Message, to peer: MemberID, _ effects: inout [Effect]) {
        effects.append(.send(message, to: peer))
    }
}

// MARK: - Messages

extension RaftMachine {
    private mutating func receive(_ message: Message, from sender: MemberID, _ effects: inout [Effect]) {
        guard sender != id else { return }
        if message.term > hardState.term {
            switch message {
            case .preVoteRequest: break  // asks about a term that nobody is in
            case .preVoteReply(let reply) where reply.isGranted: break  // likewise
            case .readRequest: break  // teaches nothing that an append would not
            case .voteRequest(let request):
                if ignoresElections(request) { return tellIfRemoved(sender, inTerm: request.term &- 1, &effects) }
                follow(message.term, leader: nil, &effects)
            case .append, .heartbeat, .snapshotOffer:
                follow(message.term, leader: sender, &effects)
            default:
                follow(message.term, leader: nil, &effects)
            }
        } else if message.term < hardState.term {
            return receiveFromThePast(message, from: sender, &effects)
        }

        switch message {
        case .preVoteRequest(let request): receivePreVoteRequest(request, from: sender, &effects)
        case .preVoteReply(let reply): receivePreVoteReply(reply, from: sender, &effects)
        case .voteRequest(let request): receiveVoteRequest(request, from: sender, &effects)
        case .voteReply(let reply): receiveVoteReply(reply, from: sender, &effects)
        case .append(let request):
            hearLeader(sender, &effects)
            receiveAppend(request, from: sender, &effects)
        case .heartbeat(let heartbeat):
            hearLeader(sender, &effects)
            receiveHeartbeat(heartbeat, from: sender, &effects)
        case .snapshotOffer(let offer):
            hearLeader(sender, &effects)
            receiveSnapshotOffer(offer, from: sender, &effects)
        case .appendReply(let reply): receiveAppendReply(reply, from: sender, &effects)
        case .heartbeatReply(let reply): receiveHeartbeatReply(reply, from: sender, &effects)
        case .readRequest(let request): receiveReadRequest(request, from: sender, &effects)
        case .readReply(let reply): receiveReadReply(reply, &effects)
        case .timeoutNow: receiveTimeoutNow(from: sender, &effects)
        case .removed: markRemoved(&effects)
        }
    }

    /// A leader or candidate of the past is told the term, or a member that came back with a higher one would be stuck:
    /// it would not follow this leader, and its votes would be ignored by those who do. Replies teach nothing.
    private mutating func receiveFromThePast(_ message: Message, from sender: MemberID, _ effects: inout [Effect]) {
        switch message {
        case .append, .heartbeat, .snapshotOffer, .timeoutNow:
            send(.heartbeatReply(HeartbeatReply(term: term, round: 0)), to: sender, &effects)
        case .preVoteRequest:
            send(.preVoteReply(VoteReply(term: term, isGranted: false)), to: sender, &effects)
        case .voteRequest:
            send(.voteReply(VoteReply(term: term, isGranted: false)), to: sender, &effects)
        case .preVoteReply, .voteReply, .appendReply, .heartbeatReply, .readRequest, .readReply, .removed:
            return
        }
    }

    /// The leader of this term speaks: whoever else wanted to lead it follows.
    private mutating func hearLeader(_ sender: MemberID, _ effects: inout [Effect]) {
        precondition(role != .leader, "two leaders in term \(term): \(id) and \(sender)")
        precondition(leader == nil || leader == sender, "two leaders in term \(term): \(leader!) and \(sender)")
        follow(term, leader: sender, &effects)
        ticksSinceContact = 0
    }
}

// MARK: - Views

extension RaftMachine {
    public var lastIndex: LogIndex { log.lastIndex }
    /// The first entry that is still in memory.
    public var firstIndex: LogIndex { log.firstIndex }
    public var persistedIndex: LogIndex { log.persisted }
    /// The latest, committed or not: the one in force (§4.1).
    public var membership: Membership { log.membership }
    public var committedMembership: Membership { log.membership(at: commitIndex) }
    /// As leader: whether an entry of its own term is committed, so that it knows what is (§6.4).
    public var hasCommittedInTerm: Bool { log.term(at: commitIndex) == term }

    /// What a snapshot of the state at `index` stands for; nil when that is not committed or no longer known.
    public func snapshotMeta(at index: LogIndex) -> SnapshotMeta? {
        guard index <= commitIndex, let term = log.term(at: index) else { return nil }
        return SnapshotMeta(index: index, term: term, membership: log.membership(at: index))
    }

    /// What the owner sends behind the stream of a snapshot; the receiver's owner steps it when the stream is whole.
    /// Nil when this does not lead (any more): only a leader may offer, for its message is taken as a leader's.
    public func snapshotOffer(of meta: SnapshotMeta) -> Message? {
        role == .leader ? .snapshotOffer(SnapshotOffer(term: term, meta: meta)) : nil
    }

    /// A leader's followers, learners too, sorted by ID; empty for all others.
    public var progress: [MemberProgress] {
        followers.map { follower in
            let state: MemberProgress.State =
                switch follower.phase {
                case .probe: .probing
                case .replicate: .replicating
                case .snapshot(let index): .sendingSnapshot(index)
                }
            return MemberProgress(
                id: follower.id, match: follower.match, next: follower.next,
                isRecentlyActive: follower.isRecentlyActive, isLearner: !log.membership.isVoter(follower.id),
                inflight: follower.inflight.count, state: state)
        }
    }
}

/// How far a follower is, as its leader sees it.
public struct MemberProgress: Sendable, Equatable {
    public enum State: Sendable, Equatable { case probing, replicating, sendingSnapshot(LogIndex) }
    public let id: MemberID
    /// Durable there and the same as here up to this index.
    public let match: LogIndex
    public let next: LogIndex
    /// Heard from within the last election timeout.
    public let isRecentlyActive: Bool
    public let isLearner: Bool
    public let inflight: Int
    public let state: State
}
