public import ClusterModel

/// What one node has to know of the cluster to answer for its networks: the input of every plan.
///
/// It is derived from the replicated store, never gathered by gossip. What managers refuse (two services on one published
/// port, overlapping subnets, a node number twice) is taken as refused already.
public struct NetworkView: Sendable, Equatable, Codable {
    public var node: ThisNode
    public var peers: [Peer]
    public var networks: [OverlayNetwork]
    public var endpoints: [Endpoint]
    public var services: [NetworkedService]

    public init(
        node: ThisNode, peers: [Peer] = [], networks: [OverlayNetwork] = [], endpoints: [Endpoint] = [],
        services: [NetworkedService] = []
    ) {
        self.node = node
        self.peers = peers
        self.networks = networks
        self.endpoints = endpoints
        self.services = services
    }
}

/// The node whose kernel is planned.
public struct ThisNode: Sendable, Equatable, Codable {
    public var id: Cluster.ID<Cluster.Node>
    /// Where other nodes send this one's overlay packets.
    public var address: IPAddress
    /// The largest packet that the network beneath the overlays carries, in bytes.
    public var underlayMTU: Int
    /// The UDP port of the overlays' packets on every node.
    public var overlayPort: UInt16
    /// Where the node's name server listens on 127.0.0.1, UDP and TCP.
    public var resolverPort: UInt16
    public var kernel: KernelOffers

    public init(
        id: Cluster.ID<Cluster.Node>, address: IPAddress, underlayMTU: Int = 1500, overlayPort: UInt16 = 4789,
        resolverPort: UInt16 = 5399, kernel: KernelOffers = .init()
    ) {
        self.id = id
        self.address = address
        self.underlayMTU = underlayMTU
        self.overlayPort = overlayPort
        self.resolverPort = resolverPort
        self.kernel = kernel
    }
}

/// What a kernel can do beyond what every supported kernel can (VXLAN, nftables with NAT).
public struct KernelOffers: Sendable, Equatable, Codable {
    /// Bridged packets pass the packet filter: virtual IPs keep the caller's address.
    public var bridgeNetfilter: Bool
    /// Connection marks and routes by mark: published ports keep the caller's address across nodes.
    public var connectionMarks: Bool
    public var sctp: Bool
    public var wireGuard: Bool

    public init(
        bridgeNetfilter: Bool = true, connectionMarks: Bool = true, sctp: Bool = true, wireGuard: Bool = false
    ) {
        self.bridgeNetfilter = bridgeNetfilter
        self.connectionMarks = connectionMarks
        self.sctp = sctp
        self.wireGuard = wireGuard
    }
}

/// Another node of the cluster.
public struct Peer: Sendable, Equatable, Codable {
    /// A connection that this peer took carries the number in its mark, so that replies find the way back.
    /// Twelve bits, never 0; unique in the cluster while the node is a member.
    public static let numbers = 1...4095

    public var id: Cluster.ID<Cluster.Node>
    public var address: IPAddress
    public var number: Int

    public init(id: Cluster.ID<Cluster.Node>, address: IPAddress, number: Int) {
        self.id = id
        self.address = address
        self.number = number
    }
}

/// A network that spans nodes: a bridge on each of them, joined by VXLAN.
public struct OverlayNetwork: Sendable, Equatable, Codable {
    public typealias ID = Cluster.ID<Cluster.Network>

    public enum BridgeMaker: String, Sendable, Codable {
        /// The container engine, as the bridge of its own network: it is waited for and never removed.
        case engine
        /// This plane, where no engine is in the game.
        case plane
    }

    public var id: ID
    public var name: String
    /// The VXLAN network identifier, 24 bits.
    public var vni: UInt32
    public var subnets: [IPSubnet]
    /// Every member node's own address on the network, one for each family: what its containers route through.
    public var gateways: [Cluster.ID<Cluster.Node>: [IPAddress]]
    /// In bytes; nil: what the network beneath leaves.
    public var mtu: Int?
    /// Published ports are reached through this network. One network of a cluster is.
    public var isIngress: Bool
    /// No way out, and nothing is answered beyond the network's own names.
    public var isInternal: Bool
    public var isEncrypted: Bool
    public var bridgeMaker: BridgeMaker

    public init(
        id: ID, name: String, vni: UInt32, subnets: [IPSubnet], gateways: [Cluster.ID<Cluster.Node>: [IPAddress]],
        mtu: Int? = nil, isIngress: Bool = false, isInternal: Bool = false, isEncrypted: Bool = false,
        bridgeMaker: BridgeMaker = .engine
    ) {
        self.id = id
        self.name = name
        self.vni = vni
        self.subnets = subnets
        self.gateways = gateways
        self.mtu = mtu
        self.isIngress = isIngress
        self.isInternal = isInternal
        self.isEncrypted = isEncrypted
        self.bridgeMaker = bridgeMaker
    }

    /// The bridge's name on every node; within the kernel's 15 bytes.
    public var bridge: String { "apus-\(vni)" }
    /// The VXLAN device's name on every node.
    public var tunnel: String { Self.tunnelPrefix + String(vni) }
    /// What a device of ours begins with.
    public static let tunnelPrefix = "apvx-"
}

/// A task's place on a network.
public struct Endpoint: Sendable, Equatable, Codable {
    public struct ID: Sendable, Hashable, Comparable {
        public var task: Cluster.ID<Cluster.Task>
        public var network: OverlayNetwork.ID

        public init(task: Cluster.ID<Cluster.Task>, network: OverlayNetwork.ID) {
            self.task = task
            self.network = network
        }

        public static func < (a: Self, b: Self) -> Bool {
            a.task == b.task ? a.network < b.network : a.task < b.task
        }
    }

    public enum State: String, Sendable, Codable {
        /// Reachable by its address, but not yet offered by any name or port.
        case starting
        case serving
        /// Offered no more; what is connected stays connected.
        case draining
    }

    public var task: Cluster.ID<Cluster.Task>
    public var network: OverlayNetwork.ID
    public var node: Cluster.ID<Cluster.Node>
    /// One for each family of the network. The hardware address follows from the first.
    public var addresses: [IPAddress]
    /// Nil for a container that was attached by hand.
    public var service: Cluster.ID<Cluster.Service>?
    public var slot: Int?
    /// The container's name, hostname, and what else it is called on this network; not the service's names.
    public var names: [String]
    public var state: State

    public init(
        task: Cluster.ID<Cluster.Task>, network: OverlayNetwork.ID, node: Cluster.ID<Cluster.Node>,
        addresses: [IPAddress], service: Cluster.ID<Cluster.Service>? = nil, slot: Int? = nil,
        names: [String] = [], state: State = .serving
    ) {
        self.task = task
        self.network = network
        self.node = node
        self.addresses = addresses
        self.service = service
        self.slot = slot
        self.names = names
        self.state = state
    }

    public var id: ID { ID(task: task, network: network) }
    public var hardware: MACAddress? { addresses.first.map(MACAddress.init(for:)) }
}

/// A service as the network sees it.
public struct NetworkedService: Sendable, Equatable, Codable {
    public var id: Cluster.ID<Cluster.Service>
    public var name: String
    /// Its virtual IPs by network; none on a network where it is asked in mode `dnsrr`.
    public var virtualIPs: [OverlayNetwork.ID: [IPAddress]]
    /// Other names for it, by network.
    public var aliases: [OverlayNetwork.ID: [String]]
    public var ports: [PublishedPort]

    public init(
        id: Cluster.ID<Cluster.Service>, name: String, virtualIPs: [OverlayNetwork.ID: [IPAddress]] = [:],
        aliases: [OverlayNetwork.ID: [String]] = [:], ports: [PublishedPort] = []
    ) {
        self.id = id
        self.name = name
        self.virtualIPs = virtualIPs
        self.aliases = aliases
        self.ports = ports
    }
}

/// A port that every node answers for.
public struct PublishedPort: Sendable, Hashable, Codable {
    public enum Transport: String, Sendable, Codable { case tcp, udp, sctp }

    public enum Mode: String, Sendable, Codable {
        case ingress
        /// The engine publishes it where the task runs: nothing to plan.
        case host
    }

    /// Whose address the task sees.
    public enum Source: String, Sendable, Codable {
        /// The caller's, whichever node it called.
        case keep
        /// The caller's; only nodes with a task of the service answer.
        case local
        /// The node's, as Swarm does it.
        case masquerade
    }

    public var transport: Transport
    public var published: UInt16
    public var target: UInt16
    public var mode: Mode
    public var source: Source
    /// Answer on this address of the node alone; nil: on all of them.
    public var address: IPAddress?

    public init(
        _ transport: Transport = .tcp, published: UInt16, target: UInt16, mode: Mode = .ingress, source: Source = .keep,
        address: IPAddress? = nil
    ) {
        self.transport = transport
        self.published = published
        self.target = target
        self.mode = mode
        self.source = source
        self.address = address
    }
}
