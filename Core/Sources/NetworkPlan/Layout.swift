/// The parts of the plane's nftables table that do not depend on what the cluster holds: sets, maps and the chains that
/// hook into a packet's way.
///
/// A service is a few elements and a chain of its own, so a change touches what it names and nothing else.
public enum Layout {
    /// In the family `inet`.
    public static let table = "apus"
    /// Routes and policy rules of ours carry this as their protocol, so that they are found again.
    public static let routeProtocol: UInt8 = 143

    // A packet's mark, and that of its connection: bits that Kubernetes, Tailscale and Cilium leave alone. None of them
    // goes on into the overlay: see the chain `forget`.

    /// Which node took the connection.
    static let nodeMask: UInt32 = 0xfff0_0000
    static let nodeShift: UInt32 = 20
    /// The packet belongs to what we publish: the engine's firewall, whose policy is to drop, lets it through.
    public static let vouchedMark: UInt32 = 0x0000_1000
    /// The packet's source becomes this node's address on the overlay.
    static let masqueradeMark: UInt32 = 0x0000_2000
    static let allMarks = nodeMask | vouchedMark | masqueradeMark

    /// Policy rules: unmarked packets jump over those of the nodes, whose priority is `rules` and their number.
    static let rules: UInt32 = 14_000
    static let rulesEnd: UInt32 = 18_200
    /// The routing table of node 1 is the one after this.
    static let tables: UInt32 = 14_000

    /// Names and types, in the order in which they are declared.
    public static let sets: [(name: String, declaration: String)] = [
        ("bridges", "set bridges { type ifname; }"),
        ("within", "set within { type ifname . ifname; }"),
        ("subnets4", "set subnets4 { type ipv4_addr; flags interval; }"),
        ("subnets6", "set subnets6 { type ipv6_addr; flags interval; }"),
        ("resolvers4", "set resolvers4 { type ifname . ipv4_addr; }"),
        ("itself4", "set itself4 { type ipv4_addr . ipv4_addr; }"),
        ("itself6", "set itself6 { type ipv6_addr . ipv6_addr; }"),
        ("vips4", "set vips4 { type ipv4_addr; }"),
        ("vips6", "set vips6 { type ipv6_addr; }"),
        ("gateways4", "map gateways4 { type ifname : ipv4_addr; }"),
        ("gateways6", "map gateways6 { type ifname : ipv6_addr; }"),
        ("arrivals", "map arrivals { type ifname . ether_addr : mark; }"),
        ("services4", "map services4 { type ifname . ipv4_addr : verdict; }"),
        ("services6", "map services6 { type ifname . ipv6_addr : verdict; }"),
        ("ports", "map ports { type inet_proto . inet_service : verdict; }"),
        ("ports_at4", "map ports_at4 { type ipv4_addr . inet_proto . inet_service : verdict; }"),
        ("ports_at6", "map ports_at6 { type ipv6_addr . inet_proto . inet_service : verdict; }"),
    ]

    /// Changes when a set, a hook or a rule of the layout does: a table of another layout is replaced whole.
    static func chains(for node: ThisNode) -> [Chain] {
        var chains = base(for: node)
        let whole = (sets.map(\.declaration) + chains.map { Item.chain($0).description }).joined(separator: "\n")
        // A chain of no use but to carry the digest.
        chains.append(Chain(name: "layout", rules: [Chain.Rule(text: "return", digest: Digest.text(of: whole))]))
        return chains
    }

    private static func base(for node: ThisNode) -> [Chain] {
        let kernel = node.kernel
        let transports = kernel.sctp ? "{ tcp, udp, sctp }" : "{ tcp, udp }"
        let vouch: (String) -> Chain.Rule = { "\($0) meta mark set meta mark | \(hex(vouchedMark))" }
        let marked = "ct mark & \(hex(nodeMask)) != 0"
        let published: [Chain.Rule] = [
            "ip daddr . meta l4proto . th dport vmap @ports_at4",
            "ip6 daddr . meta l4proto . th dport vmap @ports_at6",
            "fib daddr type local meta l4proto . th dport vmap @ports",
        ]
        var remember: [Chain.Rule] = []
        var hide: [Chain.Rule] = []
        for family in ["4", "6"] {
            let ip = family == "4" ? "ip" : "ip6"
            if kernel.connectionMarks {
                // A frame from another node's own address, whose source is not of the overlays, was published there.
                remember.append(
                    "iifname @bridges ct state new \(ip) saddr != @subnets\(family) ct mark set iifname . ether saddr map @arrivals"
                )
            }
            let source = "snat \(ip) to oifname map @gateways\(family)"
            let loopback = family == "4" ? "127.0.0.0/8" : "::1"
            hide.append("oifname @bridges \(ip) saddr \(loopback) ct status dnat \(source)")
            // Who calls its own service and is its own answer, or whose node is, would answer past us or not at all.
            hide.append("oifname @bridges \(ip) saddr . \(ip) daddr @itself\(family) ct status dnat \(source)")
            hide.append("oifname @bridges meta nfproto ipv\(family) meta mark & \(hex(masqueradeMark)) != 0 \(source)")
            if !kernel.bridgeNetfilter {
                hide.append("iifname . oifname @within meta nfproto ipv\(family) ct status dnat \(source)")
            }
        }
        if kernel.connectionMarks {
            remember.append("iifname @bridges ct direction reply \(marked) meta mark set ct mark")
        }
        return [
            // The bridges route to 127.0.0.1 for the sake of the resolver and of local clients; nobody else may.
            Chain(
                name: "guard", hook: "type filter hook prerouting priority raw; policy accept;",
                rules: ["iifname @bridges ip daddr 127.0.0.0/8 drop"]),
            Chain(
                name: "remember", hook: "type filter hook prerouting priority mangle; policy accept;", rules: remember),
            Chain(
                name: "translate", hook: "type nat hook prerouting priority dstnat - 10; policy accept;",
                rules: [
                    "iifname . ip daddr @resolvers4 meta l4proto { tcp, udp } th dport 53 dnat ip to 127.0.0.1:\(String(node.resolverPort))",
                    "meta l4proto \(transports) iifname . ip daddr vmap @services4",
                    "meta l4proto \(transports) iifname . ip6 daddr vmap @services6",
                ] + published),
            Chain(
                name: "translate_own", hook: "type nat hook output priority -110; policy accept;", rules: published),
            // A virtual IP is nobody's address: without tasks it must not lead to the node's own servers.
            Chain(
                name: "refuse", hook: "type filter hook input priority filter - 10; policy accept;",
                rules: [
                    "ip daddr @vips4 meta l4proto tcp reject with tcp reset",
                    "ip daddr @vips4 meta l4proto { udp, sctp } reject with icmp port-unreachable",
                    "ip6 daddr @vips6 meta l4proto tcp reject with tcp reset",
                    "ip6 daddr @vips6 meta l4proto { udp, sctp } reject with icmpv6 port-unreachable",
                ]),
            // A node passes packets on to the bridge that they came from, and that is as it should be.
            Chain(
                name: "quiet", hook: "type filter hook output priority filter - 10; policy accept;",
                rules: ["oifname @bridges icmp type redirect drop"]),
            Chain(
                name: "vouch", hook: "type filter hook forward priority filter - 10; policy accept;",
                rules: [
                    vouch("oifname @bridges ct direction original ct status dnat"),
                    vouch("iifname @bridges ct direction reply ct status dnat"),
                    vouch("iifname @bridges \(marked)"),
                    "iifname . oifname @within accept",
                    // Networks are apart, whatever the engine does about it.
                    "iifname @bridges oifname @bridges meta mark & \(hex(vouchedMark)) == 0 drop",
                ]),
            Chain(name: "hide", hook: "type nat hook postrouting priority srcnat - 10; policy accept;", rules: hide),
            // The mark would travel on into the overlay's own packets, which would take the marked way again.
            Chain(
                name: "forget", hook: "type filter hook postrouting priority srcnat + 10; policy accept;",
                rules: [
                    "oifname @bridges meta mark & \(hex(allMarks)) != 0 meta mark set meta mark & \(hex(~allMarks))"
                ]),
        ]
    }
}

extension Chain.Rule {
    init(text: String, digest: String) {
        self.text = text
        self.digest = digest
    }
}
