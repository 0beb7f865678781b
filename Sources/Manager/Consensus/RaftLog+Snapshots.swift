import Crypto
import Foundation
import GRDB
package import Raft
import Synchronization

// Snapshots: made or received chunk by chunk, each chunk a write of its own, so that a write of the log waits for one
// chunk at most; in force by one last write. Of several that are whole the newest counts.

// MARK: - Reading

extension RaftLog {
    /// - Throws: `RaftLogError` where it cannot be read.
    package func newestSnapshot() throws -> StoredSnapshot? {
        do {
            return try database.read { try newestSnapshot(in: $0) }
        } catch {
            throw RaftLogError(path: path, doing: "looking for its snapshot", error)
        }
    }

    func newestSnapshot(in database: Database) throws -> StoredSnapshot? {
        let row = try Row.fetchOne(
            database,
            sql: """
                SELECT number, name, key_id, head AS frame FROM snapshot WHERE state = 'whole'
                ORDER BY last_index DESC, number DESC LIMIT 1
                """)
        return try row.map { try stored($0) }
    }

    private func stored(_ row: Row) throws -> StoredSnapshot {
        let number: Int64 = row["number"]
        do {
            let head = try JSONDecoder().decode(
                SnapshotHead.self, from: Data(try unsealed(row, at: "snapshot \(number)")))
            return StoredSnapshot(number: number, head: head, meta: try head.meta)
        } catch {
            throw damaged("reading snapshot \(number)", "it is damaged (\(error))")
        }
    }

    /// - Parameter place: counted from 0.
    package func chunk(_ place: Int, of snapshot: StoredSnapshot) throws -> [UInt8] {
        do {
            let row = try database.read { database in
                try Row.fetchOne(
                    database, sql: "SELECT key_id, frame FROM chunk WHERE snapshot = ? AND place = ?",
                    arguments: [snapshot.number, place])
            }
            guard let row else { throw damaged("reading snapshot \(snapshot.number)", "its chunk \(place) is missing") }
            do {
                return try unsealed(row, at: "chunk \(snapshot.number) \(place)")
            } catch {
                throw damaged("reading snapshot \(snapshot.number)", "its chunk \(place) is damaged (\(error))")
            }
        } catch {
            throw RaftLogError(path: path, doing: "reading its snapshot", error)
        }
    }

    /// Gives `read` every chunk in order.
    ///
    /// - Throws: after the last chunk, where all of them together are not what was written.
    package func readChunks(of snapshot: StoredSnapshot, _ read: ([UInt8]) throws -> Void) throws {
        try holding(snapshot.number) {
            var digest = SnapshotDigest()
            for place in 0..<snapshot.head.chunks {
                let bytes = try chunk(place, of: snapshot)
                digest.add(bytes)
                try read(bytes)
            }
            guard digest.finish() == snapshot.head.digest else {
                throw damaged("reading snapshot \(snapshot.number)", "its chunks do not belong together")
            }
        }
    }

    /// What is in use is not thrown away meanwhile.
    package func hold(_ snapshot: StoredSnapshot) { inUse.withLock { $0[snapshot.number, default: 0] += 1 } }

    package func release(_ snapshot: StoredSnapshot) { release(snapshot.number) }

    private func release(_ number: Int64) {
        inUse.withLock { inUse in
            inUse[number, default: 1] -= 1
            if inUse[number] == 0 { inUse[number] = nil }
        }
    }

    private func holding<Result>(_ number: Int64, _ body: () throws -> Result) rethrows -> Result {
        inUse.withLock { $0[number, default: 0] += 1 }
        defer { release(number) }
        return try body()
    }
}

// MARK: - Making

extension RaftLog {
    package func saveSnapshot(
        _ meta: SnapshotMeta, of state: any FrozenState, keeping retention: SnapshotRetention
    ) async throws {
        try await withCheckedThrowingContinuation { continuation in
            snapshotQueue.async { [self] in
                continuation.resume(with: Result { try makeSnapshot(meta, of: state, keeping: retention) })
            }
        }
    }

    /// The same, for who is not asynchronous.
    package func saveSnapshotNow(
        _ meta: SnapshotMeta, of state: any FrozenState, keeping retention: SnapshotRetention
    ) throws {
        try snapshotQueue.sync { try makeSnapshot(meta, of: state, keeping: retention) }
    }

    private func makeSnapshot(
        _ meta: SnapshotMeta, of state: any FrozenState, keeping retention: SnapshotRetention
    ) throws {
        do {
            if cipher.isRotationDue { try rotateKey() }
            var head = SnapshotHead(name: Self.newName(), meta: meta, chunks: 0, bytes: 0, digest: Data())
            let number = try insert(head, meta, state: "making")
            try holding(number) {
                var digest = SnapshotDigest()
                try state.encode { bytes in
                    digest.add(bytes)
                    try put(bytes, at: head.chunks, of: number)
                    head.chunks += 1
                    head.bytes += bytes.count
                }
                head.digest = digest.finish()
                try database.write { database in
                    // A received one may have overtaken it.
                    let newest = try newestSnapshot(in: database)?.meta.index ?? 0
                    if meta.index > newest {
                        try update(head, of: number, state: "whole", in: database)
                    } else {
                        try database.execute(
                            sql: "UPDATE snapshot SET state = 'old' WHERE number = ?", arguments: [number])
                    }
                }
            }
            try compact(retention)
        } catch {
            throw RaftLogError(path: path, doing: "writing a snapshot", error)
        }
    }

    private func insert(_ head: SnapshotHead, _ meta: SnapshotMeta, state: String) throws -> Int64 {
        try database.write { database in
            try database.execute(
                sql: "INSERT INTO snapshot(name, state, last_index, key_id, head) VALUES(?, ?, ?, 0, x'')",
                arguments: [head.name, state, Int64(bitPattern: meta.index)])
            let number = database.lastInsertedRowID
            try update(head, of: number, state: state, in: database)
            return number
        }
    }

    private func update(_ head: SnapshotHead, of number: Int64, state: String, in database: Database) throws {
        let sealed = try cipher.seal(Array(try JSONEncoder().encode(head)), at: "snapshot \(number)")
        try database.execute(
            sql: "UPDATE snapshot SET state = ?, key_id = ?, head = ? WHERE number = ?",
            arguments: [state, sealed.key, sealed.box, number])
    }

    private func put(_ bytes: [UInt8], at place: Int, of number: Int64) throws {
        let sealed = try cipher.seal(bytes, at: "chunk \(number) \(place)")
        try database.write { database in
            try database.cachedStatement(
                sql: "INSERT OR REPLACE INTO chunk(snapshot, place, key_id, frame) VALUES(?, ?, ?, ?)"
            ).execute(arguments: [number, place, sealed.key, sealed.box])
        }
    }

    private static func newName() -> Data {
        var random = SystemRandomNumberGenerator()
        return Data((0..<16).map { _ in UInt8.random(in: .min ... .max, using: &random) })
    }
}

// MARK: - Letting go

extension RaftLog {
    /// Rows that go in one write: the log's own writes come between.
    private static let (batchesAtOnce, chunksAtOnce) = (256, 4)

    /// Throws away entries that the newest snapshot stands for, but the newest `retention.entries` of them, and older
    /// snapshots. In portions from the oldest on: cut off anywhere, what is left is a log.
    private func compact(_ retention: SnapshotRetention) throws {
        guard let newest = try database.read({ try newestSnapshot(in: $0) }) else { return }
        if newest.meta.index > retention.entries {
            let end = Int64(bitPattern: newest.meta.index - retention.entries)
            var isDone = false
            while !isDone {
                isDone = try database.write { database in
                    try database.execute(
                        sql: """
                            DELETE FROM batch WHERE first_index IN (
                                SELECT first_index FROM batch WHERE last_index <= ? ORDER BY first_index LIMIT ?)
                            """, arguments: [end, Self.batchesAtOnce])
                    return database.changesCount < Self.batchesAtOnce
                }
            }
        }
        try retire(beside: newest, keeping: retention.oldSnapshots)
        try sweep()
        try forgetOldKeys()
    }

    private func retire(beside newest: StoredSnapshot, keeping count: Int) throws {
        try database.write { database in
            try database.execute(
                sql: """
                    UPDATE snapshot SET state = 'old' WHERE number != ? AND (
                        (state = 'whole' AND number NOT IN (
                            SELECT number FROM snapshot WHERE state = 'whole' AND number != ?
                            ORDER BY last_index DESC, number DESC LIMIT ?))
                        OR (state IN ('received', 'ready') AND last_index <= ?))
                    """,
                arguments: [newest.number, newest.number, max(0, count), Int64(bitPattern: newest.meta.index)])
        }
    }

    /// Removes what is marked as old and nobody reads, chunks first.
    private func sweep() throws {
        let old = try database.read { try Int64.fetchAll($0, sql: "SELECT number FROM snapshot WHERE state = 'old'") }
        for number in old where inUse.withLock({ $0[number] == nil }) {
            var isDone = false
            while !isDone {
                isDone = try database.write { database in
                    try database.execute(
                        sql: """
                            DELETE FROM chunk WHERE snapshot = ?1 AND place IN (
                                SELECT place FROM chunk WHERE snapshot = ?1 ORDER BY place LIMIT ?2)
                            """, arguments: [number, Self.chunksAtOnce])
                    return database.changesCount < Self.chunksAtOnce
                }
            }
            try database.write {
                try $0.execute(sql: "DELETE FROM snapshot WHERE number = ?", arguments: [number])
            }
        }
    }

    /// What a crash left half made. What was half received may yet go on.
    func forgetUnfinishedSnapshots() throws {
        try database.write { try $0.execute(sql: "UPDATE snapshot SET state = 'old' WHERE state = 'making'") }
        try sweep()
    }
}

// MARK: - Receiving

extension RaftLog {
    /// - Returns: which chunk is wanted first: those before it are here already, from an attempt that broke off.
    package func beginReceiving(_ head: SnapshotHead) throws -> Int {
        do {
            let meta = try head.meta
            guard head.format == SnapshotHead.format else {
                throw UnknownSnapshotFormat(format: head.format)
            }
            if let (number, state) = try received(head) {
                if state != "received" { return head.chunks }
                return try database.read { database in
                    try Int.fetchOne(
                        database, sql: "SELECT count(*) FROM chunk WHERE snapshot = ?", arguments: [number]) ?? 0
                }
            }
            // Another one than before: what came of that one is of no use any more.
            try database.write { try $0.execute(sql: "UPDATE snapshot SET state = 'old' WHERE state = 'received'") }
            try sweep()
            _ = try insert(head, meta, state: "received")
            return 0
        } catch let error as UnknownSnapshotFormat {
            throw error
        } catch {
            throw RaftLogError(path: path, doing: "receiving a snapshot", error)
        }
    }

    /// - Parameter place: the chunks must come in order, without a gap.
    package func receive(_ bytes: [UInt8], at place: Int, of head: SnapshotHead) throws {
        do {
            guard let (number, state) = try received(head), state == "received" else { return }
            try put(bytes, at: place, of: number)
        } catch {
            throw RaftLogError(path: path, doing: "receiving a snapshot", error)
        }
    }

    /// - Returns: false where what came is not what was sent; it is thrown away, and can be sent again.
    package func finishReceiving(_ head: SnapshotHead) throws -> Bool {
        guard let (number, state) = try received(head) else { return false }
        if state != "received" { return true }
        do {
            try readChunks(of: StoredSnapshot(number: number, head: head, meta: try head.meta)) { _ in }
            // Another leader's may come now: this one stays until it is installed or out of date.
            try database.write {
                try $0.execute(sql: "UPDATE snapshot SET state = 'ready' WHERE number = ?", arguments: [number])
            }
            return true
        } catch is RaftLogError {
            try database.write {
                try $0.execute(sql: "UPDATE snapshot SET state = 'old' WHERE number = ?", arguments: [number])
            }
            return false
        }
    }

    private func received(_ head: SnapshotHead) throws -> (number: Int64, state: String)? {
        try database.read { database in
            let row = try Row.fetchOne(
                database,
                sql: "SELECT number, state FROM snapshot WHERE name = ? AND state IN ('received', 'ready', 'whole')",
                arguments: [head.name])
            return row.map { ($0["number"], $0["state"]) }
        }
    }

    package func installSnapshot(_ meta: SnapshotMeta) async throws {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { [self] in continuation.resume(with: Result { try install(meta) }) }
        }
    }

    private func install(_ meta: SnapshotMeta) throws {
        do {
            try database.write { database in
                let row = try Row.fetchOne(
                    database,
                    sql: """
                        SELECT number, name, key_id, head AS frame FROM snapshot
                        WHERE state IN ('ready', 'whole') AND last_index = ? ORDER BY number DESC LIMIT 1
                        """, arguments: [Int64(bitPattern: meta.index)])
                guard let row, case let snapshot = try stored(row), snapshot.meta == meta else {
                    throw damaged("taking over the snapshot of entry \(meta.index)", "it is missing")
                }
                try database.execute(
                    sql: "UPDATE snapshot SET state = 'whole' WHERE number = ?", arguments: [snapshot.number])
                try database.execute(sql: "DELETE FROM batch")
                try setTail(meta.index, in: database)
            }
        } catch {
            throw RaftLogError(path: path, doing: "taking over a snapshot", error)
        }
    }
}

package struct UnknownSnapshotFormat: Error, CustomStringConvertible {
    var format: Int
    package var description: String {
        "this version of apusd cannot read snapshots of format \(format): install the version that the other managers run"
    }
}

struct SnapshotDigest {
    private var hash = SHA256()

    mutating func add(_ chunk: [UInt8]) {
        withUnsafeBytes(of: UInt64(chunk.count).littleEndian) { hash.update(bufferPointer: $0) }
        hash.update(data: chunk)
    }

    func finish() -> Data { Data(hash.finalize()) }
}

extension RaftLog {
    /// Where waiting for the disk holds up no thread of the pool.
    package func onTransferQueue<Result: Sendable>(
        _ work: @escaping @Sendable (RaftLog) throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            transferQueue.async { [self] in continuation.resume(with: Swift.Result { try work(self) }) }
        }
    }
}
