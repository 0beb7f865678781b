import Foundation
import GRDB
import Manager
import Raft
import Testing

@Suite("The log on disk, after accidents")
struct RaftLogSurvivalTests {
    let scratch = Scratch()

    var file: String { scratch.path + "/raft.sqlite" }

    func restored(_ directory: String? = nil) throws -> Restored {
        let log = try RaftLog(directory: directory ?? scratch.path)
        defer { try? log.close() }
        return try log.restore()
    }

    /// What a power cut would leave: the files as they are now, under another name.
    func copy(cuttingWriteAheadTo length: Int? = nil) throws -> String {
        let place = scratch.path + "-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        for name in ["raft.sqlite", "raft.sqlite-wal"] {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: scratch.path + "/" + name))
            let kept = name.hasSuffix("-wal") ? length.map { bytes.prefix($0) } ?? bytes : bytes
            try kept.write(to: URL(fileURLWithPath: place + "/" + name))
        }
        return place
    }

    func damage(_ sql: String, _ arguments: StatementArguments = []) throws {
        try DatabaseQueue(path: file).write { try $0.execute(sql: sql, arguments: arguments) }
    }

    @Test func `killed between two writes, keeps each that had returned`() async throws {
        let log = try RaftLog(directory: scratch.path)
        defer { try? log.close() }
        var random = SeededGenerator(seed: 11)
        var expected: [Entry] = []
        var term: Term = 1
        for _ in 0..<30 {
            // Now and then a new leader replaces the end.
            if Int.random(in: 0..<4, using: &random) == 0 { term += 1 }
            let first =
                term > expected.last?.term ?? 1
                ? UInt64.random(in: 1...UInt64(expected.count) + 1, using: &random) : UInt64(expected.count) + 1
            let batch = entries(first...first + .random(in: 0...5, using: &random), term: term)
            try await log.save(hardState: .init(term: term), appends: [batch])
            expected = expected.filter { $0.index < first } + batch

            let place = try copy()
            defer { try? FileManager.default.removeItem(atPath: place) }
            let restored = try restored(place)
            #expect(restored.entries == expected)
            #expect(restored.hardState.term == term)
        }
    }

    @Test func `cut short anywhere, keeps whole writes only, in their order`() async throws {
        let log = try RaftLog(directory: scratch.path)
        defer { try? log.close() }
        let lengths = try await write(10, to: log)
        var random = SeededGenerator(seed: 5)
        for _ in 0..<20 {
            let cut = Int.random(in: lengths[0]...lengths[9], using: &random)
            let place = try copy(cuttingWriteAheadTo: cut)
            defer { try? FileManager.default.removeItem(atPath: place) }
            let whole = UInt64(lengths.count { $0 <= cut })
            #expect(try restored(place).entries == entries(1...whole), "cut to \(cut) bytes")
        }
    }

    @Test func `refuses a write-ahead file that lost a block before the end`() async throws {
        let log = try RaftLog(directory: scratch.path)
        defer { try? log.close() }
        let lengths = try await write(10, to: log)
        let place = try copy()
        defer { try? FileManager.default.removeItem(atPath: place) }
        let handle = try FileHandle(forUpdating: URL(fileURLWithPath: place + "/raft.sqlite-wal"))
        try handle.seek(toOffset: UInt64(lengths[4] + 1_000))
        try handle.write(contentsOf: Data(repeating: 0xA5, count: 512))
        try handle.close()
        let error = #expect(throws: RaftLogError.self) { try restored(place) }
        #expect("\(error, default: "no error")".contains("commits stand behind it"))
    }

    /// - Returns: how long the write-ahead file was after each write.
    func write(_ count: UInt64, to log: RaftLog) async throws -> [Int] {
        var lengths: [Int] = []
        for n in 1...count {
            try await log.save(hardState: .init(term: 1), appends: [entries(n...n)])
            let attributes = try FileManager.default.attributesOfItem(atPath: file + "-wal")
            lengths.append((attributes[.size] as! NSNumber).intValue)
        }
        return lengths
    }

    @Test func `notices entries missing at the end, which leave no gap`() async throws {
        let log = try RaftLog(directory: scratch.path)
        try await log.save(hardState: .init(term: 1), appends: [entries(1...3), entries(4...5)])
        try log.close()
        try damage("DELETE FROM batch WHERE first_index = 4")
        let error = #expect(throws: RaftLogError.self) { try restored() }
        #expect("\(error, default: "no error")".contains("reading entry 4"))
        #expect("\(error, default: "no error")".contains(file))
    }

    @Test func `notices a batch that was cut between two entries`() async throws {
        let log = try RaftLog(directory: scratch.path)
        try await log.save(hardState: .init(term: 1), appends: [entries(1...3)])
        try log.close()
        try damage("UPDATE batch SET frame = ?", [Data(Entry.encoded(entries(1...2)))])
        let error = #expect(throws: RaftLogError.self) { try restored() }
        #expect("\(error, default: "no error")".contains("reading the batch at entry 1: it is damaged"))
    }

    @Test func `refuses a log that is newer than its hard state`() async throws {
        let log = try RaftLog(directory: scratch.path)
        try await log.save(hardState: .init(term: 1), appends: [])
        try log.inspect { try $0.execute(sql: "CREATE TABLE old AS SELECT * FROM hard_state") }
        try await log.save(hardState: .init(term: 2), appends: [entries(1...3, term: 2)])
        try log.close()
        try damage("UPDATE hard_state SET frame = (SELECT frame FROM old)")
        let error = #expect(throws: RaftLogError.self) { try restored() }
        #expect("\(error, default: "no error")".contains("it says term 1, but entry 3 is of term 2"))
    }

    @Test func `is open in one program only`() throws {
        let log = try RaftLog(directory: scratch.path)
        let error = #expect(throws: RaftLogError.self) {
            try RaftLog(directory: scratch.path, patience: .milliseconds(20))
        }
        #expect("\(error, default: "no error")".contains("only one apusd"))
        try log.close()
        _ = try restored()
    }

    @Test func `belongs to one member for ever`() throws {
        let log = try RaftLog(directory: scratch.path)
        defer { try? log.close() }
        try log.identify(as: ["cluster": "c1", "member": "7"])
        try log.identify(as: ["cluster": "c1", "member": "7", "node": "n1"])
        #expect(try log.identity() == ["cluster": "c1", "member": "7", "node": "n1"])
        let error = #expect(throws: RaftLogError.self) { try log.identify(as: ["member": "8"]) }
        #expect("\(error, default: "no error")".contains("member 7"))
        #expect(try log.identity()["member"] == "7")
    }

    @Test func `writes all of a save or nothing`() async throws {
        let log = try RaftLog(directory: scratch.path)
        try await log.save(hardState: .init(term: 1), appends: [entries(1...3)])
        try log.close()
        try damage("CREATE TRIGGER full BEFORE INSERT ON batch BEGIN SELECT RAISE(ABORT, 'no'); END")
        let again = try RaftLog(directory: scratch.path)
        defer { try? again.close() }
        await #expect(throws: RaftLogError.self) {
            try await again.save(hardState: .init(term: 9), appends: [entries(4...4)])
        }
        // All of it or nothing.
        let restored = try again.restore()
        #expect(restored.hardState.term == 1)
        #expect(restored.entries == entries(1...3))
    }

    @Test func `is for its owner alone, its companions too`() throws {
        try FileManager.default.createDirectory(atPath: scratch.path, withIntermediateDirectories: true)
        let log = try RaftLog(directory: scratch.path)
        try log.saveNow(hardState: .init(term: 1), appends: [])
        let names = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
        #expect(names.contains("raft.sqlite-wal"))
        for name in names {
            let mode = try FileManager.default.attributesOfItem(atPath: scratch.path + "/" + name)[.posixPermissions]
            #expect(mode as? Int == 0o600, "\(name)")
        }
        let mode = try FileManager.default.attributesOfItem(atPath: scratch.path)[.posixPermissions]
        #expect(mode as? Int == 0o700)
        try log.close()
    }
}
