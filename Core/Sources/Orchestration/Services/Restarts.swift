import ClusterModel
import ClusterStore

/// Replaces tasks that ended, and tasks whose node is gone or should be empty.
///
/// - Source: swarmkit manager/orchestrator/restart/restart.go.
enum Restarts {
    /// A replacement does not wait longer than this for the task before it to stop.
    private static let patience: Int64 = 60_000_000_000

    static func replaceEnded(_ id: Cluster.ID<Cluster.Service>, in draft: inout Draft, alarm: inout Alarm) {
        guard let slots = ServiceSlots(id, in: draft.store) else { return }
        for slot in slots.ordered {
            for task in slots.wanted(slot) {
                if task.status.state.isTerminal, task.status.state != .orphaned {
                    // It came to nothing before its own delay was over: the next one waits for that first. Otherwise
                    // an image that does not exist would be asked for as fast as registries answer.
                    if task.desired == .ready, let moment = task.startNotBefore, moment > draft.now {
                        alarm.ring(at: moment)
                        continue
                    }
                    replace(task, in: slot, slots, draft: &draft)
                } else if !hasPlace(task, slots, in: draft.store) {
                    let rejection =
                        noLongerFits(task, slots, in: draft.store) ? rejection(of: task, at: draft.now) : nil
                    draft.change(task) {
                        $0.desired = .shutdown
                        if let rejection { $0.status = rejection }
                    }
                    // A global service follows its nodes: `Population` decides whether this one still counts.
                    guard case .number = slot, slots.wanted(slot).count == 1 else { continue }
                    draft.make(.putTask(slots.newTask(in: slot, desired: .ready, draft: &draft)))
                }
            }
        }
    }

    /// Lets tasks run whose delay is over and whose predecessor is out of the way.
    static func releaseWaiting(_ id: Cluster.ID<Cluster.Service>, in draft: inout Draft, alarm: inout Alarm) {
        guard let slots = ServiceSlots(id, in: draft.store) else { return }
        for slot in slots.ordered {
            for task in slots.wanted(slot) where task.desired == .ready {
                if let moment = task.startNotBefore, moment > draft.now {
                    alarm.ring(at: moment)
                    continue
                }
                let before = slots.slots[slot, default: []].filter {
                    $0.id != task.id && isInTheWay($0, in: draft.store)
                }
                if let last = before.map({ $0.meta.updatedAt.advanced(by: patience) }).max(), last > draft.now {
                    alarm.ring(at: last)
                    continue
                }
                draft.change(task) { $0.desired = .running }
            }
        }
    }

    private static func replace(
        _ task: Cluster.Task, in slot: Slot, _ slots: ServiceSlots, draft: inout Draft
    ) {
        let policy = slots.spec.restart
        let attempt = nextAttempt(after: task, policy)
        let isWished =
            switch policy.condition {
            case .any: true
            case .onFailure: task.status.state != .complete
            case .none: false
            }
        let isAllowed = isWished && (policy.maxAttempts == 0 || attempt <= policy.maxAttempts)
        draft.change(task) {
            $0.desired = .shutdown
            $0.isFinal = !isAllowed
        }
        guard isAllowed, slots.wanted(slot).count == 1 else { return }
        var successor = slots.newTask(in: slot, desired: .ready, draft: &draft)
        successor.attempt = attempt
        successor.startNotBefore = draft.now.advanced(by: policy.delay)
        draft.make(.putTask(successor))
    }

    /// Attempts count as long as each came within the policy's window of the one before.
    private static func nextAttempt(after task: Cluster.Task, _ policy: Cluster.RestartPolicy) -> Int {
        // The leader's own clock on both ends: a worker's may be wrong.
        let lifetime = task.meta.updatedAt.nanoseconds - task.meta.createdAt.nanoseconds
        return policy.window > 0 && lifetime > policy.window ? 1 : task.attempt + 1
    }

    /// The node is there, is not being emptied, and still meets the service's constraints.
    private static func hasPlace(_ task: Cluster.Task, _ slots: ServiceSlots, in store: ClusterStore) -> Bool {
        guard let id = task.node else { return true }
        guard let node = store.node(id) else { return false }
        // A node of which nothing was heard yet, after a change of leader, is given its time.
        return node.status.state != .down && node.spec.availability != .drain
            && !noLongerFits(task, slots, in: store)
    }

    /// The node changed, and its task's constraints do not allow it any more.
    ///
    /// - Source: swarmkit manager/orchestrator/constraintenforcer.
    private static func noLongerFits(_ task: Cluster.Task, _ slots: ServiceSlots, in store: ClusterStore) -> Bool {
        // By the constraints under which it was placed: newer ones are the update's business, which is gradual.
        guard let node = task.node.flatMap(store.node),
            let constraints = store.revision(task.revision, of: task.service)?.spec.constraints
        else { return false }
        return !constraints.allSatisfy { $0.matches(node) }
    }

    private static func rejection(of task: Cluster.Task, at now: Cluster.Timestamp) -> Cluster.TaskStatus {
        var status = task.status
        status.state = .rejected
        status.timestamp = now
        status.message = "task rejected by constraint enforcer"
        status.error = "assigned node no longer meets constraints"
        return status
    }

    /// It may still run: it was started somewhere, has not ended, and its node is not known to be lost.
    private static func isInTheWay(_ task: Cluster.Task, in store: ClusterStore) -> Bool {
        guard task.desired > .running, !task.status.state.isTerminal, task.status.state >= .assigned,
            let node = task.node.flatMap(store.node)
        else { return false }
        return node.status.state != .down
    }
}
