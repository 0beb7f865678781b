public import ClusterModel

/// One question to a name server, read from bytes that anybody may have sent. Reading never traps and never loops.
///
/// - Source: RFC 1035 section 4; RFC 6891 for what a UDP answer may measure.
public struct DNSQuery: Sendable, Equatable {
    public enum Transport: Sendable { case udp, tcp }

    public enum Kind: UInt16, Sendable { case a = 1, ptr = 12, aaaa = 28, any = 255 }

    public enum Code: UInt8, Sendable {
        case noError = 0, formatError = 1, serverFailure = 2, noName = 3, notImplemented = 4, refused = 5
    }

    /// Why bytes are no question that we answer.
    public enum Problem: Error, Equatable {
        /// Too short to answer, or an answer itself: silence.
        case dropped
        /// To be answered with this code; the identifier and flags of the question are echoed.
        case answered([UInt8])
    }

    public let id: UInt16
    /// The labels in lower case, joined by dots, without the last dot; empty for the root.
    public let name: String
    /// Nil for a kind of record that we never have.
    public let kind: Kind?
    /// How many bytes an answer over UDP may have.
    public let limit: Int
    public let transport: Transport
    let recursionDesired: Bool
    /// As it was sent: the letters' case is echoed, for some clients check it.
    let question: [UInt8]

    public init(_ bytes: some RandomAccessCollection<UInt8>, over transport: Transport) throws(Problem) {
        let bytes = Array(bytes)
        let number: (Int) -> UInt16? = { at in
            at + 1 < bytes.count ? UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1]) : nil
        }
        guard bytes.count >= 12, bytes[2] & 0x80 == 0 else { throw .dropped }
        id = number(0)!
        recursionDesired = bytes[2] & 1 != 0
        let fail: (Code) -> Problem = { code in
            .answered(
                [bytes[0], bytes[1], 0x80 | bytes[2] & 0x79, 0x80 | code.rawValue] + [UInt8](repeating: 0, count: 8))
        }
        guard bytes[2] & 0x78 == 0 else { throw fail(.notImplemented) }
        guard number(4) == 1, number(6) == 0, number(8) == 0 else { throw fail(.formatError) }

        var labels: [String] = []
        var at = 12
        while true {
            guard at < bytes.count, at - 12 < 255 else { throw fail(.formatError) }
            let length = Int(bytes[at])
            at += 1
            if length == 0 { break }
            // A pointer in the only name of a message points at nothing sensible.
            guard length < 64, at + length <= bytes.count else { throw fail(.formatError) }
            labels.append(Self.lowered(bytes[at..<at + length]))
            at += length
        }
        guard at - 12 <= 255, let kind = number(at), let kindOfNetwork = number(at + 2) else {
            throw fail(.formatError)
        }
        // IN, or any.
        guard kindOfNetwork == 1 || kindOfNetwork == 255 else { throw fail(.refused) }
        question = Array(bytes[12..<at + 4])
        name = labels.joined(separator: ".")
        self.kind = Kind(rawValue: kind)
        self.transport = transport
        at += 4
        var room = 512
        if number(10) != 0, at < bytes.count, bytes[at] == 0, number(at + 1) == 41, let offered = number(at + 3) {
            room = min(max(Int(offered), 512), 1232)
        }
        limit = transport == .tcp ? 65_535 : room
    }

    /// A dot or a control character within a label is no part of any name of ours: it is written so that it equals none.
    private static func lowered(_ label: some Sequence<UInt8>) -> String {
        var text = ""
        for byte in label {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): text.unicodeScalars.append(Unicode.Scalar(byte + 32))
            case UInt8(ascii: "."), ...32, 127...: text += "\\\(byte)"
            default: text.unicodeScalars.append(Unicode.Scalar(byte))
            }
        }
        return text
    }

    // MARK: - Answers

    public enum Record: Sendable, Equatable {
        case address(IPAddress)
        case name(String)
    }

    /// Seconds for which an answer may be kept: a task's health is to be seen within one.
    static let timeToLive: UInt32 = 1

    /// The answer; over UDP, one that is too long says that TCP has it all.
    public func answer(_ records: [Record], code: Code = .noError) -> [UInt8] {
        var body: [UInt8] = []
        for record in records {
            let (kind, data): (UInt16, [UInt8]) =
                switch record {
                case .address(let address): (address.family == .v4 ? 1 : 28, address.bytes)
                case .name(let name): (12, Self.wire(name))
                }
            // The name is that of the question, 12 bytes in.
            body +=
                [0xc0, 12] + Self.bytes(kind) + [0, 1] + Self.bytes(UInt16(0)) + Self.bytes(UInt16(Self.timeToLive))
            body += Self.bytes(UInt16(data.count)) + data
        }
        let fits = 12 + question.count + body.count <= limit
        let flags: UInt8 = 0x84 | (recursionDesired ? 1 : 0) | (fits ? 0 : 2)
        return Self.bytes(id) + [flags, 0x80 | code.rawValue, 0, 1]
            + Self.bytes(UInt16(fits ? records.count : 0)) + [0, 0, 0, 0] + question + (fits ? body : [])
    }

    public func failure(_ code: Code) -> [UInt8] { answer([], code: code) }

    private static func bytes(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(truncatingIfNeeded: number)] }

    private static func wire(_ name: String) -> [UInt8] {
        name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    /// The address of `4.3.2.1.in-addr.arpa` or its likes in `ip6.arpa`.
    var reverseAddress: IPAddress? {
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        if labels.count == 6, labels[4] == "in-addr", labels[5] == "arpa" {
            return IPAddress(labels[..<4].reversed().joined(separator: "."))
        }
        guard labels.count == 34, labels[32] == "ip6", labels[33] == "arpa" else { return nil }
        var bytes: [UInt8] = []
        for pair in stride(from: 30, through: 0, by: -2) {
            guard labels[pair].utf8.count == 1, labels[pair + 1].utf8.count == 1,
                let low = UInt8(labels[pair], radix: 16), let high = UInt8(labels[pair + 1], radix: 16)
            else { return nil }
            bytes.append(high << 4 | low)
        }
        return IPAddress(bytes: bytes)
    }
}
