import ClusterModel
import Crypto
import SwiftASN1
import X509

/// `SWMTKN-1-<digest of the root>-<secret>`: whom to trust, and why to be let in.
///
/// - Source: swarmkit ca/config.go, `GenerateJoinToken`.
package struct JoinToken: Sendable, Equatable {
    /// SHA-256 of the root certificate's DER, as 50 base-36 digits.
    package let rootDigest: String

    package init?(parsing text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "SWMTKN", parts[1] == "1", parts[2].count == 50, parts[3].count == 25,
            (parts[2] + parts[3]).utf8.allSatisfy({
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
            })
        else { return nil }
        rootDigest = String(parts[2])
    }

    package static func text(rootPEM: String, secret: UInt128) throws -> String {
        let root = try Certificate(pemEncoded: rootPEM)
        var serializer = DER.Serializer()
        try serializer.serialize(root)
        let secretText = Cluster.ID<Cluster.Swarm>(bits: secret).description
        return "SWMTKN-1-\(digest(of: serializer.serializedBytes))-\(secretText)"
    }

    /// The digest as people compare digests: 64 hexadecimal digits.
    var rootDigestInHex: String {
        var bytes = [UInt8](repeating: 0, count: 32)
        for digit in rootDigest {
            var carry = Int(String(digit), radix: 36)!
            for place in bytes.indices.reversed() {
                carry += Int(bytes[place]) * 36
                bytes[place] = UInt8(truncatingIfNeeded: carry)
                carry >>= 8
            }
        }
        return bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    func matches(rootDER: [UInt8]) -> Bool { Self.digest(of: rootDER) == rootDigest }

    /// 256 bits as 50 base-36 digits.
    private static func digest(of der: [UInt8]) -> String {
        let alphabet = Array("0123456789abcdefghijklmnopqrstuvwxyz".utf8)
        var number = Array(SHA256.hash(data: der))
        var digits: [UInt8] = []
        for _ in 0..<50 {
            // One long division by 36.
            var remainder = 0
            for place in number.indices {
                let part = remainder << 8 | Int(number[place])
                number[place] = UInt8(part / 36)
                remainder = part % 36
            }
            digits.append(alphabet[remainder])
        }
        return String(decoding: digits.reversed(), as: UTF8.self)
    }
}
