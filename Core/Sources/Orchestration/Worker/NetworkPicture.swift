public import ClusterModel

/// What a node knows of the networks that it takes part in.
public struct NetworkPicture: Sendable, Equatable {
    /// The log index that it shows.
    public private(set) var version: UInt64 = 0
    public private(set) var networks: [Cluster.ID<Cluster.Network>: Dispatch.NetworkOnNode] = [:]
    public private(set) var services: [Cluster.ID<Cluster.Service>: Dispatch.ServiceOnNetwork] = [:]
    public private(set) var endpoints: [Cluster.ID<Cluster.Task>: Dispatch.TaskOnNetwork] = [:]

    public init() {}

    public mutating func apply(_ news: Dispatch.NetworkNews) {
        if news.isWhole { self = NetworkPicture() }
        version = news.version
        for key in news.gone {
            switch key {
            case .network(let id): networks[id] = nil
            case .service(let id): services[id] = nil
            case .endpoint(let id): endpoints[id] = nil
            }
        }
        for fact in news.facts {
            switch fact {
            case .network(let network): networks[network.network.id] = network
            case .service(let service): services[service.id] = service
            case .endpoint(let endpoint): endpoints[endpoint.task] = endpoint
            }
        }
        if news.gone.contains(where: { if case .network = $0 { true } else { false } }) {
            endpoints = endpoints.filter { $0.value.attachments.contains { networks[$0.network] != nil } }
            services = services.filter { $0.value.onNetworks.contains { networks[$0] != nil } }
        }
    }
}

extension Dispatch.ServiceOnNetwork {
    /// Where it has tasks or a virtual address.
    public var onNetworks: Set<Cluster.ID<Cluster.Network>> {
        Set(endpoint.virtualIPs.map(\.network) + networks.compactMap { Cluster.ID($0.target) })
    }
}
