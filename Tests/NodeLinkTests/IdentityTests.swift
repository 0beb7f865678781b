import ClusterModel
import Crypto
import Foundation
import SwiftASN1
import Testing
import X509

@testable import NodeLink

@Suite("A node's certificate")
struct CertificateTests {
    @Test func `names the node, its role and its swarm, and carries the key of the request alone`() throws {
        let realm = try Realm()
        let (csr, key) = try CertificateAuthority.makeRequest()
        let certificate = try Certificate(pemEncoded: try realm.certificate(csr, 3, .manager))
        let node = Cluster.ID<Cluster.Node>(bits: 3).description
        #expect("\(certificate.subject)" == "O=\(realm.cluster),OU=swarm-manager,CN=\(node)")
        #expect(
            try certificate.extensions.subjectAlternativeNames?.map { $0 } == [
                .dnsName("swarm-manager"), .dnsName(node),
            ])
        #expect(try Certificate.PrivateKey(pemEncoded: key).publicKey == certificate.publicKey)
        let root = try Certificate(pemEncoded: realm.trust.rootCertificate)
        #expect(root.publicKey.isValidSignature(certificate.signature, for: certificate))
    }

    @Test func `is not given to a request that was tampered with`() throws {
        let (csr, _) = try CertificateAuthority.makeRequest()
        let document = try PEMDocument(pemString: csr)
        var bytes = document.derBytes
        bytes[bytes.count - 1] ^= 1
        let tampered = PEMDocument(type: document.discriminator, derBytes: bytes).pemString
        #expect(throws: (any Error).self) { try Realm().certificate(tampered, 3, .worker) }
    }

    @Test func `comes from a root as Docker shows it`() throws {
        let trust = try Realm().trust
        let root = try Certificate(pemEncoded: trust.rootCertificate)
        #expect("\(root.subject)" == "CN=swarm-ca" && root.issuer == root.subject)
        let key = try P256.Signing.PublicKey(derRepresentation: Data(base64Encoded: trust.issuerPublicKey) ?? Data())
        #expect(Certificate.PublicKey(key) == root.publicKey)
        var subject = DER.Serializer()
        try subject.serialize(root.subject)
        #expect(Data(base64Encoded: trust.issuerSubject) == Data(subject.serializedBytes))
    }
}

@Suite("A join token")
struct TokenTests {
    @Test func `is a digest of 50 digits and a secret of 25`() throws {
        let realm = try Realm()
        let token = try JoinToken.text(rootPEM: realm.trust.rootCertificate, secret: .max)
        #expect(token.split(separator: "-").map(\.count) == [6, 1, 50, 25])
        #expect(JoinToken(parsing: token) != nil)
    }

    @Test func `knows its swarm's root`() throws {
        let realm = try Realm()
        let token = JoinToken(parsing: try JoinToken.text(rootPEM: realm.trust.rootCertificate, secret: 1))!
        #expect(token.matches(rootDER: try PEMDocument(pemString: realm.trust.rootCertificate).derBytes))
        #expect(!token.matches(rootDER: try PEMDocument(pemString: try Realm().trust.rootCertificate).derBytes))
    }

    @Test func `shows its digest as the one of the root certificate`() throws {
        let realm = try Realm()
        let token = JoinToken(parsing: try JoinToken.text(rootPEM: realm.trust.rootCertificate, secret: 1))!
        let digest = SHA256.hash(data: try PEMDocument(pemString: realm.trust.rootCertificate).derBytes)
        #expect("SHA256 digest: \(token.rootDigestInHex)" == "\(digest)")
    }

    @Test(
        "is not what has another form",
        arguments: [
            "", "SWMTKN-1-a-b", "SWMTKN-2-\(digits("0", 50))-\(digits("0", 25))",
            "SWMTKN-1-\(digits("A", 50))-\(digits("0", 25))",
            "SWMTKN-1-\(digits("0", 50))-\(digits("0", 25))-", "SWMTKN-1-\(digits("é", 50))-\(digits("0", 25))",
        ])
    func refused(text: String) { #expect(JoinToken(parsing: text) == nil) }

    private static func digits(_ digit: Character, _ count: Int) -> String { String(repeating: digit, count: count) }
}

@Suite("A node's credentials")
struct CredentialsTests {
    private func inDirectory(_ body: (String) throws -> Void) throws {
        let directory = NSTemporaryDirectory() + "apus-tests-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try body(directory)
    }

    @Test func `come back from their files, and the key is for its owner alone`() throws {
        try inDirectory { directory in
            let written = try Realm().credentials(4, .manager)
            try written.write(to: directory)
            let read = try NodeCredentials.load(from: directory)
            #expect(read.node == written.node && read.role == .manager && read.keyPEM == written.keyPEM)
            let mode = try FileManager.default.attributesOfItem(atPath: directory + "/swarm-node.key")[
                .posixPermissions]
            #expect(mode as? Int == 0o600)
        }
    }

    @Test func `survive a power cut between key and certificate`() throws {
        try inDirectory { directory in
            let realm = try Realm()
            let (old, new) = (try realm.credentials(4, .worker), try realm.credentials(4, .manager))
            try new.write(to: directory)
            let path = directory + "/swarm-node.crt"
            try FileManager.default.moveItem(atPath: path, toPath: path + ".new")
            try old.certificatePEM.write(toFile: path, atomically: true, encoding: .utf8)
            #expect(try NodeCredentials.load(from: directory).certificatePEM == new.certificatePEM)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == new.certificatePEM)
        }
    }

    @Test func `are refused with words where they do not belong together, or are not there`() throws {
        try inDirectory { directory in
            let realm = try Realm()
            let (one, other) = (try realm.credentials(4, .worker), try realm.credentials(4, .worker))
            let mixed = #expect(throws: CredentialsError.self) {
                try NodeCredentials(certificatePEM: one.certificatePEM, keyPEM: other.keyPEM, rootPEM: one.rootPEM)
            }
            #expect(mixed?.description == "the certificate of node \(one.node) was made for another key")
            let missing = #expect(throws: CredentialsError.self) { try NodeCredentials.load(from: directory) }
            #expect(missing?.description.contains("/swarm-root-ca.crt cannot be read") == true)
        }
    }
}
