public import ClusterModel

/// Who is called what on this node's networks, and what a container hears that asks.
///
/// A container hears of the networks that it is on, and of no others. Kept up to date by the same changes as the plan.
public struct NameTable: Sendable {
    private var networks: [OverlayNetwork.ID: OverlayNetwork] = [:]
    private var services: [Cluster.ID<Cluster.Service>: NetworkedService] = [:]
    /// Of services, by what they are called on any network.
    private var called: [String: Set<Cluster.ID<Cluster.Service>>] = [:]
    private var endpoints: [Endpoint.ID: Endpoint] = [:]
    private var endpointsOf: [Cluster.ID<Cluster.Service>: Set<Endpoint.ID>] = [:]
    private var endpointsCalled: [String: Set<Endpoint.ID>] = [:]
    private var owners: [IPAddress: Endpoint.ID] = [:]
    private var networksOf: [Cluster.ID<Cluster.Task>: Set<OverlayNetwork.ID>] = [:]

    public init(_ view: NetworkView) { take(view) }

    /// What comes of a question.
    public enum Outcome: Sendable, Equatable {
        case reply([UInt8])
        /// Not ours to know: whoever answers for the node answers.
        case forward
    }

    /// - Parameter turn: where lists of addresses begin, so that not everybody takes the first.
    public func outcome(of query: DNSQuery, from asker: IPAddress, turn: Int) -> Outcome {
        let heard = networks(of: asker)
        guard !heard.isEmpty else { return .reply(query.failure(.refused)) }
        if query.kind == .ptr, let address = query.reverseAddress {
            return reverse(address, query, heard)
        }
        // The ingress network is a way in, not a place to find each other: Swarm gives no names there either.
        for network in heard where !network.isIngress {
            guard let addresses = addresses(of: query.name, on: network) else { continue }
            let family: IPAddress.Family? =
                switch query.kind {
                case .a: .v4
                case .aaaa: .v6
                case .any: nil
                default: .none
                }
            let fitting = addresses.filter { query.kind == .any || $0.family == family }
            return .reply(query.answer(Self.rotated(fitting, by: turn).map(DNSQuery.Record.address)))
        }
        // Who is on internal networks alone hears nothing of the world: names would carry data out.
        return heard.allSatisfy { $0.isInternal } ? .reply(query.failure(.serverFailure)) : .forward
    }

    private func networks(of asker: IPAddress) -> [OverlayNetwork] {
        if let owner = owners[asker], let all = networksOf[owner.task] {
            return all.sorted().compactMap { networks[$0] }
        }
        // A container that the cluster does not know is on the network that its address is of.
        return networks.values.filter { $0.subnets.contains { $0.contains(asker) } }.sorted { $0.id < $1.id }
    }

    private func reverse(_ address: IPAddress, _ query: DNSQuery, _ heard: [OverlayNetwork]) -> Outcome {
        guard let network = heard.first(where: { $0.subnets.contains { $0.contains(address) } }) else {
            let isElsewhere = networks.values.contains { $0.subnets.contains { $0.contains(address) } }
            if isElsewhere { return .reply(query.failure(.noName)) }
            return heard.allSatisfy { $0.isInternal } ? .reply(query.failure(.serverFailure)) : .forward
        }
        if let id = owners[address], let name = endpoints[id]?.names.first {
            return .reply(query.answer([.name("\(name).\(network.name)")]))
        }
        return .reply(query.failure(.noName))
    }

    /// Nil: the name is not of this network. Empty: it is, and nobody answers to it now.
    private func addresses(of name: String, on network: OverlayNetwork) -> [IPAddress]? {
        if let service = service(called: name, on: network.id) {
            if let virtual = service.virtualIPs[network.id], !virtual.isEmpty { return virtual }
            return serving(service.id, on: network.id).flatMap(\.addresses)
        }
        if let dot = name.firstIndex(of: ".") {
            let (first, rest) = (name[..<dot], String(name[name.index(after: dot)...]))
            if let service = service(called: rest, on: network.id) {
                if first == "tasks" { return serving(service.id, on: network.id).flatMap(\.addresses) }
                if let slot = Int(first), slot > 0 {
                    return serving(service.id, on: network.id).filter { $0.slot == slot }.flatMap(\.addresses)
                }
            }
        }
        let named = (endpointsCalled[name] ?? []).compactMap { endpoints[$0] }.filter { $0.network == network.id }
        guard !named.isEmpty else { return nil }
        return named.filter { $0.state == .serving }.sorted { $0.id < $1.id }.flatMap(\.addresses)
    }

    private func service(called name: String, on network: OverlayNetwork.ID) -> NetworkedService? {
        (called[name] ?? []).sorted().lazy.compactMap { services[$0] }.first { service in
            let isThere =
                service.virtualIPs[network] != nil || (endpointsOf[service.id] ?? []).contains { $0.network == network }
            return isThere
                && (service.name.lowercased() == name
                    || service.aliases[network]?.contains { $0.lowercased() == name } == true)
        }
    }

    private func serving(_ id: Cluster.ID<Cluster.Service>, on network: OverlayNetwork.ID) -> [Endpoint] {
        (endpointsOf[id] ?? []).compactMap { endpoints[$0] }
            .filter { $0.network == network && $0.state == .serving }
            .sorted { $0.id < $1.id }
    }

    private static func rotated(_ addresses: [IPAddress], by turn: Int) -> [IPAddress] {
        guard addresses.count > 1 else { return addresses }
        let start = Int(UInt(bitPattern: turn) % UInt(addresses.count))
        return Array(addresses[start...] + addresses[..<start])
    }

    // MARK: - Changes

    public mutating func apply(_ changes: [NetworkChange]) {
        for change in changes {
            switch change {
            case .view(let view): take(view)
            case .endpoint(let endpoint):
                forget(endpoint.id)
                keep(endpoint)
            case .endpointRemoved(let id): forget(id)
            case .service(let service):
                forget(service.id)
                keep(service)
            case .serviceRemoved(let id): forget(id)
            }
        }
    }

    private mutating func take(_ view: NetworkView) {
        networks = Dictionary(view.networks.filter { $0.gateways[view.node.id] != nil }.map { ($0.id, $0) }) { $1 }
        (services, called, endpoints, endpointsOf, endpointsCalled, owners, networksOf) = (
            [:], [:], [:], [:], [:], [:], [:]
        )
        for service in view.services { keep(service) }
        for endpoint in view.endpoints { keep(endpoint) }
    }

    private func names(of service: NetworkedService) -> Set<String> {
        Set(([service.name] + service.aliases.values.joined()).map { $0.lowercased() })
    }

    private mutating func keep(_ service: NetworkedService) {
        services[service.id] = service
        for name in names(of: service) { called[name, default: []].insert(service.id) }
    }

    private mutating func forget(_ id: Cluster.ID<Cluster.Service>) {
        guard let service = services.removeValue(forKey: id) else { return }
        for name in names(of: service) { called.remove(id, at: name) }
    }

    private mutating func keep(_ endpoint: Endpoint) {
        endpoints[endpoint.id] = endpoint
        if let service = endpoint.service { endpointsOf[service, default: []].insert(endpoint.id) }
        for name in endpoint.names { endpointsCalled[name.lowercased(), default: []].insert(endpoint.id) }
        for address in endpoint.addresses { owners[address] = endpoint.id }
        networksOf[endpoint.task, default: []].insert(endpoint.network)
    }

    private mutating func forget(_ id: Endpoint.ID) {
        guard let endpoint = endpoints.removeValue(forKey: id) else { return }
        if let service = endpoint.service { endpointsOf.remove(id, at: service) }
        for name in endpoint.names { endpointsCalled.remove(id, at: name.lowercased()) }
        for address in endpoint.addresses where owners[address] == id { owners[address] = nil }
        networksOf.remove(endpoint.network, at: endpoint.task)
    }
}

extension Dictionary {
    /// Takes one member out of a set of sets, and the set with its last.
    fileprivate mutating func remove<Member: Hashable>(_ member: Member, at key: Key) where Value == Set<Member> {
        self[key]?.remove(member)
        if self[key]?.isEmpty == true { self[key] = nil }
    }
}
