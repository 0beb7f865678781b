import ArgumentParser
import ClusterModel
import NetworkPlan
import NetworkPlane

/// What a change costs, and a pass over everything, on this kernel. In a network namespace of its own: `unshare -n apusnet measure`.
struct Measure: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Time single changes and full passes with many services; in an empty network namespace only.")
    @Option(help: "How many services; repeat to compare.")
    var services: [Int] = [50, 500]
    @Option(help: "Tasks of each.")
    var tasks = 4
    @Option(help: "Changes to time.")
    var changes = 200

    func run() async throws {
        let plane = try KernelPlane()
        guard try await plane.isAlone() else {
            throw ValidationError("there are links here besides lo: run it by `unshare -n apusnet measure`")
        }
        for count in services {
            let view = view(of: count)
            let clock = ContinuousClock()
            var planner = Planner(view)
            let planning = clock.measure { planner = Planner(view) }
            var report = Report()
            let first = try await clock.measure { report = try await plane.reconcile(planner.items) }
            guard report.failures.isEmpty else {
                throw ValidationError(report.failures.prefix(3).joined(separator: "\n"))
            }
            let again = try await clock.measure { report = try await plane.reconcile(planner.items) }
            guard report.isClean else {
                throw ValidationError("a second pass still changed something: \(report.difference)")
            }
            var times: [Duration] = []
            for number in 0..<changes {
                // A task leaves, and comes back: names, virtual IP and published port of one service.
                var touched = view.endpoints.filter {
                    $0.task == view.endpoints[number / 2 * 37 % view.endpoints.count].task
                }
                for index in touched.indices { touched[index].state = number % 2 == 0 ? .draining : .serving }
                let time = try await clock.measure {
                    let (difference, aftermath) = planner.apply(touched.map(NetworkChange.endpoint))
                    report = try await plane.apply(difference, then: aftermath, wanted: planner.items)
                }
                guard report.failures.isEmpty, !report.difference.isEmpty else { throw ValidationError("\(report)") }
                times.append(time)
            }
            times.sort()
            let last = try await clock.measure { report = try await plane.reconcile(planner.items) }
            guard report.isClean else { throw ValidationError("the changes left a difference: \(report.difference)") }
            print(
                """
                \(count) services of \(tasks) tasks, \(planner.items.count) items
                  plan of everything       \(planning.milliseconds) ms
                  first pass, all of it    \(first.milliseconds) ms
                  pass without difference  \(again.milliseconds), \(last.milliseconds) ms
                  one change               \(times[times.count / 2].milliseconds) ms median, \
                \(times[times.count * 99 / 100].milliseconds) ms at 99 %, \(times.last!.milliseconds) ms most, \
                of \(times.count)
                """)
            let removal = try await clock.measure { report = try await plane.remove() }
            guard report.failures.isEmpty else { throw ValidationError(report.failures.joined(separator: "\n")) }
            print("  remove                   \(removal.milliseconds) ms")
        }
    }

    private func view(of count: Int) -> NetworkView {
        let nodes = (1...10).map { Cluster.ID<Cluster.Node>(bits: UInt128($0)) }
        let networks = [1, 2].map { number in
            OverlayNetwork(
                id: .init(bits: UInt128(number)), name: "network-\(number)", vni: UInt32(4_095 + number),
                subnets: [IPSubnet(IPAddress(v4: address(number, 0)), prefix: 16)!],
                gateways: Dictionary(
                    uniqueKeysWithValues: nodes.enumerated().map { ($1, [IPAddress(v4: address(number, $0 + 1))]) }),
                isIngress: number == 1, bridgeMaker: .plane)
        }
        var endpoints: [Endpoint] = []
        for number in 0..<count * tasks {
            for network in 1...2 {
                endpoints.append(
                    Endpoint(
                        task: .init(bits: UInt128(number + 1)), network: networks[network - 1].id,
                        node: nodes[number % nodes.count],
                        addresses: [IPAddress(v4: address(network, 1_000 + number))],
                        service: .init(bits: UInt128(number / tasks + 1)), slot: number % tasks + 1))
            }
        }
        let services = (0..<count).map { number in
            NetworkedService(
                id: .init(bits: UInt128(number + 1)), name: "service-\(number)",
                virtualIPs: [networks[1].id: [IPAddress(v4: address(2, 40_000 + number))]],
                ports: [PublishedPort(published: UInt16(10_000 + number), target: 80)])
        }
        return NetworkView(
            node: ThisNode(id: nodes[0], address: IPAddress("192.0.2.1")!),
            peers: nodes.enumerated().dropFirst().map {
                Peer(id: $1, address: IPAddress("192.0.2.\($0 + 1)")!, number: $0 + 1)
            }, networks: networks, endpoints: endpoints, services: services)
    }

    private func address(_ network: Int, _ host: Int) -> UInt32 {
        10 << 24 | UInt32(100 + network) << 16 | UInt32(host)
    }
}

extension Duration {
    /// With one digit after the point.
    fileprivate var milliseconds: String {
        let tenths = components.seconds * 10_000 + components.attoseconds / 100_000_000_000_000
        return "\(tenths / 10).\(tenths % 10)"
    }
}
