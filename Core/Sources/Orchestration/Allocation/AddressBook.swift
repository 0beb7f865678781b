import ClusterModel
import ClusterStore

/// What the swarm's networks have given out: addresses, VXLAN identifiers, published ports.
///
/// Nothing of it is stored by itself: it is read off the objects that hold it, so nothing can leak. An address is held
/// by a service while its endpoint names it, by a node while it is a gateway there, and by a task until it has ended.
/// Kept up with the store's events; noting one twice does no harm.
struct AddressBook: Sendable {
    typealias NetworkID = Cluster.ID<Cluster.Network>
    typealias ServiceID = Cluster.ID<Cluster.Service>

    struct Port: Hashable, Sendable {
        var transport: Cluster.PortConfig.Transport
        var number: Int
    }

    /// Swarm mode's range for published ports that the user leaves open.
    static let dynamicPorts = 30_000...32_767
    /// Lower identifiers are left to the user's own VXLANs, as by swarmkit.
    static let vnis = 4_096..<(1 << 24)

    private var pools: [NetworkID: [AddressPool]] = [:]
    private var vnisTaken: Set<Int> = []
    private var ingressPorts: [Port: ServiceID] = [:]
    private var hostPorts: [Port: Set<ServiceID>] = [:]
    private var nextDynamicPort = dynamicPorts.lowerBound

    init(_ store: ClusterStore) {
        for network in store.networks { note(.network(old: nil, new: network)) }
        for node in store.nodes { note(.node(old: nil, new: node)) }
        for service in store.services { note(.service(old: nil, new: service)) }
        for task in store.tasks { note(.task(old: nil, new: task)) }
    }

    mutating func note(_ event: StoreEvent) {
        switch event {
        case .network(let old, let new):
            if let old, new == nil {
                pools[old.id] = nil
                if let vni = old.vni { vnisTaken.remove(vni) }
            }
            if let new, pools[new.id] == nil {
                pools[new.id] = new.subnets.map(AddressPool.init)
                if let vni = new.vni { vnisTaken.insert(vni) }
            }
        case .node(let old, let new): replace(old?.attachments ?? [], by: new?.attachments ?? [])
        case .task(let old, let new): replace(Self.held(by: old), by: Self.held(by: new))
        case .service(let old, let new):
            replace(old?.endpoint.virtualIPs ?? [], by: new?.endpoint.virtualIPs ?? [])
            if let old { forget(old.endpoint.ports, of: old.id) }
            if let new { remember(new.endpoint.ports, of: new.id) }
        default: break
        }
    }

    private static func held(by task: Cluster.Task?) -> [Cluster.NetworkAttachment] {
        task.map { $0.status.state.isTerminal ? [] : $0.attachments } ?? []
    }

    private mutating func replace(_ old: [Cluster.NetworkAttachment], by new: [Cluster.NetworkAttachment]) {
        guard old != new else { return }
        for attachment in old where !new.contains(attachment) { free(attachment) }
        for attachment in new { hold(attachment) }
    }

    private mutating func hold(_ attachment: Cluster.NetworkAttachment) {
        guard let place = pool(of: attachment) else { return }
        pools[attachment.network]![place].hold(attachment.address)
    }

    private mutating func free(_ attachment: Cluster.NetworkAttachment) {
        guard let place = pool(of: attachment) else { return }
        pools[attachment.network]![place].free(attachment.address)
    }

    private func pool(of attachment: Cluster.NetworkAttachment) -> Int? {
        pools[attachment.network]?.firstIndex { $0.subnet.contains(attachment.address) }
    }
}

// MARK: - Addresses

extension AddressBook {
    /// One address more on a network. Taken at once; it stays so when an object that names it is made.
    mutating func take(on network: Cluster.Network) throws(NoAddressLeft) -> Cluster.NetworkAttachment {
        for place in pools[network.id, default: []].indices {
            if let address = pools[network.id]![place].take() {
                return .init(network: network.id, address: address, prefix: pools[network.id]![place].subnet.prefix)
            }
        }
        throw NoAddressLeft(network: network.spec.name, subnets: network.subnets.map(\.subnet))
    }

    /// Gives back what was taken for something that is not made after all.
    mutating func giveBack(_ attachments: [Cluster.NetworkAttachment]) {
        for attachment in attachments { free(attachment) }
    }

    /// How many addresses are taken, of how many.
    func usage(of network: NetworkID) -> (taken: Int, of: Int) {
        pools[network, default: []].reduce((0, 0)) { ($0.0 + $1.taken, $0.1 + $1.capacity) }
    }

    func isTaken(_ address: IPAddress, on network: NetworkID) -> Bool {
        pools[network, default: []].contains { $0.isTaken(address) }
    }
}

/// Why a task or a service gets no address.
struct NoAddressLeft: Error, Equatable, CustomStringConvertible {
    var network: String
    var subnets: [IPSubnet]

    var description: String {
        """
        no address is left on the network \(network) (\(subnets.map(\.description).joined(separator: ", "))): \
        remove tasks from it, or make a network with a larger subnet
        """
    }
}

// MARK: - Networks

extension AddressBook {
    mutating func takeVNI() -> Int? {
        guard let free = Self.vnis.first(where: { !vnisTaken.contains($0) }) else { return nil }
        vnisTaken.insert(free)
        return free
    }

    /// The first subnet of the pools that overlaps none of those there are.
    static func freeSubnet(of pools: [IPSubnet], size: Int, beside used: [IPSubnet]) -> IPSubnet? {
        let used = used.sorted()
        for pool in pools where pool.prefix <= size {
            var candidate = IPSubnet(pool.base, prefix: size)
            while let subnet = candidate, pool.contains(subnet.base) {
                guard let obstacle = used.first(where: { $0.overlaps(subnet) }) else { return subnet }
                // What lies in the way may be larger than one step.
                candidate = max(obstacle.last, subnet.last).advanced(by: 1).flatMap { IPSubnet($0, prefix: size) }
            }
        }
        return nil
    }
}

// MARK: - Ports

extension AddressBook {
    var isIngressUsed: Bool { !ingressPorts.isEmpty }

    /// What a service publishes, with a number for each port that leaves it open.
    ///
    /// - Parameter before: the same service's ports until now; an open port keeps the number that it had.
    /// - Throws: when a number is another service's.
    /// - Source: swarmkit manager/controlapi/service.go `checkPortConflicts`, allocator/cnmallocator/portallocator.go.
    mutating func publish(
        _ wanted: [Cluster.PortConfig], for service: ServiceID, before: [Cluster.PortConfig], in store: ClusterStore
    ) throws(ControlError) -> [Cluster.PortConfig] {
        for port in wanted where port.published > 0 {
            try check(Port(transport: port.transport, number: port.published), port.mode, service, store)
        }
        var kept = before.filter { old in
            old.mode == .ingress && !wanted.contains { $0.published == old.published && $0.transport == old.transport }
        }
        var result: [Cluster.PortConfig] = []
        for var port in wanted {
            if port.mode == .ingress, port.published == 0 {
                let same = kept.firstIndex {
                    $0.target == port.target && $0.transport == port.transport && $0.name == port.name
                        && Self.dynamicPorts.contains($0.published)
                }
                if let same {
                    port.published = kept.remove(at: same).published
                } else {
                    guard let number = freePort(port.transport, beside: result) else {
                        throw .failedPrecondition(
                            "no port from 30000 to 32767 is free for \(port.target)/\(port.transport): name the published port"
                        )
                    }
                    port.published = number
                }
            }
            result.append(port)
        }
        return result
    }

    private func check(
        _ port: Port, _ mode: Cluster.PortConfig.Mode, _ service: ServiceID, _ store: ClusterStore
    ) throws(ControlError) {
        if let owner = ingressPorts[port], owner != service {
            throw Self.inUse(port, by: owner, "an ingress port", store)
        }
        if mode == .ingress, let owner = hostPorts[port, default: []].filter({ $0 != service }).min() {
            throw Self.inUse(port, by: owner, "a host-published port", store)
        }
    }

    private static func inUse(_ port: Port, by owner: ServiceID, _ kind: String, _ store: ClusterStore) -> ControlError
    {
        let name = store.service(owner).flatMap(store.currentRevision)?.spec.name ?? ""
        return .invalidArgument("port '\(port.number)' is already in use by service '\(name)' (\(owner)) as \(kind)")
    }

    private mutating func freePort(_ transport: Cluster.PortConfig.Transport, beside: [Cluster.PortConfig]) -> Int? {
        for _ in Self.dynamicPorts {
            let number = nextDynamicPort
            nextDynamicPort = number == Self.dynamicPorts.upperBound ? Self.dynamicPorts.lowerBound : number + 1
            let port = Port(transport: transport, number: number)
            if ingressPorts[port] == nil, hostPorts[port] == nil,
                !beside.contains(where: { $0.published == number && $0.transport == transport })
            {
                return number
            }
        }
        return nil
    }

    private mutating func remember(_ ports: [Cluster.PortConfig], of service: ServiceID) {
        for port in ports where port.published > 0 {
            let key = Port(transport: port.transport, number: port.published)
            if port.mode == .ingress {
                ingressPorts[key] = service
            } else {
                hostPorts[key, default: []].insert(service)
            }
        }
    }

    private mutating func forget(_ ports: [Cluster.PortConfig], of service: ServiceID) {
        for port in ports where port.published > 0 {
            let key = Port(transport: port.transport, number: port.published)
            if port.mode == .ingress {
                if ingressPorts[key] == service { ingressPorts[key] = nil }
            } else {
                hostPorts[key]?.remove(service)
                if hostPorts[key]?.isEmpty == true { hostPorts[key] = nil }
            }
        }
    }
}
