import NIOCore
import NIOSSL
import Synchronization

/// What this node proves and whom it believes, replaceable at any time: connections that are made from then on use it.
package final class TLSState: Sendable {
    struct Contexts: Sendable {
        var server: NIOSSLContext
        var client: NIOSSLContext
        var credentials: NodeCredentials
    }

    private let state: Mutex<Contexts>
    private let epochNow = Mutex<String?>(nil)

    package init(_ credentials: NodeCredentials) throws { state = Mutex(try Self.make(credentials)) }

    package func replace(_ credentials: NodeCredentials) throws {
        let contexts = try Self.make(credentials)
        state.withLock { $0 = contexts }
    }

    var current: Contexts { state.withLock { $0 } }

    /// Which beginning of the swarm this manager is part of; nil while it is none. See ``Epoch``.
    package var epoch: String? {
        get { epochNow.withLock { $0 } }
        set { epochNow.withLock { $0 = newValue } }
    }

    private static func make(_ credentials: NodeCredentials) throws -> Contexts {
        let roots = try NIOSSLCertificate.fromPEMBytes(Array(credentials.rootPEM.utf8))
        let leaf = try NIOSSLCertificate(bytes: Array(credentials.certificatePEM.utf8), format: .pem)
        let key = try NIOSSLPrivateKey(bytes: Array(credentials.keyPEM.utf8), format: .pem)

        var client = TLSConfiguration.makeClientConfiguration()
        client.minimumTLSVersion = .tlsv13
        client.shutdownTimeout = Self.farewell
        client.applicationProtocols = ["h2"]
        client.trustRoots = .certificates(roots)
        client.certificateVerification = .fullVerification  // the name is `swarm-manager`: no worker can pose as one
        client.certificateChain = [.certificate(leaf)]
        client.privateKey = .privateKey(key)

        // The root goes along: a machine that joins compares it with the digest in its token.
        var server = TLSConfiguration.makeServerConfiguration(
            certificateChain: ([leaf] + roots).map { .certificate($0) }, privateKey: .privateKey(key))
        server.minimumTLSVersion = .tlsv13
        server.shutdownTimeout = Self.farewell
        server.applicationProtocols = ["h2"]
        server.trustRoots = .certificates(roots)
        server.certificateVerification = .optionalVerification  // a machine that joins has none yet
        return Contexts(
            server: try NIOSSLContext(configuration: server), client: try NIOSSLContext(configuration: client),
            credentials: credentials)
    }

    /// How long a closing connection waits for the other end to agree.
    private static let farewell: TimeAmount = .seconds(1)

    /// The name in every manager's certificate.
    static let managerName = "swarm-manager"
}
