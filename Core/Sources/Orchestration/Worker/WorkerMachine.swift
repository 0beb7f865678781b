public import ClusterModel

/// What one node does about its tasks, as a value: assignments and news of containers in, effects out.
///
/// Every task goes one way, and no state is left twice:
///
///     accepted → preparing → ready → starting → running → complete | failed | shutdown
///                    │         │         │
///                 rejected  shutdown   failed
///
/// Nothing of it is kept on disk. After a restart the containers say how far each task came, and a task that once
/// ran but has no container left has failed: it is never started twice. Until the engine has been asked
/// (`containersFound`), nothing is begun.
///
/// - Source: swarmkit design/task_model.md; agent/exec/controller.go, `Do`.
public struct WorkerMachine: Sendable {
    public typealias TaskID = Cluster.ID<Cluster.Task>

    public enum Input: Sendable, Equatable {
        case assignAll([Dispatch.Assignment])
        case assign([Dispatch.Assignment], remove: [TaskID])
        case prepared(TaskID, containerID: String)
        case prepareFailed(TaskID, String)
        /// - Parameter hasHealthcheck: also where the check stands in the image and not in the service's spec.
        case started(TaskID, Cluster.ContainerStatus, ports: [Cluster.PortConfig], hasHealthcheck: Bool = false)
        case startFailed(TaskID, String)
        case exited(TaskID, exitCode: Int, text: String)
        case health(TaskID, isHealthy: Bool)
        case stopped(TaskID, exitCode: Int)
        /// Nothing of its container is left, whoever removed it.
        case removed(TaskID)
        /// All containers of the swarm that the engine has: at the start, and whenever its events may have been missed.
        case containersFound([Found])
        case sessionOpened
    }

    public enum Effect: Sendable, Equatable {
        /// Fetch the image and create the container.
        case prepare(Dispatch.Assignment)
        /// Give up what `prepare` began; it is answered as ever, with what came of it.
        case abandon(TaskID)
        case start(TaskID, container: String)
        case stop(TaskID, container: String, graceSeconds: Int)
        case remove(TaskID, container: String)
        /// Stop the container of a task that nobody knows, with the grace that stands in the container, and remove it.
        case discard(TaskID, container: String)
        /// Answer `removed` if the engine does not have it, and nothing if it does.
        case check(TaskID, container: String)
        case report([Dispatch.StatusReport])
    }

    /// A container that bears the label of a task.
    public struct Found: Sendable, Equatable {
        public enum State: String, Sendable, Equatable { case created, running, exited }

        public var task: TaskID
        public var container: String
        public var state: State
        public var exitCode: Int
        public var error: String
        /// nil while it is not decided.
        public var isHealthy: Bool?
        public var pid: Int
        public var hasHealthcheck: Bool
        public var ports: [Cluster.PortConfig]

        public init(
            task: TaskID, container: String, state: State, exitCode: Int = 0, error: String = "",
            isHealthy: Bool? = nil, pid: Int = 0, hasHealthcheck: Bool = false, ports: [Cluster.PortConfig] = []
        ) {
            self.task = task
            self.container = container
            self.state = state
            self.exitCode = exitCode
            self.error = error
            self.isHealthy = isHealthy
            self.pid = pid
            self.hasHealthcheck = hasHealthcheck
            self.ports = ports
        }
    }

    /// What is under way for a task's container. One thing at a time, so effects of one task never overlap.
    private enum Work: Sendable, Equatable { case idle, preparing, starting, stopping, removing }

    private struct Entry: Sendable {
        var assignment: Dispatch.Assignment
        var status: Cluster.TaskStatus
        var container: String?
        var work = Work.idle
        var hasHealthcheck: Bool
        var isHealthy: Bool?
        /// Set once it was told to stop because its health check failed.
        var isUnhealthy = false
        /// The container's process is alive, as far as we know.
        var isAlive = false
        /// Nothing of it should be left: it is forgotten once its container is gone.
        var isUnwanted = false
        var desired: Cluster.Task.State { assignment.desired }
    }

    private var entries: [TaskID: Entry] = [:]
    /// Containers found whose tasks nobody assigned so far.
    private var strays: [TaskID: Found] = [:]
    private var hasSeenContainers = false
    private var hasFullAssignment = false
    /// Every status that a task passes, in order, until it is reported at the end of the step.
    private var passed: [Dispatch.StatusReport] = []

    public init() {}

    /// Takes one input and appends what must be done about it to `effects`.
    public mutating func step(_ input: Input, now: Cluster.Timestamp, into effects: inout [Effect]) {
        switch input {
        case .assignAll(let assignments): assignAll(assignments, now, &effects)
        case .assign(let assignments, let remove):
            for assignment in assignments { assign(assignment, now, &effects) }
            for task in remove.sorted() { forget(task, now, &effects) }
        case .containersFound(let found): match(found, now, &effects)
        case .sessionOpened:
            for task in entries.keys.sorted() where !entries[task]!.isUnwanted { note(task) }
        case .prepared(let task, _), .prepareFailed(let task, _), .started(let task, _, _, _),
            .startFailed(let task, _),
            .exited(let task, _, _), .health(let task, _), .stopped(let task, _), .removed(let task):
            guard entries[task] != nil else { return }
            take(input, for: task, now)
            proceed(task, now, &effects)
        }
        report(&effects)
    }

    /// What the node says of a task now; nil where it does not have it.
    public func status(of task: TaskID) -> Cluster.TaskStatus? { entries[task]?.status }

    /// Nothing of the task runs or will run here. Never before a manager and the engine have said what there is.
    public func isDone(with task: TaskID) -> Bool {
        guard hasFullAssignment, hasSeenContainers else { return false }
        guard let entry = entries[task] else { return true }
        return entry.status.state.isTerminal && !entry.isAlive && entry.work == .idle
    }
}

// MARK: - Assignments

extension WorkerMachine {
    private mutating func assignAll(
        _ assignments: [Dispatch.Assignment], _ now: Cluster.Timestamp, _ effects: inout [Effect]
    ) {
        let wanted = Set(assignments.map(\.task))
        for assignment in assignments { assign(assignment, now, &effects) }
        for task in entries.keys.sorted() where !wanted.contains(task) { forget(task, now, &effects) }
        hasFullAssignment = true
        removeStrays(&effects)
    }

    private mutating func assign(
        _ assignment: Dispatch.Assignment, _ now: Cluster.Timestamp, _ effects: inout [Effect]
    ) {
        let task = assignment.task
        if let known = entries[task] {
            // What it runs never changes, and what is wanted of it only moves forward.
            entries[task]!.assignment.desired = max(known.desired, assignment.desired)
            if known.isUnwanted {
                entries[task]!.isUnwanted = false
                note(task)
            }
        } else {
            let isNew = assignment.known.state < .accepted
            entries[task] = Entry(
                assignment: assignment,
                status: isNew ? .init(.accepted, at: now, message: "accepted") : assignment.known,
                hasHealthcheck: ContainerDocument.hasHealthcheck(assignment))
            if isNew { note(task) }
            if let found = strays.removeValue(forKey: task) { adopt(found, now) }
        }
        proceed(task, now, &effects)
    }

    /// Stops and removes what is left of a task that the cluster no longer has.
    private mutating func forget(_ task: TaskID, _ now: Cluster.Timestamp, _ effects: inout [Effect]) {
        guard entries[task] != nil else {
            if let stray = strays.removeValue(forKey: task) {
                effects.append(.discard(task, container: stray.container))
            }
            return
        }
        entries[task]!.isUnwanted = true
        entries[task]!.assignment.desired = max(entries[task]!.desired, .shutdown)
        proceed(task, now, &effects)
    }

    private mutating func removeStrays(_ effects: inout [Effect]) {
        guard hasFullAssignment else { return }
        for task in strays.keys.sorted() {
            effects.append(.discard(task, container: strays[task]!.container))
        }
        strays = [:]
    }
}

// MARK: - Containers

extension WorkerMachine {
    /// Brings what we believe to what the engine has.
    private mutating func match(_ all: [Found], _ now: Cluster.Timestamp, _ effects: inout [Effect]) {
        hasSeenContainers = true
        strays = [:]
        for found in all.sorted(by: { ($0.task, $0.container) < ($1.task, $1.container) }) {
            if entries[found.task] != nil {
                adopt(found, now)
            } else {
                strays[found.task] = found
            }
        }
        let present = Set(all.map(\.task))
        for task in entries.keys.sorted() {
            // The list may be older than the container: the engine is asked once more.
            if !present.contains(task), let container = entries[task]!.container, entries[task]!.work == .idle {
                effects.append(.check(task, container: container))
            }
            proceed(task, now, &effects)
        }
        removeStrays(&effects)
    }

    private mutating func adopt(_ found: Found, _ now: Cluster.Timestamp) {
        let task = found.task
        // While an effect is under way, its own answer is newer than the list.
        guard entries[task]!.work == .idle else { return }
        entries[task]!.container = found.container
        entries[task]!.hasHealthcheck = found.hasHealthcheck
        // A list that says `created` may be older than the start.
        if found.state != .created { entries[task]!.isAlive = found.state == .running }
        guard !entries[task]!.status.state.isTerminal else { return }
        switch found.state {
        case .created:
            // Created and never started: as far as `ready`, unless it was already seen running.
            if entries[task]!.status.state < .ready { move(task, .ready, "prepared", now) }
        case .running:
            let status = Cluster.ContainerStatus(id: found.container, pid: found.pid)
            take(.started(task, status, ports: found.ports), for: task, now)
            if let isHealthy = found.isHealthy { take(.health(task, isHealthy: isHealthy), for: task, now) }
        case .exited:
            take(.exited(task, exitCode: found.exitCode, text: found.error), for: task, now)
        }
    }

    /// Notes what happened to a task's container.
    private mutating func take(_ input: Input, for task: TaskID, _ now: Cluster.Timestamp) {
        switch input {
        case .prepared(_, let container):
            if entries[task]!.work == .preparing { entries[task]!.work = .idle }
            entries[task]!.container = container
            move(task, .ready, "prepared", now)

        case .prepareFailed(_, let text):
            if entries[task]!.work == .preparing { entries[task]!.work = .idle }
            move(task, .rejected, "preparing", error: text, now)

        case .started(_, let container, let ports, let hasHealthcheck):
            if entries[task]!.work == .starting { entries[task]!.work = .idle }
            guard !entries[task]!.status.state.isTerminal else { return }
            entries[task]!.container = container.id
            entries[task]!.isAlive = true
            if hasHealthcheck { entries[task]!.hasHealthcheck = true }
            let before = entries[task]!.status
            entries[task]!.status.container = container
            entries[task]!.status.ports = ports
            let isCheckedFirst = entries[task]!.hasHealthcheck && entries[task]!.isHealthy != true
            let hasMoved =
                isCheckedFirst
                ? move(task, .starting, "starting", now) : move(task, .running, "started", now)
            if !hasMoved, entries[task]!.status != before { note(task) }

        case .startFailed(_, let text):
            if entries[task]!.work == .starting { entries[task]!.work = .idle }
            entries[task]!.isAlive = false
            move(task, .failed, "starting", error: "starting container failed: \(text)", now)

        case .exited(_, let exitCode, let text):
            entries[task]!.isAlive = false
            if entries[task]!.work == .starting { entries[task]!.work = .idle }
            // A stop that is under way says so itself.
            if entries[task]!.work != .stopping { end(task, exitCode, text, now) }

        case .stopped(_, let exitCode):
            if entries[task]!.work == .stopping { entries[task]!.work = .idle }
            entries[task]!.isAlive = false
            end(task, exitCode, "", now)

        case .health(_, let isHealthy):
            entries[task]!.isHealthy = isHealthy
            if isHealthy {
                if entries[task]!.isAlive, entries[task]!.status.state == .starting {
                    move(task, .running, "started", now)
                }
            } else if entries[task]!.status.state <= .running {
                entries[task]!.isUnhealthy = true
            }

        case .removed:
            if entries[task]!.work == .removing || entries[task]!.work == .stopping { entries[task]!.work = .idle }
            entries[task]!.isAlive = false
            entries[task]!.container = nil
            if entries[task]!.work == .idle { lose(task, now) }

        case .assign, .assignAll, .containersFound, .sessionOpened: break
        }
    }

    /// Its process is gone.
    private mutating func end(_ task: TaskID, _ exitCode: Int, _ text: String, _ now: Cluster.Timestamp) {
        guard !entries[task]!.status.state.isTerminal else { return }
        if let container = entries[task]!.container {
            entries[task]!.status.container = .init(id: container, exitCode: exitCode)
        }
        if entries[task]!.isUnhealthy {
            move(
                task, .failed, "started", error: "task: non-zero exit (\(exitCode)): dockerexec: unhealthy container",
                now)
        } else if entries[task]!.desired > .running {
            move(task, .shutdown, "shutdown", now)
        } else if exitCode == 0 {
            move(task, .complete, "finished", now)
        } else {
            let reason = text.isEmpty ? "" : ": \(text)"
            move(task, .failed, "started", error: "task: non-zero exit (\(exitCode))\(reason)", now)
        }
    }

    /// Its container is gone though nobody here removed it, or it never came back after a restart.
    private mutating func lose(_ task: TaskID, _ now: Cluster.Timestamp) {
        guard !entries[task]!.status.state.isTerminal, entries[task]!.status.state >= .ready else { return }
        if entries[task]!.desired > .running {
            move(task, .shutdown, "shutdown", now)
        } else {
            move(task, .failed, "started", error: "task: its container is gone", now)
        }
    }
}

// MARK: - What comes next

extension WorkerMachine {
    /// Asks for the one next thing that this task needs; nothing while something is under way.
    private mutating func proceed(_ task: TaskID, _ now: Cluster.Timestamp, _ effects: inout [Effect]) {
        guard let entry = entries[task], hasSeenContainers else { return }
        if entry.work == .preparing, entry.desired > .running,
            move(task, .shutdown, "shutdown", now)
        {
            effects.append(.abandon(task))
        }
        guard entry.work == .idle else { return }

        if entry.desired > .running || entry.isUnhealthy || entry.status.state.isTerminal {
            if entry.isAlive, let container = entry.container {
                entries[task]!.work = .stopping
                effects.append(.stop(task, container: container, graceSeconds: graceSeconds(entry)))
                return
            }
            if !entry.status.state.isTerminal { end(task, 0, "", now) }
            guard entry.isUnwanted else { return }
            if let container = entry.container {
                entries[task]!.work = .removing
                effects.append(.remove(task, container: container))
            } else {
                entries[task] = nil
                passed.removeAll { $0.task == task }
            }
            return
        }

        switch entry.status.state {
        case .new, .allocated, .pending, .assigned, .accepted, .preparing:
            move(task, .preparing, "preparing", now)
            entries[task]!.work = .preparing
            effects.append(.prepare(entries[task]!.assignment))
        case .ready, .starting:
            guard let container = entry.container else {
                // `ready` and gone is made again; what may have been started is not.
                if entry.status.state == .ready {
                    entries[task]!.work = .preparing
                    effects.append(.prepare(entry.assignment))
                } else {
                    lose(task, now)
                }
                return
            }
            guard !entry.isAlive, entry.desired == .running else { return }
            move(task, .starting, "starting", now)
            entries[task]!.work = .starting
            effects.append(.start(task, container: container))
        case .running:
            if entry.container == nil { lose(task, now) }
        case .complete, .shutdown, .failed, .rejected, .remove, .orphaned: break
        }
    }

    private func graceSeconds(_ entry: Entry) -> Int {
        ContainerDocument.wholeSeconds(entry.assignment.stopGracePeriod)
    }

    /// A task only moves forward; what would take it back is no news.
    ///
    /// - Returns: whether it moved.
    @discardableResult
    private mutating func move(
        _ task: TaskID, _ state: Cluster.Task.State, _ message: String, error: String = "", _ now: Cluster.Timestamp
    ) -> Bool {
        let before = entries[task]!.status
        guard state > before.state, !before.state.isTerminal else { return false }
        entries[task]!.status = Cluster.TaskStatus(
            state, at: now, message: message, error: error, container: before.container, ports: before.ports)
        note(task)
        return true
    }

    private mutating func note(_ task: TaskID) {
        passed.append(Dispatch.StatusReport(task: task, status: entries[task]!.status))
    }

    private mutating func report(_ effects: inout [Effect]) {
        guard !passed.isEmpty else { return }
        effects.append(.report(passed))
        passed = []
    }
}
