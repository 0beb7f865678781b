public import ClusterModel

/// From what a manager tells a node to what the plan and the names are made of.
extension OverlayNetwork {
    /// Nil for a network that no overlay carries.
    public init?(_ fact: Dispatch.NetworkOnNode) {
        let network = fact.network
        guard let vni = network.vni.flatMap({ UInt32(exactly: $0) }) else { return nil }
        self.init(
            id: network.id, name: network.spec.name, vni: vni, subnets: network.subnets.map(\.subnet),
            gateways: Dictionary(grouping: fact.gateways, by: \.node).mapValues { $0.map(\.address) },
            mtu: network.spec.mtu, isIngress: network.spec.isIngress, isInternal: network.spec.isInternal,
            isEncrypted: network.spec.isEncrypted)
    }
}

extension NetworkedService {
    /// The label `apus.publish.source` says for all of a service's ports whose address its tasks see: `keep`, `local`
    /// or `masquerade`.
    public static let sourceLabel = "apus.publish.source"

    public init(_ fact: Dispatch.ServiceOnNetwork) {
        let source = fact.labels[Self.sourceLabel].flatMap { PublishedPort.Source(rawValue: $0) } ?? .keep
        self.init(
            id: fact.id, name: fact.name,
            virtualIPs: Dictionary(grouping: fact.endpoint.virtualIPs, by: \.network).mapValues { $0.map(\.address) },
            aliases: Dictionary(
                fact.networks.compactMap { reference in
                    OverlayNetwork.ID(reference.target).map { ($0, reference.aliases) }
                }, uniquingKeysWith: +),
            ports: fact.endpoint.ports.compactMap { port in
                guard let published = UInt16(exactly: port.published), let target = UInt16(exactly: port.target),
                    published > 0, target > 0
                else { return nil }
                return PublishedPort(
                    PublishedPort.Transport(port.transport), published: published, target: target,
                    mode: port.mode == .ingress ? .ingress : .host, source: source)
            })
    }
}

extension PublishedPort.Transport {
    init(_ transport: Cluster.PortConfig.Transport) {
        switch transport {
        case .tcp: self = .tcp
        case .udp: self = .udp
        case .sctp: self = .sctp
        }
    }
}

extension Endpoint {
    /// One for each network that the task is on.
    public static func all(_ fact: Dispatch.TaskOnNetwork) -> [Endpoint] {
        Dictionary(grouping: fact.attachments, by: \.network).sorted { $0.key < $1.key }.map { network, attachments in
            Endpoint(
                task: fact.task, network: network, node: fact.node, addresses: attachments.map(\.address).sorted(),
                service: fact.service, slot: fact.slot, state: fact.isServing ? .serving : .draining)
        }
    }
}

extension NetworkView {
    /// A whole picture, as this node sees it. Peers are the nodes that share a network with it.
    public init(
        node: ThisNode, networks: some Sequence<Dispatch.NetworkOnNode>,
        services: some Sequence<Dispatch.ServiceOnNetwork>,
        endpoints: some Sequence<Dispatch.TaskOnNetwork>
    ) {
        let networks = networks.sorted { $0.network.id < $1.network.id }
        let peers = networks.flatMap(\.gateways).filter { $0.node != node.id }.map {
            Peer(id: $0.node, address: $0.dataPath, number: $0.number)
        }
        self.init(
            node: node,
            peers: Dictionary(peers.map { ($0.id, $0) }) { $1 }.values.sorted { $0.number < $1.number },
            networks: networks.compactMap(OverlayNetwork.init), endpoints: endpoints.flatMap(Endpoint.all),
            services: services.map(NetworkedService.init))
    }
}
