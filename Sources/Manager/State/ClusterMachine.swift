package import ClusterModel
import ClusterStore
import EngineAPI
import Foundation
package import Raft
import Synchronization

/// The cluster's store as what consensus is about: entries make it, snapshots of it are lines of JSON.
package final class ClusterMachine: StateMachine {
    private let state: ClusterState
    private let disk: RaftLog
    private let onExpelled: @Sendable ([Cluster.ID<Cluster.Node>]) -> Void
    private let numbers = Mutex<ConsensusNumbers?>(nil)

    /// Loads the newest snapshot on the disk.
    ///
    /// - Parameter onExpelled: told of nodes that must not go on with the connections that they have.
    package init(
        state: ClusterState, disk: RaftLog,
        onExpelled: @escaping @Sendable ([Cluster.ID<Cluster.Node>]) -> Void = { _ in }
    ) throws {
        self.onExpelled = onExpelled
        self.state = state
        self.disk = disk
        if let snapshot = try disk.newestSnapshot() { try load(snapshot) }
    }

    package var consensus: ConsensusNumbers? { numbers.withLock { $0 } }

    package func apply(_ entries: [Entry]) throws {
        let changes = try state.apply(entries)
        if changes.isSwarmChanged { readNumbers() }
        if !changes.expelled.isEmpty { onExpelled(changes.expelled) }
    }

    package func freeze() -> (any FrozenState)? { FrozenCluster(store: state.snapshot) }

    package func install(_ meta: SnapshotMeta) throws {
        guard let snapshot = try disk.newestSnapshot(), snapshot.meta == meta else {
            throw UnreadableSnapshot(reason: "it is not on the disk")
        }
        try load(snapshot)
    }

    private func load(_ snapshot: StoredSnapshot) throws {
        guard snapshot.head.format == SnapshotHead.format else {
            throw UnknownSnapshotFormat(format: snapshot.head.format)
        }
        var store = ClusterStore()
        // Only when the last chunk has proved that all are right is any of it believed.
        try disk.readChunks(of: snapshot) { try FrozenCluster.read($0, into: &store) }
        store.advance(to: snapshot.meta.index)
        state.replace(with: store)
        readNumbers()
    }

    private func readNumbers() {
        guard let spec = state.snapshot.swarm?.spec else { return }
        let read = ConsensusNumbers(spec)
        numbers.withLock { $0 = read }
    }
}

/// A copy of the store, and how it stands in a snapshot: a change of an empty store a line.
struct FrozenCluster: FrozenState {
    /// What a chunk holds at least, but for the last one; a large object makes it larger.
    private static let chunkBytes = 256 * 1024

    let store: ClusterStore

    func encode(_ put: (_ chunk: [UInt8]) throws -> Void) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var chunk: [UInt8] = []
        chunk.reserveCapacity(Self.chunkBytes + 4_096)
        for change in store.contents {
            chunk += try encoder.encode(change)
            chunk.append(UInt8(ascii: "\n"))
            if chunk.count >= Self.chunkBytes {
                try put(chunk)
                chunk.removeAll(keepingCapacity: true)
            }
        }
        if !chunk.isEmpty { try put(chunk) }
    }

    static func read(_ chunk: [UInt8], into store: inout ClusterStore) throws {
        let decoder = JSONDecoder()
        for line in chunk.split(separator: UInt8(ascii: "\n")) {
            let change: StoreChange
            do {
                change = try decoder.decode(StoreChange.self, from: Data(line))
            } catch {
                throw UnreadableSnapshot(reason: String(describing: error))
            }
            guard store.restore(change) else { throw UnreadableSnapshot(reason: "it holds a removal") }
        }
    }
}

/// A snapshot that this version of apusd does not know how to take over.
package struct UnreadableSnapshot: Error, CustomStringConvertible {
    var reason: String

    package var description: String {
        """
        the snapshot of the cluster's state holds what this version of apusd cannot read (\(reason)). \
        This manager stops here: install the version that the other managers run, and start it again.
        """
    }
}

extension ConsensusNumbers {
    /// As the document says, which has every default filled in.
    init(_ spec: Cluster.SwarmSpec) {
        self.init()
        guard let raft = (try? JSON(parsing: Array(spec.document.utf8)))?["Raft"] else { return }
        func number(_ name: String) -> Int? { raft[name]?.int }
        if let interval = number("SnapshotInterval"), interval > 0 { snapshotInterval = LogIndex(interval) }
        if let count = number("KeepOldSnapshots"), count >= 0 { retention.oldSnapshots = count }
        if let count = number("LogEntriesForSlowFollowers"), count >= 0 { retention.entries = LogIndex(count) }
        if let ticks = number("ElectionTick") { electionTicks = ticks }
        if let ticks = number("HeartbeatTick") { heartbeatTicks = ticks }
    }
}
