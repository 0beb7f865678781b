/// The part of the log that is in memory: everything after `base`, and which memberships stand in it.
struct Log: Sendable {
    /// The entry right before the first one here: compacted away, its term still known.
    private(set) var baseIndex: LogIndex
    private(set) var baseTerm: Term
    private var entries: [Entry]
    /// How far the log is on our own disk.
    private(set) var persisted: LogIndex
    /// Each membership with the index it came in by; the first is the one in force at `base`. Never empty.
    private(set) var memberships: [(index: LogIndex, membership: Membership)]

    init(_ restored: Restored) {
        baseIndex = restored.snapshot?.index ?? 0
        baseTerm = restored.snapshot?.term ?? 0
        memberships = [(baseIndex, restored.snapshot?.membership ?? restored.initialMembership)]
        entries = []
        persisted = baseIndex
        let base = baseIndex
        append(restored.entries.filter { $0.index > base })
        persisted = lastIndex
    }

    var lastIndex: LogIndex { baseIndex + LogIndex(entries.count) }
    var lastTerm: Term { entries.last?.term ?? baseTerm }
    var firstIndex: LogIndex { baseIndex + 1 }
    var membership: Membership { memberships[memberships.count - 1].membership }
    var membershipIndex: LogIndex { memberships[memberships.count - 1].index }

    /// Nil for what is compacted away or not here yet.
    func term(at index: LogIndex) -> Term? {
        if index == baseIndex { return baseTerm }
        guard index > baseIndex, index <= lastIndex else { return nil }
        return entries[Int(index - baseIndex) - 1].term
    }

    /// The membership in force at `index`.
    func membership(at index: LogIndex) -> Membership {
        precondition(
            index >= baseIndex, "the membership at \(index) is compacted away: the log begins at \(firstIndex)")
        return memberships.last { $0.index <= index }!.membership
    }

    /// The membership before the latest, while that is not known to be committed.
    func uncertainMembership(committed: LogIndex) -> Membership? {
        guard memberships.count > 1, membershipIndex > committed else { return nil }
        return memberships[memberships.count - 2].membership
    }

    subscript(range: ClosedRange<LogIndex>) -> [Entry] {
        precondition(
            range.lowerBound > baseIndex && range.upperBound <= lastIndex,
            "entries \(range) asked of a log that holds \(firstIndex) to \(lastIndex)")
        return Array(entries[Int(range.lowerBound - baseIndex) - 1...Int(range.upperBound - baseIndex) - 1])
    }

    /// From `index` on as many as weigh at most `maxBytes`, but at least one if there is one.
    func entries(from index: LogIndex, maxBytes: Int) -> [Entry] {
        guard index <= lastIndex else { return [] }
        let start = Int(index - baseIndex) - 1
        var end = start
        var weight = 0
        repeat {
            weight += entries[end].weight
            end += 1
        } while end < entries.count && weight + entries[end].weight <= maxBytes
        return Array(entries[start..<end])
    }

    /// Whether a log that ends so has all that this one may have committed (§3.6.1).
    func isOutdone(byLastTerm term: Term, lastIndex index: LogIndex) -> Bool {
        term > lastTerm || (term == lastTerm && index >= lastIndex)
    }

    /// The largest index up to `index` whose term is at most `term`: above it, two logs cannot agree.
    func lastIndex(upTo index: LogIndex, termAtMost term: Term) -> LogIndex {
        var candidate = min(index, lastIndex)
        while candidate > baseIndex, entries[Int(candidate - baseIndex) - 1].term > term { candidate -= 1 }
        return candidate
    }
}

// MARK: - Changes

extension Log {
    mutating func append(_ new: [Entry]) {
        for entry in new {
            precondition(
                entry.index == lastIndex + 1 && entry.term >= lastTerm,
                "entry \(entry.index) of term \(entry.term) cannot follow \(lastIndex) of term \(lastTerm)")
            entries.append(entry)
            if case .membership(let membership) = entry.payload { memberships.append((entry.index, membership)) }
        }
    }

    /// Forgets everything from `index` on, memberships too: an uncommitted one goes back to the one before (§4.1).
    mutating func truncate(from index: LogIndex) {
        precondition(index > baseIndex, "cannot truncate from \(index): the log begins at \(firstIndex)")
        guard index <= lastIndex else { return }
        entries.removeSubrange((Int(index - baseIndex) - 1)...)
        memberships.removeAll { $0.index >= index }
        persisted = min(persisted, index - 1)
    }

    mutating func markPersisted(upTo index: LogIndex) {
        persisted = max(persisted, index)
    }

    mutating func compact(upTo index: LogIndex) {
        guard index > baseIndex else { return }
        guard let term = term(at: index) else {
            preconditionFailure("cannot compact up to \(index): the log holds \(firstIndex) to \(lastIndex)")
        }
        let inForce = membership(at: index)
        memberships = [(index, inForce)] + memberships.filter { $0.index > index }
        entries.removeSubrange(..<Int(index - baseIndex))
        baseIndex = index
        baseTerm = term
        persisted = max(persisted, index)
    }

    /// A snapshot takes the place of the whole log.
    mutating func reset(to snapshot: SnapshotMeta) {
        self = Log(Restored(snapshot: snapshot))
    }
}
