internal import ClusterModel
internal import EngineAPI
internal import NetworkPlan
internal import Orchestration

/// What the leader says of the networks, in the words of the plan.
struct NetworkTranslator {
    var node: Cluster.ID<Cluster.Node>
    var kernel: KernelOffers

    /// - Returns: nil while this node has no place on any network.
    func view(of picture: NetworkPicture) -> NetworkView? {
        let gateways = picture.networks.values.flatMap(\.gateways)
        guard let own = gateways.first(where: { $0.node == node }) else { return nil }
        var peers: [Cluster.ID<Cluster.Node>: Peer] = [:]
        for gateway in gateways where gateway.node != node {
            peers[gateway.node] = Peer(id: gateway.node, address: gateway.dataPath, number: gateway.number)
        }
        return NetworkView(
            node: ThisNode(id: node, address: own.dataPath, kernel: kernel),
            peers: peers.values.sorted { $0.id < $1.id },
            networks: picture.networks.values.map(network).sorted { $0.id < $1.id },
            endpoints: picture.endpoints.values.flatMap { endpoints($0, picture) }.sorted { $0.id < $1.id },
            services: picture.services.values.map(service).sorted { $0.id < $1.id })
    }

    /// For news that touch no network as a whole.
    func changes(_ news: [Dispatch.NetworkNews], _ picture: NetworkPicture) -> [NetworkChange] {
        var changes: [NetworkChange] = []
        for news in news {
            for key in news.gone {
                switch key {
                case .network: break
                case .service(let id): changes.append(.serviceRemoved(id))
                case .endpoint(let task):
                    for network in picture.networks.keys.sorted() {
                        changes.append(.endpointRemoved(.init(task: task, network: network)))
                    }
                }
            }
            for fact in news.facts {
                switch fact {
                case .network: break
                case .service(let fact): changes.append(.service(service(fact)))
                case .endpoint(let fact): changes += endpoints(fact, picture).map(NetworkChange.endpoint)
                }
            }
        }
        return changes
    }

    // MARK: Words

    private func network(_ fact: Dispatch.NetworkOnNode) -> OverlayNetwork {
        let network = fact.network
        return OverlayNetwork(
            id: network.id, name: network.spec.name, vni: UInt32(network.vni ?? 0),
            subnets: network.subnets.map(\.subnet),
            gateways: Dictionary(fact.gateways.map { ($0.node, [$0.address]) }, uniquingKeysWith: { $1 }),
            mtu: network.spec.mtu, isIngress: network.spec.isIngress, isInternal: network.spec.isInternal,
            isEncrypted: network.spec.isEncrypted)
    }

    private func endpoints(_ fact: Dispatch.TaskOnNetwork, _ picture: NetworkPicture) -> [Endpoint] {
        fact.attachments.map { attachment in
            Endpoint(
                task: fact.task, network: attachment.network, node: fact.node, addresses: [attachment.address],
                service: fact.service,
                slot: fact.slot > 0 ? fact.slot : nil, state: fact.isServing ? .serving : .starting)
        }
    }

    private func service(_ fact: Dispatch.ServiceOnNetwork) -> NetworkedService {
        var service = NetworkedService(id: fact.id, name: fact.name)
        for address in fact.endpoint.virtualIPs {
            service.virtualIPs[address.network, default: []].append(address.address)
        }
        for reference in fact.networks where !reference.aliases.isEmpty {
            guard let network = Cluster.ID<Cluster.Network>(reference.target) else { continue }
            service.aliases[network, default: []] += reference.aliases
        }
        service.ports = fact.endpoint.ports.filter { $0.mode == .ingress && $0.published > 0 }.map { port in
            PublishedPort(
                PublishedPort.Transport(rawValue: port.transport.rawValue) ?? .tcp, published: UInt16(port.published),
                target: UInt16(port.target))
        }
        return service
    }

    /// The body with which the engine makes the bridge of a network; nil where this node has no gateway on it.
    func carrier(of network: Cluster.Network, _ overlay: OverlayNetwork) -> JSON? {
        guard let gateway = overlay.gateways[node]?.first, let subnet = network.subnets.first?.subnet else {
            return nil
        }
        let mtu = network.spec.mtu ?? 1_450
        return [
            "Name": .string(network.spec.name), "Driver": "bridge", "CheckDuplicate": true,
            "Internal": .bool(network.spec.isInternal),
            "IPAM": [
                "Config": [["Subnet": .string("\(subnet)"), "Gateway": .string("\(gateway)")]]
            ],
            "Options": [
                "com.docker.network.bridge.name": .string(overlay.bridge),
                "com.docker.network.driver.mtu": .string("\(mtu)"),
            ],
            "Labels": [NetworkKeeper.carrierLabel: .string("\(network.id)")],
        ]
    }
}
