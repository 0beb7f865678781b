extension Dispatch {
    /// What a node must know to carry its tasks' traffic: a picture of the networks that it takes part in, kept true by
    /// differences. Facts about other networks are not sent.
    public struct NetworkNews: Sendable, Equatable, Codable {
        /// The log index that the picture shows.
        public var version: UInt64
        /// Nothing that was said before holds any more.
        public var isWhole: Bool
        public var facts: [NetworkFact]
        /// What is gone. A network takes along what is on it alone.
        public var gone: [NetworkFact.Key]

        public init(version: UInt64, isWhole: Bool, facts: [NetworkFact], gone: [NetworkFact.Key] = []) {
            self.version = version
            self.isWhole = isWhole
            self.facts = facts
            self.gone = gone
        }
    }

    public enum NetworkFact: Sendable, Equatable, Codable {
        case network(NetworkOnNode)
        case service(ServiceOnNetwork)
        case endpoint(TaskOnNetwork)

        public enum Key: Sendable, Hashable, Codable {
            case network(Cluster.ID<Cluster.Network>)
            case service(Cluster.ID<Cluster.Service>)
            case endpoint(Cluster.ID<Cluster.Task>)
        }

        public var key: Key {
            switch self {
            case .network(let network): .network(network.network.id)
            case .service(let service): .service(service.id)
            case .endpoint(let endpoint): .endpoint(endpoint.task)
            }
        }
    }

    /// A network, and the nodes that are on it.
    public struct NetworkOnNode: Sendable, Equatable, Codable {
        public var network: Cluster.Network
        /// By node; this one's own among them.
        public var gateways: [Gateway]

        public struct Gateway: Sendable, Equatable, Codable {
            public var node: Cluster.ID<Cluster.Node>
            /// The node's, see `Cluster.Node`.
            public var number: Int
            /// On the network: the next hop of its tasks.
            public var address: IPAddress
            /// Where its packets for other nodes arrive.
            public var dataPath: IPAddress

            public init(node: Cluster.ID<Cluster.Node>, number: Int, address: IPAddress, dataPath: IPAddress) {
                self.node = node
                self.number = number
                self.address = address
                self.dataPath = dataPath
            }
        }

        public init(network: Cluster.Network, gateways: [Gateway]) {
            self.network = network
            self.gateways = gateways
        }
    }

    public struct ServiceOnNetwork: Sendable, Equatable, Codable {
        public var id: Cluster.ID<Cluster.Service>
        public var name: String
        public var endpoint: Cluster.Endpoint
        public var resolution: Cluster.Resolution
        public var networks: [Cluster.NetworkReference]
        public var labels: [String: String]

        public init(service: Cluster.Service, spec: Cluster.ServiceSpec) {
            id = service.id
            name = spec.name
            endpoint = service.endpoint
            resolution = spec.resolution
            networks = spec.networks
            labels = spec.labels
        }
    }

    public struct TaskOnNetwork: Sendable, Equatable, Codable {
        public var task: Cluster.ID<Cluster.Task>
        public var service: Cluster.ID<Cluster.Service>
        public var slot: Int
        public var node: Cluster.ID<Cluster.Node>
        public var attachments: [Cluster.NetworkAttachment]
        /// It runs, healthy, and is wanted: names and virtual addresses may lead to it.
        public var isServing: Bool

        public init(task: Cluster.Task, node: Cluster.ID<Cluster.Node>) {
            self.task = task.id
            service = task.service
            slot = task.slot
            self.node = node
            attachments = task.attachments
            isServing = task.status.state == .running && task.desired == .running
        }
    }
}
