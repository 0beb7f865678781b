package import ClusterModel
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOCore
import NIOSSL
import SwiftASN1
import SwiftProtobuf
import Synchronization
import X509

/// How a machine without a certificate becomes a node.
///
/// The token's digest decides whom to trust before anything secret is sent: the manager shows its certificate and the
/// root that signed it, and the handshake fails unless the root has that digest.
package enum Joining {
    /// - Parameters:
    ///   - remote: `host:port` of a manager; without a port, 2377.
    ///   - token: as `docker swarm join-token` shows it.
    /// - Returns: who this machine is now, nothing of it on disk yet, and where the managers are.
    package static func join(
        remote: String, token: String, availability: Cluster.Availability
    ) async throws(ControlError) -> (NodeCredentials, [Dispatch.ManagerAddress]) {
        guard let parsed = JoinToken(parsing: token) else { throw .malformed("invalid join token") }
        let context: NIOSSLContext
        let csr: String
        let key: String
        do {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.minimumTLSVersion = .tlsv13
            configuration.applicationProtocols = ["h2"]
            context = try NIOSSLContext(configuration: configuration)
            (csr, key) = try CertificateAuthority.makeRequest()
        } catch {
            throw .unknown("this node cannot make a key: \(error)")
        }
        let verdict = Verdict()
        let client = LinkClient.makeClient(to: remote) {
            try NIOSSLClientHandler(
                context: context, serverHostname: TLSState.managerName,
                customVerificationCallback: { chain, promise in
                    let refusal = refusal(of: chain, token: parsed)
                    verdict.refusal.withLock { $0 = refusal }
                    promise.succeed(refusal == nil ? .certificateVerified : .failed)
                })
        }
        let answer: Apus_V1_CertificateAnswer
        do {
            answer = try await withThrowingTaskGroup(of: Apus_V1_CertificateAnswer?.self) { group in
                defer { group.cancelAll() }
                group.addTask {
                    try? await client.runConnections()
                    return nil
                }
                group.addTask {
                    var options = LinkClient.options(waitForReady: false)
                    options.timeout = .seconds(15)
                    let ask = Apus_V1_CertificateAsk.with {
                        $0.csr = csr
                        $0.token = token
                        $0.availability = availability.rawValue
                    }
                    return try await Apus_V1_Link.Client(wrapping: client).issueCertificate(ask, options: options)
                }
                while let answer = try await group.next() { if let answer { return answer } }
                throw CancellationError()
            }
        } catch {
            if let refusal = verdict.refusal.withLock({ $0 }) { throw .malformed(refusal) }
            throw ControlError(verdictIn: error) ?? .unreachable(remote, error)
        }
        let grant = try CertificateGrant(answer)
        guard rootsMatch(grant.rootPEM, parsed) else {
            throw .unknown("the manager at \(remote) gave another root certificate than its join token names")
        }
        do {
            let credentials = try NodeCredentials(
                certificatePEM: grant.certificatePEM, keyPEM: key, rootPEM: grant.rootPEM)
            return (credentials, grant.managers)
        } catch {
            throw .unknown("the certificate that the manager at \(remote) gave cannot be used: \(error)")
        }
    }

    private static func rootsMatch(_ pem: String, _ token: JoinToken) -> Bool {
        let roots = try? NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)).map { try $0.toDERBytes() }
        return roots?.contains(where: token.matches) ?? false
    }

    private final class Verdict: Sendable {
        let refusal = Mutex<String?>(nil)
    }

    /// Why the other end is not the manager that the token was made by; nil if it is.
    private static func refusal(of chain: [NIOSSLCertificate], token: JoinToken) -> String? {
        do {
            guard chain.count >= 2 else {
                return "the other end did not show its swarm's root certificate: it is not an Apus manager"
            }
            guard let rootDER = try chain.dropFirst().map({ try $0.toDERBytes() }).first(where: token.matches) else {
                return "remote CA does not match fingerprint. Expected: \(token.rootDigestInHex)"
            }
            let root = try Certificate(derEncoded: rootDER)
            let leaf = try Certificate(derEncoded: try chain[0].toDERBytes())
            guard root.publicKey.isValidSignature(leaf.signature, for: leaf), leaf.issuer == root.subject else {
                return "the manager's certificate was not signed by its swarm's root"
            }
            guard try leaf.extensions.subjectAlternativeNames?.contains(.dnsName(TLSState.managerName)) == true else {
                return "the other end is not a manager"
            }
            guard leaf.notValidBefore <= Date(), Date() <= leaf.notValidAfter else {
                return "the manager's certificate is not valid now: do the clocks of both machines agree?"
            }
            return nil
        } catch {
            return "the manager's certificate cannot be read: \(error)"
        }
    }
}
