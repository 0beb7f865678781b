/// What a leader knows of one follower (§3.5, §10.2.1).
///
///              rejected                      too far behind the log
///     ┌───────────────────────┐        ┌───────────────────────────────┐
///     ▼      accepted         │        │                               ▼
///   probe ───────────────▶ replicate ──┘                           snapshot
///     ▲                                                               │
///     └───────────────────────────────────────────────────────────────┘
///                        snapshot sent, or failed
struct Progress: Sendable {
    enum Phase: Sendable, Equatable {
        /// One append at a time, until it is known where the logs agree.
        case probe
        /// Appends in a stream, without waiting for each.
        case replicate
        /// The owner sends a snapshot; nothing else until that has ended.
        case snapshot(LogIndex)
    }

    let id: MemberID
    /// All up to here is known to be the same, and on the follower's disk.
    private(set) var match: LogIndex = 0
    /// What is sent next. Always beyond `match`.
    private(set) var next: LogIndex
    private(set) var phase: Phase = .probe
    /// In probe: one append is on its way, wait for the answer (or for a sign of life).
    private var awaitsReply = false
    /// In replicate: the last index of each append that is not yet answered, oldest first.
    private(set) var inflight: [LogIndex] = []
    /// Heard from since the last count of the quorum (§6.2).
    var isRecentlyActive = false
    /// The last heartbeat round it answered.
    var confirmedRound: UInt64 = 0
    /// The commit index that was last told to it.
    private(set) var toldCommit: LogIndex = 0
    /// Ask where it is even when there is nothing new: something may have been lost.
    private(set) var mustAsk = false

    init(id: MemberID, next: LogIndex) {
        self.id = id
        self.next = next
    }

    func maySend(window: Int) -> Bool {
        switch phase {
        case .probe: !awaitsReply
        case .replicate: inflight.count < window
        case .snapshot: false
        }
    }

    /// Whether something should be said now, besides new entries.
    func wantsWord(ofCommit commit: LogIndex) -> Bool {
        switch phase {
        case .probe: true
        case .replicate: mustAsk || (toldCommit < commit && toldCommit < match)
        case .snapshot: false
        }
    }
}

// MARK: - What happened

extension Progress {
    mutating func sent(_ entries: [Entry], commit: LogIndex) {
        mustAsk = false
        toldCommit = max(toldCommit, min(commit, next - 1 + LogIndex(entries.count)))
        switch phase {
        case .probe: awaitsReply = true
        case .replicate:
            guard let last = entries.last else { return }
            next = last.index + 1
            inflight.append(last.index)
        case .snapshot: preconditionFailure("append sent to \(id) while it is sent a snapshot")
        }
    }

    /// - Returns: whether `match` moved.
    mutating func accepted(upTo index: LogIndex, logBegins firstIndex: LogIndex) -> Bool {
        let moved = index > match
        match = max(match, index)
        next = max(next, match + 1)
        switch phase {
        case .probe where index >= match, .snapshot where match + 1 >= firstIndex:
            phase = .replicate
            awaitsReply = false
            inflight.removeAll()
            next = match + 1
            mustAsk = false
        case .replicate:
            let answered = inflight.prefix { $0 <= index }.count
            inflight.removeFirst(answered)
        case .probe, .snapshot: break
        }
        return moved
    }

    /// - Parameter agreement: the highest index at which the logs can still agree.
    mutating func rejected(previous: LogIndex, agreement: LogIndex) {
        switch phase {
        case .replicate where previous > match:
            probe()
        case .probe where previous == next - 1:
            next = max(min(previous, agreement + 1), match + 1)
            awaitsReply = false
        case .replicate, .probe, .snapshot: return  // the answer to something older
        }
    }

    /// It answered a heartbeat: what is unanswered may be lost.
    mutating func answeredHeartbeat(window: Int, lastIndex: LogIndex) {
        awaitsReply = false
        guard phase == .replicate, match < lastIndex else { return }
        if inflight.count >= window { inflight.removeFirst() }
        mustAsk = true
    }

    /// Back to asking where it is, from what is known.
    mutating func probe() {
        phase = .probe
        awaitsReply = false
        inflight.removeAll()
        next = match + 1
        toldCommit = min(toldCommit, match)
    }

    mutating func beginSnapshot(at index: LogIndex) {
        phase = .snapshot(index)
        awaitsReply = false
        inflight.removeAll()
    }

    mutating func endSnapshot(ok: Bool) {
        guard case .snapshot(let index) = phase else { return }
        probe()
        if ok { next = max(next, index + 1) }
        awaitsReply = true  // its own word comes first; a heartbeat's answer asks again
    }
}
