public import ClusterModel

/// One thing in a kernel that the plane answers for. A plan is a set of items; so is what was read from a kernel.
public enum Item: Sendable, Equatable {
    case sysctl(Sysctl)
    case bridge(Bridge)
    case tunnel(Tunnel)
    case forwarding(Forwarding)
    case neighbour(Neighbour)
    case route(Route)
    case rule(PolicyRule)
    case chain(Chain)
    case element(Element)

    /// What it is, whatever its value: two items with one key exclude each other.
    public enum Key: Hashable, Sendable {
        case sysctl(String)
        case bridge(String)
        case tunnel(String)
        case forwarding(String, MACAddress)
        case neighbour(String, IPAddress)
        case route(UInt32, IPSubnet)
        case rule(IPAddress.Family, UInt32)
        case chain(String)
        case element(String, String)
    }

    public var key: Key {
        switch self {
        case .sysctl(let item): .sysctl(item.path)
        case .bridge(let item): .bridge(item.name)
        case .tunnel(let item): .tunnel(item.name)
        case .forwarding(let item): .forwarding(item.tunnel, item.hardware)
        case .neighbour(let item): .neighbour(item.tunnel, item.address)
        case .route(let item): .route(item.table, item.destination)
        case .rule(let item): .rule(item.family, item.priority)
        case .chain(let item): .chain(item.name)
        case .element(let item): .element(item.set, item.key)
        }
    }
}

/// A kernel parameter, `net/ipv4/ip_forward`, as a path under `/proc/sys`.
public struct Sysctl: Sendable, Equatable {
    public var path: String
    public var value: String

    public init(_ path: String, _ value: String) {
        self.path = path
        self.value = value
    }
}

/// A network's bridge on this node.
public struct Bridge: Sendable, Equatable {
    public var name: String
    public var maker: OverlayNetwork.BridgeMaker
    /// Known to every node without asking: frames routed to this node are sent to it.
    public var hardware: MACAddress
    /// With the subnet's prefix. Only what the plane makes: the engine gives its bridges their addresses itself.
    public var addresses: [IPSubnet.Interface]
    /// Only what the plane makes.
    public var mtu: Int?

    public init(
        name: String, maker: OverlayNetwork.BridgeMaker, hardware: MACAddress, addresses: [IPSubnet.Interface],
        mtu: Int?
    ) {
        self.name = name
        self.maker = maker
        self.hardware = hardware
        self.addresses = addresses
        self.mtu = mtu
    }
}

extension IPSubnet {
    /// An interface's address and how far its network reaches.
    public struct Interface: Sendable, Hashable, Comparable, CustomStringConvertible {
        public var address: IPAddress
        public var prefix: Int

        public init(_ address: IPAddress, prefix: Int) {
            self.address = address
            self.prefix = prefix
        }

        public static func < (a: Self, b: Self) -> Bool { (a.address, a.prefix) < (b.address, b.prefix) }
        public var description: String { "\(address)/\(prefix)" }
    }
}

/// The VXLAN device that joins a bridge to those of other nodes. It learns nothing and floods nothing: it sends where
/// `Forwarding` says, and answers for what `Neighbour` knows.
public struct Tunnel: Sendable, Equatable {
    public var name: String
    public var vni: UInt32
    public var local: IPAddress
    public var port: UInt16
    public var mtu: Int
    public var bridge: String

    public init(name: String, vni: UInt32, local: IPAddress, port: UInt16, mtu: Int, bridge: String) {
        self.name = name
        self.vni = vni
        self.local = local
        self.port = port
        self.mtu = mtu
        self.bridge = bridge
    }
}

/// Frames for this hardware address leave a tunnel for that node.
public struct Forwarding: Sendable, Equatable {
    public var tunnel: String
    public var hardware: MACAddress
    public var remote: IPAddress

    public init(tunnel: String, hardware: MACAddress, remote: IPAddress) {
        self.tunnel = tunnel
        self.hardware = hardware
        self.remote = remote
    }
}

/// Whoever asks a tunnel for this address hears this hardware address: no question leaves the node.
public struct Neighbour: Sendable, Equatable {
    public var tunnel: String
    public var address: IPAddress
    public var hardware: MACAddress

    public init(tunnel: String, address: IPAddress, hardware: MACAddress) {
        self.tunnel = tunnel
        self.address = address
        self.hardware = hardware
    }
}

public struct Route: Sendable, Equatable {
    public enum Kind: String, Sendable { case unicast, local }

    /// The kernel's own tables.
    public static let main: UInt32 = 254
    public static let local: UInt32 = 255

    public var table: UInt32
    public var kind: Kind
    public var destination: IPSubnet
    public var gateway: IPAddress?
    public var device: String

    public init(table: UInt32, kind: Kind = .unicast, to destination: IPSubnet, via gateway: IPAddress?, device: String)
    {
        self.table = table
        self.kind = kind
        self.destination = destination
        self.gateway = gateway
        self.device = device
    }
}

/// Which routes a packet takes, by its mark.
public struct PolicyRule: Sendable, Equatable {
    public enum Action: Sendable, Equatable {
        case lookUp(table: UInt32)
        case goTo(priority: UInt32)
        case nothing
    }

    public var family: IPAddress.Family
    public var priority: UInt32
    /// Matches when the mark, masked, is this; a mask of zero matches all.
    public var mark: UInt32
    public var mask: UInt32
    public var action: Action

    public init(family: IPAddress.Family, priority: UInt32, mark: UInt32, mask: UInt32, action: Action) {
        self.family = family
        self.priority = priority
        self.mark = mark
        self.mask = mask
        self.action = action
    }
}

/// A chain of the plane's own nftables table, with its rules in nftables' words.
///
/// Rules are told apart by a digest of their text that each carries as its comment: what a kernel lists is worded
/// differently from what it was told.
public struct Chain: Sendable, Equatable {
    public var name: String
    /// Where it hooks in (`type … hook … priority …; policy …;`); nil for a chain that others go to.
    public var hook: String?
    public var rules: [Rule]

    public init(name: String, hook: String? = nil, rules: [Rule]) {
        self.name = name
        self.hook = hook
        self.rules = rules
    }

    public struct Rule: Sendable, Equatable, ExpressibleByStringInterpolation {
        /// Empty for what was read from a kernel.
        public var text: String
        public var digest: String

        public init(_ text: String) {
            self.text = text
            digest = Digest.text(of: text)
        }

        /// As a kernel shows it.
        public init(digest: String) {
            text = ""
            self.digest = digest
        }

        public init(stringLiteral text: String) { self.init(text) }

        public static func == (a: Self, b: Self) -> Bool { a.digest == b.digest }
    }

    /// Not by its hook: that belongs to the layout, whose digest stands in a chain of its own.
    public static func == (a: Self, b: Self) -> Bool { a.name == b.name && a.rules == b.rules }
}

/// One entry of a set or map of the plane's table.
public struct Element: Sendable, Equatable {
    public var set: String
    /// As nftables lists it: parts joined by " . ".
    public var key: String
    /// What a map gives for it; nil in a set.
    public var value: String?

    public init(_ set: String, _ key: String, _ value: String? = nil) {
        self.set = set
        self.key = key
        self.value = value
    }
}

/// 64 bits that tell texts apart. Not against forgers: who can write the kernel's rules needs to forge nothing.
///
/// - Source: FNV-1a, draft-eastlake-fnv.
enum Digest {
    static func text(of text: String) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(hash, radix: 16)
        return "apus:" + String(repeating: "0", count: 16 - digits.count) + digits
    }
}
