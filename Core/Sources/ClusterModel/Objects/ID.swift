/// The nouns of the cluster: every object that managers replicate.
///
/// A namespace, so that a cluster's task is `Cluster.Task` and never hides Swift's `Task`.
public enum Cluster {}

extension Cluster {
    /// The name of one object for ever: 128 random bits, shown as Docker shows them, 25 base-36 digits.
    ///
    /// Never made here: whoever decides gets its IDs from an `IDSource` that came in with its inputs.
    ///
    /// - Source: swarmkit identity/randomid.go.
    public struct ID<Object>: Hashable, Sendable, Comparable, CustomStringConvertible {
        // Two words, not one of 128 bits: an enum that holds a value aligned to 16 bytes is not carried through an
        // `AsyncThrowingStream` in one piece by Swift 6.3.1 (seen as a jump to address 0).
        private let high: UInt64
        private let low: UInt64

        public var bits: UInt128 { UInt128(high) << 64 | UInt128(low) }

        public init(bits: UInt128) {
            high = UInt64(truncatingIfNeeded: bits >> 64)
            low = UInt64(truncatingIfNeeded: bits)
        }

        /// - Returns: nil where the text is not 25 base-36 digits of a 128-bit number.
        public init?(_ text: some StringProtocol) {
            guard text.utf8.count == IDText.digits, let bits = IDText.bits(of: text) else { return nil }
            self.init(bits: bits)
        }

        public static func < (a: Self, b: Self) -> Bool { (a.high, a.low) < (b.high, b.low) }

        public var description: String { IDText.text(of: bits) }
    }
}

extension Cluster.ID: Codable {
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let id = Self(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "\"\(text)\" is not an object's ID"))
        }
        self = id
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension Cluster.ID: CodingKeyRepresentable {
    public var codingKey: any CodingKey { IDKey(stringValue: description) }
    public init?<Key: CodingKey>(codingKey: Key) { self.init(codingKey.stringValue) }
}

private struct IDKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

/// 25 base-36 digits, `0-9a-z`, for 128 bits.
enum IDText {
    static let digits = 25
    private static let alphabet = Array("0123456789abcdefghijklmnopqrstuvwxyz".utf8)

    static func text(of bits: UInt128) -> String {
        var rest = bits
        var text = [UInt8](repeating: UInt8(ascii: "0"), count: digits)
        for place in (0..<digits).reversed() where rest != 0 {
            text[place] = alphabet[Int(rest % 36)]
            rest /= 36
        }
        return String(decoding: text, as: UTF8.self)
    }

    static func bits(of text: some StringProtocol) -> UInt128? {
        var bits: UInt128 = 0
        for byte in text.utf8 {
            let digit: UInt128
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = UInt128(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "z"): digit = UInt128(byte - UInt8(ascii: "a") + 10)
            default: return nil
            }
            let (scaled, overflow) = bits.multipliedReportingOverflow(by: 36)
            let (sum, carry) = scaled.addingReportingOverflow(digit)
            guard !overflow, !carry else { return nil }
            bits = sum
        }
        return bits
    }
}

/// Where a decision gets the IDs of what it creates: 256 bits of the system's randomness, stretched.
///
/// A value, so that the same seed gives the same IDs in a test or a simulation.
///
/// - Source: xoshiro256**, Blackman & Vigna, "Scrambled Linear Pseudorandom Number Generators", 2018.
public struct IDSource: Sendable {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    /// - Parameter random: the system's source at the edge, a seeded one in tests.
    public init(using random: inout some RandomNumberGenerator) {
        state = (random.next() | 1, random.next(), random.next(), random.next())
    }

    public mutating func next<Object>(_ kind: Object.Type = Object.self) -> Cluster.ID<Object> {
        Cluster.ID(bits: UInt128(word()) << 64 | UInt128(word()))
    }

    private mutating func word() -> UInt64 {
        func rotate(_ value: UInt64, _ by: UInt64) -> UInt64 { value << by | value >> (64 - by) }
        let result = rotate(state.1 &* 5, 7) &* 9
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = rotate(state.3, 45)
        return result
    }
}
