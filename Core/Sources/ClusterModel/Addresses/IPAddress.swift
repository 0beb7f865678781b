/// An IPv4 or IPv6 address, as a number that can be counted up.
///
/// IPv4 comes before IPv6 in order. Not a `UInt128` inside: see `Cluster.ID`.
public struct IPAddress: Hashable, Sendable, Comparable {
    public enum Family: UInt8, Sendable, Codable {
        case v4, v6
        /// 32 or 128.
        public var bits: Int { self == .v4 ? 32 : 128 }
    }

    public let family: Family
    private let high: UInt64
    private let low: UInt64

    private init(_ family: Family, high: UInt64, low: UInt64) {
        self.family = family
        self.high = high
        self.low = low
    }

    public init(v4 number: UInt32) { self.init(.v4, high: 0, low: UInt64(number)) }
    public init(v6 high: UInt64, _ low: UInt64) { self.init(.v6, high: high, low: low) }

    /// The IPv4 address as a number; nil for IPv6.
    public var v4: UInt32? { family == .v4 ? UInt32(truncatingIfNeeded: low) : nil }

    /// - Parameter bytes: 4 or 16, the most significant first; nil for any other number of them.
    public init?(bytes: some Collection<UInt8>) {
        let halfOf: (any Collection<UInt8>) -> UInt64 = { $0.reduce(0) { $0 << 8 | UInt64($1) } }
        switch bytes.count {
        case 4: self.init(.v4, high: 0, low: halfOf(bytes))
        case 16: self.init(.v6, high: halfOf(bytes.prefix(8)), low: halfOf(bytes.dropFirst(8)))
        default: return nil
        }
    }

    /// 4 or 16 bytes, the most significant first.
    public var bytes: [UInt8] {
        let all = [high, low].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * $0)) } }
        return family == .v4 ? Array(all.suffix(4)) : all
    }

    public static func < (a: Self, b: Self) -> Bool {
        (a.family.rawValue, a.high, a.low) < (b.family.rawValue, b.high, b.low)
    }

    /// - Returns: nil past the last address of the family, or before the first.
    public func advanced(by offset: Int) -> IPAddress? {
        let magnitude = UInt64(offset.magnitude)
        let (low, over) =
            offset >= 0 ? low.addingReportingOverflow(magnitude) : low.subtractingReportingOverflow(magnitude)
        if family == .v4 { return over || low > UInt64(UInt32.max) ? nil : IPAddress(.v4, high: 0, low: low) }
        guard over else { return IPAddress(.v6, high: high, low: low) }
        let (carried, past) = offset >= 0 ? high.addingReportingOverflow(1) : high.subtractingReportingOverflow(1)
        return past ? nil : IPAddress(.v6, high: carried, low: low)
    }

    /// How far `other` is from here; nil for another family, or if it is further than an `Int` counts.
    public func distance(to other: IPAddress) -> Int? {
        guard family == other.family, high == other.high else { return nil }
        return other.low >= low ? Int(exactly: other.low - low) : Int(exactly: low - other.low).map { -$0 }
    }

    /// The same with all bits after the first `prefix` set to zero, or to one.
    fileprivate func filled(after prefix: Int, with one: Bool) -> IPAddress {
        let host = family.bits - prefix
        let lowMask: UInt64 = host >= 64 ? .max : (1 << UInt64(host)) - 1
        let highMask: UInt64 = host <= 64 ? 0 : host >= 128 ? .max : (1 << UInt64(host - 64)) - 1
        return one
            ? IPAddress(family, high: high | highMask, low: low | lowMask)
            : IPAddress(family, high: high & ~highMask, low: low & ~lowMask)
    }
}

// MARK: - Text

extension IPAddress: LosslessStringConvertible {
    /// `10.0.0.1`, `fd00::1`. No zone, no leading zeros in IPv4, no mixed notation but `::ffff:10.0.0.1`.
    public init?(_ text: some StringProtocol) {
        if text.utf8.contains(UInt8(ascii: ":")) { self.init(v6: text) } else { self.init(v4: text) }
    }

    private init?(v4 text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var number: UInt32 = 0
        for part in parts {
            guard part.utf8.count <= 3, part == "0" || part.utf8.first != UInt8(ascii: "0"),
                part.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let byte = UInt8(part)
            else { return nil }
            number = number << 8 | UInt32(byte)
        }
        self.init(v4: number)
    }

    private init?(v6 text: some StringProtocol) {
        var text = String(text)
        if let colon = text.lastIndex(of: ":"), text[colon...].contains(".") {
            guard let tail = IPAddress(v4: text[text.index(after: colon)...])?.v4 else { return nil }
            text = text[...colon] + String(tail >> 16, radix: 16) + ":" + String(tail & 0xffff, radix: 16)
        }
        let halves = text.split(separator: "::", maxSplits: 2, omittingEmptySubsequences: false)
        guard halves.count <= 2 else { return nil }
        var groups: [[UInt16]] = []
        for half in halves {
            var numbers: [UInt16] = []
            if !half.isEmpty {
                for part in half.split(separator: ":", omittingEmptySubsequences: false) {
                    guard (1...4).contains(part.utf8.count), part.allSatisfy(\.isHexDigit),
                        let number = UInt16(part, radix: 16)
                    else { return nil }
                    numbers.append(number)
                }
            }
            groups.append(numbers)
        }
        if groups.count == 2 {
            let missing = 8 - groups[0].count - groups[1].count
            guard missing >= 1 else { return nil }
            groups = [groups[0] + Array(repeating: 0, count: missing) + groups[1]]
        }
        guard groups[0].count == 8 else { return nil }
        let halfOf: (ArraySlice<UInt16>) -> UInt64 = { $0.reduce(0) { $0 << 16 | UInt64($1) } }
        self.init(v6: halfOf(groups[0][..<4]), halfOf(groups[0][4...]))
    }

    public var description: String {
        if family == .v4 { return bytes.map(String.init).joined(separator: ".") }
        let groups = [high, low].flatMap { half in (0..<4).map { UInt16(truncatingIfNeeded: half >> (48 - 16 * $0)) } }
        // RFC 5952: the longest run of two zero groups or more, the first of equals, is left out.
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > max(1, best.count) { best = start..<end }
            start = max(end, start + 1)
        }
        let text: (Range<Int>) -> String = { groups[$0].map { String($0, radix: 16) }.joined(separator: ":") }
        return best.isEmpty ? text(0..<8) : text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
    }
}

extension IPAddress: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let address = IPAddress(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "\"\(text)\" is no IP address")
        }
        self = address
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

// MARK: - Networks of addresses

/// A range of addresses with a common prefix, in CIDR notation.
public struct IPSubnet: Hashable, Sendable, Comparable {
    /// The first address: every bit after the prefix is zero.
    public let base: IPAddress
    public let prefix: Int

    /// - Parameter address: any of its addresses.
    /// - Returns: nil if the prefix is longer than the address.
    public init?(_ address: IPAddress, prefix: Int) {
        guard (0...address.family.bits).contains(prefix) else { return nil }
        base = address.filled(after: prefix, with: false)
        self.prefix = prefix
    }

    public var last: IPAddress { base.filled(after: prefix, with: true) }

    public func contains(_ address: IPAddress) -> Bool {
        address.family == base.family && base <= address && address <= last
    }

    public func overlaps(_ other: IPSubnet) -> Bool { contains(other.base) || other.contains(base) }

    public static func < (a: Self, b: Self) -> Bool { (a.base, a.prefix) < (b.base, b.prefix) }

    /// The subnet of the same size right behind this one; nil at the end of the family.
    public var next: IPSubnet? { last.advanced(by: 1).flatMap { IPSubnet($0, prefix: prefix) } }

    /// Splits `10.0.0.5/24` without dropping the host's part, as `docker network create --ip-range` and gateways say it.
    public static func parse(_ text: some StringProtocol) -> (address: IPAddress, subnet: IPSubnet)? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(parts[0]), parts[1].allSatisfy(\.isNumber),
            let prefix = Int(parts[1]), let subnet = IPSubnet(address, prefix: prefix)
        else { return nil }
        return (address, subnet)
    }
}

extension IPSubnet: LosslessStringConvertible {
    /// `10.0.0.0/24`; bits after the prefix are dropped, as dockerd does.
    public init?(_ text: some StringProtocol) {
        guard let (_, subnet) = Self.parse(text) else { return nil }
        self = subnet
    }

    public var description: String { "\(base)/\(prefix)" }
}

extension IPSubnet: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let subnet = IPSubnet(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "\"\(text)\" is no subnet")
        }
        self = subnet
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// The address of an interface on a link.
public struct MACAddress: Hashable, Sendable {
    public let bytes: [UInt8]

    /// - Returns: nil unless there are six.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 6 else { return nil }
        self.bytes = Array(bytes)
    }

    /// `02:42` and the last four bytes of the address, as Docker derives them: known to every node without asking.
    public init(for address: IPAddress) { bytes = [0x02, 0x42] + address.bytes.suffix(4) }
}

extension MACAddress: CustomStringConvertible {
    public var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
