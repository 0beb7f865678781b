import ClusterModel

/// What one object of the cluster asks of this node's kernel.
///
/// Each fragment is made of its object and of what the object names, so a change makes only few of them anew. Two
/// fragments never hold the same key: `Planner` relies on it.
struct Fragments {
    let node: ThisNode
    let networks: [OverlayNetwork.ID: OverlayNetwork]
    let peers: [Cluster.ID<Cluster.Node>: Peer]

    /// Nodes by their addresses on a network, for those that we can name.
    private func gateways(of network: OverlayNetwork) -> [(peer: Peer, addresses: [IPAddress])] {
        network.gateways.compactMap { id, addresses in peers[id].map { ($0, addresses) } }
    }

    /// Why this node keeps away from a network; nil if it takes part.
    func refusal(of network: OverlayNetwork) -> String? {
        guard network.isEncrypted, !node.kernel.wireGuard else { return nil }
        return
            "network \(network.name) is encrypted, and this node's kernel has no WireGuard: load the module wireguard, or place the task elsewhere"
    }

    private func joined(_ id: OverlayNetwork.ID) -> OverlayNetwork? {
        guard let network = networks[id], network.gateways[node.id] != nil, refusal(of: network) == nil else {
            return nil
        }
        return network
    }

    // MARK: - The node and its peers

    func base() -> [Item] {
        var items = Layout.chains(for: node).map(Item.chain)
        items.append(.sysctl(Sysctl("net/ipv4/ip_forward", "1")))
        if node.kernel.bridgeNetfilter {
            items.append(.sysctl(Sysctl("net/bridge/bridge-nf-call-iptables", "1")))
        }
        if networks.values.contains(where: { $0.subnets.contains { $0.base.family == .v6 } }) {
            items.append(.sysctl(Sysctl("net/ipv6/conf/all/forwarding", "1")))
            if node.kernel.bridgeNetfilter {
                items.append(.sysctl(Sysctl("net/bridge/bridge-nf-call-ip6tables", "1")))
            }
        }
        if node.kernel.connectionMarks, networks.values.contains(where: { $0.isIngress }) {
            for family in ingressFamilies {
                items += [
                    .rule(
                        PolicyRule(
                            family: family, priority: Layout.rules, mark: 0, mask: Layout.nodeMask,
                            action: .goTo(priority: Layout.rulesEnd))),
                    .rule(
                        PolicyRule(family: family, priority: Layout.rulesEnd, mark: 0, mask: 0, action: .nothing)),
                ]
            }
        }
        return items
    }

    private var ingressFamilies: [IPAddress.Family] {
        let families = Set(networks.values.filter(\.isIngress).flatMap { $0.subnets.map(\.base.family) })
        return [.v4, .v6].filter(families.contains)
    }

    /// The way back to the node that took a connection.
    private func wayBack(to peer: Peer, addresses: [IPAddress], on network: OverlayNetwork) -> [Item] {
        guard node.kernel.connectionMarks, Peer.numbers.contains(peer.number), let first = addresses.first else {
            return []
        }
        let number = UInt32(peer.number)
        let mark = number << Layout.nodeShift
        let hardware = MACAddress(for: first)
        var items: [Item] = [.element(Element("arrivals", "\(network.bridge) . \(hardware)", hex(mark)))]
        for address in addresses {
            let everything = IPSubnet(address, prefix: 0)!
            items += [
                .route(Route(table: Layout.tables + number, to: everything, via: address, device: network.bridge)),
                .rule(
                    PolicyRule(
                        family: address.family, priority: Layout.rules + number, mark: mark, mask: Layout.nodeMask,
                        action: .lookUp(table: Layout.tables + number))),
            ]
        }
        return items
    }

    // MARK: - A network

    /// In bytes: what the network beneath carries less the overlay's own headers (50 on IPv4, 70 on IPv6).
    func mtu(of network: OverlayNetwork) -> Int {
        let room = node.underlayMTU - (node.address.family == .v4 ? 50 : 70) - (network.isEncrypted ? 80 : 0)
        return min(network.mtu ?? room, room)
    }

    func items(of network: OverlayNetwork) -> [Item] {
        guard joined(network.id) != nil, let own = network.gateways[node.id], let first = own.first else { return [] }
        let (bridge, tunnel) = (network.bridge, network.tunnel)
        let made = network.bridgeMaker == .plane
        let interfaces = own.compactMap { address in
            network.subnets.first { $0.contains(address) }.map { IPSubnet.Interface(address, prefix: $0.prefix) }
        }
        var items: [Item] = [
            .bridge(
                Bridge(
                    name: bridge, maker: network.bridgeMaker, hardware: MACAddress(for: first),
                    addresses: made ? interfaces.sorted() : [], mtu: made ? mtu(of: network) : nil)),
            .tunnel(
                Tunnel(
                    name: tunnel, vni: network.vni, local: node.address, port: node.overlayPort,
                    mtu: mtu(of: network), bridge: bridge)),
            // Loose: a reply leaves a container by its default route, not always by the network that it was asked on.
            .sysctl(Sysctl("net/ipv4/conf/\(bridge)/rp_filter", "2")),
            .sysctl(Sysctl("net/ipv4/conf/\(bridge)/route_localnet", "1")),
            .element(Element("bridges", bridge)),
            .element(Element("within", "\(bridge) . \(bridge)")),
        ]
        for subnet in network.subnets {
            items.append(.element(Element("subnets\(subnet.base.family.digit)", "\(subnet)")))
        }
        for address in own {
            items.append(.element(Element("gateways\(address.family.digit)", bridge, "\(address)")))
            if address.family == .v4 { items.append(.element(Element("resolvers4", "\(bridge) . \(address)"))) }
        }
        for (peer, addresses) in gateways(of: network) where peer.id != node.id {
            items += reachable(addresses, at: peer, by: tunnel)
            if network.isIngress { items += wayBack(to: peer, addresses: addresses, on: network) }
        }
        return items
    }

    private func reachable(_ addresses: [IPAddress], at peer: Peer, by tunnel: String) -> [Item] {
        guard let first = addresses.first else { return [] }
        let hardware = MACAddress(for: first)
        return [.forwarding(Forwarding(tunnel: tunnel, hardware: hardware, remote: peer.address))]
            + addresses.map { .neighbour(Neighbour(tunnel: tunnel, address: $0, hardware: hardware)) }
    }

    // MARK: - An endpoint

    func items(of endpoint: Endpoint) -> [Item] {
        guard let network = joined(endpoint.network) else { return [] }
        if endpoint.node == node.id {
            guard endpoint.service != nil else { return [] }
            return endpoint.addresses.map { .element(Element("itself\($0.family.digit)", "\($0) . \($0)")) }
        }
        guard let peer = peers[endpoint.node] else { return [] }
        var items = reachable(endpoint.addresses, at: peer, by: network.tunnel)
        // Published connections go through the other node's routing, not past it: there they are remembered.
        if network.isIngress, node.kernel.connectionMarks, let gateways = network.gateways[peer.id] {
            for address in endpoint.addresses {
                guard let gateway = gateways.first(where: { $0.family == address.family }) else { continue }
                let alone = IPSubnet(address, prefix: address.family.bits)!
                items.append(.route(Route(table: Route.main, to: alone, via: gateway, device: network.bridge)))
                // The task's own node as a caller: its kernel takes no packet from itself that comes from elsewhere.
                if peer.address.family == address.family {
                    items.append(.element(Element("itself\(address.family.digit)", "\(peer.address) . \(address)")))
                }
            }
        }
        return items
    }

    // MARK: - A service

    /// - Parameter endpoints: all of the service's.
    func items(of service: NetworkedService, endpoints: some Collection<Endpoint>) -> [Item] {
        let serving = endpoints.filter {
            $0.state == .serving && peers[$0.node] != nil || $0.state == .serving && $0.node == node.id
        }
        var items: [Item] = []
        for (id, addresses) in service.virtualIPs {
            guard let network = joined(id) else { continue }
            let answering = serving.filter { $0.network == id }
            for address in addresses {
                items += virtualIP(address, on: network, to: answering)
            }
        }
        guard let ingress = networks.values.first(where: { $0.isIngress }), joined(ingress.id) != nil else {
            return items
        }
        let answering = serving.filter { $0.network == ingress.id }
        for port in service.ports where port.mode == .ingress && (port.transport != .sctp || node.kernel.sctp) {
            items += published(port, to: answering)
        }
        return items
    }

    private func virtualIP(_ address: IPAddress, on network: OverlayNetwork, to endpoints: [Endpoint]) -> [Item] {
        let digit = address.family.digit
        // A local route, not an address: the bridge answers for it, and the engine never sees it.
        var items: [Item] = [
            .route(
                Route(
                    table: Route.local, kind: .local, to: IPSubnet(address, prefix: address.family.bits)!, via: nil,
                    device: network.bridge)),
            .element(Element("vips\(digit)", "\(address)")),
        ]
        let targets = endpoints.flatMap(\.addresses).filter { $0.family == address.family }.sorted()
        guard !targets.isEmpty else { return items }
        let name = "vip_" + String(address.description.map { $0 == "." || $0 == ":" ? "_" : $0 })
        let ip = address.family == .v4 ? "ip" : "ip6"
        let choice =
            targets.count == 1
            ? "\(targets[0])"
            : "numgen inc mod \(targets.count) map { "
                + targets.enumerated().map { "\($0.offset) : \($0.element)" }.joined(separator: ", ") + " }"
        items.append(.chain(Chain(name: name, rules: [Chain.Rule("dnat \(ip) to \(choice)")])))
        items.append(.element(Element("services\(digit)", "\(network.bridge) . \(address)", "goto \(name)")))
        return items
    }

    private func published(_ port: PublishedPort, to endpoints: [Endpoint]) -> [Item] {
        let answering = port.source == .local ? endpoints.filter { $0.node == node.id } : endpoints
        let transport = port.transport.rawValue
        var rules: [Chain.Rule] = []
        for family in [IPAddress.Family.v4, .v6] where port.address.map({ $0.family == family }) ?? true {
            let targets = answering.flatMap(\.addresses).filter { $0.family == family }.sorted()
            guard !targets.isEmpty else { continue }
            let ip = family == .v4 ? "ip" : "ip6"
            let literal: (IPAddress) -> String = { family == .v4 ? "\($0):\(port.target)" : "[\($0)]:\(port.target)" }
            let choice =
                targets.count == 1
                ? literal(targets[0])
                : "numgen inc mod \(targets.count) map { "
                    + targets.enumerated().map { "\($0.offset) : \($0.element) . \(port.target)" }.joined(
                        separator: ", ") + " }"
            let hides = port.source == .masquerade || (!node.kernel.connectionMarks && port.source == .keep)
            let hiding = hides ? "meta mark set meta mark | \(hex(Layout.masqueradeMark)) " : ""
            rules.append(
                Chain.Rule("meta nfproto ipv\(family.digit) meta l4proto \(transport) \(hiding)dnat \(ip) to \(choice)")
            )
        }
        guard !rules.isEmpty else { return [] }
        let (set, key, suffix): (String, String, String) =
            if let address = port.address {
                (
                    "ports_at\(address.family.digit)", "\(address) . \(transport) . \(port.published)",
                    "_at_" + String(address.description.map { $0 == "." || $0 == ":" ? "_" : $0 })
                )
            } else {
                ("ports", "\(transport) . \(port.published)", "")
            }
        let name = "port_\(transport)_\(port.published)\(suffix)"
        return [.chain(Chain(name: name, rules: rules)), .element(Element(set, key, "goto \(name)"))]
    }
}

extension IPAddress.Family {
    /// "4" or "6".
    var digit: String { self == .v4 ? "4" : "6" }
}
