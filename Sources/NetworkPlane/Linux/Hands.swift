import CNetlink
import ClusterModel
import NetworkPlan

/// Reads a kernel into items and performs steps on it. For the one thread on which it was made.
final class Hands {
    let routes: RouteSocket
    let firewall: Firewall
    let connections: Connections
    private var indexes: [String: Int32] = [:]

    init() throws {
        routes = try RouteSocket()
        firewall = try Firewall()
        connections = try Connections()
    }

    // MARK: - Reading

    /// - Parameter wanted: says which sysctls and which of the engine's bridges are of interest.
    func read(for wanted: [Item.Key: Item]) throws -> [Item.Key: Item] {
        var items: [Item.Key: Item] = [:]
        let links = try routes.links()
        remember(links)
        let names = Dictionary(links.map { ($0.index, $0.name) }) { $1 }
        for link in links {
            if let bridge = try bridge(link, wanted: wanted[.bridge(link.name)]) {
                items[.bridge(link.name)] = .bridge(bridge)
            }
            guard link.kind == "vxlan", link.name.hasPrefix(OverlayNetwork.tunnelPrefix) else { continue }
            // One that is down or without a bridge is shown as in none, so that it differs.
            let tunnel = Tunnel(
                name: link.name, vni: link.vni ?? 0, local: link.local ?? IPAddress(v4: 0), port: link.port ?? 0,
                mtu: link.mtu, bridge: link.isUp ? names[link.master] ?? "" : "")
            items[.tunnel(link.name)] = .tunnel(tunnel)
            for entry in try routes.forwardings(of: link) {
                items[.forwarding(link.name, entry.hardware)] = .forwarding(entry)
            }
            for entry in try routes.neighbours(of: link) {
                items[.neighbour(link.name, entry.address)] = .neighbour(entry)
            }
        }
        for route in try routes.routes(names: names) { items[.route(route.table, route.destination)] = .route(route) }
        for rule in try routes.rules() { items[.rule(rule.family, rule.priority)] = .rule(rule) }
        for case .sysctl(let sysctl) in wanted.values {
            if let value = SysctlFile.read(sysctl.path) {
                items[.sysctl(sysctl.path)] = .sysctl(Sysctl(sysctl.path, value))
            }
        }
        var layout: String?
        if case .chain(let chain) = wanted[.chain("layout")] { layout = chain.rules.first?.digest }
        for item in try firewall.items(layout: layout) { items[item.key] = item }
        return items
    }

    private func bridge(_ link: Link, wanted: Item?) throws -> Bridge? {
        guard link.kind == "bridge", let hardware = link.hardware else { return nil }
        let isOurs = link.alias == RouteSocket.alias
        guard case .bridge(let wish) = wanted else {
            return isOurs ? Bridge(name: link.name, maker: .plane, hardware: hardware, addresses: [], mtu: nil) : nil
        }
        if wish.maker == .engine {
            return Bridge(name: link.name, maker: .engine, hardware: hardware, addresses: [], mtu: nil)
        }
        return Bridge(
            name: link.name, maker: .plane, hardware: hardware,
            addresses: try routes.addresses(of: link.index).sorted(),
            mtu: link.isUp ? link.mtu : 0)
    }

    private func remember(_ links: [Link]) { indexes = Dictionary(links.map { ($0.name, $0.index) }) { $1 } }

    private func index(_ name: String) throws -> Int32 {
        if let index = indexes[name] { return index }
        remember(try routes.links())
        guard let index = indexes[name] else { throw Waiting(for: name) }
        return index
    }

    private struct Waiting: Error, CustomStringConvertible {
        let device: String
        init(for device: String) { self.device = device }
        var description: String { "there is no link \(device)" }
    }

    // MARK: - Performing

    /// Does what it can, in the order that is given; nftables' part in one transaction, between making and removing.
    ///
    /// - Returns: what could not be done.
    func perform(_ difference: Difference) -> [String] {
        var failures: [String] = []
        var making: [Difference.Step] = []
        var removing: [Difference.Step] = []
        for step in difference.steps {
            switch step {
            case .add(.chain), .add(.element), .replace(.chain, _), .replace(.element, _), .remove(.chain),
                .remove(.element):
                continue
            case .remove: removing.append(step)
            case .add, .replace: making.append(step)
            }
        }
        for step in making { attempt(&failures) { try perform(step) } }
        let script = FirewallScript(for: difference).text
        if !script.isEmpty { attempt(&failures) { try firewall.run(script) } }
        for step in removing { attempt(&failures) { try perform(step) } }
        return failures
    }

    private func attempt(_ failures: inout [String], _ work: () throws -> Void) {
        do { try work() } catch { failures.append("\(error)") }
    }

    private func perform(_ step: Difference.Step) throws {
        switch step {
        case .add(let item): try add(item, over: nil)
        case .replace(let old, with: let new): try add(new, over: old)
        case .remove(let item):
            do { try remove(item) } catch let error as NetlinkError where error.isAbsence {
                // It went with the link that it stood on.
            } catch is Waiting {}
        }
    }

    private func add(_ item: Item, over old: Item?) throws {
        switch item {
        case .sysctl(let sysctl): try SysctlFile.write(sysctl)
        case .bridge(let bridge): try make(bridge, isNew: old == nil)
        case .tunnel(let tunnel):
            let bridge = try index(tunnel.bridge)
            if old != nil { try removeLink(tunnel.name) }
            try routes.makeTunnel(tunnel, master: bridge)
            indexes = [:]
        case .forwarding(let entry):
            // Replacing would leave the old destination beside the new one.
            if let old { try? remove(old) }
            try routes.add(entry, index: index(entry.tunnel))
        case .neighbour(let entry): try routes.add(entry, index: index(entry.tunnel))
        case .route(let route): try routes.add(route, index: index(route.device))
        case .rule(let rule):
            if let old { try? remove(old) }
            try routes.add(rule)
        case .chain, .element: break
        }
    }

    private func make(_ bridge: Bridge, isNew: Bool) throws {
        switch bridge.maker {
        case .engine:
            try routes.set(index(bridge.name), name: bridge.name, hardware: bridge.hardware)
        case .plane:
            if isNew {
                try routes.makeBridge(bridge)
                indexes = [:]
            }
            let link = try index(bridge.name)
            if !isNew { try routes.set(link, name: bridge.name, hardware: bridge.hardware, mtu: bridge.mtu, up: true) }
            let present = Set(try routes.addresses(of: link))
            for extra in present.subtracting(bridge.addresses).sorted() {
                try routes.remove(extra, from: link, name: bridge.name)
            }
            for missing in Set(bridge.addresses).subtracting(present).sorted() {
                try routes.add(missing, to: link, name: bridge.name)
            }
        }
    }

    private func remove(_ item: Item) throws {
        switch item {
        case .bridge(let bridge) where bridge.maker == .plane: try removeLink(bridge.name)
        case .tunnel(let tunnel): try removeLink(tunnel.name)
        case .forwarding(let entry): try routes.remove(entry, index: index(entry.tunnel))
        case .neighbour(let entry): try routes.remove(entry, index: index(entry.tunnel))
        case .route(let route): try routes.remove(route, index: index(route.device))
        case .rule(let rule): try routes.remove(rule)
        // What the kernel was told of itself stays: others may count on it by now. What was told of a bridge goes with it.
        case .bridge, .sysctl, .chain, .element: break
        }
    }

    private func removeLink(_ name: String) throws {
        try routes.remove(link: index(name), name: name)
        indexes[name] = nil
    }

    // MARK: - What no plan can name

    enum Repair: CustomStringConvertible {
        case port(String, Int32)
        case passage

        var description: String {
            switch self {
            case .port(let name, _): "+ port \(name) gives back what came in by it"
            case .passage: "+ DOCKER-USER lets through what is published"
            }
        }
    }

    /// Ports appear when containers start, and the engine's firewall when the engine does.
    func neededRepairs(_ wanted: [Item.Key: Item]) throws -> [Repair] {
        let links = try routes.links()
        remember(links)
        let bridges = Set(
            wanted.values.compactMap { if case .bridge(let bridge) = $0 { indexes[bridge.name] } else { nil } })
        var repairs: [Repair] = links.filter {
            bridges.contains($0.master) && $0.isHairpin == false && $0.kind != "vxlan"
        }.map { .port($0.name, $0.index) }
        if !bridges.isEmpty, case .closed = EnginePassage.state() { repairs.append(.passage) }
        return repairs
    }

    func perform(_ repair: Repair) -> String? {
        switch repair {
        case .port(let name, let index):
            do { try routes.setHairpin(index, name: name) } catch { return error.isAbsence ? nil : "\(error)" }
            return nil
        case .passage: return EnginePassage.open() ? nil : "iptables did not take the rule for DOCKER-USER"
        }
    }
}

extension NetlinkError {
    /// What was to be removed is not there.
    var isAbsence: Bool {
        [Self.noEntry, Self.noProcess, Self.noDevice, Self.notAvailable].contains(number)
    }
}

/// Kernel parameters of the calling thread's namespace.
enum SysctlFile {
    static func read(_ path: String) -> String? {
        var bytes = [CChar](repeating: 0, count: 256)
        let count = cnetlink_read_file("/proc/sys/" + path, &bytes, bytes.count)
        guard count >= 0 else { return nil }
        return String(decoding: bytes.prefix(count).map { UInt8(bitPattern: $0) }.filter { $0 != 10 }, as: UTF8.self)
    }

    static func write(_ sysctl: Sysctl) throws(NetlinkError) {
        let bytes = sysctl.value.utf8.map { CChar(bitPattern: $0) }
        let result = cnetlink_write_file("/proc/sys/" + sysctl.path, bytes, bytes.count)
        guard result == 0 else { throw NetlinkError(number: -result, doing: "setting /proc/sys/\(sysctl.path)") }
    }
}
