import ClusterModel
import ClusterStore

/// Replaces the tasks of a service that are out of date, a few at a time, and watches what becomes of them.
///
/// All it needs to know stands in the store, so a new leader goes on where the old one was.
///
/// - Source: swarmkit manager/orchestrator/update/updater.go; its messages are shown by the CLI.
enum Updates {
    static func advance(_ id: Cluster.ID<Cluster.Service>, in draft: inout Draft, alarm: inout Alarm) {
        guard let slots = ServiceSlots(id, in: draft.store) else { return }
        var service = slots.service
        let progress = Progress(slots)

        if service.update == nil || service.update?.isOver == true {
            guard !progress.outdated.isEmpty else { return }
            service.update = Cluster.UpdateStatus(state: .updating, startedAt: draft.now, message: "update in progress")
            draft.make(.putService(service))
        }
        guard let update = service.update, update.isRunning else { return }
        let config = update.state == .updating ? slots.spec.update : slots.spec.rollback

        if let failed = progress.failures(since: update.startedAt).first,
            isTooMuch(progress.failures(since: update.startedAt).count, of: slots.slots.count, config)
        {
            stop(&service, because: failed, config, in: &draft)
            if service.update?.isRunning != true || service.current != slots.service.current { return }
        }

        let busy = progress.inProgress(since: update.startedAt, delay: config.delay, now: draft.now, alarm: &alarm)
        let room = config.parallelism == 0 ? progress.outdated.count : max(0, config.parallelism - busy)
        for slot in progress.outdated.prefix(room) { replace(slot, slots, config.order, in: &draft) }
        finishStartFirst(slots, in: &draft)

        guard progress.outdated.isEmpty, progress.areAllRunning else { return }
        let watched = progress.newestStart(since: update.startedAt)?.advanced(by: config.monitor)
        if let watched, watched > draft.now { return alarm.ring(at: watched) }
        let isRollback = update.state == .rollbackStarted
        service.update?.state = isRollback ? .rollbackCompleted : .completed
        service.update?.message = isRollback ? "rollback completed" : "update completed"
        service.update?.completedAt = draft.now
        draft.make(.putService(service))
    }

    private static func isTooMuch(_ failures: Int, of slots: Int, _ config: Cluster.UpdateConfig) -> Bool {
        config.failureAction != .continue
            && Double(failures) / Double(max(1, slots)) > config.maxFailureRatio
    }

    private static func stop(
        _ service: inout Cluster.Service, because failed: Cluster.Task, _ config: Cluster.UpdateConfig,
        in draft: inout Draft
    ) {
        let cause = "due to failure or early termination of task \(failed.id)"
        if config.failureAction == .rollback, service.update?.state == .updating, let previous = service.previous {
            service.current = previous
            service.previous = nil
            service.update = Cluster.UpdateStatus(
                state: .rollbackStarted, startedAt: draft.now, message: "update rolled back \(cause)")
        } else if service.update?.state == .rollbackStarted {
            service.update?.state = .rollbackPaused
            service.update?.message = "rollback paused \(cause)"
        } else {
            service.update?.state = .paused
            service.update?.message = "update paused \(cause)"
        }
        draft.make(.putService(service))
    }

    private static func replace(
        _ slot: Slot, _ slots: ServiceSlots, _ order: Cluster.UpdateConfig.Order, in draft: inout Draft
    ) {
        switch order {
        case .stopFirst:
            for task in slots.wanted(slot) { draft.change(task) { $0.desired = .shutdown } }
            draft.make(.putTask(slots.newTask(in: slot, desired: .ready, draft: &draft)))
        case .startFirst:
            draft.make(.putTask(slots.newTask(in: slot, desired: .running, draft: &draft)))
        }
    }

    /// Once the new task of a slot runs, the old one may go.
    private static func finishStartFirst(_ slots: ServiceSlots, in draft: inout Draft) {
        for slot in slots.ordered {
            let wanted = slots.wanted(slot)
            guard wanted.contains(where: { slots.isCurrent($0) && $0.status.state == .running }) else { continue }
            for task in wanted where !slots.isCurrent(task) { draft.change(task) { $0.desired = .shutdown } }
        }
    }
}

/// How far an update is, read off the tasks.
private struct Progress {
    private let slots: ServiceSlots
    /// The newest task of each slot that runs, or will run, what is wanted now.
    private let current: [(slot: Slot, task: Cluster.Task)]
    /// Slots that hold only older tasks, in order.
    let outdated: [Slot]

    init(_ slots: ServiceSlots) {
        self.slots = slots
        let held = slots.ordered.filter { !slots.wanted($0).isEmpty }
        current = held.compactMap { slot in
            slots.wanted(slot).last(where: slots.isCurrent).map { (slot, $0) }
        }
        let upToDate = Set(current.map(\.slot))
        outdated = held.filter { !upToDate.contains($0) }
    }

    var areAllRunning: Bool { current.allSatisfy { $0.task.status.state == .running } }

    /// Slots that are being replaced, or were replaced less than `delay` ago.
    func inProgress(since start: Cluster.Timestamp, delay: Int64, now: Cluster.Timestamp, alarm: inout Alarm) -> Int {
        var busy = 0
        for (_, task) in current where task.meta.createdAt >= start {
            guard task.status.state == .running else {
                busy += 1
                continue
            }
            let free = task.meta.updatedAt.advanced(by: delay)
            if free > now {
                busy += 1
                alarm.ring(at: free)
            }
        }
        return busy
    }

    /// The first failed task of each slot that failed with what is wanted now.
    func failures(since start: Cluster.Timestamp) -> [Cluster.Task] {
        slots.ordered.compactMap { slot in
            slots.slots[slot, default: []].first {
                slots.isCurrent($0) && $0.meta.createdAt >= start
                    && ($0.status.state == .failed || $0.status.state == .rejected)
            }
        }
    }

    func newestStart(since start: Cluster.Timestamp) -> Cluster.Timestamp? {
        current.filter { $0.task.meta.createdAt >= start }.map(\.task.meta.updatedAt).max()
    }
}

extension Cluster.UpdateStatus {
    var isRunning: Bool { state == .updating || state == .rollbackStarted }
    var isOver: Bool { state == .completed || state == .rollbackCompleted }
}
