import CNetlink

/// A netlink message while it is made: a header, a fixed part, attributes.
///
/// - Source: RFC 3549, `linux/netlink.h`. Numbers are in the machine's order, except where an attribute says otherwise.
struct NetlinkMessage {
    private(set) var bytes: [UInt8]

    /// - Parameter body: the fixed part, which follows the header.
    init(_ type: Int, flags: Int32 = 0, body: [UInt8]) {
        bytes = []
        bytes.reserveCapacity(128)
        append(UInt32(0))
        append(UInt16(type))
        append(UInt16(NLM_F_REQUEST | flags))
        append(UInt32(0))
        append(UInt32(0))
        bytes += body
        pad()
    }

    mutating func attribute(_ type: Int, _ value: [UInt8]) {
        append(UInt16(4 + value.count))
        append(UInt16(type))
        bytes += value
        pad()
    }

    mutating func attribute(_ type: Int, _ value: UInt32) { attribute(type, value.machineBytes) }
    mutating func attribute(_ type: Int, _ value: UInt8) { attribute(type, [value]) }
    /// Ended by a zero, as the kernel wants names.
    mutating func attribute(_ type: Int, _ value: String) { attribute(type, Array(value.utf8) + [0]) }

    mutating func nested(_ type: Int, _ inner: (inout NetlinkMessage) -> Void) {
        let start = bytes.count
        append(UInt16(0))
        append(UInt16(type) | UInt16(NLA_F_NESTED))
        inner(&self)
        bytes.replaceSubrange(start..<start + 2, with: UInt16(bytes.count - start).machineBytes)
    }

    /// The message as it is sent, once its length is known.
    func finished(sequence: UInt32, flags: Int32 = 0) -> [UInt8] {
        var bytes = bytes
        bytes.replaceSubrange(0..<4, with: UInt32(bytes.count).machineBytes)
        let all = UInt16(bytes[6]) | UInt16(bytes[7]) << 8
        bytes.replaceSubrange(6..<8, with: (all | UInt16(flags)).machineBytes)
        bytes.replaceSubrange(8..<12, with: sequence.machineBytes)
        return bytes
    }

    private mutating func append(_ number: some FixedWidthInteger) { bytes += number.machineBytes }
    private mutating func pad() { while bytes.count % 4 != 0 { bytes.append(0) } }
}

/// A netlink message as it was received. Whatever its bytes, reading it never traps.
struct NetlinkAnswer {
    let type: Int
    let flags: UInt16
    let sequence: UInt32
    let body: ArraySlice<UInt8>

    /// The messages of one datagram; what is cut off or claims more than is there ends the list.
    static func all(in datagram: ArraySlice<UInt8>) -> [NetlinkAnswer] {
        var answers: [NetlinkAnswer] = []
        var rest = datagram
        while rest.count >= 16, let length = rest.machineNumber(at: 0, UInt32.self).map(Int.init),
            (16...rest.count).contains(length)
        {
            answers.append(
                NetlinkAnswer(
                    type: Int(rest.machineNumber(at: 4, UInt16.self)!), flags: rest.machineNumber(at: 6, UInt16.self)!,
                    sequence: rest.machineNumber(at: 8, UInt32.self)!, body: rest.dropFirst(16).prefix(length - 16)))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return answers
    }

    /// The attributes behind a fixed part of so many bytes; of one that stands twice, the last.
    func attributes(after fixed: Int) -> [Int: ArraySlice<UInt8>] { body.dropFirst((fixed + 3) & ~3).netlinkAttributes }
}

extension ArraySlice<UInt8> {
    var netlinkAttributes: [Int: ArraySlice<UInt8>] {
        var attributes: [Int: ArraySlice<UInt8>] = [:]
        var rest = self
        while rest.count >= 4, let length = rest.machineNumber(at: 0, UInt16.self).map(Int.init),
            (4...rest.count).contains(length)
        {
            let type = Int(rest.machineNumber(at: 2, UInt16.self)!) & Int(typeMask)
            attributes[type] = rest.dropFirst(4).prefix(length - 4)
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return attributes
    }

    /// A number in the machine's order, `offset` bytes in; nil if there are not so many.
    func machineNumber<Number: FixedWidthInteger>(at offset: Int, _ type: Number.Type) -> Number? {
        guard offset >= 0, count >= offset + MemoryLayout<Number>.size else { return nil }
        return (0..<MemoryLayout<Number>.size).reversed().reduce(0) {
            $0 << 8 | Number(truncatingIfNeeded: self[startIndex + offset + $1])
        }
    }

    /// A number in the network's order.
    func networkNumber<Number: FixedWidthInteger>(at offset: Int, _ type: Number.Type) -> Number? {
        machineNumber(at: offset, type)?.byteSwapped
    }

    /// Up to the first zero.
    var text: String { String(decoding: prefix { $0 != 0 }, as: UTF8.self) }
}

extension FixedWidthInteger {
    /// The least significant byte first: every machine that is supported keeps numbers so.
    var machineBytes: [UInt8] { (0..<MemoryLayout<Self>.size).map { UInt8(truncatingIfNeeded: self >> (8 * $0)) } }
    var networkBytes: [UInt8] { machineBytes.reversed() }
}

/// `NLA_TYPE_MASK`, which is an expression that the importer leaves out.
private let typeMask: UInt16 = 0x3fff
