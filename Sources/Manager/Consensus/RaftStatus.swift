package import Raft

/// What a member looks like from outside, published after each turn of its loop.
package struct RaftStatus: Sendable {
    package var role = RaftMachine.Role.follower
    package var term: Term = 0
    package var leader: MemberID?
    package var commitIndex: LogIndex = 0
    package var appliedIndex: LogIndex = 0
    package var lastIndex: LogIndex = 0
    /// How far the log is on this member's own disk.
    package var persistedIndex: LogIndex = 0
    /// How far this member's newest snapshot reaches; 0 without one.
    package var snapshotIndex: LogIndex = 0
    /// The first entry that is still in memory.
    package var firstIndex: LogIndex = 0
    package var membership = Membership([])
    /// A leader's followers, learners too; empty for all others.
    package var progress: [FollowerProgress] = []
    /// Out of the group by a committed change: it will never be needed again.
    package var wasRemoved = false
    package var inboxDepth = 0
    package var diskWrites = 0
    package var lastDiskWrite = Duration.zero
    package var slowestDiskWrite = Duration.zero
}

package struct FollowerProgress: Sendable, Equatable {
    package var id: MemberID
    /// Durable there and the same as here up to this index.
    package var match: LogIndex
    package var next: LogIndex
    /// Heard within the last election timeout.
    package var recentActive: Bool
    package var isLearner: Bool
    package var inflight: Int
    package var state: MemberProgress.State
}

extension RaftStatus {
    init(of machine: RaftMachine) {
        role = machine.role
        term = machine.term
        leader = machine.leader
        commitIndex = machine.commitIndex
        appliedIndex = machine.appliedIndex
        lastIndex = machine.lastIndex
        persistedIndex = machine.persistedIndex
        firstIndex = machine.firstIndex
        membership = machine.membership
        progress = machine.progress.map { follower in
            FollowerProgress(
                id: follower.id, match: follower.match, next: follower.next, recentActive: follower.isRecentlyActive,
                isLearner: follower.isLearner, inflight: follower.inflight, state: follower.state)
        }
    }
}
