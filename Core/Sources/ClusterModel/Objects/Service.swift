extension Cluster {
    /// A wish: this image, so many times, kept so.
    public struct Service: Sendable, Equatable, Codable {
        public var id: ID<Service>
        public var meta: Meta
        /// What is wanted now; `Revision` objects hold the words.
        public var current: Revision.Number
        /// What one `rollback` goes back to.
        public var previous: Revision.Number?
        /// The newest number given; numbers are not used twice.
        public var newest: Revision.Number
        public var update: UpdateStatus?
        /// What was given out to it, for what `current` asks.
        public var endpoint = Endpoint()

        public init(id: ID<Service>, at now: Timestamp) {
            self.id = id
            meta = Meta(createdAt: now)
            current = 1
            newest = 1
        }
    }

    /// One version of a service's spec, stored once; tasks refer to it by number.
    public struct Revision: Sendable, Equatable, Codable {
        public typealias Number = UInt64

        public var service: ID<Service>
        public var number: Number
        /// The oldest revision that runs the same containers. Tasks of revisions with an equal template need
        /// no replacement when the service moves from one to the other: so `scale` restarts nothing.
        public var template: Number
        public var spec: ServiceSpec
        public var createdAt: Timestamp
        /// The client's registry credentials (`X-Registry-Auth`), for the nodes that pull. Never shown.
        public var registryAuth: String?

        public init(
            service: ID<Service>, number: Number, template: Number, spec: ServiceSpec, createdAt: Timestamp,
            registryAuth: String?
        ) {
            self.service = service
            self.number = number
            self.template = template
            self.spec = spec
            self.createdAt = createdAt
            self.registryAuth = registryAuth
        }
    }

    /// How far an update of a service has come.
    public struct UpdateStatus: Sendable, Equatable, Codable {
        public enum State: String, Sendable, Codable {
            case updating, paused, completed
            case rollbackStarted = "rollback_started"
            case rollbackPaused = "rollback_paused"
            case rollbackCompleted = "rollback_completed"
        }

        public var state: State
        public var startedAt: Timestamp
        public var completedAt: Timestamp?
        public var message: String

        public init(state: State, startedAt: Timestamp, message: String) {
            self.state = state
            self.startedAt = startedAt
            self.message = message
        }
    }

    public struct PortConfig: Sendable, Hashable, Codable {
        public enum Transport: String, Sendable, Codable { case tcp, udp, sctp }
        public enum Mode: String, Sendable, Codable { case ingress, host }

        public var name: String
        public var transport: Transport
        public var target: Int
        /// 0: the engine or the cluster chooses.
        public var published: Int
        public var mode: Mode

        public init(name: String = "", transport: Transport = .tcp, target: Int, published: Int = 0, mode: Mode) {
            self.name = name
            self.transport = transport
            self.target = target
            self.published = published
            self.mode = mode
        }
    }

    /// What decisions read of a service's spec, beside the document as it was accepted.
    ///
    /// Made only by `ServiceSpec(parsing:)`, so whoever holds one holds something that can run.
    public struct ServiceSpec: Sendable, Equatable, Codable {
        public var name: String
        public var labels: [String: String]
        public var mode: ServiceMode
        public var image: String
        /// Constraints as they were written; `Constraint` reads them.
        public var constraints: [Constraint]
        public var platforms: [Platform]
        /// 0: no limit.
        public var maxReplicasPerNode: Int
        public var reservedNanoCPUs: Int64
        public var reservedMemoryBytes: Int64
        public var ports: [PortConfig]
        public var networks: [NetworkReference]
        /// Secrets, then configs.
        public var dependencies: [DependencyReference]
        public var resolution: Resolution
        public var restart: RestartPolicy
        public var update: UpdateConfig
        public var rollback: UpdateConfig
        /// Nanoseconds between the stop signal and the kill.
        public var stopGracePeriod: Int64
        /// The whole spec as the client sent it (JSON).
        public var document: String
        /// What makes a task of it: equal texts need no replacement of tasks.
        public var template: String
    }

    /// How the name of a service is answered.
    public enum Resolution: String, Sendable, Codable {
        /// With one virtual address, spread over its tasks.
        case vip
        /// With the addresses of its tasks.
        case dnsrr
    }

    public enum ServiceMode: Sendable, Equatable, Codable {
        case replicated(Int)
        case global

        public var replicas: Int? { if case .replicated(let count) = self { count } else { nil } }
    }

    public struct Platform: Sendable, Equatable, Codable {
        public var os: String
        public var architecture: String
        public init(os: String, architecture: String) {
            self.os = os
            self.architecture = architecture
        }
    }

    public struct RestartPolicy: Sendable, Equatable, Codable {
        public enum Condition: String, Sendable, Codable {
            case none, any
            case onFailure = "on-failure"
        }

        public var condition: Condition = .any
        /// Nanoseconds from the failure to the start of the replacement.
        public var delay: Int64 = 5_000_000_000
        /// 0: no limit.
        public var maxAttempts: Int = 0
        /// Nanoseconds over which attempts are counted; 0: for ever.
        public var window: Int64 = 0

        public init() {}
    }

    public struct UpdateConfig: Sendable, Equatable, Codable {
        public enum FailureAction: String, Sendable, Codable { case pause, `continue`, rollback }
        public enum Order: String, Sendable, Codable {
            case stopFirst = "stop-first"
            case startFirst = "start-first"
        }

        /// Slots replaced at the same time; 0: all.
        public var parallelism: Int = 1
        /// Nanoseconds between two replacements.
        public var delay: Int64 = 0
        public var failureAction: FailureAction = .pause
        /// Nanoseconds for which a replaced task is watched.
        public var monitor: Int64 = 5_000_000_000
        public var maxFailureRatio: Double = 0
        public var order: Order = .stopFirst

        public init() {}
    }
}
