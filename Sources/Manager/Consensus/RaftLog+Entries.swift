import Foundation
import GRDB
package import Raft

// The entries, and term and vote beside them.

// MARK: - Reading

extension RaftLog {
    /// Everything that was made durable: the newest snapshot, and what came after it. Entries that the snapshot covers
    /// are among it as far as they were kept.
    ///
    /// - Throws: `RaftLogError` where a checksum is wrong, an entry is missing, or the log and the hard state cannot
    ///   have been written together.
    package func restore() throws -> Restored {
        do {
            return try database.read { database in
                var restored = Restored()
                if let row = try Row.fetchOne(database, sql: "SELECT key_id, frame FROM hard_state WHERE id = 1") {
                    restored.hardState = try hardState(in: row)
                }
                restored.snapshot = try newestSnapshot(in: database)?.meta
                let rows = try Row.fetchCursor(
                    database, sql: "SELECT first_index, last_index, key_id, frame FROM batch ORDER BY first_index")
                while let row = try rows.next() { try add(row, to: &restored) }
                try checkEnd(of: restored, in: database)
                return restored
            }
        } catch {
            throw RaftLogError(path: path, doing: "reading it", error)
        }
    }

    /// Term, whether there is a vote, and for whom; eight bytes, one and eight, the lowest first.
    private static func bytes(of hardState: HardState) -> [UInt8] {
        var bytes: [UInt8] = []
        withUnsafeBytes(of: hardState.term.littleEndian) { bytes += $0 }
        bytes.append(hardState.votedFor == nil ? 0 : 1)
        withUnsafeBytes(of: (hardState.votedFor?.rawValue ?? 0).littleEndian) { bytes += $0 }
        return bytes
    }

    private func hardState(in row: Row) throws -> HardState {
        let bytes: [UInt8]
        do { bytes = try unsealed(row, at: "hard state") } catch {
            throw damaged("reading its hard state", "it is damaged (\(error))")
        }
        guard bytes.count == 17 else { throw damaged("reading its hard state", "it has \(bytes.count) bytes") }
        func number(_ start: Int) -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(bytes[start + $1]) << (8 * UInt64($1)) } }
        return HardState(term: number(0), votedFor: bytes[8] == 1 ? MemberID(number(9)) : nil)
    }

    private func add(_ row: Row, to restored: inout Restored) throws {
        let first = UInt64(bitPattern: row["first_index"] as Int64)
        let last = UInt64(bitPattern: row["last_index"] as Int64)
        let batch = try entries(in: row, from: first, to: last)
        // Before the snapshot the log may begin anywhere, after it nowhere but there.
        let begin =
            (restored.entries.last?.index ?? restored.snapshot.map { min($0.index, max(first, 1) - 1) } ?? 0) + 1
        var expected = begin
        var lowestTerm = restored.entries.last?.term ?? 0
        guard first == begin else { throw damaged("reading entry \(begin)", "it is missing") }
        for entry in batch {
            guard entry.index == expected else { throw damaged("reading entry \(expected)", "it is missing") }
            guard entry.term >= lowestTerm else {
                throw damaged(
                    "reading entry \(expected)", "its term \(entry.term) is older than that before it, \(lowestTerm)")
            }
            lowestTerm = entry.term
            expected += 1
        }
        guard expected == last + 1, !batch.isEmpty else { throw damaged("reading entry \(expected)", "it is missing") }
        restored.entries += batch
    }

    private func checkEnd(of restored: Restored, in database: Database) throws {
        let end = max(restored.entries.last?.index ?? 0, restored.snapshot?.index ?? 0)
        let endTerm = max(restored.entries.last?.term ?? 0, restored.snapshot?.term ?? 0)
        let tail = try Int64.fetchOne(database, sql: "SELECT last_index FROM tail WHERE id = 1")
        let last = tail.map { UInt64(bitPattern: $0) } ?? 0
        guard last == end else {
            throw damaged("reading entry \(end + 1)", "it is missing: \(last) entries were written")
        }
        if let snapshot = restored.snapshot, let same = restored.entries.first(where: { $0.index == snapshot.index }),
            same.term != snapshot.term
        {
            throw damaged(
                "reading entry \(same.index)", "it is of term \(same.term), in the snapshot of \(snapshot.term)")
        }
        guard endTerm <= restored.hardState.term else {
            throw damaged(
                "reading its hard state",
                "it says term \(restored.hardState.term), but entry \(end) is of term \(endTerm)")
        }
    }

    private func entries(in row: Row, from first: LogIndex, to last: LogIndex) throws -> [Entry] {
        do {
            return try Entry.decodeAll(unsealed(row, at: "batch \(first) \(last)"))
        } catch FrameError.unknownVersion, FrameError.unknownKind {
            throw RaftLogError(
                path: path, doing: "reading the batch at entry \(first)", reason: "a newer version of apusd wrote it",
                advice: "Install that version again, and start it")
        } catch {
            throw damaged("reading the batch at entry \(first)", "it is damaged (\(error))")
        }
    }

    /// The bytes of a row with the columns `key_id` and `frame`.
    func unsealed(_ row: Row, at place: String) throws -> [UInt8] {
        let sealed = LogCipher.Sealed(key: UInt32(truncatingIfNeeded: row["key_id"] as Int64), box: row["frame"])
        return try cipher.open(sealed, at: place)
    }

    func damaged(_ doing: String, _ reason: String) -> RaftLogError {
        RaftLogError(path: path, doing: doing, reason: reason, advice: RaftLogError.ofDamage)
    }
}

// MARK: - Writing

extension RaftLog {
    package func save(hardState: HardState?, appends: [[Entry]]) async throws {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { [self] in
                continuation.resume(with: Result { try write(hardState, appends) })
            }
        }
    }

    /// The same, for who is not asynchronous yet.
    package func saveNow(hardState: HardState?, appends: [[Entry]]) throws {
        try queue.sync { try write(hardState, appends) }
    }

    private func write(_ hardState: HardState?, _ appends: [[Entry]]) throws {
        do {
            try database.write { try write(hardState, appends, in: $0) }
        } catch {
            throw RaftLogError(path: path, doing: "writing to it", error)
        }
    }

    func write(_ hardState: HardState?, _ appends: [[Entry]], in database: Database) throws {
        if let hardState {
            let sealed = try cipher.seal(Self.bytes(of: hardState), at: "hard state")
            try database.cachedStatement(
                sql: """
                    INSERT INTO hard_state(id, key_id, frame) VALUES(1, ?, ?)
                    ON CONFLICT(id) DO UPDATE SET key_id = excluded.key_id, frame = excluded.frame
                    """
            ).execute(arguments: [sealed.key, sealed.box])
        }
        let batches = appends.filter { !$0.isEmpty }
        for batch in batches { try append(batch, to: database) }
        if let last = batches.last?.last?.index { try setTail(last, in: database) }
    }

    func setTail(_ last: LogIndex, in database: Database) throws {
        try database.cachedStatement(
            sql: """
                INSERT INTO tail(id, last_index) VALUES(1, ?)
                ON CONFLICT(id) DO UPDATE SET last_index = excluded.last_index
                """
        ).execute(arguments: [Int64(bitPattern: last)])
    }

    private func append(_ batch: [Entry], to database: Database) throws {
        let first = Int64(bitPattern: batch[0].index)
        let last = Int64(bitPattern: batch[batch.count - 1].index)
        // The one row that begins before the new entries and may reach into them: it keeps its head.
        let before = try Row.fetchOne(
            database.cachedStatement(
                sql: "SELECT first_index, last_index FROM batch WHERE first_index < ? ORDER BY first_index DESC LIMIT 1"
            ),
            arguments: [first])
        if let before, before["last_index"] as Int64 >= first { try cut(before, before: batch[0].index, in: database) }
        try database.cachedStatement(sql: "DELETE FROM batch WHERE first_index >= ?").execute(arguments: [first])
        let sealed = try cipher.seal(
            Entry.encoded(batch), at: "batch \(batch[0].index) \(batch[batch.count - 1].index)")
        try database.cachedStatement(
            sql: "INSERT INTO batch(first_index, last_index, key_id, frame) VALUES(?, ?, ?, ?)"
        )
        .execute(arguments: [first, last, sealed.key, sealed.box])
    }

    private func cut(_ row: Row, before end: LogIndex, in database: Database) throws {
        let (start, last) = (row["first_index"] as Int64, row["last_index"] as Int64)
        guard
            let whole = try Row.fetchOne(
                database, sql: "SELECT key_id, frame FROM batch WHERE first_index = ?", arguments: [start])
        else { return }
        let first = LogIndex(bitPattern: start)
        let head = try entries(in: whole, from: first, to: LogIndex(bitPattern: last)).filter { $0.index < end }
        let sealed = try cipher.seal(Entry.encoded(head), at: "batch \(first) \(end - 1)")
        try database.execute(
            sql: "UPDATE batch SET last_index = ?, key_id = ?, frame = ? WHERE first_index = ?",
            arguments: [Int64(bitPattern: end - 1), sealed.key, sealed.box, start])
    }
}
