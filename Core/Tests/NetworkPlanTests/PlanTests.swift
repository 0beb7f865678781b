import ClusterModel
import Foundation
import NetworkPlan
import Testing

/// What a small world asks of a node's kernel, kept as text. `REWRITE=1 swift test --filter Plan` writes the files anew:
/// read the difference before it is committed.
@Suite("The plan of a node")
struct PlanTests {
    @Test("all that a small world asks for")
    func whole() throws {
        try golden("small.txt", Difference(from: [:], to: Planner(World.small()).items).description)
    }

    @Test("what nftables is told at first, in one transaction")
    func script() throws {
        try golden("small.nft", FirewallScript(for: Difference(from: [:], to: Planner(World.small()).items)).text)
    }

    @Test("a kernel without marks masquerades what it cannot give back")
    func withoutMarks() throws {
        let planner = Planner(
            World.small(kernel: KernelOffers(bridgeNetfilter: false, connectionMarks: false, sctp: false)))
        try golden("without-marks.txt", Difference(from: [:], to: planner.items).description)
    }

    @Test("IPv6 beside IPv4, over an IPv6 network")
    func sixth() throws {
        var view = World.small()
        view.node.address = World.address("2001:db8::1")
        view.peers = [Peer(id: World.node(2), address: World.address("2001:db8::2"), number: 2)]
        for index in view.networks.indices {
            let prefix = "fd00:\(index)::"
            view.networks[index].subnets.append(IPSubnet(prefix + "/64")!)
            for node in 1...3 {
                view.networks[index].gateways[World.node(node)]!.append(
                    World.address(prefix + String(node + 1, radix: 16)))
            }
        }
        for index in view.endpoints.indices {
            view.endpoints[index].addresses.append(World.address("fd00:\(index % 2)::1\(index / 2)"))
        }
        view.services[0].virtualIPs[World.backend]!.append(World.address("fd00:1::200"))
        try golden("dual-stack.txt", Difference(from: [:], to: Planner(view).items).description)
    }

    @Test("an encrypted network is not joined in clear: the reason is given, and nothing of it is planned")
    func encrypted() {
        var view = World.small()
        view.networks[1].isEncrypted = true
        let planner = Planner(view)
        #expect(planner.refusals.keys.sorted() == [World.backend])
        #expect(planner.refusals[World.backend]?.contains("encrypted") == true)
        #expect(!planner.items.values.contains { $0.description.contains("4097") })
        #expect(planner.items.values.contains { $0.description.contains("4096") })
    }

    @Test("what a change does is small, and in an order in which it can be done")
    func change() throws {
        var planner = Planner(World.small())
        var endpoint = World.endpoint(2, on: World.backend, at: 2, "10.0.1.12", state: .draining)
        var (difference, aftermath) = planner.apply([.endpoint(endpoint)])
        #expect(
            difference.description == """
                - chain vip_10_0_1_200
                    dnat ip to numgen inc mod 2 map { 0 : 10.0.1.11, 1 : 10.0.1.12 }
                + chain vip_10_0_1_200
                    dnat ip to 10.0.1.11
                """)
        #expect(aftermath.isEmpty)
        #expect(
            FirewallScript(for: difference).text == """
                flush chain inet apus vip_10_0_1_200
                add rule inet apus vip_10_0_1_200 dnat ip to 10.0.1.11 comment "\(Chain.Rule("dnat ip to 10.0.1.11").digest)"

                """)
        (difference, aftermath) = planner.apply([.endpointRemoved(endpoint.id)])
        #expect(
            difference.description == """
                - neighbour apvx-4097 10.0.1.12 is 02:42:0a:00:01:0c
                - forwarding apvx-4097 02:42:0a:00:01:0c to 192.0.2.2
                """)
        #expect(aftermath.gone == [World.address("10.0.1.12")])
        // The last one goes, and another comes: UDP that was unanswered is asked anew.
        endpoint = World.endpoint(1, on: World.ingress, at: 1, "10.0.0.11")
        (_, aftermath) = planner.apply([
            .endpointRemoved(endpoint.id), .endpointRemoved(.init(task: .init(bits: 2), network: World.ingress)),
        ])
        #expect(!planner.items.values.contains { $0.description.contains("ports udp") })
        (_, aftermath) = planner.apply([.endpoint(endpoint)])
        #expect(aftermath.opened == [53])
        #expect(aftermath.gone.isEmpty)
    }

    @Test("a port that changes hands in one step is there throughout")
    func handOver() {
        var view = World.small()
        view.services.append(NetworkedService(id: World.service(2), name: "new"))
        view.endpoints.append(World.endpoint(3, on: World.ingress, at: 1, "10.0.0.13", of: 2))
        var planner = Planner(view)
        var (old, new) = (view.services[0], view.services[1])
        new.ports = [old.ports.removeFirst()]
        let (difference, _) = planner.apply([.service(old), .service(new)])
        #expect(difference.steps.count == 1)
        #expect(planner.items[.chain("port_tcp_8080")]?.description.contains("10.0.0.13:80") == true)
        view.services = [old, new]
        #expect(Planner(view).items == planner.items)
    }

    @Test("after any changes the items are those of a plan made at once", arguments: UInt64(1)...60)
    func incremental(seed: UInt64) {
        var random = Seeded(seed)
        var view = World.small()
        var planner = Planner(view)
        var kernel = planner.items
        for _ in 0..<40 {
            var changes: [NetworkChange] = []
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let number = Int.random(in: 1...12, using: &random)
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<5:
                    let (network, third) = Bool.random(using: &random) ? (World.ingress, 0) : (World.backend, 1)
                    let endpoint = World.endpoint(
                        number, on: network, at: .random(in: 1...4, using: &random),
                        "10.0.\(third).\(100 + number)", of: [nil, 1, 2, 3].randomElement(using: &random)!,
                        state: [.serving, .serving, .starting, .draining].randomElement(using: &random)!)
                    view.endpoints.removeAll { $0.id == endpoint.id }
                    view.endpoints.append(endpoint)
                    changes.append(.endpoint(endpoint))
                case 5..<7:
                    guard let id = view.endpoints.randomElement(using: &random)?.id else { continue }
                    view.endpoints.removeAll { $0.id == id }
                    changes.append(.endpointRemoved(id))
                case 7..<8:
                    guard let id = view.services.randomElement(using: &random)?.id else { continue }
                    view.services.removeAll { $0.id == id }
                    changes.append(.serviceRemoved(id))
                default:
                    let id = Int.random(in: 1...3, using: &random)
                    let service = NetworkedService(
                        id: World.service(id), name: "service-\(id)",
                        virtualIPs: Bool.random(using: &random)
                            ? [World.backend: [World.address("10.0.1.\(200 + id)")]] : [:],
                        ports: (0..<Int.random(in: 0...2, using: &random)).map {
                            PublishedPort(published: UInt16(8000 + 10 * id + $0), target: 80)
                        })
                    view.services.removeAll { $0.id == service.id }
                    view.services.append(service)
                    changes.append(.service(service))
                }
            }
            if Int.random(in: 0..<15, using: &random) == 0 {
                if view.peers.count > 1 { view.peers.removeLast() } else { view.peers = World.small().peers }
                changes = [.view(view)]
            }
            let (difference, _) = planner.apply(changes)
            #expect(planner.items == Planner(view).items, "seed \(seed)")
            for step in difference.steps {
                if case .remove(let item) = step { kernel[item.key] = nil } else { kernel[step.item.key] = step.item }
            }
            #expect(kernel == planner.items, "what the steps lead to, seed \(seed)")
        }
    }

    private func golden(_ name: String, _ text: String) throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Goldens/\(name)")
        if ProcessInfo.processInfo.environment["REWRITE"] != nil {
            try Data((text + "\n").utf8).write(to: file)
        }
        let kept = try String(contentsOf: file, encoding: .utf8)
        let (lines, wanted) = (text.split(separator: "\n"), kept.split(separator: "\n"))
        for (line, other) in zip(lines, wanted) where line != other {
            Issue.record("\(name) says\n  \(other)\nand the plan says\n  \(line)")
            return
        }
        #expect(lines.count == wanted.count, "\(name) has another number of lines")
    }
}
