import CNetlink
package import ClusterModel
import NetworkPlan

/// A network device as the kernel knows it.
package struct Link: Sendable, Equatable {
    package var index: Int32
    package var name: String
    package var kind: String?
    package var hardware: MACAddress?
    package var mtu: Int
    /// The index of the bridge that it is a port of; 0: of none.
    package var master: Int32
    package var isUp: Bool
    package var alias: String?
    /// As the port of a bridge: whether frames may leave where they came in.
    package var isHairpin: Bool?
    package var vni: UInt32?
    package var local: IPAddress?
    package var port: UInt16?
}

/// The kernel's links, addresses, neighbours, routes and rules, read and changed.
///
/// - Source: linux/rtnetlink.h, if_link.h, neighbour.h, fib_rules.h; `NETLINK_GET_STRICT_CHK` for filtered dumps.
final class RouteSocket {
    private let socket: NetlinkSocket
    private let family4 = UInt8(2)
    private let family6 = UInt8(10)
    private let familyBridge = UInt8(7)

    /// What the plane writes on a bridge that it made.
    static let alias = "made by the Apus network plane"

    init() throws(NetlinkError) { socket = try NetlinkSocket(family: NETLINK_ROUTE) }

    private func dump(_ message: NetlinkMessage, _ doing: String) throws(NetlinkError) -> [NetlinkAnswer] {
        // A dump that a change interrupted is not whole: it is taken again.
        for _ in 0..<5 {
            let answers = try socket.ask(message, flags: Int32(NLM_F_DUMP), doing)
            if !answers.contains(where: { $0.flags & UInt16(NLM_F_DUMP_INTR) != 0 }) { return answers }
        }
        throw NetlinkError(number: 4, doing: doing, words: "the tables change faster than they can be read")
    }

    // MARK: - Links

    func links() throws(NetlinkError) -> [Link] {
        var message = NetlinkMessage(RTM_GETLINK, body: linkBody())
        message.attribute(IFLA_EXT_MASK, UInt32(0))
        return try dump(message, "reading the links").compactMap { answer in
            guard answer.type == RTM_NEWLINK, let index = answer.body.machineNumber(at: 4, Int32.self),
                let flags = answer.body.machineNumber(at: 8, UInt32.self)
            else { return nil }
            let attributes = answer.attributes(after: 16)
            var link = Link(
                index: index, name: attributes[IFLA_IFNAME]?.text ?? "", kind: nil,
                hardware: attributes[IFLA_ADDRESS].flatMap { MACAddress(bytes: $0) },
                mtu: Int(attributes[IFLA_MTU]?.machineNumber(at: 0, UInt32.self) ?? 0),
                master: attributes[IFLA_MASTER]?.machineNumber(at: 0, Int32.self) ?? 0, isUp: flags & 1 != 0,
                alias: attributes[IFLA_IFALIAS]?.text)
            if let information = attributes[IFLA_LINKINFO]?.netlinkAttributes {
                link.kind = information[IFLA_INFO_KIND]?.text
                if information[IFLA_INFO_SLAVE_KIND]?.text == "bridge",
                    let port = information[IFLA_INFO_SLAVE_DATA]?.netlinkAttributes
                {
                    link.isHairpin = port[IFLA_BRPORT_MODE]?.first == 1
                }
                if link.kind == "vxlan", let data = information[IFLA_INFO_DATA]?.netlinkAttributes {
                    link.vni = data[IFLA_VXLAN_ID]?.machineNumber(at: 0, UInt32.self)
                    link.port = data[IFLA_VXLAN_PORT]?.networkNumber(at: 0, UInt16.self)
                    link.local = (data[IFLA_VXLAN_LOCAL] ?? data[IFLA_VXLAN_LOCAL6]).flatMap { IPAddress(bytes: $0) }
                }
            }
            return link
        }
    }

    private func linkBody(index: Int32 = 0, flags: UInt32 = 0, change: UInt32 = 0, family: UInt8 = 0) -> [UInt8] {
        [family, 0] + UInt16(0).machineBytes + index.machineBytes + flags.machineBytes + change.machineBytes
    }

    func makeBridge(_ bridge: Bridge) throws(NetlinkError) {
        var message = NetlinkMessage(
            RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL, body: linkBody(flags: 1, change: 1))
        message.attribute(IFLA_IFNAME, bridge.name)
        message.attribute(IFLA_ADDRESS, bridge.hardware.bytes)
        if let mtu = bridge.mtu { message.attribute(IFLA_MTU, UInt32(mtu)) }
        message.nested(IFLA_LINKINFO) { $0.attribute(IFLA_INFO_KIND, "bridge") }
        try socket.perform(message, "making the bridge \(bridge.name)")
        var name = NetlinkMessage(RTM_NEWLINK, body: linkBody())
        name.attribute(IFLA_IFNAME, bridge.name)
        name.attribute(IFLA_IFALIAS, Self.alias)
        try socket.perform(name, "marking the bridge \(bridge.name) as ours")
    }

    func makeTunnel(_ tunnel: Tunnel, master: Int32) throws(NetlinkError) {
        var message = NetlinkMessage(
            RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL, body: linkBody(flags: 1, change: 1))
        message.attribute(IFLA_IFNAME, tunnel.name)
        message.attribute(IFLA_MTU, UInt32(tunnel.mtu))
        message.attribute(IFLA_MASTER, UInt32(bitPattern: master))
        message.nested(IFLA_LINKINFO) { information in
            information.attribute(IFLA_INFO_KIND, "vxlan")
            information.nested(IFLA_INFO_DATA) { data in
                data.attribute(IFLA_VXLAN_ID, tunnel.vni)
                data.attribute(
                    tunnel.local.family == .v4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, tunnel.local.bytes)
                data.attribute(IFLA_VXLAN_PORT, tunnel.port.networkBytes)
                data.attribute(IFLA_VXLAN_LEARNING, UInt8(0))
                data.attribute(IFLA_VXLAN_PROXY, UInt8(1))
            }
        }
        try socket.perform(message, "making the tunnel \(tunnel.name)")
    }

    /// Changes of a link that is there; nil leaves a thing as it is.
    func set(
        _ index: Int32, name: String, hardware: MACAddress? = nil, mtu: Int? = nil, master: Int32? = nil,
        up: Bool? = nil
    )
        throws(NetlinkError)
    {
        let flags: UInt32 = up == true ? 1 : 0
        var message = NetlinkMessage(RTM_NEWLINK, body: linkBody(index: index, flags: flags, change: up == nil ? 0 : 1))
        if let hardware { message.attribute(IFLA_ADDRESS, hardware.bytes) }
        if let mtu { message.attribute(IFLA_MTU, UInt32(mtu)) }
        if let master { message.attribute(IFLA_MASTER, UInt32(bitPattern: master)) }
        try socket.perform(message, "changing the link \(name)")
    }

    /// Lets a bridge's port give back what came in by it: a container that calls its own service is its own answer.
    func setHairpin(_ index: Int32, name: String) throws(NetlinkError) {
        var message = NetlinkMessage(RTM_SETLINK, body: linkBody(index: index, family: familyBridge))
        message.nested(IFLA_PROTINFO) { $0.attribute(IFLA_BRPORT_MODE, UInt8(1)) }
        try socket.perform(message, "letting \(name) give back what came in by it")
    }

    func remove(link index: Int32, name: String) throws(NetlinkError) {
        try socket.perform(NetlinkMessage(RTM_DELLINK, body: linkBody(index: index)), "removing the link \(name)")
    }

    // MARK: - Addresses

    func addresses(of index: Int32) throws(NetlinkError) -> [IPSubnet.Interface] {
        let message = NetlinkMessage(RTM_GETADDR, body: [0, 0, 0, 0] + index.machineBytes)
        return try dump(message, "reading the addresses").compactMap { answer in
            guard answer.type == RTM_NEWADDR, answer.body.machineNumber(at: 4, Int32.self) == index,
                let prefix = answer.body.machineNumber(at: 1, UInt8.self),
                let scope = answer.body.machineNumber(at: 3, UInt8.self), scope != 253
            else { return nil }
            let attributes = answer.attributes(after: 8)
            guard let bytes = attributes[IFA_LOCAL] ?? attributes[IFA_ADDRESS], let address = IPAddress(bytes: bytes)
            else { return nil }
            return IPSubnet.Interface(address, prefix: Int(prefix))
        }
    }

    func add(_ interface: IPSubnet.Interface, to index: Int32, name: String) throws(NetlinkError) {
        try change(interface, of: index, name, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, "giving")
    }

    func remove(_ interface: IPSubnet.Interface, from index: Int32, name: String) throws(NetlinkError) {
        try change(interface, of: index, name, RTM_DELADDR, 0, "taking back")
    }

    private func change(
        _ interface: IPSubnet.Interface, of index: Int32, _ name: String, _ type: Int, _ flags: Int32, _ verb: String
    ) throws(NetlinkError) {
        var message = NetlinkMessage(
            type, flags: flags,
            body: [
                family(interface.address.family), UInt8(interface.prefix), interface.address.family == .v6 ? 2 : 0, 0,
            ]
                + index.machineBytes)
        message.attribute(IFA_LOCAL, interface.address.bytes)
        message.attribute(IFA_ADDRESS, interface.address.bytes)
        try socket.perform(message, "\(verb) \(name) the address \(interface)")
    }

    // MARK: - Who is where on an overlay

    func forwardings(of tunnel: Link) throws(NetlinkError) -> [Forwarding] {
        try entries(of: tunnel, family: familyBridge).compactMap { attributes, _ in
            guard let hardware = attributes[NDA_LLADDR].flatMap({ MACAddress(bytes: $0) }),
                let remote = attributes[NDA_DST].flatMap({ IPAddress(bytes: $0) })
            else { return nil }
            return Forwarding(tunnel: tunnel.name, hardware: hardware, remote: remote)
        }
    }

    func neighbours(of tunnel: Link) throws(NetlinkError) -> [Neighbour] {
        let all = try entries(of: tunnel, family: family4) + entries(of: tunnel, family: family6)
        return all.compactMap { attributes, _ in
            guard let hardware = attributes[NDA_LLADDR].flatMap({ MACAddress(bytes: $0) }),
                let address = attributes[NDA_DST].flatMap({ IPAddress(bytes: $0) })
            else { return nil }
            return Neighbour(tunnel: tunnel.name, address: address, hardware: hardware)
        }
    }

    private func entries(of tunnel: Link, family: UInt8) throws(NetlinkError) -> [([Int: ArraySlice<UInt8>], UInt16)] {
        var message = NetlinkMessage(RTM_GETNEIGH, body: neighbourBody(family, index: 0, state: 0, flags: 0))
        message.attribute(NDA_IFINDEX, UInt32(bitPattern: tunnel.index))
        return try dump(message, "reading who is on \(tunnel.name)").compactMap { answer in
            guard answer.type == RTM_NEWNEIGH, answer.body.first == family,
                answer.body.machineNumber(at: 4, Int32.self) == tunnel.index,
                let state = answer.body.machineNumber(at: 8, UInt16.self), state & UInt16(NUD_PERMANENT) != 0
            else { return nil }
            return (answer.attributes(after: 12), state)
        }
    }

    private func neighbourBody(_ family: UInt8, index: Int32, state: UInt16, flags: UInt8) -> [UInt8] {
        [family, 0, 0, 0] + index.machineBytes + state.machineBytes + [flags, 0]
    }

    func add(_ entry: Forwarding, index: Int32) throws(NetlinkError) {
        try change(entry, index, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE)
    }

    func remove(_ entry: Forwarding, index: Int32) throws(NetlinkError) { try change(entry, index, RTM_DELNEIGH, 0) }

    private func change(_ entry: Forwarding, _ index: Int32, _ type: Int, _ flags: Int32) throws(NetlinkError) {
        var message = NetlinkMessage(
            type, flags: flags,
            body: neighbourBody(familyBridge, index: index, state: UInt16(NUD_PERMANENT), flags: UInt8(NTF_SELF)))
        message.attribute(NDA_LLADDR, entry.hardware.bytes)
        message.attribute(NDA_DST, entry.remote.bytes)
        try socket.perform(message, "\(type == RTM_NEWNEIGH ? "+" : "-") \(Item.forwarding(entry))")
    }

    func add(_ entry: Neighbour, index: Int32) throws(NetlinkError) {
        try change(entry, index, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE)
    }

    func remove(_ entry: Neighbour, index: Int32) throws(NetlinkError) { try change(entry, index, RTM_DELNEIGH, 0) }

    private func change(_ entry: Neighbour, _ index: Int32, _ type: Int, _ flags: Int32) throws(NetlinkError) {
        var message = NetlinkMessage(
            type, flags: flags,
            body: neighbourBody(family(entry.address.family), index: index, state: UInt16(NUD_PERMANENT), flags: 0))
        message.attribute(NDA_DST, entry.address.bytes)
        message.attribute(NDA_LLADDR, entry.hardware.bytes)
        try socket.perform(message, "\(type == RTM_NEWNEIGH ? "+" : "-") \(Item.neighbour(entry))")
    }

    // MARK: - Routes

    /// Those that carry our protocol, in all tables.
    func routes(names: [Int32: String]) throws(NetlinkError) -> [Route] {
        var found: [Route] = []
        for family in [IPAddress.Family.v4, .v6] {
            let message = NetlinkMessage(
                RTM_GETROUTE,
                body: routeBody(family, prefix: 0, table: 0, protocol: Layout.routeProtocol, scope: 0, type: 0))
            for answer in try dump(message, "reading the routes") where answer.type == RTM_NEWROUTE {
                let attributes = answer.attributes(after: 12)
                guard answer.body.machineNumber(at: 5, UInt8.self) == Layout.routeProtocol,
                    let prefix = answer.body.machineNumber(at: 1, UInt8.self),
                    let type = answer.body.machineNumber(at: 7, UInt8.self),
                    let short = answer.body.machineNumber(at: 4, UInt8.self),
                    let destination = attributes[RouteAttribute.destination].map({ IPAddress(bytes: $0) })
                        ?? (family == .v4 ? IPAddress(v4: 0) : IPAddress(v6: 0, 0)),
                    let subnet = IPSubnet(destination, prefix: Int(prefix)),
                    let device = attributes[RouteAttribute.device]?.machineNumber(at: 0, Int32.self).flatMap({
                        names[$0]
                    })
                else { continue }
                found.append(
                    Route(
                        table: attributes[RouteAttribute.table]?.machineNumber(at: 0, UInt32.self) ?? UInt32(short),
                        kind: Int(type) == RTN_LOCAL ? .local : .unicast, to: subnet,
                        via: attributes[RouteAttribute.gateway].flatMap { IPAddress(bytes: $0) }, device: device))
            }
        }
        return found
    }

    private func routeBody(
        _ family: IPAddress.Family, prefix: Int, table: UInt8, protocol: UInt8, scope: UInt8, type: UInt8
    ) -> [UInt8] {
        [self.family(family), UInt8(prefix), 0, 0, table, `protocol`, scope, type] + UInt32(0).machineBytes
    }

    func add(_ route: Route, index: Int32) throws(NetlinkError) {
        try change(route, index, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE)
    }

    func remove(_ route: Route, index: Int32) throws(NetlinkError) { try change(route, index, RTM_DELROUTE, 0) }

    private func change(_ route: Route, _ index: Int32, _ type: Int, _ flags: Int32) throws(NetlinkError) {
        let isLocal = route.kind == .local
        let scope =
            isLocal
            ? RT_SCOPE_HOST.rawValue : route.gateway == nil ? RT_SCOPE_LINK.rawValue : RT_SCOPE_UNIVERSE.rawValue
        var message = NetlinkMessage(
            type, flags: flags,
            body: routeBody(
                route.destination.base.family, prefix: route.destination.prefix, table: 0,
                protocol: Layout.routeProtocol,
                scope: UInt8(scope), type: UInt8(isLocal ? RTN_LOCAL : RTN_UNICAST)))
        message.attribute(RouteAttribute.table, route.table)
        if route.destination.prefix > 0 { message.attribute(RouteAttribute.destination, route.destination.base.bytes) }
        if let gateway = route.gateway { message.attribute(RouteAttribute.gateway, gateway.bytes) }
        message.attribute(RouteAttribute.device, UInt32(bitPattern: index))
        try socket.perform(message, "\(type == RTM_NEWROUTE ? "+" : "-") \(Item.route(route))")
    }

    // MARK: - Rules

    /// Those that carry our protocol.
    func rules() throws(NetlinkError) -> [PolicyRule] {
        var found: [PolicyRule] = []
        for family in [IPAddress.Family.v4, .v6] {
            let message = NetlinkMessage(RTM_GETRULE, body: ruleBody(family, action: 0))
            for answer in try dump(message, "reading the policy rules") where answer.type == RTM_NEWRULE {
                let attributes = answer.attributes(after: 12)
                guard attributes[FRA_PROTOCOL]?.first == Layout.routeProtocol,
                    let action = answer.body.machineNumber(at: 7, UInt8.self),
                    let priority = attributes[FRA_PRIORITY]?.machineNumber(at: 0, UInt32.self)
                else { continue }
                let number: (Int) -> UInt32 = { attributes[$0]?.machineNumber(at: 0, UInt32.self) ?? 0 }
                let known: PolicyRule.Action =
                    switch Int(action) {
                    case FR_ACT_GOTO: .goTo(priority: number(FRA_GOTO))
                    case FR_ACT_TO_TBL: .lookUp(table: number(FRA_TABLE))
                    default: .nothing
                    }
                found.append(
                    PolicyRule(
                        family: family, priority: priority, mark: number(FRA_FWMARK), mask: number(FRA_FWMASK),
                        action: known))
            }
        }
        return found
    }

    private func ruleBody(_ family: IPAddress.Family, action: Int) -> [UInt8] {
        [self.family(family), 0, 0, 0, 0, 0, 0, UInt8(action)] + UInt32(0).machineBytes
    }

    func add(_ rule: PolicyRule) throws(NetlinkError) { try change(rule, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL) }
    func remove(_ rule: PolicyRule) throws(NetlinkError) { try change(rule, RTM_DELRULE, 0) }

    private func change(_ rule: PolicyRule, _ type: Int, _ flags: Int32) throws(NetlinkError) {
        let action =
            switch rule.action {
            case .lookUp: FR_ACT_TO_TBL
            case .goTo: FR_ACT_GOTO
            case .nothing: FR_ACT_NOP
            }
        var message = NetlinkMessage(type, flags: flags, body: ruleBody(rule.family, action: action))
        message.attribute(FRA_PRIORITY, rule.priority)
        message.attribute(FRA_PROTOCOL, Layout.routeProtocol)
        if rule.mask != 0 {
            message.attribute(FRA_FWMARK, rule.mark)
            message.attribute(FRA_FWMASK, rule.mask)
        }
        switch rule.action {
        case .lookUp(let table): message.attribute(FRA_TABLE, table)
        case .goTo(let priority): message.attribute(FRA_GOTO, priority)
        case .nothing: break
        }
        try socket.perform(message, "\(type == RTM_NEWRULE ? "+" : "-") \(Item.rule(rule))")
    }

    private func family(_ family: IPAddress.Family) -> UInt8 { family == .v4 ? family4 : family6 }
}

/// Attributes of routes, whose C type is not that of all others.
private enum RouteAttribute {
    static let destination = Int(RTA_DST.rawValue)
    static let device = Int(RTA_OIF.rawValue)
    static let table = Int(RTA_TABLE.rawValue)
    static let gateway = Int(RTA_GATEWAY.rawValue)
}
