package import ClusterModel
import Crypto
package import Foundation
import SwiftASN1
import X509

/// The root of a swarm's trust, and the certificates that its managers sign with it.
///
/// - Source: swarmkit ca/certificates.go: ECDSA P-256, 20 years for the root; a node's certificate names the node (CN),
///   its role (OU) and its swarm (O).
package enum CertificateAuthority {
    private static let rootLifetime: TimeInterval = 20 * 365 * 86_400
    /// Clocks of two machines may differ by this much.
    private static let backdating: TimeInterval = 3_600

    /// A new root.
    package static func makeTrust(now: Date = Date()) throws -> Cluster.Trust {
        let key = P256.Signing.PrivateKey()
        // A printable string, as Go writes it: tools compare the issuer's bytes.
        let name = try DistinguishedName([
            RelativeDistinguishedName(
                .init(type: .RDNAttributeType.commonName, printableString: "swarm-ca"))
        ])
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey),
            notValidBefore: now.addingTimeInterval(-backdating), notValidAfter: now.addingTimeInterval(rootLifetime),
            issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: .init(key.publicKey))
            }, issuerPrivateKey: .init(key))
        var subject = DER.Serializer()
        try subject.serialize(certificate.subject)
        return Cluster.Trust(
            rootCertificate: try certificate.serializeAsPEM().pemString + "\n", rootKey: key.pemRepresentation,
            issuerSubject: Data(subject.serializedBytes).base64EncodedString(),
            issuerPublicKey: key.publicKey.derRepresentation.base64EncodedString())
    }

    /// A key for a node, and the request to have it signed. The key never leaves the node.
    package static func makeRequest() throws -> (csrPEM: String, keyPEM: String) {
        let key = P256.Signing.PrivateKey()
        let request = try CertificateSigningRequest(
            version: .v1, subject: DistinguishedName { CommonName("apus") }, privateKey: .init(key),
            attributes: .init(), signatureAlgorithm: .ecdsaWithSHA256)
        return (try request.serializeAsPEM().pemString, key.pemRepresentation)
    }

    /// Signs. Of the request only the public key is taken: who the node is, the swarm says.
    ///
    /// - Parameter validFor: nanoseconds.
    package static func issue(
        csrPEM: String, node: Cluster.ID<Cluster.Node>, role: Cluster.Role, cluster: Cluster.ID<Cluster.Swarm>,
        trust: Cluster.Trust, validFor: Int64, now: Date
    ) throws -> String {
        let request = try CertificateSigningRequest(pemEncoded: csrPEM)
        guard request.publicKey.isValidSignature(request.signature, for: request) else { throw UnsignedRequest() }
        let root = try Certificate(pemEncoded: trust.rootCertificate)
        let key = try P256.Signing.PrivateKey(pemRepresentation: trust.rootKey)
        let roleName = "swarm-\(role.rawValue)"
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: request.publicKey,
            notValidBefore: now.addingTimeInterval(-backdating),
            notValidAfter: now.addingTimeInterval(TimeInterval(validFor) / 1e9),
            issuer: root.subject,
            subject: DistinguishedName {
                CommonName(node.description)
                OrganizationalUnitName(roleName)
                OrganizationName(cluster.description)
            },
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth, .clientAuth])
                SubjectAlternativeNames([.dnsName(roleName), .dnsName(node.description)])
                SubjectKeyIdentifier(hash: request.publicKey)
                AuthorityKeyIdentifier(keyIdentifier: SubjectKeyIdentifier(hash: .init(key.publicKey)).keyIdentifier)
            }, issuerPrivateKey: .init(key))
        return try certificate.serializeAsPEM().pemString + "\n"
    }
}

private struct UnsignedRequest: Error, CustomStringConvertible {
    var description: String { "the certificate request is not signed with its own key" }
}

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
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
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
