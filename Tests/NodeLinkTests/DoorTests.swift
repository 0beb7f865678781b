import ClusterModel
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOSSL
import SwiftProtobuf
import Synchronization
import Testing

@testable import NodeLink

@Suite("The port between nodes", .timeLimit(.minutes(1)))
struct DoorTests {
    @Test func `gives a machine with a good token a certificate`() async throws {
        let realm = try Realm(), handler = Handler(realm)
        try await withServer(realm, handler) { address in
            let token = try JoinToken.text(rootPEM: realm.trust.rootCertificate, secret: Handler.goodSecret)
            let (credentials, managers) = try await Joining.join(remote: address, token: token, availability: .active)
            #expect(credentials.node == .init(bits: 99) && credentials.cluster == realm.cluster)
            #expect(managers.map(\.address) == ["10.0.0.1:2377"])
            #expect(handler.calls.withLock { $0 } == ["issueCertificate from 127.0.0.1"])
        }
    }

    @Test func `is told no token by a machine that was sent to another swarm`() async throws {
        let realm = try Realm(), handler = Handler(realm)
        try await withServer(realm, handler) { address in
            let token = try JoinToken.text(rootPEM: try Realm().trust.rootCertificate, secret: Handler.goodSecret)
            let error = await #expect(throws: ControlError.self) {
                _ = try await Joining.join(remote: address, token: token, availability: .active)
            }
            #expect(error?.description.hasPrefix("remote CA does not match fingerprint. Expected: ") == true)
            #expect(error?.description.contains(token) == false)
            #expect(handler.calls.withLock { $0 }.isEmpty)
        }
    }

    @Test func `passes on why a token is refused`() async throws {
        let realm = try Realm()
        try await withServer(realm) { address in
            let token = try JoinToken.text(rootPEM: realm.trust.rootCertificate, secret: 6)
            await #expect(throws: ControlError.invalidArgument("A valid join token is necessary to join this cluster"))
            {
                _ = try await Joining.join(remote: address, token: token, availability: .active)
            }
            await #expect(throws: ControlError.malformed("invalid join token")) {
                _ = try await Joining.join(remote: address, token: "SWMTKN-1-x", availability: .active)
            }
        }
    }

    @Test func `is closed without a certificate, but for asking for one`() async throws {
        let realm = try Realm(), handler = Handler(realm)
        try await withServer(realm, handler) { address in
            try await withStranger(to: address, root: realm.trust.rootCertificate) { stub in
                let options = LinkClient.options(waitForReady: true)
                func refused(_ call: () async throws -> Void) async {
                    let error = await #expect(throws: RPCError.self) { try await call() }
                    #expect(error?.code == .unauthenticated)
                }
                await refused { _ = try await stub.submit(.init(), options: options) }
                await refused { _ = try await stub.joinManagers(.init(), options: options) }
                await refused { _ = try await stub.leaveManagers(.init(), options: options) }
                await refused { _ = try await stub.issueCertificate(.init(), options: options) }
                await refused {
                    try await stub.raft(options: options, requestProducer: { _ in }) {
                        for try await _ in $0.messages {}
                    }
                }
                await refused {
                    try await stub.session(options: options, requestProducer: { _ in }) {
                        for try await _ in $0.messages {}
                    }
                }
                let answer = try await stub.issueCertificate(.with { $0.token = "wrong" }, options: options)
                #expect(Wire.error(answer.refusal).code == "InvalidArgument")
            }
            #expect(handler.calls.withLock { $0 } == ["issueCertificate from 127.0.0.1"])
        }
    }

    @Test func `lets a worker only at what is a worker's`() async throws {
        let realm = try Realm(), handler = Handler(realm)
        try await withServer(realm, handler) { address in
            try await withLink(address, try realm.credentials(3, .worker), member: 3) { link, turns in
                let refusals = [
                    await #expect(throws: ControlError.self) { try await link.submit(.removeService(.init(bits: 1))) },
                    await #expect(throws: ControlError.self) { try await link.joinManagers(address: "a:1") },
                    await #expect(throws: ControlError.self) { try await link.leaveManagers() },
                ]
                #expect(refusals.map { $0?.code } == ["PermissionDenied", "PermissionDenied", "PermissionDenied"])
                #expect(!link.sendRaft([1]))
                #expect(handler.calls.withLock { $0 }.isEmpty)

                let (csr, _) = try CertificateAuthority.makeRequest()
                #expect(try await link.renewCertificate(csrPEM: csr).node == .init(bits: 3))
                try await link.session { orders, send in
                    try await send(.heartbeat)
                    #expect(try await orders.first { _ in true } == .notLeader(nil))
                }
            }
        }
    }

    @Test func `refuses a certificate of another swarm`() async throws {
        let realm = try Realm()
        var sameRoot = realm
        sameRoot.cluster = .init(bits: 8)
        let stranger = try sameRoot.credentials(3, .manager), other = try Realm().credentials(3, .manager)
        try await withServer(realm) { address in
            try await withLink(address, stranger) { link, _ in
                let error = await #expect(throws: ControlError.self) { try await link.joinManagers(address: "a:1") }
                #expect(error?.code == "PermissionDenied")
                #expect(error?.description.contains("of another swarm") == true)
            }
            try await withLink(address, other) { link, _ in
                let error = await #expect(throws: ControlError.self) {
                    try await link.submit(.removeService(.init(bits: 1)))
                }
                #expect(error?.code == "Unavailable")
                #expect(
                    error?.description.contains("could not reach the manager at \(address): the TLS handshake failed")
                        == true)
            }
        }
    }

    @Test func `is not believed when a worker listens on it`() async throws {
        let realm = try Realm()
        let server = LinkServer(
            tls: try TLSState(try realm.credentials(1, .worker)), handler: Handler(realm), log: silence)
        let manager = try realm.credentials(2, .manager)
        try await server.serving { address in
            try await withLink(address, manager) { link, _ in
                let error = await #expect(throws: ControlError.self) {
                    try await link.submit(.removeService(.init(bits: 1)))
                }
                #expect(error?.code == "Unavailable")
            }
        }
    }

    @Test func `takes new credentials while it is open`() async throws {
        let old = try Realm(), new = try Realm()
        let tls = try TLSState(try old.credentials(1, .manager))
        let server = LinkServer(tls: tls, handler: Handler(old), log: silence)
        let (before, after) = (try old.credentials(2, .manager), try new.credentials(2, .manager))
        try await server.serving { address in
            try await withLink(address, before) { link, _ in
                #expect(try await link.joinManagers(address: "a:1").member == 2)
                try tls.replace(try new.credentials(1, .manager))
                #expect(try await link.joinManagers(address: "a:1").member == 2)  // what is connected stays so
            }
            try await withLink(address, after) { link, _ in
                let seat = try await link.joinManagers(address: "a:1")
                #expect(seat.member == 2)
            }
            try await withLink(address, before) { link, _ in
                await #expect(throws: ControlError.self) { try await link.joinManagers(address: "a:1") }
            }
        }
    }

    @Test func `closes the connections of one node at once`() async throws {
        let realm = try Realm()
        let server = LinkServer(
            tls: try TLSState(try realm.credentials(1, .manager)), handler: Handler(realm), log: silence)
        let (two, three) = (try realm.credentials(2, .manager), try realm.credentials(3, .manager))
        try await server.serving { address in
            try await withLink(address, three, member: 3) { other, otherTurns in
                #expect(await otherTurns.next() == .up)
                try await withLink(address, two, member: 2) { _, turns in
                    #expect(await turns.next() == .up)
                    server.disconnect(.init(bits: 2))
                    #expect(await turns.next() == .down)
                }
                #expect(other.sendRaft([1]))
            }
        }
    }

    @Test func `says why it cannot be opened`() async throws {
        let realm = try Realm()
        try await withServer(realm) { address in
            let error = await #expect(throws: ListenFailure.self) { try await withServer(realm, on: address) { _ in } }
            #expect(error?.description.hasPrefix("cannot listen on \(address): ") == true)
            #expect(error?.description.contains("Address already in use") == true)
        }
    }

    @Test func `tells an IPv4 caller by its own address on a port for both`() async throws {
        let realm = try Realm()
        let manager = try realm.credentials(2, .manager)
        try await withServer(realm, on: "[::]:0") { address in
            for host in ["127.0.0.1", "[::1]"] {
                let warnings = try await withLink(address.replacing("[::]", with: host), manager) { link, _ in
                    try await link.submit(.removeNode(.init(bits: 5), force: false)).warnings
                }
                #expect(warnings.last == host.filter { $0 != "[" && $0 != "]" })
            }
        }
    }

    /// A client with no certificate at all.
    private func withStranger(
        to address: String, root: String,
        _ body: @escaping @Sendable (Apus_V1_Link.Client<HTTP2ClientTransport.Posix>) async throws -> Void
    ) async throws {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.applicationProtocols = ["h2"]
        configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(root.utf8)))
        let context = try NIOSSLContext(configuration: configuration)
        let client = LinkClient.makeClient(to: address) {
            try NIOSSLClientHandler(context: context, serverHostname: TLSState.managerName)
        }
        try await beside {
            try await client.runConnections()
        } _: {
            try await body(Apus_V1_Link.Client(wrapping: client))
        }
    }
}
