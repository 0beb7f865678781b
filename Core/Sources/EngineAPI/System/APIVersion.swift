/// The version of the Engine API that a client names in front of a path: `/v1.41/services`.
public struct APIVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    public var major: Int
    public var minor: Int
    /// As it was written, for messages: `1` and `1.0` are equal and not the same text.
    private var text: String

    /// The oldest that our own routes answer.
    public static let oldest = APIVersion(1, 24)
    /// The newest that our own routes know.
    public static let newest = APIVersion(1, 50)

    public init(_ major: Int, _ minor: Int) {
        (self.major, self.minor) = (major, minor)
        text = "\(major).\(minor)"
    }

    /// - Returns: nil for what is no version, as `1.x` or the empty text.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let numbers = parts.prefix(2).map { $0.utf8.allSatisfy(Self.isDigit) ? Int($0) : nil }
        guard let major = numbers.first ?? nil else { return nil }
        var minor = 0
        if numbers.count > 1 {
            guard let second = numbers[1] else { return nil }
            minor = second
        }
        (self.major, self.minor, self.text) = (major, minor, String(text))
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    public var description: String { text }

    public static func < (a: Self, b: Self) -> Bool { (a.major, a.minor) < (b.major, b.minor) }
    public static func == (a: Self, b: Self) -> Bool { (a.major, a.minor) == (b.major, b.minor) }
    public func hash(into hasher: inout Hasher) {
        hasher.combine(major)
        hasher.combine(minor)
    }

    /// Why our own routes do not speak this version, in dockerd's words; nil when they do.
    public var refusal: String? {
        if self > Self.newest {
            return "client version \(self) is too new. Maximum supported API version is \(Self.newest)"
        }
        if self < Self.oldest {
            return """
                client version \(self) is too old. Minimum supported API version is \(Self.oldest), \
                please upgrade your client to a newer version
                """
        }
        return nil
    }
}
