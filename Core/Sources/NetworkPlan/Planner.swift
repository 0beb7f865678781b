public import ClusterModel

/// One change of what the cluster holds, as the network sees it.
public enum NetworkChange: Sendable, Equatable {
    case endpoint(Endpoint)
    case endpointRemoved(Endpoint.ID)
    case service(NetworkedService)
    case serviceRemoved(Cluster.ID<Cluster.Service>)
    /// Anything else, rare: nodes, networks, the kernel. All is planned again.
    case view(NetworkView)
}

/// Keeps one node's plan up to date: for a change it makes anew only what the change can touch, and says what is
/// different. After any changes its items are those of a plan made at once of the same view (`Planner(view).items`).
public struct Planner: Sendable {
    /// All that is wanted of the kernel.
    public private(set) var items: [Item.Key: Item] = [:]
    /// Networks that this node keeps away from, and why, in words for the task's `Err`.
    public private(set) var refusals: [OverlayNetwork.ID: String] = [:]

    private var node: ThisNode
    private var peers: [Cluster.ID<Cluster.Node>: Peer] = [:]
    private var networks: [OverlayNetwork.ID: OverlayNetwork] = [:]
    private var endpoints: [Endpoint.ID: Endpoint] = [:]
    private var services: [Cluster.ID<Cluster.Service>: NetworkedService] = [:]
    private var endpointsOf: [Cluster.ID<Cluster.Service>: Set<Endpoint.ID>] = [:]

    public init(_ view: NetworkView) {
        node = view.node
        take(view)
    }

    /// What to do about connections that the packet filter still remembers, once a change is in the kernel.
    public struct Aftermath: Sendable, Equatable {
        /// Endpoints that are gone: what was connected to them is forgotten, so that it ends instead of hanging.
        public var gone: Set<IPAddress> = []
        /// UDP ports that nobody answered before: what was remembered as unanswered would stay so.
        public var opened: Set<UInt16> = []
        /// Virtual IPs that nobody answered before, for the same reason.
        public var openedVIPs: Set<IPAddress> = []

        public var isEmpty: Bool { gone.isEmpty && opened.isEmpty && openedVIPs.isEmpty }
        public init() {}
    }

    /// - Returns: what is different now, and whose connections are to be forgotten afterwards.
    public mutating func apply(_ changes: [NetworkChange]) -> (Difference, Aftermath) {
        if let view = changes.compactMap({ if case .view(let view) = $0 { view } else { nil } }).last {
            let before = items
            let addresses = Set(endpoints.values.flatMap(\.addresses))
            take(view)
            for change in changes { keep(change) }
            replan()
            var aftermath = aftermath(of: before, to: items)
            aftermath.gone = addresses.subtracting(endpoints.values.flatMap(\.addresses))
            return (Difference(from: before, to: items), aftermath)
        }
        // Collected before and after all of the changes, so that what one gives up another may take.
        var touchedEndpoints: Set<Endpoint.ID> = []
        var touchedServices: Set<Cluster.ID<Cluster.Service>> = []
        for change in changes {
            switch change {
            case .endpoint(let endpoint):
                touchedEndpoints.insert(endpoint.id)
                if let service = endpoint.service { touchedServices.insert(service) }
                if let service = endpoints[endpoint.id]?.service { touchedServices.insert(service) }
            case .endpointRemoved(let id):
                touchedEndpoints.insert(id)
                if let service = endpoints[id]?.service { touchedServices.insert(service) }
            case .service(let service): touchedServices.insert(service.id)
            case .serviceRemoved(let id): touchedServices.insert(id)
            case .view: break
            }
        }
        let addresses = Set(touchedEndpoints.flatMap { endpoints[$0]?.addresses ?? [] })
        let before = fragments(of: touchedEndpoints, touchedServices)
        for change in changes { keep(change) }
        let after = fragments(of: touchedEndpoints, touchedServices)
        for key in before.keys where after[key] == nil { items[key] = nil }
        for (key, item) in after { items[key] = item }
        var aftermath = aftermath(of: before, to: after)
        aftermath.gone = addresses.subtracting(touchedEndpoints.flatMap { endpoints[$0]?.addresses ?? [] })
        return (Difference(from: before, to: after), aftermath)
    }

    // MARK: - Inside

    private mutating func take(_ view: NetworkView) {
        node = view.node
        peers = Dictionary(view.peers.map { ($0.id, $0) }) { $1 }
        networks = Dictionary(view.networks.map { ($0.id, $0) }) { $1 }
        services = Dictionary(view.services.map { ($0.id, $0) }) { $1 }
        endpoints = [:]
        endpointsOf = [:]
        for endpoint in view.endpoints { keep(.endpoint(endpoint)) }
        replan()
    }

    private mutating func keep(_ change: NetworkChange) {
        switch change {
        case .endpoint(let endpoint):
            forget(endpoint.id)
            endpoints[endpoint.id] = endpoint
            if let service = endpoint.service { endpointsOf[service, default: []].insert(endpoint.id) }
        case .endpointRemoved(let id): forget(id)
        case .service(let service): services[service.id] = service
        case .serviceRemoved(let id): services[id] = nil
        case .view: break
        }
    }

    private mutating func forget(_ id: Endpoint.ID) {
        guard let service = endpoints.removeValue(forKey: id)?.service else { return }
        endpointsOf[service]?.remove(id)
        if endpointsOf[service]?.isEmpty == true { endpointsOf[service] = nil }
    }

    private func fragments(
        of touchedEndpoints: some Sequence<Endpoint.ID>, _ touchedServices: some Sequence<Cluster.ID<Cluster.Service>>
    ) -> [Item.Key: Item] {
        let fragments = Fragments(node: node, networks: networks, peers: peers)
        var items: [Item.Key: Item] = [:]
        for id in touchedEndpoints {
            guard let endpoint = endpoints[id] else { continue }
            for item in fragments.items(of: endpoint) { items[item.key] = item }
        }
        for id in touchedServices.sorted() {
            guard let service = services[id] else { continue }
            let answering = (endpointsOf[id] ?? []).compactMap { endpoints[$0] }
            for item in fragments.items(of: service, endpoints: answering) { items[item.key] = item }
        }
        return items
    }

    private mutating func replan() {
        let fragments = Fragments(node: node, networks: networks, peers: peers)
        items = self.fragments(of: endpoints.keys.sorted(), services.keys)
        for item in fragments.base() { items[item.key] = item }
        refusals = [:]
        for network in networks.values {
            refusals[network.id] = fragments.refusal(of: network)
            for item in fragments.items(of: network) { items[item.key] = item }
        }
    }

    private func aftermath(of before: [Item.Key: Item], to after: [Item.Key: Item]) -> Aftermath {
        var aftermath = Aftermath()
        for (key, item) in after where before[key] == nil {
            guard case .element(let element) = item else { continue }
            let parts = element.key.split(separator: " ")
            switch element.set {
            case "ports", "ports_at4", "ports_at6":
                guard parts.contains("udp"), let port = parts.last.flatMap({ UInt16($0) }) else { continue }
                aftermath.opened.insert(port)
            case "services4", "services6":
                if let address = parts.last.flatMap({ IPAddress($0) }) { aftermath.openedVIPs.insert(address) }
            default: break
            }
        }
        return aftermath
    }
}
