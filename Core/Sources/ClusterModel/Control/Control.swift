/// What can be asked of the cluster, and what it answers. The same envelope travels from a follower to the leader.
public enum Control {
    public enum Request: Sendable, Equatable, Codable {
        case createService(Cluster.ServiceSpec, registryAuth: String?)
        case updateService(
            Cluster.ID<Cluster.Service>, version: UInt64, ServiceChange, registryAuth: RegistryAuth)
        case removeService(Cluster.ID<Cluster.Service>)
        case createDependency(Cluster.DependencySpec)
        /// The only change that there is of a secret or a config.
        case relabelDependency(
            Cluster.ID<Cluster.Dependency>, Cluster.DependencyKind, version: UInt64, labels: [String: String])
        case removeDependency(Cluster.ID<Cluster.Dependency>, Cluster.DependencyKind)
        case createNetwork(Cluster.NetworkSpec)
        case removeNetwork(Cluster.ID<Cluster.Network>)
        case updateNode(Cluster.ID<Cluster.Node>, version: UInt64, Cluster.NodeSpec)
        case removeNode(Cluster.ID<Cluster.Node>, force: Bool)
        case updateSwarm(version: UInt64, Cluster.SwarmSpec, rotate: TokenRotation)
        /// From the certificate authority: a machine with a good token becomes a node.
        case admitNode(Cluster.ID<Cluster.Node>, Cluster.NodeSpec, address: String)
        /// From Raft: this node is now, or is no longer, among the managers.
        case setManager(Cluster.ID<Cluster.Node>, Cluster.ManagerStatus?)
    }

    public enum ServiceChange: Sendable, Equatable, Codable {
        case spec(Cluster.ServiceSpec)
        case rollback
    }

    public enum RegistryAuth: Sendable, Equatable, Codable {
        case new(String)
        case fromCurrent
        case fromPrevious
    }

    /// New secrets, drawn at the edge; nil keeps the old one.
    public struct TokenRotation: Sendable, Equatable, Codable {
        public var worker: String?
        public var manager: String?

        public init(worker: String? = nil, manager: String? = nil) {
            self.worker = worker
            self.manager = manager
        }
    }

    /// What a carried-out request gives back.
    public struct Reply: Sendable, Equatable, Codable {
        /// The ID of what was created, as text; nil where nothing was.
        public var created: String?
        public var warnings: [String]
        /// The log index after which the effect can be seen. A manager that forwarded the request waits for it.
        public var index: UInt64

        public init(created: String? = nil, warnings: [String] = [], index: UInt64 = 0) {
            self.created = created
            self.warnings = warnings
            self.index = index
        }
    }

    public typealias Outcome = Result<Reply, ControlError>
}
