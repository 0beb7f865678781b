package import Foundation
package import Raft

/// A state of the cluster as of one entry, which others may read while the cluster goes on.
package protocol FrozenState: Sendable {
    /// Says the state in chunks of a size that is easily held in memory, each by itself readable.
    func encode(_ put: (_ chunk: [UInt8]) throws -> Void) throws
}

/// What stays on the disk when a new snapshot is there.
package struct SnapshotRetention: Sendable, Equatable {
    /// Snapshots beside the newest.
    package var oldSnapshots: Int
    /// Entries that the newest snapshot stands for, kept for followers that are not far behind.
    package var entries: LogIndex

    package init(oldSnapshots: Int, entries: LogIndex) {
        self.oldSnapshots = oldSnapshots
        self.entries = entries
    }
}

/// What is known of a snapshot before its chunks: on the disk, and first in the stream to another manager.
package struct SnapshotHead: Sendable, Equatable, Codable {
    /// Drawn at random: two managers' snapshots of the same state are two snapshots, whose chunks must not be mixed.
    package var name: Data
    /// How the chunks are to be read.
    package var format: Int
    package var chunks: Int
    package var bytes: Int
    /// Of all chunks, each with its length before it.
    package var digest: Data
    /// `SnapshotMeta`, with its checksum.
    private var place: Data

    /// The only format that there is: lines of JSON, a change of the store each.
    package static let format = 1

    package init(name: Data, format: Int = Self.format, meta: SnapshotMeta, chunks: Int, bytes: Int, digest: Data) {
        self.name = name
        self.format = format
        self.chunks = chunks
        self.bytes = bytes
        self.digest = digest
        place = Data(meta.encoded())
    }

    package var meta: SnapshotMeta { get throws { try SnapshotMeta(decoding: Array(place)) } }
}

/// A snapshot whole on this manager's disk.
package struct StoredSnapshot: Sendable {
    let number: Int64
    package let head: SnapshotHead
    package let meta: SnapshotMeta
}
