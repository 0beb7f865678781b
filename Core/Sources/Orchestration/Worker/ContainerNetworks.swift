public import ClusterModel
public import EngineAPI

/// How a task's container comes to its networks.
public struct ContainerNetworks: Sendable {
    /// One of the engine's networks that carries one of the swarm's.
    public struct Place: Sendable, Equatable {
        /// The engine's name for it.
        public var name: String
        public var address: IPAddress
        /// This node on the network: names are asked there.
        public var gateway: IPAddress
        public var isIngress: Bool

        public init(name: String, address: IPAddress, gateway: IPAddress, isIngress: Bool) {
            self.name = name
            self.address = address
            self.gateway = gateway
            self.isIngress = isIngress
        }

        fileprivate var settings: JSON {
            [
                "IPAMConfig": ["IPv4Address": .string("\(address)")],
                "MacAddress": .string("\(MACAddress(for: address))"),
            ]
        }
    }

    public var places: [Place]

    /// - Parameter places: in any order. The user's own come before the ingress network: a container asks its first one.
    public init(_ places: [Place]) {
        self.places = places.filter { !$0.isIngress } + places.filter(\.isIngress)
    }

    /// The body of `POST /containers/create`, with what it takes to be on the first network.
    ///
    /// Engines before API 1.44 take one. The others follow by `connections`.
    public func joined(by container: JSON, of assignment: Dispatch.Assignment) -> JSON {
        var body = container
        var host = body["HostConfig"] ?? [:]
        guard let first = places.first else {
            if let own = Self.nodeNetwork(of: assignment) { host["NetworkMode"] = .string(own) }
            body["HostConfig"] = host
            return body
        }
        host["NetworkMode"] = .string(first.name)
        body["MacAddress"] = .string("\(MACAddress(for: first.address))")
        body["NetworkingConfig"] = ["EndpointsConfig": [first.name: first.settings]]
        // Names of the swarm first; what is none is asked of the servers that the user named.
        let servers = (host["Dns"]?.array ?? []).compactMap(\.string)
        host["Dns"] = JSON(["\(first.gateway)"] + servers)
        body["HostConfig"] = host
        return body
    }

    /// What `POST /networks/{name}/connect` is told before the container starts.
    public func connections(of container: String) -> [(network: String, body: JSON)] {
        places.dropFirst().map { ($0.name, ["Container": .string(container), "EndpointConfig": $0.settings]) }
    }

    /// `host`, `none` or `bridge`, where the service asks for it.
    private static func nodeNetwork(of assignment: Dispatch.Assignment) -> String? {
        let spec = try? JSON(parsing: assignment.spec)
        let list = spec?["TaskTemplate"]?["Networks"]?.array ?? spec?["Networks"]?.array ?? []
        return list.compactMap { $0["Target"]?.string }.first { NodeNetwork.isOne($0) }
    }
}
