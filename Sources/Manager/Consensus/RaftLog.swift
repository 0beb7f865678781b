import Dispatch
import Foundation
package import GRDB
import Glibc
package import Raft
import Synchronization

/// What consensus needs of a disk. Returns only once the bytes are safe.
package protocol DurableLog: Sendable {
    /// One durable write: the newest hard state, and batches of entries, each in place of all from its first index on.
    func save(hardState: HardState?, appends: [[Entry]]) async throws
    /// Makes a snapshot of `state` and then lets go of the entries that it stands for, but for the newest of them.
    ///
    /// Works beside ``save(hardState:appends:)``, which waits for one chunk at most.
    func saveSnapshot(_ meta: SnapshotMeta, of state: any FrozenState, keeping: SnapshotRetention) async throws
    /// One durable write: the snapshot that was received takes the place of everything.
    func installSnapshot(_ meta: SnapshotMeta) async throws
}

/// The log of one member in SQLite: one row an append batch, each entry with its checksum; term and vote beside it;
/// snapshots in chunks, a row each. All of it but indexes is sealed: see ``LogCipher``.
///
/// Write-ahead log with `synchronous=FULL`: a commit returns after the kernel says that the bytes are on the disk.
/// Writes run on a queue of their own, because one may take milliseconds, or seconds on a busy disk. The file is locked
/// for as long as it is open: two programs on one log would vote twice.
///
/// Nothing that was saved is ever left out in silence when it is read back, for it may have been acknowledged to
/// somebody: see ``restore()``.
package final class RaftLog: DurableLog {
    let path: String
    let database: DatabaseQueue
    let cipher: LogCipher
    let queue = DispatchQueue(label: "apus.raft.log")
    /// Snapshots are encoded here, so that neither the driver nor a write of the log waits for it.
    let snapshotQueue = DispatchQueue(label: "apus.raft.snapshot", qos: .utility)
    /// Where others' snapshots are received and ours are read for others: neither waits while one is encoded.
    let transferQueue = DispatchQueue(label: "apus.raft.transfer", qos: .utility)
    /// Snapshots that somebody reads or writes just now; they are not thrown away.
    let inUse = Mutex<[Int64: Int]>([:])

    /// Opens the log in `directory`, making both where they are not there.
    ///
    /// - Parameters:
    ///   - keyFile: where its keys are; made with the log.
    ///   - patience: how long a log that another still holds is waited for: a program that ends needs a moment to let go.
    package init(directory: String, keyFile: String, patience: Duration = .seconds(3)) throws {
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
            cipher = try database.write { [path] in try Self.prepare($0, path: path, keyFile: keyFile) }
            try forgetUnfinishedSnapshots()
        } catch {
            throw RaftLogError(path: path, doing: "opening it", error)
        }
    }

    /// `tail` says where the log ends, so that rows missing at the end are noticed as much as a gap is. `key_check` holds
    /// one known word sealed with each key, which tells a wrong key from a damaged row.
    private static let schema = """
        CREATE TABLE identity(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE key_check(key_id INTEGER PRIMARY KEY, box BLOB NOT NULL);
        CREATE TABLE hard_state(
            id INTEGER PRIMARY KEY CHECK (id = 1), key_id INTEGER NOT NULL, frame BLOB NOT NULL);
        CREATE TABLE batch(
            first_index INTEGER PRIMARY KEY, last_index INTEGER NOT NULL, key_id INTEGER NOT NULL, frame BLOB NOT NULL);
        CREATE TABLE tail(
            id INTEGER PRIMARY KEY CHECK (id = 1), last_index INTEGER NOT NULL);
        CREATE TABLE snapshot(
            number INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL UNIQUE, state TEXT NOT NULL,
            last_index INTEGER NOT NULL, key_id INTEGER NOT NULL, head BLOB NOT NULL);
        CREATE TABLE chunk(
            snapshot INTEGER NOT NULL, place INTEGER NOT NULL, key_id INTEGER NOT NULL, frame BLOB NOT NULL,
            PRIMARY KEY(snapshot, place));
        PRAGMA user_version = 2;
        """

    /// - Returns: the cipher for the rows that are there.
    private static func prepare(_ database: Database, path: String, keyFile: String) throws -> LogCipher {
        let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        guard version <= 2 else {
            throw RaftLogError(
                path: path, doing: "opening it", reason: "a newer version of apusd wrote it (layout \(version))",
                advice: "Install that version again, and start it")
        }
        if version < 2 {
            guard try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_master") == 0 else {
                throw RaftLogError(
                    path: path, doing: "opening it",
                    reason: "a version of apusd before the first release wrote it, without encryption",
                    advice: "Let this node leave (`docker swarm leave --force`) and join again")
            }
            let cipher = try LogCipher.load(keyFile) ?? LogCipher.create(keyFile)
            try database.execute(sql: schema)
            try noteKey(of: cipher, in: database)
            return cipher
        }
        guard let cipher = try LogCipher.load(keyFile) else {
            throw KeyFileError(path: keyFile, reason: "it is missing")
        }
        try checkKeys(of: cipher, in: database)
        try noteKey(of: cipher, in: database)
        return cipher
    }

    private static let checkedWord = Array("apus".utf8)

    /// Every key that the log was written with must be there, and be that one.
    private static func checkKeys(of cipher: LogCipher, in database: Database) throws {
        for row in try Row.fetchAll(database, sql: "SELECT key_id, box FROM key_check") {
            let id = UInt32(truncatingIfNeeded: row["key_id"] as Int64)
            do {
                _ = try cipher.open(.init(key: id, box: row["box"]), at: "key \(id)")
            } catch .noSuchKey {
                throw KeyFileError(path: cipher.path, reason: "key \(id), with which the log was written, is not in it")
            } catch .notAuthentic {
                throw KeyFileError(
                    path: cipher.path, reason: "key \(id) in it is not the one with which the log was written")
            }
        }
    }

    static func noteKey(of cipher: LogCipher, in database: Database) throws {
        let id = cipher.current
        guard try Row.fetchOne(database, sql: "SELECT 1 FROM key_check WHERE key_id = ?", arguments: [id]) == nil else {
            return
        }
        let sealed = try cipher.seal(checkedWord, at: "key \(id)")
        try database.execute(
            sql: "INSERT INTO key_check(key_id, box) VALUES(?, ?)", arguments: [sealed.key, sealed.box])
    }

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

extension RaftLog {
    /// The key of the identity under which the name of the swarm's beginning stands: see `Epoch`.
    package static let epochKey = "epoch"

    /// Lets this log go on alone: in one write, the new hard state, the entries behind the last one, and a new epoch.
    ///
    /// - Parameter forced: what ``Raft/Restored/forcingNewGroup(of:)`` made of what was restored, and entries behind it.
    package func beginEpoch(_ epoch: String, _ forced: Restored) throws {
        let known = try restore()
        let last = max(known.entries.last?.index ?? 0, known.snapshot?.index ?? 0)
        do {
            try database.write { database in
                try write(forced.hardState, [forced.entries.filter { $0.index > last }], in: database)
                try database.execute(
                    sql: """
                        INSERT INTO identity(key, value) VALUES(?, ?)
                        ON CONFLICT(key) DO UPDATE SET value = excluded.value
                        """, arguments: [Self.epochKey, epoch])
            }
        } catch {
            throw RaftLogError(path: path, doing: "beginning anew", error)
        }
    }
}

// MARK: - Keys

extension RaftLog {
    /// What is written from here on takes a new key. The old ones are kept until nothing needs them.
    package func rotateKey() throws {
        do {
            try database.write { database in
                try cipher.rotate()
                try Self.noteKey(of: cipher, in: database)
            }
        } catch {
            throw RaftLogError(path: path, doing: "changing its key", error)
        }
    }

    /// Forgets the keys of rows that are gone.
    func forgetOldKeys() throws {
        try database.write { database in
            let needed = try Int64.fetchAll(
                database,
                sql: """
                    SELECT key_id FROM batch UNION SELECT key_id FROM snapshot UNION SELECT key_id FROM chunk
                    UNION SELECT key_id FROM hard_state
                    """)
            let current = Int64(cipher.current)
            // First the row that asks for a key, then the key.
            for id in try Int64.fetchAll(database, sql: "SELECT key_id FROM key_check")
            where id != current && !needed.contains(id) {
                try database.execute(sql: "DELETE FROM key_check WHERE key_id = ?", arguments: [id])
            }
        }
        let kept = try database.read { try Int64.fetchAll($0, sql: "SELECT key_id FROM key_check") }
        try cipher.keepOnly(Set(kept.map { UInt32(truncatingIfNeeded: $0) }))
    }
}

extension RaftLog {
    /// For tests, which look into the rows and break them.
    package func inspect<Result>(_ body: (Database) throws -> Result) throws -> Result {
        try database.writeWithoutTransaction(body)
    }
}
