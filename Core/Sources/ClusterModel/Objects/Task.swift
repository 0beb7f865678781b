extension Cluster {
    /// One container that should run, on one node, for one slot of a service.
    ///
    /// Small, because there may be a million: what to run stands in the revision that it names.
    public struct Task: Sendable, Equatable, Codable {
        public var id: ID<Task>
        public var meta: Meta
        public var service: ID<Service>
        /// 1 and up for replicated services.
        public var slot: Int
        public var revision: Revision.Number
        public var node: ID<Node>?
        /// What the cluster wants of it. Only moves forward.
        public var desired: State
        public var status: TaskStatus
        /// A replacement for a failed task waits, desired `ready`, until this moment.
        public var startNotBefore: Timestamp?
        /// How often its slot was restarted in a row, within the window of the restart policy.
        public var attempt = 0
        /// The restart policy gives it no successor: its slot stays as it is until the service changes.
        public var isFinal = false
        /// Its addresses. Given when it gets a node, and its own until it has ended; after that they tell what was.
        public var attachments: [NetworkAttachment] = []

        public init(
            id: ID<Task>, service: ID<Service>, slot: Int, revision: Revision.Number, node: ID<Node>? = nil,
            desired: State = .running, status: TaskStatus, at now: Timestamp
        ) {
            self.id = id
            meta = Meta(createdAt: now)
            self.service = service
            self.slot = slot
            self.revision = revision
            self.node = node
            self.desired = desired
            self.status = status
        }
    }

    public struct TaskStatus: Sendable, Equatable, Codable {
        public var state: Task.State
        public var timestamp: Timestamp
        public var message: String
        /// Why it is not where it should be; empty when all is well.
        public var error: String
        public var container: ContainerStatus?
        /// What the engine really published in host mode.
        public var ports: [PortConfig]

        public init(
            _ state: Task.State, at timestamp: Timestamp, message: String, error: String = "",
            container: ContainerStatus? = nil, ports: [PortConfig] = []
        ) {
            self.state = state
            self.timestamp = timestamp
            self.message = message
            self.error = error
            self.container = container
            self.ports = ports
        }
    }

    public struct ContainerStatus: Sendable, Equatable, Codable {
        public var id: String
        public var pid: Int
        public var exitCode: Int

        public init(id: String, pid: Int = 0, exitCode: Int = 0) {
            self.id = id
            self.pid = pid
            self.exitCode = exitCode
        }
    }
}

extension Cluster.Task {
    /// How far a task has come. Ordered: a task only ever moves forward.
    ///
    /// - Source: swarmkit design/task_model.md; api/types.proto `TaskState`.
    public enum State: String, Sendable, Comparable, Codable, CaseIterable {
        case new, allocated, pending, assigned, accepted, preparing, ready, starting, running
        case complete, shutdown, failed, rejected, remove, orphaned

        public static func < (a: Self, b: Self) -> Bool { a.order < b.order }

        private var order: Int { Self.allCases.firstIndex(of: self)! }

        /// True from `complete` on: nothing of it runs any more.
        public var isTerminal: Bool { self > .running }
    }

    /// It runs or is on its way to run, and the cluster still wants it to.
    public var isLive: Bool { desired <= .running && !status.state.isTerminal }
}
