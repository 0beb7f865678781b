import Raft

/// What one member's disk holds, and what is on its way there and lost in a crash.
struct SimulatedDisk {
    struct Snapshot {
        var meta: SnapshotMeta
        var commands: [UInt64]
    }

    enum Write {
        case hardState(HardState)
        case entries([Entry])
        case install(Snapshot)
    }

    /// The writes of one step, and the messages that may leave only after them.
    struct Batch {
        var due: Int
        var writes: [Write]
        var messages: [(Message, MemberID)]
    }

    var hardState = HardState()
    var snapshot: Snapshot?
    var entries: [Entry] = []
    var initialMembership: Membership
    var queue: [Batch] = []

    var restored: Restored {
        Restored(
            hardState: hardState, snapshot: snapshot?.meta, entries: entries, initialMembership: initialMembership)
    }
    var lastIndex: LogIndex { entries.last?.index ?? snapshot?.meta.index ?? 0 }
    var lastTerm: Term { entries.last?.term ?? snapshot?.meta.term ?? 0 }

    func holds(_ entry: Entry) -> Bool {
        if let snapshot, entry.index <= snapshot.meta.index { return true }
        guard let first = entries.first, entry.index >= first.index, entry.index <= lastIndex else { return false }
        return entries[Int(entry.index - first.index)].term == entry.term
    }

    mutating func perform(_ write: Write) {
        switch write {
        case .hardState(let state): hardState = state
        case .entries(let new):
            entries.removeAll { $0.index >= new[0].index }
            precondition(new[0].index == lastIndex + 1, "a gap on disk: \(new[0].index) after \(lastIndex)")
            entries += new
        case .install(let new):
            snapshot = new
            entries = []
        }
    }

    mutating func compact(to new: Snapshot) {
        snapshot = new
        entries.removeAll { $0.index <= new.meta.index }
    }
}
