import Dispatch
import Foundation
import GRDB
import Glibc
package import Raft

/// What consensus needs of a disk. Returns only once the bytes are safe.
package protocol DurableLog: Sendable {
    /// One durable write: the newest hard state, and batches of entries, each in place of all from its first index on.
    func save(hardState: HardState?, appends: [[Entry]]) async throws
}

/// The log of one member in SQLite: one row an append batch, each entry with its checksum; term and vote beside it.
///
/// Write-ahead log with `synchronous=FULL`: a commit returns after the kernel says that the bytes are on the disk.
/// Writes run on a queue of their own, because one may take milliseconds, or seconds on a busy disk. The file is locked
/// for as long as it is open: two programs on one log would vote twice.
///
/// Nothing that was saved is ever left out in silence when it is read back, for it may have been acknowledged to
/// somebody: see ``restore()``.
package final class RaftLog: DurableLog {
    private let path: String
    private let database: DatabaseQueue
    private let queue = DispatchQueue(label: "apus.raft.log")

    /// Opens the log in `directory`, making both where they are not there.
    ///
    /// - Parameter patience: how long a log that another still holds is waited for: a program that ends needs a moment
    ///   to let go.
    package init(directory: String, patience: Duration = .seconds(3)) throws {
        path = directory + "/raft.sqlite"
        do {
            try Self.makeFile(at: path, in: directory)
            try WriteAheadFile.check(path + "-wal")
            var configuration = Configuration()
            configuration.busyMode = .timeout(patience / .seconds(1))
            configuration.prepareDatabase { database in
                try database.execute(sql: "PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=FULL")
            }
            database = try DatabaseQueue(path: path, configuration: configuration)
            let mode = try database.writeWithoutTransaction { database in
                try String.fetchOne(database, sql: "PRAGMA journal_mode=WAL")
            }
            guard mode == "wal" else {
                throw RaftLogError(
                    path: path, doing: "opening it",
                    reason: "the file system takes no write-ahead log, only '\(mode ?? "")'",
                    advice: "Put the directory of apusd on a local disk (ext4, xfs, btrfs)")
            }
            try database.write { try $0.execute(sql: Self.schema) }
        } catch {
            throw RaftLogError(path: path, doing: "opening it", error)
        }
    }

    /// `tail` says where the log ends, so that rows missing at the end are noticed as much as a gap is.
    private static let schema = """
        CREATE TABLE IF NOT EXISTS identity(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS hard_state(
            id INTEGER PRIMARY KEY CHECK (id = 1), term INTEGER NOT NULL, voted_for INTEGER);
        CREATE TABLE IF NOT EXISTS batch(
            first_index INTEGER PRIMARY KEY, last_index INTEGER NOT NULL, frame BLOB NOT NULL);
        CREATE TABLE IF NOT EXISTS tail(
            id INTEGER PRIMARY KEY CHECK (id = 1), last_index INTEGER NOT NULL);
        DROP INDEX IF EXISTS batch_end;
        """

    /// For this user alone from its first byte on, and there after a power cut: a new name is safe only once its
    /// directory is synced (fsync(2)).
    private static func makeFile(at path: String, in directory: String) throws {
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        guard chmod(directory, 0o700) == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0, fchmod(file, 0o600) == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        _ = Glibc.close(file)
        for place in [directory, directory + "/.."] {
            let handle = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard handle >= 0 else { continue }  // a parent that may not be read: it was there before us
            defer { _ = Glibc.close(handle) }
            guard fsync(handle) == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        }
    }

    package func close() throws { try database.close() }
}

// MARK: - Whose it is

extension RaftLog {
    /// What was written with ``identify(as:)``; empty for a new log.
    package func identity() throws -> [String: String] {
        do {
            return try database.read { database in
                let rows = try Row.fetchAll(database, sql: "SELECT key, value FROM identity")
                return Dictionary(uniqueKeysWithValues: rows.map { ($0["key"] as String, $0["value"] as String) })
            }
        } catch {
            throw RaftLogError(path: path, doing: "reading whose it is", error)
        }
    }

    /// Writes down, once and for ever, whose log this is: cluster, member, node.
    ///
    /// - Throws: `RaftLogError` when it says something else already: it is the log of another, and what it promised
    ///   must not be kept under a new name.
    package func identify(as identity: [String: String]) throws {
        do {
            try database.write { database in
                for (key, value) in identity.sorted(by: { $0.key < $1.key }) {
                    let known = try String.fetchOne(
                        database, sql: "SELECT value FROM identity WHERE key = ?", arguments: [key])
                    if let known, known != value {
                        throw RaftLogError(
                            path: path, doing: "comparing whose it is",
                            reason: "it is that of \(key) \(known), and this is \(key) \(value)",
                            advice:
                                "Put the right directory in its place; or, if this node shall be a new member, leave the swarm and join it again"
                        )
                    }
                    try database.execute(
                        sql: "INSERT INTO identity(key, value) VALUES(?, ?) ON CONFLICT(key) DO NOTHING",
                        arguments: [key, value])
                }
            }
        } catch {
            throw RaftLogError(path: path, doing: "writing whose it is", error)
        }
    }
}

// MARK: - Reading

extension RaftLog {
    /// Everything that was made durable.
    ///
    /// - Throws: `RaftLogError` where a checksum is wrong, an entry is missing, or the log and the hard state cannot
    ///   have been written together.
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
                let rows = try Row.fetchCursor(
                    database, sql: "SELECT first_index, last_index, frame FROM batch ORDER BY first_index")
                while let row = try rows.next() { try add(row, to: &restored) }
                try checkEnd(of: restored, in: database)
                return restored
            }
        } catch {
            throw RaftLogError(path: path, doing: "reading it", error)
        }
    }

    private func add(_ row: Row, to restored: inout Restored) throws {
        let first = UInt64(bitPattern: row["first_index"] as Int64)
        let last = UInt64(bitPattern: row["last_index"] as Int64)
        let batch = try entries(in: row["frame"], at: first)
        let begin = (restored.entries.last?.index ?? 0) + 1
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
        let end = restored.entries.last
        // Logs of the first versions have no row here.
        if let tail = try Int64.fetchOne(database, sql: "SELECT last_index FROM tail WHERE id = 1") {
            let last = UInt64(bitPattern: tail)
            guard last == end?.index ?? 0 else {
                throw damaged("reading entry \((end?.index ?? 0) + 1)", "it is missing: \(last) entries were written")
            }
        }
        guard end?.term ?? 0 <= restored.hardState.term else {
            throw damaged(
                "reading its hard state",
                "it says term \(restored.hardState.term), but entry \(end!.index) is of term \(end!.term)")
        }
    }

    private func entries(in frame: Data, at first: LogIndex) throws -> [Entry] {
        do {
            return try Entry.decodeAll(Array(frame))
        } catch FrameError.unknownVersion, FrameError.unknownKind {
            throw RaftLogError(
                path: path, doing: "reading the batch at entry \(first)", reason: "a newer version of apusd wrote it",
                advice: "Install that version again, and start it")
        } catch {
            throw damaged("reading the batch at entry \(first)", "it is damaged (\(error))")
        }
    }

    private func damaged(_ doing: String, _ reason: String) -> RaftLogError {
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
                let batches = appends.filter { !$0.isEmpty }
                for batch in batches { try append(batch, to: database) }
                if let last = batches.last?.last?.index {
                    try database.cachedStatement(
                        sql: """
                            INSERT INTO tail(id, last_index) VALUES(1, ?)
                            ON CONFLICT(id) DO UPDATE SET last_index = excluded.last_index
                            """
                    ).execute(arguments: [Int64(bitPattern: last)])
                }
            }
        } catch {
            throw RaftLogError(path: path, doing: "writing to it", error)
        }
    }

    private func append(_ batch: [Entry], to database: Database) throws {
        let first = Int64(bitPattern: batch[0].index)
        // The one row that begins before the new entries and may reach into them: it keeps its head.
        let before = try Row.fetchOne(
            database.cachedStatement(
                sql: "SELECT first_index, last_index FROM batch WHERE first_index < ? ORDER BY first_index DESC LIMIT 1"
            ),
            arguments: [first])
        if let before, before["last_index"] as Int64 >= first {
            let start: Int64 = before["first_index"]
            let frame = try Data.fetchOne(
                database, sql: "SELECT frame FROM batch WHERE first_index = ?", arguments: [start])
            let head = try entries(in: frame ?? Data(), at: UInt64(bitPattern: start))
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
    /// What a person should do now.
    var advice: String

    package var description: String {
        """
        the log of this manager, \(path), failed while \(doing): \(reason). \
        This manager stops, because it can keep no promises now. \(advice). Then start apusd again.
        """
    }

    init(path: String, doing: String, reason: String, advice: String) {
        self.path = path
        self.doing = doing
        self.reason = reason
        self.advice = advice
    }

    /// An error that says more already stays as it is.
    init(path: String, doing: String, _ error: any Error) {
        if let error = error as? RaftLogError {
            self = error
            return
        }
        var advice =
            "Look at the disk and its file system (`dmesg`); where it is broken, replace it and let this node join anew"
        var reason = "\(error)"
        if let error = error as? DatabaseError {
            reason = "\(error.message ?? "SQLite says no more") (SQLite \(error.extendedResultCode.rawValue))"
            switch error.resultCode {
            case .SQLITE_FULL: advice = "Make room on the disk (`df \(path)`)"
            case .SQLITE_BUSY, .SQLITE_LOCKED:
                advice = "Another program has it open: see that only one apusd runs in this directory"
            case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_CANTOPEN, .SQLITE_AUTH:
                advice = "See that apusd may write there, and that the file system is not mounted read-only"
            case .SQLITE_CORRUPT, .SQLITE_NOTADB: advice = Self.ofDamage
            default: break
            }
        } else if let error = error as? DamagedWriteAheadFile {
            advice = Self.ofDamage
            reason = error.description
        }
        self.init(path: path, doing: doing, reason: reason, advice: advice)
    }

    static let ofDamage = """
        Do not repair it by hand: what is missing may have been promised to somebody. While other managers have a \
        majority, let this node leave (`docker swarm leave --force`) and join again; else put back a copy of the \
        directory from before the damage
        """
}
