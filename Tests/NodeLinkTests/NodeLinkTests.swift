import ClusterModel
import Foundation
import Logging
import NodeLink
import Synchronization
import Testing

/// A swarm's trust, and credentials signed by it.
struct Realm {
    let trust: Cluster.Trust
    let cluster: Cluster.ID<Cluster.Swarm>

    init(_ bits: UInt128 = 7) throws {
        trust = try CertificateAuthority.makeTrust()
        cluster = .init(bits: bits)
    }

    func credentials(_ node: UInt128, _ role: Cluster.Role) throws -> NodeCredentials {
        let (csr, key) = try CertificateAuthority.makeRequest()
        let certificate = try CertificateAuthority.issue(
            csrPEM: csr, node: .init(bits: node), role: role, cluster: cluster, trust: trust,
            validFor: 3_600_000_000_000, now: Date())
        return try NodeCredentials(certificatePEM: certificate, keyPEM: key, rootPEM: trust.rootCertificate)
    }
}

final class Handler: LinkHandler {
    let realm: Realm
    let frames = Mutex<[[UInt8]]>([])
    init(_ realm: Realm) { self.realm = realm }

    func issueCertificate(
        _ request: CertificateRequest, from peer: Peer?, address: String
    ) async throws(ControlError) -> CertificateGrant {
        if peer == nil, request.token?.hasSuffix("0000000000000000000000005") != true {
            throw .invalidArgument("A valid join token is necessary to join this cluster")
        }
        let node = peer?.node ?? .init(bits: 99)
        do {
            let certificate = try CertificateAuthority.issue(
                csrPEM: request.csrPEM, node: node, role: .worker, cluster: realm.cluster, trust: realm.trust,
                validFor: 3_600_000_000_000, now: Date())
            return CertificateGrant(
                node: node, role: .worker, certificatePEM: certificate, rootPEM: realm.trust.rootCertificate,
                managers: [.init(node: node, address: "10.0.0.1:2377")])
        } catch { throw .unknown("\(error)") }
    }

    func joinManagers(address: String, from peer: Peer) async throws(ControlError) -> ManagerSeat {
        ManagerSeat(member: UInt64(truncatingIfNeeded: peer.node.bits), peers: [.init(member: 1, address: address)])
    }

    func submit(_ request: Control.Request, from peer: Peer) async throws(ControlError) -> Control.Reply {
        guard case .removeNode(let id, _) = request else { throw .outOfSequence }
        return Control.Reply(created: id.description, warnings: [peer.address], index: 42)
    }

    func raft(_ frames: [[UInt8]], from peer: Peer, member: UInt64) { self.frames.withLock { $0 += frames } }

    func session<Words: AsyncSequence & Sendable>(
        from peer: Peer, inbound: Words, send: @escaping @Sendable (Dispatch.FromManager) async throws -> Void
    ) async throws where Words.Element == Dispatch.FromWorker {
        try await send(.notLeader(nil))
        for try await word in inbound where word == .heartbeat { try await send(.removed) }
    }
}

@Suite("The port between nodes", .serialized)
struct NodeLinkTests {
    static let log = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    /// Runs `body` beside a server, with its address.
    func withServer(
        _ realm: Realm, handler: Handler? = nil, _ body: @escaping @Sendable (String) async throws -> Void
    ) async throws {
        let tls = try TLSState(try realm.credentials(1, .manager))
        let (ports, writer) = AsyncStream.makeStream(of: Int.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                try await LinkServer(tls: tls, handler: handler ?? Handler(realm), log: Self.log)
                    .run(on: "127.0.0.1:0") { writer.yield($0) }
            }
            group.addTask {
                var iterator = ports.makeAsyncIterator()
                try await body("127.0.0.1:\(await iterator.next()!)")
            }
            try await group.next()
        }
    }

    func withLink(
        _ address: String, _ credentials: NodeCredentials, member: UInt64? = nil,
        onUp: @escaping @Sendable () -> Void = {}, onDown: @escaping @Sendable () -> Void = {},
        _ body: @escaping @Sendable (LinkClient) async throws -> Void
    ) async throws {
        let link = LinkClient(
            address: address, tls: try TLSState(credentials), member: member, log: Self.log, onUp: onUp, onDown: onDown)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { await link.run() }
            group.addTask { try await body(link) }
            try await group.next()
        }
    }

    /// Asks until the link is connected.
    static func submit(_ request: Control.Request, _ link: LinkClient) async throws -> Control.Reply {
        for _ in 0..<400 {
            do { return try await link.submit(request) } catch ControlError.unavailable { try await Task.sleep(for: .milliseconds(10)) }
        }
        return try await link.submit(request)
    }

    @Test func `carries a manager's request there and the reply back`() async throws {
        let realm = try Realm()
        try await withServer(realm) { address in
            try await withLink(address, try realm.credentials(2, .manager)) { link in
                let reply = try await Self.submit(.removeNode(.init(bits: 5), force: true), link)
                #expect(reply == Control.Reply(created: Cluster.ID<Cluster.Node>(bits: 5).description, warnings: ["127.0.0.1"], index: 42))
                await #expect(throws: ControlError.outOfSequence) { try await link.submit(.removeService(.init(bits: 1))) }
                #expect(try await link.joinManagers(address: "a:1") == ManagerSeat(member: 2, peers: [.init(member: 1, address: "a:1")]))
            }
        }
    }

    @Test func `lets a worker only at what is a worker's`() async throws {
        let realm = try Realm()
        try await withServer(realm) { address in
            try await withLink(address, try realm.credentials(3, .worker)) { link in
                let error = await #expect(throws: ControlError.self) { try await link.joinManagers(address: "a:1") }
                #expect(error?.code == "PermissionDenied")
                let (csr, _) = try CertificateAuthority.makeRequest()
                #expect(try await link.renewCertificate(csrPEM: csr).node == .init(bits: 3))
            }
        }
    }

    @Test func `refuses another swarm's certificate`() async throws {
        let realm = try Realm(), other = try Realm(8)
        try await withServer(realm) { address in
            try await withLink(address, try other.credentials(3, .manager)) { link in
                await #expect(throws: ControlError.self) { try await link.joinManagers(address: "a:1") }
            }
        }
    }

    @Test func `lets a machine in that has a good token, and only then`() async throws {
        let realm = try Realm()
        try await withServer(realm) { address in
            let good = try JoinToken.text(rootPEM: realm.trust.rootCertificate, secret: 5)
            let (credentials, managers) = try await Joining.join(remote: address, token: good, availability: .active)
            #expect(credentials.node == .init(bits: 99) && credentials.cluster == realm.cluster)
            #expect(managers.map(\.address) == ["10.0.0.1:2377"])

            let wrongSecret = try JoinToken.text(rootPEM: realm.trust.rootCertificate, secret: 6)
            await #expect(throws: ControlError.invalidArgument("A valid join token is necessary to join this cluster")) {
                _ = try await Joining.join(remote: address, token: wrongSecret, availability: .active)
            }
            let otherRoot = try JoinToken.text(rootPEM: try Realm().trust.rootCertificate, secret: 5)
            let error = await #expect(throws: ControlError.self) {
                _ = try await Joining.join(remote: address, token: otherRoot, availability: .active)
            }
            #expect(error?.description.hasPrefix("remote CA does not match fingerprint. Expected: ") == true)
        }
    }

    @Test func `carries frames in order, and says when the link is up and down`() async throws {
        let realm = try Realm()
        let handler = Handler(realm)
        let (ups, up) = AsyncStream.makeStream(of: Void.self)
        let (downs, down) = AsyncStream.makeStream(of: Void.self)
        let frames = (0..<500).map { [UInt8($0 & 255), UInt8($0 >> 8)] }
        try await withServer(realm, handler: handler) { address in
            try await withLink(
                address, try realm.credentials(2, .manager), member: 2, onUp: { up.yield() }, onDown: { down.yield() }
            ) { link in
                var iterator = ups.makeAsyncIterator()
                _ = await iterator.next()
                for frame in frames { #expect(link.sendRaft(frame)) }
                for _ in 0..<500 where handler.frames.withLock({ $0.count }) < frames.count {
                    try await Task.sleep(for: .milliseconds(10))
                }
            }
        }
        #expect(handler.frames.withLock { $0 } == frames)
        down.finish()
        for await _ in downs {}
    }

    @Test func `drops frames rather than hold them for a peer that is not there`() async throws {
        let realm = try Realm()
        let link = LinkClient(
            address: "127.0.0.1:1", tls: try TLSState(try realm.credentials(2, .manager)), member: 2, log: Self.log)
        #expect(!link.sendRaft([1]))
    }

    @Test func `carries a session both ways`() async throws {
        let realm = try Realm()
        try await withServer(realm) { address in
            try await withLink(address, try realm.credentials(3, .worker)) { link in
                for attempt in 0..<400 {
                    let got = Mutex<[Dispatch.FromManager]>([])
                    do {
                        try await link.session { orders, send in
                            for try await order in orders {
                                got.withLock { $0.append(order) }
                                if order == .notLeader(nil) { try await send(.heartbeat) } else { return }
                            }
                        }
                        #expect(got.withLock { $0 } == [.notLeader(nil), .removed])
                        return
                    } catch where attempt < 399 {
                        try await Task.sleep(for: .milliseconds(10))
                    }
                }
            }
        }
    }
}

@Suite("A join token")
struct TokenTests {
    @Test func `is a digest of 50 digits and a secret of 25`() throws {
        let realm = try Realm()
        let token = try JoinToken.text(rootPEM: realm.trust.rootCertificate, secret: .max)
        let parts = token.split(separator: "-")
        #expect(parts.map(\.count) == [6, 1, 50, 25])
        #expect(JoinToken(parsing: token) != nil)
    }

    @Test("is not what has another form", arguments: ["", "SWMTKN-1-a-b", "SWMTKN-2-\(String(repeating: "0", count: 50))-\(String(repeating: "0", count: 25))", "SWMTKN-1-\(String(repeating: "A", count: 50))-\(String(repeating: "0", count: 25))"])
    func refused(text: String) { #expect(JoinToken(parsing: text) == nil) }
}

@Suite("A node's credentials")
struct CredentialsTests {
    @Test func `come back from their files, and the key is for its owner alone`() throws {
        let directory = NSTemporaryDirectory() + "apus-tests-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let written = try Realm().credentials(4, .manager)
        try written.write(to: directory)
        let read = try NodeCredentials.load(from: directory)
        #expect(read.node == written.node && read.role == .manager && read.keyPEM == written.keyPEM)
        let mode = try FileManager.default.attributesOfItem(atPath: directory + "/swarm-node.key")[.posixPermissions]
        #expect(mode as? Int == 0o600)
    }
}
