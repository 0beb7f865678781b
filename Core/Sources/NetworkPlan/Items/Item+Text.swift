/// One line for each item, as `check` prints it and as the golden files keep it.
extension Item: CustomStringConvertible {
    public var description: String {
        switch self {
        case .sysctl(let item): "sysctl \(item.path) = \(item.value)"
        case .bridge(let item):
            "bridge \(item.name) of the \(item.maker), \(item.hardware)"
                + item.addresses.map { ", \($0)" }.joined() + (item.mtu.map { ", mtu \($0)" } ?? "")
        case .tunnel(let item):
            "tunnel \(item.name) vni \(item.vni) from \(item.local) port \(item.port), mtu \(item.mtu), in \(item.bridge)"
        case .forwarding(let item): "forwarding \(item.tunnel) \(item.hardware) to \(item.remote)"
        case .neighbour(let item): "neighbour \(item.tunnel) \(item.address) is \(item.hardware)"
        case .route(let item):
            "route \(item.table == Route.main ? "" : item.table == Route.local ? "local " : "table \(item.table) ")"
                + "\(item.destination)" + (item.gateway.map { " via \($0)" } ?? "") + " dev \(item.device)"
        case .rule(let item):
            "rule \(item.family) \(item.priority)"
                + (item.mask == 0 ? "" : " mark \(hex(item.mark))/\(hex(item.mask))") + " \(item.action)"
        case .chain(let item):
            item.rules.map { "\n    " + ($0.text.isEmpty ? $0.digest : $0.text) }.reduce(
                "chain \(item.name)" + (item.hook.map { " { \($0) }" } ?? ""), +)
        case .element(let item): "element \(item.set) \(item.key)" + (item.value.map { " : \($0)" } ?? "")
        }
    }

    /// The order in which items are shown and made: what others stand on first.
    package var rank: Int {
        switch self {
        case .bridge: 0
        case .tunnel: 1
        case .sysctl: 2
        case .forwarding: 3
        case .neighbour: 4
        case .route: 5
        case .rule: 6
        case .chain: 7
        case .element: 8
        }
    }
}

extension PolicyRule.Action: CustomStringConvertible {
    public var description: String {
        switch self {
        case .lookUp(let table): "look up table \(table)"
        case .goTo(let priority): "go to \(priority)"
        case .nothing: "nothing"
        }
    }
}

/// `0x00100000`, as nftables writes a mark.
func hex(_ number: UInt32) -> String {
    let digits = String(number, radix: 16)
    return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
}
