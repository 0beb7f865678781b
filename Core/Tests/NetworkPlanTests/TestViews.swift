import ClusterModel
import NetworkPlan

/// Small worlds for the tests: node 1 is ours, IDs are numbers.
enum World {
    static func node(_ number: Int) -> Cluster.ID<Cluster.Node> { .init(bits: UInt128(number)) }
    static func service(_ number: Int) -> Cluster.ID<Cluster.Service> { .init(bits: UInt128(number)) }
    static func network(_ number: Int) -> OverlayNetwork.ID { .init(bits: UInt128(number)) }
    static func address(_ text: String) -> IPAddress { IPAddress(text)! }

    static let ingress = network(1)
    static let backend = network(2)

    static func networks(nodes: Int = 3, bridgeMaker: OverlayNetwork.BridgeMaker = .engine) -> [OverlayNetwork] {
        [(ingress, "ingress", 4096, true), (backend, "backend", 4097, false)].map { id, name, vni, isIngress in
            let third = vni - 4096
            return OverlayNetwork(
                id: id, name: name, vni: UInt32(vni), subnets: [IPSubnet("10.0.\(third).0/24")!],
                gateways: Dictionary(
                    uniqueKeysWithValues: (1...nodes).map { (node($0), [address("10.0.\(third).\($0 + 1)")]) }),
                isIngress: isIngress, bridgeMaker: bridgeMaker)
        }
    }

    static func endpoint(
        _ task: Int, on network: OverlayNetwork.ID, at node: Int, _ text: String, of service: Int? = 1,
        state: Endpoint.State = .serving
    ) -> Endpoint {
        Endpoint(
            task: .init(bits: UInt128(task)), network: network, node: World.node(node), addresses: [address(text)],
            service: service.map(World.service), slot: task, names: ["container-\(task)"], state: state)
    }

    /// Three nodes; `web` with a task on each of the first two, on both networks.
    static func small(kernel: KernelOffers = .init()) -> NetworkView {
        NetworkView(
            node: ThisNode(id: node(1), address: address("192.0.2.1"), kernel: kernel),
            peers: [
                Peer(id: node(2), address: address("192.0.2.2"), number: 2),
                Peer(id: node(3), address: address("192.0.2.3"), number: 3),
            ],
            networks: networks(),
            endpoints: [
                endpoint(1, on: ingress, at: 1, "10.0.0.11"), endpoint(1, on: backend, at: 1, "10.0.1.11"),
                endpoint(2, on: ingress, at: 2, "10.0.0.12"), endpoint(2, on: backend, at: 2, "10.0.1.12"),
            ],
            services: [
                NetworkedService(
                    id: service(1), name: "web", virtualIPs: [backend: [address("10.0.1.200")]],
                    aliases: [backend: ["www"]],
                    ports: [
                        PublishedPort(published: 8080, target: 80), PublishedPort(.udp, published: 53, target: 5353),
                        PublishedPort(published: 8081, target: 80, source: .local),
                        PublishedPort(published: 8082, target: 80, address: address("192.0.2.1")),
                        PublishedPort(published: 8083, target: 80, mode: .host),
                    ])
            ])
    }
}

/// Chance from a seed (SplitMix64).
struct Seeded: RandomNumberGenerator {
    var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
