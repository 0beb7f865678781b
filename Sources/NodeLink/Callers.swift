import ClusterModel
import GRPCCore
import Logging
import NIOCore
import NIOSSL
import NIOTLS
import SwiftASN1
import Synchronization
import X509

/// Who is at the other end of each connection, as its certificate said at the handshake.
final class Callers: Sendable {
    private struct Caller {
        var peer: Peer
        var channel: any Channel
    }

    private let callers = Mutex<[String: Caller]>([:])
    private let stranded = Mutex<Set<Cluster.ID<Cluster.Node>>>([])

    /// - Returns: true the first time for each node: it goes on calling.
    func isNews(ofStranded node: Cluster.ID<Cluster.Node>) -> Bool {
        stranded.withLock { $0.count < 1_024 && $0.insert(node).inserted }
    }

    func peer(at remoteEnd: String) -> Peer? { callers.withLock { $0[remoteEnd]?.peer } }

    /// Closes the connections of `node`, with all that runs over them.
    func disconnect(_ node: Cluster.ID<Cluster.Node>) {
        let channels = callers.withLock { $0.values.filter { $0.peer.node == node }.map(\.channel) }
        for channel in channels { channel.close(promise: nil) }
    }

    /// Said at every handshake, also without a certificate: what an earlier connection from the same remote end proved
    /// is no proof for this one.
    fileprivate func set(_ peer: Peer?, on channel: any Channel) {
        guard let end = Self.remoteEnd(channel.remoteAddress) else { return }
        callers.withLock { $0[end] = peer.map { Caller(peer: $0, channel: channel) } }
    }

    fileprivate func remove(_ channel: any Channel, at remoteEnd: String) {
        callers.withLock { callers in
            if callers[remoteEnd]?.channel === channel { callers[remoteEnd] = nil }
        }
    }

    /// As gRPC names it in `ServerContext.remotePeer`.
    fileprivate static func remoteEnd(_ address: NIOCore.SocketAddress?) -> String? {
        guard let address, let ip = address.ipAddress, let port = address.port else { return nil }
        return if case .v6 = address { "ipv6:[\(ip)]:\(port)" } else { "ipv4:\(ip):\(port)" }
    }

    /// The IP address in such a name; an IPv4 address that came through an IPv6 socket in its own form.
    static func ipAddress(of remoteEnd: String) -> String {
        let rest = remoteEnd.drop { $0 != ":" }.dropFirst()
        guard let colon = rest.lastIndex(of: ":") else { return String(rest) }
        return plain(String(rest[..<colon]))
    }

    private static func plain(_ text: String) -> String {
        let ip = text.filter { $0 != "[" && $0 != "]" }
        return ip.hasPrefix("::ffff:") && ip.contains(".") ? String(ip.dropFirst("::ffff:".count)) : ip
    }

    /// Reads the certificate of one connection, once.
    final class Reader: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias InboundOut = ByteBuffer

        private let callers: Callers
        private var remoteEnd: String?

        init(_ callers: Callers) { self.callers = callers }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case .handshakeCompleted = event as? TLSUserEvent {
                remoteEnd = Callers.remoteEnd(context.channel.remoteAddress)
                callers.set(peer(of: context), on: context.channel)
            }
            context.fireUserInboundEventTriggered(event)
        }

        func channelInactive(context: ChannelHandlerContext) {
            if let remoteEnd { callers.remove(context.channel, at: remoteEnd) }
            context.fireChannelInactive()
        }

        private func peer(of context: ChannelHandlerContext) -> Peer? {
            guard let shown = try? context.pipeline.syncOperations.nioSSL_peerCertificate(),
                let certificate = try? Certificate(derEncoded: shown.toDERBytes()),
                let identity = CertifiedIdentity(certificate)
            else { return nil }
            return Peer(
                node: identity.node, role: identity.role, cluster: identity.cluster,
                address: Callers.plain(context.channel.remoteAddress?.ipAddress ?? ""))
        }
    }
}

/// Closes a connection whose handshake takes too long, so that silent ones do not pile up.
final class HandshakeDeadline: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let limit: TimeAmount
    private var alarm: Scheduled<Void>?

    init(_ limit: TimeAmount) { self.limit = limit }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        alarm = context.eventLoop.scheduleTask(in: limit) {
            channel.pipeline.fireErrorCaught(HandshakeTimeout())
            channel.close(promise: nil)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { alarm?.cancel() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent { alarm?.cancel() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        alarm?.cancel()
        context.fireChannelInactive()
    }
}

/// The caller of the request at hand.
enum Caller {
    @TaskLocal static var peer: Peer?
    @TaskLocal static var address = ""
}

/// Lets each caller only at what its certificate allows.
struct Doorkeeper: ServerInterceptor {
    let callers: Callers
    let tls: TLSState
    let log: Logger

    private enum Allowed { case anyone, nodes, managers }

    /// What is not here is for managers.
    private static let allowed: [MethodDescriptor: Allowed] = [
        Apus_V1_Link.Method.IssueCertificate.descriptor: .anyone,
        Apus_V1_Link.Method.Session.descriptor: .nodes,
        Apus_V1_Link.Method.PublishLogs.descriptor: .nodes,
    ]

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next: @Sendable (StreamingServerRequest<Input>, ServerContext) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let peer = callers.peer(at: context.remotePeer)
        if let refusal = refusal(of: peer, asking: context.descriptor) { throw refusal }
        let epoch = request.metadata[stringValues: Epoch.header].first { _ in true }
        if let peer,
            let refusal = Epoch.refusal(of: peer, ofEpoch: epoch, asking: context.descriptor, here: tls.epoch)
        {
            if callers.isNews(ofStranded: peer.node) {
                log.warning(
                    "refused a manager of another epoch",
                    metadata: ["node.id": "\(peer.node)", "reason": "\(refusal.message)"])
            }
            throw refusal
        }
        let address = Callers.ipAddress(of: context.remotePeer)
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

    private func refusal(of peer: Peer?, asking method: MethodDescriptor) -> RPCError? {
        if let peer, peer.cluster != tls.current.credentials.cluster {
            return RPCError(
                code: .permissionDenied,
                message:
                    "node \(peer.node) has a certificate of another swarm: let it leave that one, then join this one")
        }
        switch (Self.allowed[method] ?? .managers, peer?.role) {
        case (.anyone, _), (.nodes, _?), (.managers, .manager): return nil
        case (_, nil):
            return RPCError(
                code: .unauthenticated, message: "\(method.method) needs a node's certificate: join the swarm first")
        case (.managers, .worker):
            return RPCError(
                code: .permissionDenied,
                message:
                    "\(method.method) is for managers and this node is a worker: promote it with `docker node promote`")
        }
    }
}
