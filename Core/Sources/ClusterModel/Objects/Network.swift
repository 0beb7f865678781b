extension Cluster {
    /// A network of the swarm: tasks on different nodes reach each other on it as if on one link.
    public struct Network: Sendable, Equatable, Codable {
        public var id: ID<Network>
        public var meta: Meta
        public var spec: NetworkSpec
        /// The VXLAN network identifier (RFC 7348), of no other network of the swarm; nil without the overlay driver.
        public var vni: Int?
        /// What it has: as the spec says, or cut from the swarm's pools.
        public var subnets: [NetworkSubnet]

        public init(id: ID<Network>, spec: NetworkSpec, vni: Int?, subnets: [NetworkSubnet], at now: Timestamp) {
            self.id = id
            meta = Meta(createdAt: now)
            self.spec = spec
            self.vni = vni
            self.subnets = subnets
        }
    }

    public struct NetworkSubnet: Sendable, Equatable, Codable {
        public var subnet: IPSubnet
        /// Where addresses are given out; the whole subnet if nil.
        public var range: IPSubnet?
        /// What clients are told. Each node has a gateway of its own, see `NetworkAttachment`.
        public var gateway: IPAddress
        /// Addresses that are somebody else's, by the name the user gave them.
        public var reserved: [String: IPAddress]

        public init(
            subnet: IPSubnet, range: IPSubnet? = nil, gateway: IPAddress, reserved: [String: IPAddress] = [:]
        ) {
            self.subnet = subnet
            self.range = range
            self.gateway = gateway
            self.reserved = reserved
        }
    }

    /// What decisions read of a network's spec, beside the document as it was accepted.
    public struct NetworkSpec: Sendable, Equatable, Codable {
        public var name: String
        public var labels: [String: String]
        public var driver: String
        public var options: [String: String]
        /// No way out of it, and none in but from its members.
        public var isInternal: Bool
        /// Containers that are no tasks may join.
        public var isAttachable: Bool
        /// The one that carries published ports.
        public var isIngress: Bool
        /// What the user asked for; empty to have one cut from the pools.
        public var subnets: [WantedSubnet]
        /// The whole request as the client sent it (JSON).
        public var document: String

        public struct WantedSubnet: Sendable, Equatable, Codable {
            public var subnet: IPSubnet
            public var range: IPSubnet?
            public var gateway: IPAddress?
            public var reserved: [String: IPAddress]

            public init(
                subnet: IPSubnet, range: IPSubnet? = nil, gateway: IPAddress? = nil,
                reserved: [String: IPAddress] = [:]
            ) {
                self.subnet = subnet
                self.range = range
                self.gateway = gateway
                self.reserved = reserved
            }
        }

        /// It must not be sent in clear between nodes.
        public var isEncrypted: Bool { options["encrypted"].map { $0 != "false" } ?? false }

        /// Bytes, if the user asked for a number.
        public var mtu: Int? { options["com.docker.network.driver.mtu"].flatMap { Int($0) } }
    }

    /// One address on one network: a task's, or the gateway that a node is for its own tasks.
    public struct NetworkAttachment: Sendable, Hashable, Codable {
        public var network: ID<Network>
        public var address: IPAddress
        /// Of the subnet.
        public var prefix: Int

        public init(network: ID<Network>, address: IPAddress, prefix: Int) {
            self.network = network
            self.address = address
            self.prefix = prefix
        }
    }

    /// Where a service is reached: what was given out for what its spec asks.
    public struct Endpoint: Sendable, Equatable, Codable {
        /// Every published number is there, also those that the cluster chose.
        public var ports: [PortConfig]
        /// One on each of its networks, and on the ingress network if it publishes ports there; none with `dnsrr`.
        public var virtualIPs: [NetworkAttachment]

        public init(ports: [PortConfig] = [], virtualIPs: [NetworkAttachment] = []) {
            self.ports = ports
            self.virtualIPs = virtualIPs
        }
    }

    /// One of a service's networks as its spec names it.
    public struct NetworkReference: Sendable, Equatable, Codable {
        /// A network's ID, or `host`, `none`, `bridge`: the node's own.
        public var target: String
        public var aliases: [String]
        public var options: [String: String]

        public init(target: String, aliases: [String] = [], options: [String: String] = [:]) {
            self.target = target
            self.aliases = aliases
            self.options = options
        }
    }
}
