/// What passes between a worker and the leader: assignments down, statuses up.
public enum Dispatch {
    /// All that a node needs to run one task.
    public struct Assignment: Sendable, Equatable, Codable {
        public var task: Cluster.ID<Cluster.Task>
        public var service: Cluster.ID<Cluster.Service>
        public var serviceName: String
        public var serviceLabels: [String: String]
        public var slot: Int
        public var node: Cluster.ID<Cluster.Node>
        public var desired: Cluster.Task.State
        /// What the cluster knows of it: after a restart of the worker, a task that once ran is not started anew.
        public var known: Cluster.TaskStatus
        /// The service's whole spec (JSON); the worker reads `TaskTemplate`.
        public var spec: String
        public var ports: [Cluster.PortConfig]
        public var stopGracePeriod: Int64
        public var registryAuth: String?
        /// Its addresses, with what its container must know of each network.
        public var attachments: [Attachment]
        /// Secrets and configs that it uses; what they hold comes apart, see `DependencyNews`.
        public var dependencies: [Cluster.DependencyReference]

        /// `<service>.<slot>.<task>`, or with the node's ID where slots mean nothing.
        public var containerName: String { "\(taskName).\(task)" }
        public var taskName: String { slot > 0 ? "\(serviceName).\(slot)" : "\(serviceName).\(node)" }

        /// One network of one task.
        public struct Attachment: Sendable, Equatable, Codable {
            public var network: Cluster.ID<Cluster.Network>
            public var name: String
            public var address: IPAddress
            public var isIngress: Bool

            public init(_ attachment: Cluster.NetworkAttachment, network: Cluster.Network) {
                self.network = network.id
                name = network.spec.name
                address = attachment.address
                isIngress = network.spec.isIngress
            }
        }

        public init(
            task: Cluster.Task, revision: Cluster.Revision, node: Cluster.ID<Cluster.Node>,
            attachments: [Attachment] = []
        ) {
            self.attachments = attachments
            self.task = task.id
            service = task.service
            serviceName = revision.spec.name
            serviceLabels = revision.spec.labels
            slot = task.slot
            self.node = node
            desired = task.desired
            known = task.status
            spec = revision.spec.document
            ports = revision.spec.ports
            stopGracePeriod = revision.spec.stopGracePeriod
            registryAuth = revision.registryAuth
            dependencies = revision.spec.dependencies
        }
    }

    public struct StatusReport: Sendable, Equatable, Codable {
        public var task: Cluster.ID<Cluster.Task>
        public var status: Cluster.TaskStatus

        public init(task: Cluster.ID<Cluster.Task>, status: Cluster.TaskStatus) {
            self.task = task
            self.status = status
        }
    }

    /// A manager that a node can turn to.
    public struct ManagerAddress: Sendable, Hashable, Codable {
        public var node: Cluster.ID<Cluster.Node>
        public var address: String

        public init(node: Cluster.ID<Cluster.Node>, address: String) {
            self.node = node
            self.address = address
        }
    }

    public enum FromWorker: Sendable, Equatable, Codable {
        /// The first word of a session.
        case hello(Cluster.NodeDescription)
        case heartbeat
        case status([StatusReport])
    }

    public enum FromManager: Sendable, Equatable, Codable {
        /// - Parameter heartbeatPeriod: nanoseconds.
        case welcome(heartbeatPeriod: Int64, role: Cluster.Role, managers: [ManagerAddress])
        /// Everything that this node should have: what is not in it goes away.
        case assignAll([Assignment])
        /// What changed since; `remove` names tasks of which nothing should be left.
        case assign([Assignment], remove: [Cluster.ID<Cluster.Task>])
        /// The managers, the role or the heartbeat changed.
        case cluster(heartbeatPeriod: Int64, role: Cluster.Role, managers: [ManagerAddress])
        /// Secrets and configs that the node's tasks use. Before the assignments that name them.
        case dependencies(DependencyNews)
        /// What changed on the networks that the node takes part in.
        case network(NetworkNews)
        /// Send what tasks wrote, on a stream of its own, until it is all or `endLogs` is heard.
        case logs(LogOrder)
        case endLogs(UInt64)
        /// Ask there instead; nil while nobody leads.
        case notLeader(ManagerAddress?)
        /// This node was removed from the swarm.
        case removed
    }
}
