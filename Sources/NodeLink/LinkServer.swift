import ClusterModel
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
package import Logging
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import SwiftASN1
import SwiftProtobuf
import Synchronization
import X509

/// The one port of a manager.
///
/// A caller is known by the certificate of its connection, which is read once, at the handshake. Without one only a
/// certificate can be asked for; a worker's opens sessions; a manager's everything.
package struct LinkServer: Sendable {
    private let tls: TLSState
    private let handler: any LinkHandler
    private let log: Logger

    package init(tls: TLSState, handler: any LinkHandler, log: Logger) {
        self.tls = tls
        self.handler = handler
        self.log = log
    }

    /// Serves until cancelled.
    ///
    /// - Parameters:
    ///   - address: `host:port`.
    ///   - isListening: called once with the port that was bound.
    package func run(on address: String, isListening: @escaping @Sendable (Int) -> Void = { _ in }) async throws {
        guard let colon = address.lastIndex(of: ":"), let port = Int(address[address.index(after: colon)...]) else {
            throw ListenFailure(address: address, reason: "it is no HOST:PORT")
        }
        let host = address[..<colon].trimmingCharacters(in: ["[", "]"])
        let table = IdentityTable()
        var config = HTTP2ServerTransport.Custom<TLSListener>.Config(
            compression: .defaults, connection: .defaults, http2: .defaults, rpc: .defaults,
            channelDebuggingCallbacks: .defaults)
        config.connection.keepalive.clientBehavior = .init(
            minPingIntervalWithoutCalls: .milliseconds(500), allowWithoutCalls: true)
        config.rpc.maxRequestPayloadSize = 32 << 20
        let transport = HTTP2ServerTransport.Custom(
            listenerFactory: TLSListener(
                host: host, port: port, tls: tls, table: table, isListening: isListening),
            config: config)
        let server = GRPCServer(
            transport: transport, services: [LinkService(handler: handler, tls: tls)],
            interceptors: [Doorkeeper(table: table, tls: tls)])
        do {
            try await server.serve()
        } catch let error as IOError {
            throw ListenFailure(address: address, reason: "\(error)")
        }
        try Task.checkCancellation()
    }
}

package struct ListenFailure: Error, CustomStringConvertible {
    var address: String
    var reason: String
    package var description: String {
        "cannot listen on \(address): \(reason). Free the port, or choose another with --listen-addr."
    }
}

// MARK: - Who calls

/// The peer of each connection, filled at its handshake.
private final class IdentityTable: Sendable {
    private let peers = Mutex<[String: Peer]>([:])

    func set(_ peer: Peer?, at key: String) { peers.withLock { $0[key] = peer } }
    func peer(at key: String) -> Peer? { peers.withLock { $0[key] } }

    /// As gRPC names the remote end.
    static func key(_ address: NIOCore.SocketAddress?) -> String? {
        guard let address, let ip = address.ipAddress, let port = address.port else { return nil }
        return if case .v6 = address { "ipv6:[\(ip)]:\(port)" } else { "ipv4:\(ip):\(port)" }
    }
}

private final class IdentityHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let table: IdentityTable
    private var key: String?

    init(_ table: IdentityTable) { self.table = table }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent,
            let certificate = try? context.pipeline.syncOperations.nioSSL_peerCertificate(),
            let parsed = try? Certificate(derEncoded: certificate.toDERBytes()),
            let identity = CertifiedIdentity(parsed), let key = IdentityTable.key(context.channel.remoteAddress)
        {
            self.key = key
            table.set(
                Peer(
                    node: identity.node, role: identity.role, cluster: identity.cluster,
                    address: context.channel.remoteAddress?.ipAddress ?? ""),
                at: key)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let key { table.set(nil, at: key) }
        context.fireChannelInactive()
    }
}

private struct TLSListener: HTTP2ServerTransport.ListenerFactory {
    let host: String
    let port: Int
    let tls: TLSState
    let table: IdentityTable
    let isListening: @Sendable (Int) -> Void

    var eventLoopGroup: any EventLoopGroup { .singletonMultiThreadedEventLoopGroup }

    func makeListeningChannel(
        listenerConfigurator: HTTP2ServerTransport.ListenerConfigurator,
        connectionConfigurator: HTTP2ServerTransport.ConnectionConfigurator
    ) async throws -> NIOAsyncChannel<HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel, Never> {
        let channel = try await ServerBootstrap(group: eventLoopGroup)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .serverChannelInitializer { listenerConfigurator.configure(channel: $0) }
            .bind(host: host, port: port) { [tls, table] channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(NIOSSLServerHandler(context: tls.current.server))
                    try pipeline.addHandler(IdentityHandler(table))
                }.flatMap { connectionConfigurator.configure(channel: channel, tls: .configured(requireALPN: true)) }
            }
        isListening(channel.channel.localAddress?.port ?? port)
        return channel
    }
}

/// The caller of the request at hand.
private enum Caller {
    @TaskLocal static var peer: Peer?
    @TaskLocal static var address = ""
}

/// Lets each caller only at what its certificate allows.
private struct Doorkeeper: ServerInterceptor {
    let table: IdentityTable
    let tls: TLSState

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next: @Sendable (StreamingServerRequest<Input>, ServerContext) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let peer = table.peer(at: context.remotePeer)
        let own = tls.current.credentials
        switch (context.descriptor.method, peer?.role) {
        case (_, _?) where peer?.cluster != own.cluster:
            throw RPCError(code: .permissionDenied, message: "the certificate is for another swarm: leave that one first")
        case ("IssueCertificate", _), ("Session", _?), (_, .manager): break
        case (let method, .worker):
            throw RPCError(
                code: .permissionDenied,
                message: "a worker may not call \(method): promote the node with `docker node promote`")
        case (let method, nil):
            throw RPCError(code: .unauthenticated, message: "\(method) needs a certificate: join the swarm first")
        }
        let address = Self.host(of: context.remotePeer)
        let response = try await Self.asCaller(peer, address) { try await next(request, context) }
        guard case .success(var contents) = response.accepted else { return response }
        // A stream's handler runs when its answer is written, which is after this.
        let produce = contents.producer
        contents.producer = { writer in try await Self.asCaller(peer, address) { try await produce(writer) } }
        return StreamingServerResponse(accepted: .success(contents))
    }

    private static func asCaller<Result: Sendable>(
        _ peer: Peer?, _ address: String, _ body: @Sendable () async throws -> Result
    ) async throws -> Result {
        try await Caller.$peer.withValue(peer) {
            try await Caller.$address.withValue(address) { try await body() }
        }
    }

    /// `ipv4:1.2.3.4:5` → `1.2.3.4`.
    private static func host(of peer: String) -> String {
        let rest = peer.drop { $0 != ":" }.dropFirst()
        guard let colon = rest.lastIndex(of: ":") else { return String(rest) }
        return rest[..<colon].trimmingCharacters(in: ["[", "]"])
    }
}

// MARK: - What is called

private struct LinkService: Apus_V1_Link.SimpleServiceProtocol {
    let handler: any LinkHandler
    let tls: TLSState

    private func caller() throws -> Peer {
        guard let peer = Caller.peer else { throw RPCError(code: .unauthenticated, message: "a certificate is needed") }
        return peer
    }

    func issueCertificate(request: Apus_V1_CertificateAsk, context: ServerContext) async throws
        -> Apus_V1_CertificateAnswer
    {
        do {
            let grant = try await handler.issueCertificate(
                CertificateRequest(
                    csrPEM: request.csr, token: request.token.isEmpty ? nil : request.token,
                    availability: Cluster.Availability(rawValue: request.availability) ?? .active),
                from: request.token.isEmpty ? try caller() : nil, address: Caller.address)
            let managers = try Wire.write(grant.managers)
            return .with {
                $0.node = grant.node.description
                $0.role = grant.role.rawValue
                $0.certificate = grant.certificatePEM
                $0.root = grant.rootPEM
                $0.managers = managers
            }
        } catch let error as ControlError {
            return .with { $0.refusal = Wire.refusal(error) }
        }
    }

    func joinManagers(request: Apus_V1_SeatAsk, context: ServerContext) async throws -> Apus_V1_SeatAnswer {
        do {
            let seat = try await handler.joinManagers(address: request.address, from: try caller())
            let peers = try Wire.write(seat.peers)
            return .with {
                $0.member = seat.member
                $0.peers = peers
            }
        } catch let error as ControlError {
            return .with { $0.refusal = Wire.refusal(error) }
        }
    }

    func submit(request: Apus_V1_Document, context: ServerContext) async throws -> Apus_V1_Outcome {
        let asked = try Wire.read(Control.Request.self, from: request.json)
        do {
            let reply = try Wire.write(try await handler.submit(asked, from: try caller()))
            return .with { $0.reply = reply }
        } catch let error as ControlError {
            return .with { $0.refusal = Wire.refusal(error) }
        }
    }

    func raft(
        request: RPCAsyncSequence<Apus_V1_Frames, any Error>, context: ServerContext
    ) async throws -> Apus_V1_Nothing {
        let peer = try caller()
        for try await batch in request {
            handler.raft(batch.frames.map { Array($0) }, from: peer, member: batch.member)
        }
        return Apus_V1_Nothing()
    }

    func session(
        request: RPCAsyncSequence<Apus_V1_Document, any Error>, response: RPCWriter<Apus_V1_Document>,
        context: ServerContext
    ) async throws {
        try await handler.session(from: try caller(), inbound: WorkerWords(documents: request)) { message in
            let json = try Wire.write(message)
            try await response.write(.with { $0.json = json })
        }
    }
}

/// A worker's words, read as they come.
private struct WorkerWords: AsyncSequence, Sendable {
    typealias Element = Dispatch.FromWorker
    let documents: RPCAsyncSequence<Apus_V1_Document, any Error>

    struct AsyncIterator: AsyncIteratorProtocol {
        var documents: RPCAsyncSequence<Apus_V1_Document, any Error>.AsyncIterator

        mutating func next() async throws -> Dispatch.FromWorker? {
            guard let document = try await documents.next() else { return nil }
            return try Wire.read(Dispatch.FromWorker.self, from: document.json)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(documents: documents.makeAsyncIterator()) }
}
