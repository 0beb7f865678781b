import Foundation
import GRDB
import Manager
import Raft
import Testing

/// A directory that goes with its owner.
final class Scratch {
    let path = NSTemporaryDirectory() + "apus-tests-" + UUID().uuidString
    deinit { try? FileManager.default.removeItem(atPath: path) }
}

func entries(_ range: ClosedRange<UInt64>, term: UInt64 = 1) -> [Entry] {
    range.map { Entry(index: $0, term: term, payload: .command(Array("\($0)@\(term)".utf8))) }
}

@Suite("The log on disk")
struct RaftLogTests {
    let scratch = Scratch()

    /// Opens the log anew, as a restart does.
    func restored() throws -> Restored {
        let log = try RaftLog(directory: scratch.path)
        defer { try? log.close() }
        return try log.restore()
    }

    @Test func `gives back what was saved`() async throws {
        let log = try RaftLog(directory: scratch.path)
        try await log.save(hardState: .init(term: 3, votedFor: MemberID(.max)), appends: [entries(1...3)])
        try await log.save(hardState: nil, appends: [entries(4...4), entries(5...9, term: 3)])
        try log.close()
        let restored = try restored()
        #expect(restored.hardState == HardState(term: 3, votedFor: MemberID(.max)))
        #expect(restored.entries == entries(1...4) + entries(5...9, term: 3))
    }

    @Test("replaces everything from the first new entry on", arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func truncates(at index: UInt64) async throws {
        let log = try RaftLog(directory: scratch.path)
        try await log.save(hardState: .init(term: 1), appends: [entries(1...3), entries(4...5)])
        try await log.save(hardState: .init(term: 2), appends: [entries(index...7, term: 2)])
        try log.close()
        let kept = index > 1 ? entries(1...index - 1) : []
        #expect(try restored().entries == kept.filter { $0.index <= 5 } + entries(index...7, term: 2))
    }

    @Test func `holds one row an append batch`() async throws {
        let log = try RaftLog(directory: scratch.path)
        try await log.save(hardState: nil, appends: [entries(1...256)])
        try log.close()
        let rows = try await DatabaseQueue(path: scratch.path + "/raft.sqlite").read {
            try Int.fetchOne($0, sql: "SELECT COUNT(*) FROM batch")
        }
        #expect(rows == 1)
    }

    @Test func `says which entries are damaged rather than leave them out`() async throws {
        let log = try RaftLog(directory: scratch.path)
        try await log.save(hardState: nil, appends: [entries(1...3), entries(4...5)])
        try log.close()
        try await DatabaseQueue(path: scratch.path + "/raft.sqlite").write { database in
            let frame = try Data.fetchOne(database, sql: "SELECT frame FROM batch WHERE first_index = 4")!
            var bytes = Array(frame)
            bytes[bytes.count / 2] ^= 1
            try database.execute(sql: "UPDATE batch SET frame = ? WHERE first_index = 4", arguments: [Data(bytes)])
        }
        let error = #expect(throws: RaftLogError.self) { try restored() }
        #expect("\(error!)".contains("the batch at entry 4"))
    }

    @Test func `says that an entry is missing`() async throws {
        let log = try RaftLog(directory: scratch.path)
        try await log.save(hardState: nil, appends: [entries(1...3), entries(4...5), entries(6...6)])
        try log.close()
        try await DatabaseQueue(path: scratch.path + "/raft.sqlite").write {
            try $0.execute(sql: "DELETE FROM batch WHERE first_index = 4")
        }
        let error = #expect(throws: RaftLogError.self) { try restored() }
        #expect("\(error!)".contains("reading entry 4"))
    }

    @Test func `is for its owner alone`() throws {
        _ = try RaftLog(directory: scratch.path)
        let mode = try FileManager.default.attributesOfItem(atPath: scratch.path + "/raft.sqlite")[.posixPermissions]
        #expect(mode as? Int == 0o600)
    }
}

@Suite("A log that begins anew")
struct NewEpochTests {
    let scratch = Scratch()

    @Test func `keeps every entry, and has one member from then on`() throws {
        let log = try RaftLog(directory: scratch.path)
        let three = Membership((1...3).map { Member(id: MemberID($0), address: "\($0)") })
        let first = Entry(index: 1, term: 1, payload: .membership(three))
        try log.saveNow(hardState: .init(term: 4, votedFor: MemberID(2)), appends: [[first], entries(2...5)])
        try log.identify(as: ["cluster": "c", RaftLog.epochKey: "old"])

        let alone = Member(id: MemberID(1), address: "elsewhere:1")
        var forced = try log.restore().forcingNewGroup(of: alone)
        forced.entries.append(Entry(index: 7, term: 5, payload: .command([7])))
        try log.beginEpoch("new", forced)
        #expect(try log.identity() == ["cluster": "c", RaftLog.epochKey: "new"])
        try log.close()

        let again = try RaftLog(directory: scratch.path)
        defer { try? again.close() }
        let restored = try again.restore()
        #expect(restored.hardState == HardState(term: 5))
        #expect(restored.entries.map(\.index) == Array(1...7))
        #expect(Array(restored.entries[1...4]) == entries(2...5))
        var machine = RaftMachine(id: MemberID(1), restored: restored, random: SeededGenerator(seed: 1))
        #expect(machine.membership == Membership([alone]))
        var effects: [Effect] = []
        machine.step(.tick, into: &effects)
        #expect(machine.role == .leader)
    }
}
