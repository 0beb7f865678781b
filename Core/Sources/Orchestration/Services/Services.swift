import ClusterModel
import ClusterStore

/// Brings the tasks of one service to what the service asks for.
///
/// Pure and idempotent: run again on what it made, it makes nothing. So it may run after any event, after a change
/// of leader, or twice. In a fixed order: tasks that ended or lost their node are replaced; slots are added or taken
/// away; an update replaces what is out of date; what waited its turn starts; old history goes.
enum Services {
    /// - Parameter limit: how many changes the draft may hold when this returns; the rest is for the next step.
    /// - Returns: when to look again although nothing happened; nil for never.
    static func reconcile(
        _ id: Cluster.ID<Cluster.Service>, loads: NodeLoads, limit: Int, in draft: inout Draft
    ) -> Cluster.Timestamp? {
        guard ServiceSlots(id, in: draft.store) != nil else {
            Removal.removeTasks(of: id, in: &draft)
            return nil
        }
        var alarm = Alarm()
        Restarts.replaceEnded(id, in: &draft, alarm: &alarm)
        Population.fill(id, limit: limit, in: &draft)
        Updates.advance(id, in: &draft, alarm: &alarm)
        Restarts.releaseWaiting(id, in: &draft, alarm: &alarm)
        Removal.forgetHistory(id, in: &draft)
        return alarm.at
    }
}

/// The earliest of several moments.
struct Alarm {
    private(set) var at: Cluster.Timestamp?

    mutating func ring(at moment: Cluster.Timestamp) {
        at = min(at ?? moment, moment)
    }
}

/// How many slots a service has.
enum Population {
    static func fill(_ id: Cluster.ID<Cluster.Service>, limit: Int, in draft: inout Draft) {
        guard let slots = ServiceSlots(id, in: draft.store) else { return }
        let wanted = wantedSlots(slots, in: draft.store)

        for slot in wanted where !slots.isFilled(slot) {
            guard draft.count < limit else { return }
            draft.make(.putTask(slots.newTask(in: slot, desired: .running, draft: &draft)))
        }
        for slot in slots.ordered where !wanted.contains(slot) {
            for task in slots.wanted(slot) { draft.change(task) { $0.desired = .remove } }
        }
    }

    /// Sorted. Replicated: those that exist first, the lowest free numbers for the rest; what is too many is taken
    /// from slots that do not run, then from the node that holds most of the service.
    private static func wantedSlots(_ slots: ServiceSlots, in store: ClusterStore) -> [Slot] {
        switch slots.spec.mode {
        case .global:
            return store.nodes.filter { isEligible($0, slots) }.map { .node($0.id) }

        case .replicated(let replicas):
            var filled = slots.ordered.filter(slots.isFilled)
            if filled.count > replicas {
                filled = Array(byWorth(filled, slots).prefix(replicas)).sorted()
            }
            var free = 1
            let taken = Set(filled)
            while filled.count < replicas {
                if !taken.contains(.number(free)) { filled.append(.number(free)) }
                free += 1
            }
            return filled.sorted()
        }
    }

    /// A node keeps its task of a global service while it is paused, and loses it when drained or unfit.
    private static func isEligible(_ node: Cluster.Node, _ slots: ServiceSlots) -> Bool {
        guard slots.spec.constraints.allSatisfy({ $0.matches(node) }) else { return false }
        if slots.slots[.node(node.id)]?.contains(where: \.isLive) == true {
            return node.spec.availability != .drain && node.status.state != .down
        }
        return Scheduler.refusal(of: node, load: .init(), slots.spec, slots.service.id) == nil
    }

    private static func byWorth(_ filled: [Slot], _ slots: ServiceSlots) -> [Slot] {
        var running: [Cluster.ID<Cluster.Node>?: Int] = [:]
        // Running ones first; among them, each node's first before any node's second.
        let ranked = filled.map { slot -> (slot: Slot, isDown: Int, rank: Int) in
            guard let task = slots.wanted(slot).last else { return (slot, 2, 0) }
            let rank = running[task.node, default: 0]
            running[task.node, default: 0] += 1
            return (slot, task.status.state == .running ? 0 : 1, rank)
        }
        return ranked.sorted { ($0.isDown, $0.rank, $0.slot) < ($1.isDown, $1.rank, $1.slot) }.map(\.slot)
    }
}

/// What goes, and when nothing is left of it.
enum Removal {
    /// The service is gone: its tasks go, each forgotten once nothing of it runs.
    static func removeTasks(of service: Cluster.ID<Cluster.Service>, in draft: inout Draft) {
        for task in draft.store.tasks(of: service) {
            if task.desired != .remove { draft.change(task) { $0.desired = .remove } }
            if isOver(task, in: draft.store) { draft.make(.removeTask(task.id)) }
        }
    }

    static func forgetHistory(_ id: Cluster.ID<Cluster.Service>, in draft: inout Draft) {
        guard let slots = ServiceSlots(id, in: draft.store) else { return }
        let kept = draft.store.swarm?.spec.taskHistoryLimit ?? 5
        for slot in slots.ordered {
            let tasks = slots.slots[slot, default: []]
            for task in tasks where task.desired == .remove && isOver(task, in: draft.store) {
                draft.make(.removeTask(task.id))
            }
            let history = tasks.filter { $0.desired > .running && $0.desired != .remove && isOver($0, in: draft.store) }
            // The limit counts the task that is wanted now, too.
            let room = max(0, kept - (slots.wanted(slot).isEmpty ? 0 : 1))
            for task in history.dropLast(room) { draft.make(.removeTask(task.id)) }
        }
    }

    private static func isOver(_ task: Cluster.Task, in store: ClusterStore) -> Bool {
        guard !task.status.state.isTerminal, task.status.state >= .assigned, let node = task.node else { return true }
        return store.node(node) == nil
    }
}
