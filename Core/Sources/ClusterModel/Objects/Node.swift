extension Cluster {
    /// When an object was made and last changed.
    public struct Meta: Sendable, Equatable, Codable {
        /// The log index of the last change: what clients send back as `version`.
        public var version: UInt64 = 0
        public var createdAt: Timestamp
        public var updatedAt: Timestamp

        public init(createdAt: Timestamp) {
            self.createdAt = createdAt
            updatedAt = createdAt
        }
    }

    /// What fits into the mark of a connection.
    public static let nodeNumbers = 1...4_095

    public enum Role: String, Sendable, Codable { case worker, manager }

    public enum Availability: String, Sendable, Codable {
        /// Takes new tasks.
        case active
        /// Keeps what it has and takes nothing new.
        case pause
        /// Its tasks are moved elsewhere.
        case drain
    }

    /// One machine of the swarm.
    public struct Node: Sendable, Equatable, Codable {
        public var id: ID<Node>
        public var meta: Meta
        public var spec: NodeSpec
        /// What its certificate says. Follows `spec.role`, which is what was asked for.
        public var role: Role
        public var description: NodeDescription?
        public var status: NodeStatus
        /// Its place among the managers; nil for a worker.
        public var manager: ManagerStatus?
        /// Small and its own while it is a node, 1 and up: connections that it took for others carry it in their marks.
        public var number: Int
        /// The gateways that it is for its own tasks, one for each network that it takes part in.
        public var attachments: [NetworkAttachment] = []

        public init(id: ID<Node>, spec: NodeSpec, status: NodeStatus, number: Int = 1, at now: Timestamp) {
            self.number = number
            self.id = id
            meta = Meta(createdAt: now)
            self.spec = spec
            role = spec.role
            self.status = status
        }
    }

    public struct NodeSpec: Sendable, Equatable, Codable {
        public var name: String?
        public var labels: [String: String]
        public var role: Role
        public var availability: Availability

        public init(
            name: String? = nil, labels: [String: String] = [:], role: Role, availability: Availability = .active
        ) {
            self.name = name
            self.labels = labels
            self.role = role
            self.availability = availability
        }
    }

    /// What a node says of itself each time its session opens.
    public struct NodeDescription: Sendable, Equatable, Codable {
        public var hostname: String
        public var os: String
        public var architecture: String
        /// Billionths of a CPU.
        public var nanoCPUs: Int64
        public var memoryBytes: Int64
        public var engineVersion: String
        public var engineLabels: [String: String]
        public var plugins: [Plugin]

        public struct Plugin: Sendable, Equatable, Codable {
            public var type: String
            public var name: String
            public init(type: String, name: String) {
                self.type = type
                self.name = name
            }
        }

        public init(
            hostname: String, os: String = "linux", architecture: String = "x86_64", nanoCPUs: Int64 = 0,
            memoryBytes: Int64 = 0, engineVersion: String = "", engineLabels: [String: String] = [:],
            plugins: [Plugin] = []
        ) {
            self.hostname = hostname
            self.os = os
            self.architecture = architecture
            self.nanoCPUs = nanoCPUs
            self.memoryBytes = memoryBytes
            self.engineVersion = engineVersion
            self.engineLabels = engineLabels
            self.plugins = plugins
        }
    }

    public struct NodeStatus: Sendable, Equatable, Codable {
        public enum State: String, Sendable, Codable { case unknown, down, ready, disconnected }

        public var state: State
        public var message: String
        /// The address from which its session came.
        public var address: String

        public init(state: State, message: String = "", address: String) {
            self.state = state
            self.message = message
            self.address = address
        }
    }

    public struct ManagerStatus: Sendable, Equatable, Codable {
        /// Its member ID in the Raft group; never used again after it left.
        public var member: UInt64
        /// `host:port`, where other managers reach it.
        public var address: String

        public init(member: UInt64, address: String) {
            self.member = member
            self.address = address
        }
    }
}
