import ClusterModel
import Foundation
import Logging
import NIOCore
import NIOPosix
import Synchronization

@testable import NodeLink

/// A swarm's trust, and credentials signed by it.
struct Realm {
    let trust: Cluster.Trust
    var cluster: Cluster.ID<Cluster.Swarm> = .init(bits: 7)

    init() throws { trust = try CertificateAuthority.makeTrust() }

    func certificate(_ csr: String, _ node: UInt128, _ role: Cluster.Role) throws -> String {
        try CertificateAuthority.issue(
            csrPEM: csr, node: .init(bits: node), role: role, cluster: cluster, trust: trust,
            validFor: 3_600_000_000_000, now: Date())
    }

    func credentials(_ node: UInt128, _ role: Cluster.Role) throws -> NodeCredentials {
        let (csr, key) = try CertificateAuthority.makeRequest()
        return try NodeCredentials(
            certificatePEM: try certificate(csr, node, role), keyPEM: key, rootPEM: trust.rootCertificate)
    }
}

/// A manager that writes down what it hears.
final class Handler: LinkHandler {
    let realm: Realm
    /// Everything that was called, except frames.
    let calls = Mutex<[String]>([])
    let (frames, frameWriter) = AsyncStream.makeStream(of: [[UInt8]].self)
    let (words, wordWriter) = AsyncStream.makeStream(of: Dispatch.FromWorker.self)
    let (arrivals, arrivalWriter) = AsyncStream.makeStream(of: Void.self)

    /// What takes snapshots; nil to refuse them.
    let snapshots: (any IncomingSnapshot)?

    init(_ realm: Realm, snapshots: (any IncomingSnapshot)? = nil) {
        self.realm = realm
        self.snapshots = snapshots
    }

    static let goodSecret: UInt128 = 5

    func issueCertificate(
        _ request: CertificateRequest, from peer: Peer?, address: String
    ) async throws(ControlError) -> CertificateGrant {
        calls.withLock { $0.append("issueCertificate from \(address)") }
        if peer == nil, request.token?.hasSuffix(Cluster.ID<Cluster.Swarm>(bits: Self.goodSecret).description) != true {
            throw .invalidArgument("A valid join token is necessary to join this cluster")
        }
        let node = peer?.node ?? .init(bits: 99)
        do {
            return CertificateGrant(
                node: node, role: .worker, certificatePEM: try realm.certificate(request.csrPEM, node.bits, .worker),
                rootPEM: realm.trust.rootCertificate, managers: [.init(node: node, address: "10.0.0.1:2377")])
        } catch { throw .unknown("\(error)") }
    }

    func joinManagers(address: String, from peer: Peer) async throws(ControlError) -> ManagerSeat {
        calls.withLock { $0.append("joinManagers") }
        return ManagerSeat(
            member: UInt64(peer.node.bits), peers: [.init(member: 1, address: "10.0.0.1:2377")], epoch: "e1")
    }

    func leaveManagers(from peer: Peer) async throws(ControlError) { calls.withLock { $0.append("leaveManagers") } }

    /// Refuses what has no service, never answers a removal by force, and otherwise says who called.
    func submit(_ request: Control.Request, from peer: Peer) async throws(ControlError) -> Control.Reply {
        switch request {
        case .removeNode(_, force: true):
            arrivalWriter.yield()
            try? await Task.sleep(for: .seconds(60))
            throw .noLeader
        case .removeNode(let id, force: false):
            return Control.Reply(created: id.description, warnings: [peer.node.description, peer.address], index: 42)
        case .setManager: throw .outOfSequence
        case .removeService(let id): throw .notFound(kind: "service", reference: id.description)
        default: throw .failedPrecondition("not that")
        }
    }

    func snapshot(
        _ head: [UInt8], from peer: Peer, member: UInt64
    ) async throws(ControlError) -> any IncomingSnapshot {
        guard let snapshots else { throw .unimplemented("no snapshots here") }
        return snapshots
    }

    func raft(_ frames: [[UInt8]], from peer: Peer, member: UInt64) { frameWriter.yield(frames) }

    /// Answers a heartbeat, ends the session after a status, and writes down every word.
    func session<Words: AsyncSequence & Sendable>(
        from peer: Peer, inbound: Words, send: @escaping @Sendable (Dispatch.FromManager) async throws -> Void
    ) async throws where Words.Element == Dispatch.FromWorker {
        for try await word in inbound {
            wordWriter.yield(word)
            if word == .heartbeat { try await send(.notLeader(nil)) }
            if word == .status([]) { return try await send(.removed) }
        }
        wordWriter.finish()
    }
}

let silence = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

/// Runs `body` beside what holds for as long as it runs.
@discardableResult
func beside<Result: Sendable>(
    _ life: @escaping @Sendable () async throws -> Void, _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Result?.self) { group in
        defer { group.cancelAll() }
        group.addTask {
            try await life()
            return nil
        }
        group.addTask { try await body() }
        while let result = try await group.next() { if let result { return result } }
        throw CancellationError()
    }
}

extension LinkServer {
    /// Serves for as long as `body` runs, and tells it where.
    @discardableResult
    func serving<Result: Sendable>(
        on address: String = "127.0.0.1:0", _ body: @escaping @Sendable (String) async throws -> Result
    ) async throws -> Result {
        let (ports, writer) = AsyncStream.makeStream(of: Int.self)
        return try await beside {
            try await self.run(on: address) { writer.yield($0) }
        } _: {
            let port = await ports.first { _ in true } ?? 0
            return try await body(address.replacing(/:[0-9]+$/, with: ":\(port)"))
        }
    }
}

/// A server of `realm`, for as long as `body` runs.
@discardableResult
func withServer<Result: Sendable>(
    _ realm: Realm, _ handler: Handler? = nil, on address: String = "127.0.0.1:0",
    _ body: @escaping @Sendable (String) async throws -> Result
) async throws -> Result {
    let tls = try TLSState(try realm.credentials(1, .manager))
    return try await LinkServer(tls: tls, handler: handler ?? Handler(realm), log: silence)
        .serving(on: address, body)
}

/// A link that lives as long as `body` runs, and its comings and goings.
@discardableResult
func withLink<Result: Sendable>(
    _ address: String, _ credentials: NodeCredentials, member: UInt64? = nil,
    _ body: @escaping @Sendable (LinkClient, Turns) async throws -> Result
) async throws -> Result {
    let turns = Turns()
    let link = LinkClient(
        address: address, tls: try TLSState(credentials), member: member, log: silence,
        onUp: { turns.note(.up) }, onDown: { turns.note(.down) })
    return try await beside {
        await link.run()
    } _: {
        try await body(link, turns)
    }
}

/// What `onUp` and `onDown` said, in order.
final class Turns: Sendable {
    enum Turn { case up, down }
    private let (turns, writer) = AsyncStream.makeStream(of: Turn.self)

    func note(_ turn: Turn) { writer.yield(turn) }
    func next() async -> Turn? { await turns.first { _ in true } }
}

/// A cable between a client and a server that can be cut or go dead.
final class Cable: Sendable {
    private struct State {
        var isDead = false
        var channels: [any Channel] = []
    }

    private let state = Mutex(State())

    /// - Returns: the address of the near end.
    func lay(to address: String) async throws -> String {
        let far = LinkAddress(address)!
        let channel = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .childChannelInitializer { [self] near in
                let nearEnd = End(self)
                return near.pipeline.addHandler(nearEnd.sendable).flatMap {
                    ClientBootstrap(group: near.eventLoop).channelInitializer { [self] farSide in
                        let farEnd = End(self)
                        farEnd.partner = near
                        nearEnd.partner = farSide
                        return farSide.pipeline.addHandler(farEnd.sendable)
                    }.connect(host: far.host, port: far.port).map { [self] farSide in
                        state.withLock { $0.channels += [near, farSide] }
                    }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return "127.0.0.1:\(channel.localAddress!.port!)"
    }

    /// Both ends see a reset, as when a process is killed with data on its way.
    func cut() async {
        let channels = state.withLock { state in
            defer { state.channels = [] }
            return state.channels
        }
        for channel in channels {
            try? await (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
            try? await channel.close()
        }
    }

    /// Nothing passes any more, and nobody is told.
    func goDead() { state.withLock { $0.isDead = true } }

    fileprivate var isDead: Bool { state.withLock { $0.isDead } }

    /// `@unchecked`: both ends of a connection live on one event loop.
    private final class End: ChannelInboundHandler, @unchecked Sendable {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let cable: Cable
        var partner: (any Channel)?
        var sendable: any ChannelHandler & Sendable { self }

        init(_ cable: Cable) { self.cable = cable }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            if !cable.isDead { partner?.writeAndFlush(unwrapInboundIn(data), promise: nil) }
        }

        func channelInactive(context: ChannelHandlerContext) {
            if !cable.isDead { partner?.close(promise: nil) }
            context.fireChannelInactive()
        }
    }
}
