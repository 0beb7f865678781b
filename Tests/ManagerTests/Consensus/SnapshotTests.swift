import Foundation
import GRDB
import Manager
import Raft
import Synchronization
import Testing

/// A state of some chunks.
struct Chunks: FrozenState {
    var chunks: [[UInt8]]
    init(_ texts: [String]) { chunks = texts.map { Array($0.utf8) } }
    func encode(_ put: ([UInt8]) throws -> Void) throws { for chunk in chunks { try put(chunk) } }
}

@Suite("Snapshots on disk")
struct SnapshotTests {
    let scratch = Scratch()
    let membership = Membership([Member(id: MemberID(1), address: "a:1", context: "n")])

    func meta(_ index: LogIndex, term: Term = 1) -> SnapshotMeta {
        SnapshotMeta(index: index, term: term, membership: membership)
    }

    func text(of snapshot: StoredSnapshot?, in log: RaftLog) throws -> [String] {
        var text: [String] = []
        if let snapshot { try log.readChunks(of: snapshot) { text.append(String(decoding: $0, as: UTF8.self)) } }
        return text
    }

    /// A log of `count` entries, four to a row.
    func filled(_ count: UInt64, at path: String? = nil) throws -> RaftLog {
        let log = try RaftLog(directory: path ?? scratch.path)
        for first in stride(from: 1, through: count, by: 4) {
            try log.saveNow(hardState: .init(term: 1), appends: [entries(first...min(first + 3, count))])
        }
        return log
    }

    @Test func `take the place of the entries before them, but for the newest`() throws {
        let log = try filled(100)
        try log.saveSnapshotNow(meta(80), of: Chunks(["a", "b"]), keeping: .init(oldSnapshots: 0, entries: 10))
        try log.close()

        let again = try RaftLog(directory: scratch.path)
        defer { try? again.close() }
        let restored = try again.restore()
        #expect(restored.snapshot == meta(80))
        // Whole rows: the one with entry 70 stays.
        #expect(restored.entries == entries(69...100))
        #expect(try text(of: again.newestSnapshot(), in: again) == ["a", "b"])
        // And a machine starts with them.
        let machine = RaftMachine(id: MemberID(1), restored: restored, random: SeededGenerator(seed: 1))
        #expect(machine.lastIndex == 100 && machine.appliedIndex == 80)
    }

    @Test func `keep as many old ones as wanted`() throws {
        let log = try filled(100)
        defer { try? log.close() }
        func kept() throws -> [Int64] {
            try log.inspect { try Int64.fetchAll($0, sql: "SELECT last_index FROM snapshot ORDER BY last_index") }
        }
        for index in [20, 40, 60] as [LogIndex] {
            try log.saveSnapshotNow(meta(index), of: Chunks(["\(index)"]), keeping: .init(oldSnapshots: 2, entries: 5))
        }
        #expect(try kept() == [20, 40, 60])
        try log.saveSnapshotNow(meta(80), of: Chunks(["80"]), keeping: .init(oldSnapshots: 1, entries: 5))
        #expect(try kept() == [60, 80])
        #expect(try log.inspect { try Int.fetchOne($0, sql: "SELECT count(*) FROM chunk") } == 2)
    }

    @Test func `notice a chunk that is damaged, missing or another's`() throws {
        let log = try filled(10)
        try log.saveSnapshotNow(
            meta(8), of: Chunks(["one", "two", "three"]), keeping: .init(oldSnapshots: 0, entries: 1))
        for damage in [
            "DELETE FROM chunk WHERE place = 1",
            "UPDATE chunk SET frame = (SELECT frame FROM chunk WHERE place = 0) WHERE place = 1",
            "UPDATE chunk SET frame = zeroblob(40) WHERE place = 2",
        ] {
            try log.inspect { try $0.execute(sql: "CREATE TABLE kept AS SELECT * FROM chunk; \(damage)") }
            let error = #expect(throws: RaftLogError.self) { try text(of: log.newestSnapshot(), in: log) }
            #expect("\(error, default: "no error")".contains("its chunk"))
            try log.inspect {
                try $0.execute(sql: "DELETE FROM chunk; INSERT INTO chunk SELECT * FROM kept; DROP TABLE kept")
            }
        }
        #expect(try text(of: log.newestSnapshot(), in: log) == ["one", "two", "three"])
        try log.close()
    }

    @Test func `are needed by a log that begins behind them`() throws {
        let log = try filled(20)
        try log.saveSnapshotNow(meta(16), of: Chunks(["x"]), keeping: .init(oldSnapshots: 0, entries: 1))
        try log.inspect { try $0.execute(sql: "DELETE FROM snapshot") }
        let error = #expect(throws: RaftLogError.self) { try log.restore() }
        #expect("\(error, default: "no error")".contains("reading entry 1: it is missing"))
        try log.close()
    }

    @Test func `that were not finished are forgotten`() throws {
        struct Broken: FrozenState {
            struct Failure: Error {}
            func encode(_ put: ([UInt8]) throws -> Void) throws {
                try put([1, 2, 3])
                throw Failure()
            }
        }
        let log = try filled(10)
        #expect(throws: RaftLogError.self) {
            try log.saveSnapshotNow(meta(8), of: Broken(), keeping: .init(oldSnapshots: 0, entries: 1))
        }
        #expect(try log.restore().entries == entries(1...10))
        try log.close()
        let again = try RaftLog(directory: scratch.path)
        defer { try? again.close() }
        #expect(try again.newestSnapshot()?.meta == nil)
        #expect(try again.inspect { try Int.fetchOne($0, sql: "SELECT count(*) FROM chunk") } == 0)
    }

    @Test func `are received in pieces, over restarts, and then replace the log`() async throws {
        let sender = try filled(40, at: scratch.path + "/sender")
        defer { try? sender.close() }
        try sender.saveSnapshotNow(
            meta(36), of: Chunks((0..<10).map { "chunk \($0)" }), keeping: .init(oldSnapshots: 0, entries: 1))
        let snapshot = try #require(try sender.newestSnapshot())

        var log = try filled(6, at: scratch.path + "/receiver")
        #expect(try log.beginReceiving(snapshot.head) == 0)
        for place in 0..<4 { try log.receive(try sender.chunk(place, of: snapshot), at: place, of: snapshot.head) }
        try log.close()

        log = try RaftLog(directory: scratch.path + "/receiver")
        // Not in force before it is whole.
        #expect(try log.restore().entries == entries(1...6))
        #expect(try log.beginReceiving(snapshot.head) == 4)
        for place in 4..<10 { try log.receive(try sender.chunk(place, of: snapshot), at: place, of: snapshot.head) }
        let isWhole = try log.finishReceiving(snapshot.head)
        #expect(isWhole)
        #expect(try log.restore().snapshot == nil)
        try await log.installSnapshot(meta(36))
        try log.close()

        log = try RaftLog(directory: scratch.path + "/receiver")
        defer { try? log.close() }
        let restored = try log.restore()
        #expect(restored.snapshot == meta(36) && restored.entries.isEmpty)
        #expect(try text(of: log.newestSnapshot(), in: log) == (0..<10).map { "chunk \($0)" })
        // And the log goes on behind it.
        try await log.save(hardState: nil, appends: [entries(37...38)])
        #expect(try log.restore().entries == entries(37...38))
    }

    @Test func `that arrive otherwise than they were sent are thrown away`() throws {
        let sender = try filled(40, at: scratch.path + "/sender")
        defer { try? sender.close() }
        try sender.saveSnapshotNow(meta(36), of: Chunks(["a", "b"]), keeping: .init(oldSnapshots: 0, entries: 1))
        let snapshot = try #require(try sender.newestSnapshot())
        let log = try filled(6, at: scratch.path + "/receiver")
        defer { try? log.close() }
        _ = try log.beginReceiving(snapshot.head)
        try log.receive(Array("b".utf8), at: 0, of: snapshot.head)
        try log.receive(Array("a".utf8), at: 1, of: snapshot.head)
        let isWhole = try log.finishReceiving(snapshot.head)
        #expect(!isWhole)
        #expect(try log.beginReceiving(snapshot.head) == 0)
    }
}

@Suite("Snapshots among members", .timeLimit(.minutes(2)))
struct MemberSnapshotTests {
    @Test func `are made as the state says, and live: the log shrinks with them`() async throws {
        let members = try Members(1)
        defer { withExtendedLifetime(members) {} }
        var numbers = ConsensusNumbers()
        numbers.snapshotInterval = 20
        numbers.retention = .init(oldSnapshots: 0, entries: 5)
        members.numbers.withLock { $0 = numbers }
        let id = members.ids[0]
        for n in 0..<100 { _ = try await members.write("line \(n)") }
        let index = try await until("a snapshot of the last twenty") {
            let status = members.driver(id).status
            return status.snapshotIndex > 80 ? status.snapshotIndex : nil
        }
        #expect(members.driver(id).status.firstIndex > index - 10)
        _ = try await until("the log on the disk is short") {
            let rows = try members.disks[id]!.log.inspect { try Int.fetchOne($0, sql: "SELECT count(*) FROM batch")! }
            return rows < 40 ? true : nil
        }
        // A restart is the snapshot and what came after it.
        await members.stop(id)
        try members.start(id)
        let all = (0..<100).map { "line \($0)" }
        _ = try await until("all lines are back") { members.applied(id) == all ? true : nil }
        await members.stopAll()
    }

    @Test func `bring up a member that was away while the log was compacted`() async throws {
        let members = try Members(3)
        var numbers = ConsensusNumbers()
        numbers.snapshotInterval = 30
        numbers.retention = .init(oldSnapshots: 0, entries: 5)
        members.numbers.withLock { $0 = numbers }
        _ = try await members.write("first")
        let away = members.others(than: try await members.leader())[0]
        await members.stop(away)
        for n in 0..<120 { _ = try await members.write("line \(n)") }
        let leader = try await members.leader()
        _ = try await until("the log is compacted") { members.driver(leader).status.firstIndex > 60 ? true : nil }

        try members.start(away)
        let all = ["first"] + (0..<120).map { "line \($0)" }
        _ = try await until("it has every line") { members.applied(away) == all ? true : nil }
        #expect(members.sentChunks.withLock { $0[away] ?? 0 } > 50)
        // It takes part again, and what it was given outlives it.
        _ = try await members.write("last")
        _ = try await until("it has the last line") { members.applied(away) == all + ["last"] ? true : nil }
        await members.stop(away)
        try members.start(away)
        _ = try await until("it has them after a restart") { members.applied(away) == all + ["last"] ? true : nil }
        await members.stopAll()
    }
}

@Suite("The keys of the log")
struct LogKeyTests {
    let scratch = Scratch()
    var keys: String { scratch.path + ".keys" }
    var file: String { scratch.path + "/raft.sqlite" }

    func open() throws -> RaftLog { try RaftLog(directory: scratch.path, keyFile: keys) }

    func words(_ body: () throws -> Void) -> String {
        let error = #expect(throws: RaftLogError.self) { try body() }
        return "\(error, default: "no error")"
    }

    @Test func `hide what is in entries and snapshots`() throws {
        let secret = "TOP-SECRET-SPEC-OF-A-SERVICE"
        let log = try open()
        try log.saveNow(
            hardState: .init(term: 1),
            appends: [[Entry(index: 1, term: 1, payload: .command(Array(secret.utf8)))]])
        let meta = SnapshotMeta(
            index: 1, term: 1, membership: Membership([Member(id: MemberID(1), address: secret, context: secret)]))
        try log.saveSnapshotNow(meta, of: Chunks([secret]), keeping: .init(oldSnapshots: 0, entries: 10))
        func everything() throws -> Data {
            try FileManager.default.contentsOfDirectory(atPath: scratch.path).reduce(into: Data()) { bytes, name in
                bytes += try Data(contentsOf: URL(fileURLWithPath: scratch.path + "/" + name))
            }
        }
        // In the write-ahead file, and in the file itself after the checkpoint.
        #expect(try everything().range(of: Data(secret.utf8)) == nil)
        try log.close()
        #expect(try everything().range(of: Data(secret.utf8)) == nil)
        let mode = try FileManager.default.attributesOfItem(atPath: keys)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let again = try open()
        #expect(try again.restore().snapshot == meta)
        try again.close()
    }

    @Test func `change, and old ones go with the last row that needs them`() throws {
        let log = try open()
        try log.saveNow(hardState: .init(term: 1), appends: [entries(1...2)])
        try log.rotateKey()
        try log.saveNow(hardState: nil, appends: [entries(3...4)])
        try log.close()

        let again = try open()
        defer { try? again.close() }
        #expect(try again.restore().entries == entries(1...4))
        func known() throws -> [Int] {
            try again.inspect { try Int.fetchAll($0, sql: "SELECT key_id FROM key_check ORDER BY key_id") }
        }
        #expect(try known() == [1, 2])
        let meta = SnapshotMeta(index: 4, term: 1, membership: Membership([]))
        // The hard state too was sealed with the old one.
        try again.saveSnapshotNow(meta, of: Chunks(["x"]), keeping: .init(oldSnapshots: 0, entries: 1))
        #expect(try known() == [1, 2])
        try again.saveNow(hardState: .init(term: 1), appends: [])
        try again.saveSnapshotNow(meta, of: Chunks(["x"]), keeping: .init(oldSnapshots: 0, entries: 1))
        #expect(try known() == [2])
        let text = try String(contentsOfFile: keys, encoding: .utf8)
        #expect(text.contains(#""id" : 2"#) && !text.contains(#""id" : 1"#))
        #expect(try again.restore().snapshot == meta)
    }

    @Test func `that are missing or another's are said to be`() throws {
        var log = try open()
        try log.saveNow(hardState: .init(term: 1), appends: [entries(1...2)])
        try log.close()
        let right = try Data(contentsOf: URL(fileURLWithPath: keys))

        try FileManager.default.removeItem(atPath: keys)
        #expect(words { _ = try open() }.contains("\(keys), cannot be used: it is missing"))
        #expect(!FileManager.default.fileExists(atPath: keys))

        try? RaftLog(directory: scratch.path + "-other", keyFile: keys).close()
        defer { try? FileManager.default.removeItem(atPath: scratch.path + "-other") }
        #expect(words { _ = try open() }.contains("key 1 in it is not the one with which the log was written"))

        try Data("{".utf8).write(to: URL(fileURLWithPath: keys))
        #expect(words { _ = try open() }.contains("it is not a file of keys"))

        let wrapped = String(decoding: right, as: UTF8.self).replacingOccurrences(of: #""none""#, with: #""autolock""#)
        try Data(wrapped.utf8).write(to: URL(fileURLWithPath: keys))
        #expect(words { _ = try open() }.contains("protected by 'autolock'"))

        try right.write(to: URL(fileURLWithPath: keys))
        log = try open()
        #expect(try log.restore().entries == entries(1...2))
        try log.close()
        try? FileManager.default.removeItem(atPath: keys)
    }

    @Test func `are not asked for by a log of before, which is refused`() throws {
        try FileManager.default.createDirectory(atPath: scratch.path, withIntermediateDirectories: true)
        let old = try DatabaseQueue(path: file)
        try old.write { try $0.execute(sql: "CREATE TABLE batch(first_index INTEGER PRIMARY KEY, frame BLOB)") }
        try old.close()
        #expect(words { _ = try open() }.contains("without encryption"))
        #expect(!FileManager.default.fileExists(atPath: keys))
    }

    @Test func `are bound to the place of a row`() throws {
        let log = try open()
        defer { try? log.close() }
        try log.saveNow(hardState: .init(term: 1), appends: [entries(1...2), entries(3...4)])
        try log.inspect {
            try $0.execute(
                sql: "UPDATE batch SET frame = (SELECT frame FROM batch WHERE first_index = 1) WHERE first_index = 3")
        }
        #expect(words { _ = try log.restore() }.contains("the batch at entry 3"))
    }
}
