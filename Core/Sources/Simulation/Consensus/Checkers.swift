import Raft

/// What an onlooker who sees everything writes down, and compares. Knows nothing of how the machine works.
struct Checkers {
    private struct Place: Hashable {
        var index: LogIndex
        var term: Term
    }

    private var leaders: [Term: MemberID] = [:]
    private var seen: [Place: (entry: Entry, previousTerm: Term)] = [:]
    /// From index 1 on.
    private(set) var committed: [Entry] = []
    private(set) var acknowledged: [(command: UInt64, index: LogIndex)] = []
    /// What any answer given so far has shown.
    private(set) var shownIndex: LogIndex = 0

    struct Broken: Error {
        var rule: Rule
        var what: String
    }

    mutating func leads(_ id: MemberID, term: Term, holds: (Entry) -> Bool) throws(Broken) {
        if let other = leaders[term], other != id {
            throw Broken(rule: .electionSafety, what: "term \(term) has two leaders, \(other) and \(id)")
        }
        leaders[term] = id
        // Its newest suffices to be quick; all, because a checker should be slow rather than clever.
        for entry in committed.suffix(64) where entry.term < term && !holds(entry) {
            throw Broken(
                rule: .leaderCompleteness,
                what: "\(id) leads term \(term) without entry \(entry.index) of term \(entry.term), which is committed")
        }
    }

    /// Entries that left a machine or reached a disk.
    mutating func sees(_ entries: [Entry], after previousTerm: Term) throws(Broken) {
        var previousTerm = previousTerm
        for entry in entries {
            let place = Place(index: entry.index, term: entry.term)
            if let known = seen[place] {
                guard known.entry == entry, known.previousTerm == previousTerm else {
                    throw Broken(
                        rule: .logMatching,
                        what: "entry \(entry.index) of term \(entry.term) is two things, after \(known.previousTerm) "
                            + "and after \(previousTerm)")
                }
            } else {
                seen[place] = (entry, previousTerm)
            }
            previousTerm = entry.term
        }
    }

    /// - Parameter disks: how many voters have an entry on disk, and how many must, as the committer sees it.
    mutating func commits(
        _ entries: [Entry], at id: MemberID, disks: (Entry) -> (have: Int, need: Int)
    ) throws(Broken) {
        for entry in entries {
            let position = Int(entry.index) - 1
            if position < committed.count {
                guard committed[position] == entry else {
                    throw Broken(
                        rule: .stateMachineSafety,
                        what: "\(id) commits another entry \(entry.index) (term \(entry.term)) than others did "
                            + "(term \(committed[position].term))")
                }
            } else {
                let (have, need) = disks(entry)
                guard have >= need else {
                    throw Broken(
                        rule: .commitOnDisk,
                        what: "\(id) commits entry \(entry.index), which \(have) voters have on disk; \(need) must")
                }
                committed.append(entry)
            }
        }
    }

    mutating func acknowledges(_ command: UInt64, at index: LogIndex) {
        acknowledged.append((command, index))
        shownIndex = max(shownIndex, index)
    }

    mutating func answersRead(at id: MemberID, from index: LogIndex, notBefore floor: LogIndex) throws(Broken) {
        guard index >= floor else {
            throw Broken(
                rule: .linearizableReads,
                what: "\(id) answers a read from index \(index); before it began, \(floor) was already shown")
        }
        shownIndex = max(shownIndex, index)
    }

    /// Asked at the end: everything acknowledged is where it was said to be.
    func checkAcknowledged(stateOf id: MemberID, _ commands: [UInt64]) throws(Broken) {
        let present = Set(commands)
        for write in acknowledged where !present.contains(write.command) {
            throw Broken(
                rule: .acknowledgedWrites,
                what: "write \(write.command) was acknowledged at \(write.index), and \(id) does not have it")
        }
    }
}
