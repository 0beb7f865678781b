import ClusterModel

/// Which addresses of one IPv4 subnet are taken.
///
/// Addresses are given out in turn and not the lowest first: one that was just given back rests as long as it can,
/// because somebody may still hold it in a table.
struct AddressPool: Sendable {
    let subnet: IPSubnet
    /// Where free addresses are looked for.
    private let range: Range<Int>
    private var words: [UInt64]
    private var cursor: Int
    /// How many of the range are taken, and how many it has.
    private(set) var taken = 0
    var capacity: Int { range.count }

    /// - Parameter subnet: with its network, broadcast and reserved addresses taken from the beginning.
    init(_ subnet: Cluster.NetworkSubnet) {
        self.subnet = subnet.subnet
        let all = 1 << (32 - subnet.subnet.prefix)
        let part = subnet.range ?? subnet.subnet
        let start = subnet.subnet.base.distance(to: part.base) ?? 0
        range = start..<start + (1 << (32 - part.prefix))
        cursor = range.lowerBound
        words = Array(repeating: 0, count: (all + 63) / 64)
        for address in [subnet.subnet.base, subnet.subnet.last, subnet.gateway] + subnet.reserved.values.sorted() {
            hold(address)
        }
    }

    /// The next free address; nil when there is none.
    mutating func take() -> IPAddress? {
        guard taken < capacity else { return nil }
        for step in 0..<capacity {
            var offset = cursor + step
            if offset >= range.upperBound { offset -= capacity }
            guard words[offset / 64] & 1 << (offset % 64) == 0 else { continue }
            cursor = offset + 1 < range.upperBound ? offset + 1 : range.lowerBound
            set(offset)
            return subnet.base.advanced(by: offset)
        }
        return nil
    }

    /// Marks an address that somebody has. Again is fine.
    mutating func hold(_ address: IPAddress) {
        guard let offset = offset(of: address), words[offset / 64] & 1 << (offset % 64) == 0 else { return }
        set(offset)
    }

    mutating func free(_ address: IPAddress) {
        guard let offset = offset(of: address), words[offset / 64] & 1 << (offset % 64) != 0 else { return }
        words[offset / 64] &= ~(1 << (offset % 64))
        if range.contains(offset) { taken -= 1 }
    }

    func isTaken(_ address: IPAddress) -> Bool {
        offset(of: address).map { words[$0 / 64] & 1 << ($0 % 64) != 0 } ?? false
    }

    private mutating func set(_ offset: Int) {
        words[offset / 64] |= 1 << (offset % 64)
        if range.contains(offset) { taken += 1 }
    }

    private func offset(of address: IPAddress) -> Int? {
        subnet.contains(address) ? subnet.base.distance(to: address) : nil
    }
}
