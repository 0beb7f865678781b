import Dispatch
import Foundation
import GRDB
package import Raft

/// What consensus needs of a disk. Returns only once the bytes are safe.
package protocol DurableLog: Sendable {
    /// One durable write: the newest hard state, and batches of entries, each in place of all from its first index on.
    func save(hardState: HardState?, appends: [[Entry]]) async throws
}

/// The log of one member in SQLite: one row an append batch, checksummed; term and vote beside it.
///
/// Write-ahead log with `synchronous=FULL`: a commit returns after the kernel says that the bytes are on the disk.
/// Writes run on a queue of their own, because one may take milliseconds.
package final class RaftLog: DurableLog {
    private let path: String
    private let database: DatabaseQueue
    private let queue = DispatchQueue(label: "apus.raft.log")

    /// Opens the log in `directory`, making both where they are not there.
    package init(directory: String) throws {
        path = directory + "/raft.sqlite"
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            var configuration = Configuration()
            configuration.prepareDatabase { database in
                try database.execute(sql: "PRAGMA synchronous=FULL")
            }
            database = try DatabaseQueue(path: path, configuration: configuration)
            try database.writeWithoutTransaction { database in
                _ = try String.fetchOne(database, sql: "PRAGMA journal_mode=WAL")
            }
            try database.write { database in
                try database.execute(
                    sql: """
                        CREATE TABLE IF NOT EXISTS hard_state(
                            id INTEGER PRIMARY KEY CHECK (id = 1), term INTEGER NOT NULL, voted_for INTEGER);
                        CREATE TABLE IF NOT EXISTS batch(
                            first_index INTEGER PRIMARY KEY, last_index INTEGER NOT NULL, frame BLOB NOT NULL);
                        CREATE INDEX IF NOT EXISTS batch_end ON batch(last_index);
                        """)
            }
            chmod(path, 0o600)
        } catch {
            throw RaftLogError(path: path, doing: "opening it", reason: "\(error)")
        }
    }

    package func close() throws { try database.close() }

    // MARK: Reading

    /// Everything that was made durable.
    ///
    /// - Throws: `RaftLogError` where a checksum is wrong or an entry is missing. Nothing is left out in silence:
    ///   what cannot be read may have been acknowledged to somebody.
    package func restore() throws -> Restored {
        do {
            return try database.read { database in
                var restored = Restored()
                if let row = try Row.fetchOne(database, sql: "SELECT term, voted_for FROM hard_state WHERE id = 1") {
                    let vote: Int64? = row["voted_for"]
                    restored.hardState = HardState(
                        term: UInt64(bitPattern: row["term"] as Int64),
                        votedFor: vote.map { MemberID(UInt64(bitPattern: $0)) })
                }
                let rows = try Row.fetchCursor(database, sql: "SELECT first_index, frame FROM batch ORDER BY first_index")
                while let row = try rows.next() {
                    let first = UInt64(bitPattern: row["first_index"] as Int64)
                    let entries = try entries(in: row["frame"], at: first)
                    let expected = (restored.entries.last?.index ?? 0) + 1
                    guard entries.first?.index == first, first == expected else {
                        throw RaftLogError(path: path, doing: "reading entry \(expected)", reason: "it is missing")
                    }
                    restored.entries += entries
                }
                return restored
            }
        } catch let error as RaftLogError {
            throw error
        } catch {
            throw RaftLogError(path: path, doing: "reading it", reason: "\(error)")
        }
    }

    private func entries(in frame: Data, at first: LogIndex) throws -> [Entry] {
        do {
            return try Entry.decodeAll(Array(frame))
        } catch {
            throw RaftLogError(path: path, doing: "reading the batch at entry \(first)", reason: "it is damaged (\(error))")
        }
    }

    // MARK: Writing

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
            try database.write { database in
                if let hardState {
                    try database.cachedStatement(
                        sql: """
                            INSERT INTO hard_state(id, term, voted_for) VALUES(1, ?, ?)
                            ON CONFLICT(id) DO UPDATE SET term = excluded.term, voted_for = excluded.voted_for
                            """
                    ).execute(arguments: [
                        Int64(bitPattern: hardState.term), hardState.votedFor.map { Int64(bitPattern: $0.rawValue) },
                    ])
                }
                for batch in appends where !batch.isEmpty { try append(batch, to: database) }
            }
        } catch {
            throw RaftLogError(path: path, doing: "writing to it", reason: "\(error)")
        }
    }

    private func append(_ batch: [Entry], to database: Database) throws {
        let first = Int64(bitPattern: batch[0].index)
        // A row that begins before the new entries and reaches into them keeps its head.
        let straddling = try Row.fetchOne(
            database,
            sql: "SELECT first_index, frame FROM batch WHERE first_index < ? AND last_index >= ? LIMIT 1",
            arguments: [first, first])
        if let straddling {
            let start: Int64 = straddling["first_index"]
            let head = try entries(in: straddling["frame"], at: UInt64(bitPattern: start))
                .filter { $0.index < batch[0].index }
            try database.execute(
                sql: "UPDATE batch SET last_index = ?, frame = ? WHERE first_index = ?",
                arguments: [first - 1, Data(Entry.encoded(head)), start])
        }
        try database.cachedStatement(sql: "DELETE FROM batch WHERE first_index >= ?").execute(arguments: [first])
        try database.cachedStatement(sql: "INSERT INTO batch(first_index, last_index, frame) VALUES(?, ?, ?)")
            .execute(arguments: [first, Int64(bitPattern: batch[batch.count - 1].index), Data(Entry.encoded(batch))])
    }
}

/// The log cannot be read or written. The node must stop: it cannot keep promises.
package struct RaftLogError: Error, Sendable, CustomStringConvertible {
    var path: String
    var doing: String
    var reason: String

    package var description: String {
        """
        the log of this manager, \(path), failed while \(doing): \(reason). This manager stops. \
        Where the disk is full, make room; where it is broken, replace it and let the node join anew. Then start apusd again.
        """
    }
}
