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
