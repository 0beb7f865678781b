package import ClusterModel
package import ClusterStore
import Foundation
package import Raft
import Synchronization

/// The replicated store of this manager: filled by the log, read by anyone without waiting.
package final class ClusterState: Sendable {
    private let store: Mutex<ClusterStore>

    let feed = EventFeed()

    package init() { store = Mutex(ClusterStore()) }

    /// The newest state; a copy is free.
    package var snapshot: ClusterStore { store.withLock { $0 } }

    /// Makes the changes of newly committed entries, in their order.
    ///
    /// - Returns: what others than readers of the state must know of it.
    /// - Throws: `UnreadableEntry` for an entry that this version cannot read. The manager must stop then: to go on
    ///   would give it another state than the rest has.
    @discardableResult
    package func apply(_ entries: [Entry]) throws -> AppliedChanges {
        let proposals = try entries.map { entry -> (UInt64, Proposal?) in
            guard case .command(let bytes) = entry.payload else { return (entry.index, nil) }
            return (entry.index, try Documents.read(Proposal.self, from: bytes, entry: entry.index))
        }
        let isHeard = feed.isHeard
        return store.withLock { store in
            var changes = AppliedChanges()
            for (index, proposal) in proposals {
                guard let proposal else {
                    store.advance(to: index)
                    continue
                }
                let before = store
                let events = store.apply(proposal, at: index)
                for event in events { changes.note(event) }
                // Within the lock, so that events come in the order of their entries; nobody is waited for.
                feed.publish(
                    events.compactMap { event in
                        if case .task = event, !isHeard { return nil }
                        return ClusterEvent(event, before: before, after: store, at: proposal.at)
                    })
            }
            return changes
        }
    }

    /// Another state takes the place of this one.
    func replace(with new: ClusterStore) { store.withLock { $0 = new } }
}

/// What entries changed that more than the state depends on.
package struct AppliedChanges: Sendable {
    package var isSwarmChanged = false
    /// Nodes whose certificates say more than is true now: removed ones, and managers that are none any more.
    package var expelled: [Cluster.ID<Cluster.Node>] = []

    mutating func note(_ event: StoreEvent) {
        switch event {
        case .swarm: isSwarmChanged = true
        case .node(let old?, let new):
            if new == nil || (old.role == .manager && new?.role == .worker) { expelled.append(old.id) }
        default: break
        }
    }
}

/// How proposals stand in the log: one JSON document each, made and read here alone.
package enum Documents {
    package static func write(_ proposal: Proposal) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(proposal))
    }

    static func read<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8], entry: UInt64) throws -> Value {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw UnreadableEntry(index: entry, reason: String(describing: error))
        }
    }
}

/// A log entry that this version of apusd does not know how to apply.
package struct UnreadableEntry: Error, CustomStringConvertible {
    var index: UInt64
    var reason: String

    package var description: String {
        """
        log entry \(index) holds a change that this version of apusd cannot read (\(reason)). \
        This manager stops here, so that its state stays equal to that of the others: \
        install the version that the other managers run, and start it again.
        """
    }
}
