package import Raft

/// What consensus is about: made by committed entries, the same on every member.
package protocol StateMachine: Sendable {
    /// Called one call after another, in the order of the log.
    func apply(_ entries: [Entry]) throws
    /// The state as of the last entry that was applied, at no cost; nil for a state of which no snapshots are made.
    func freeze() -> (any FrozenState)?
    /// The state becomes that of a snapshot that is on this member's disk.
    func install(_ meta: SnapshotMeta) throws
    /// The numbers that the state itself holds for consensus; nil for the usual ones.
    var consensus: ConsensusNumbers? { get }
}

/// What the spec of the swarm says about consensus.
package struct ConsensusNumbers: Sendable, Equatable {
    /// Entries from one snapshot to the next.
    package var snapshotInterval: LogIndex = 10_000
    package var retention = SnapshotRetention(oldSnapshots: 0, entries: 500)
    package var electionTicks = 10
    package var heartbeatTicks = 1

    package init() {}

    /// - Returns: nil where these numbers would keep no leader in office.
    package func applied(to settings: Settings) -> Settings? {
        guard heartbeatTicks > 0, electionTicks > heartbeatTicks else { return nil }
        var settings = settings
        settings.electionTicks = electionTicks
        settings.heartbeatTicks = heartbeatTicks
        settings.keptEntries = retention.entries
        return settings
    }
}

/// A state that is made by entries alone.
struct AppliedOnly: StateMachine {
    let make: @Sendable ([Entry]) throws -> Void

    func apply(_ entries: [Entry]) throws { try make(entries) }
    func freeze() -> (any FrozenState)? { nil }
    func install(_ meta: SnapshotMeta) throws { throw ProposeError.refused("this state is made by entries alone") }
    var consensus: ConsensusNumbers? { nil }
}
