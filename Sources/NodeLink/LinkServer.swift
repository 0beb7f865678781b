package import ClusterModel
import GRPCCore
import GRPCNIOTransportHTTP2Posix
package import Logging
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// The one port of a manager.
///
/// A caller is known by the certificate of its connection, which is read once, at the handshake. Without one only a
/// certificate can be asked for; a worker's opens sessions; a manager's everything.
package final class LinkServer: Sendable {
    private let tls: TLSState
    private let handler: any LinkHandler
    private let log: Logger
    private let callers = Callers()

    package init(tls: TLSState, handler: any LinkHandler, log: Logger) {
        self.tls = tls
        self.handler = handler
        self.log = log
    }

    /// Serves until cancelled.
    ///
    /// - Parameters:
    ///   - address: `host:port`; port 0 takes a free one.
    ///   - isListening: called once with the port that was bound.
    /// - Throws: `ListenFailure` if the address cannot be had.
    package func run(on address: String, isListening: @escaping @Sendable (Int) -> Void = { _ in }) async throws {
        guard let place = LinkAddress(address) else {
            throw ListenFailure(address: address, reason: "it is not of the form HOST:PORT")
        }
        var config = HTTP2ServerTransport.Custom<TLSListener>.Config.defaults
        config.rpc.maxRequestPayloadSize = Wire.mostBytes
        config.http2.targetWindowSize = 1 << 20
        // Clients ask every 2 s whether this end lives. Asking them in turn frees what a lost machine held.
        config.connection.keepalive = .init(
            time: .seconds(10), timeout: .seconds(5),
            clientBehavior: .init(minPingIntervalWithoutCalls: .milliseconds(500), allowWithoutCalls: true))
        let gate = Gate()
        let transport = HTTP2ServerTransport.Custom(
            listenerFactory: TLSListener(
                place: place, tls: tls, callers: callers, gate: gate, isListening: isListening),
            config: config)
        let server = GRPCServer(
            transport: transport, services: [LinkService(handler: handler)],
            interceptors: [Doorkeeper(callers: callers, tls: tls, log: log)])
        // Unstructured, so that cancellation closes the connections first. gRPC traps when it is cancelled while a
        // connection or a stream arrives: nobody then owns the writer of what has just been accepted.
        let serving = Task { try await server.serve() }
        let result = await withTaskCancellationHandler {
            await serving.result
        } onCancel: {
            gate.shut { serving.cancel() }
        }
        try Task.checkCancellation()
        if case .failure(let error) = result {
            throw ListenFailure(address: address, reason: Trouble.text(of: error))
        }
    }

    /// Closes every connection of `node` at once: its certificate said what is not true any more.
    package func disconnect(_ node: Cluster.ID<Cluster.Node>) {
        callers.disconnect(node)
        log.info("closed the connections of a node", metadata: ["node.id": "\(node)"])
    }
}

package struct ListenFailure: Error, CustomStringConvertible {
    var address: String
    var reason: String
    package var description: String {
        "cannot listen on \(address): \(reason). Free the port, or choose another with --listen-addr."
    }
}

/// The listener and the connections of one run, closed together.
private final class Gate: Sendable {
    private struct State {
        var isShut = false
        var channels: [ObjectIdentifier: any Channel] = [:]
    }

    private let state = Mutex(State())

    /// - Returns: false after `shut`.
    func admit(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let isAdmitted = state.withLock { state in
            if !state.isShut { state.channels[id] = channel }
            return !state.isShut
        }
        if isAdmitted {
            channel.closeFuture.whenComplete { [self] _ in state.withLock { $0.channels[id] = nil } }
        }
        return isAdmitted
    }

    /// - Parameter done: called when all are closed.
    func shut(_ done: @escaping @Sendable () -> Void) {
        let channels = state.withLock { state in
            state.isShut = true
            return Array(state.channels.values)
        }
        for channel in channels { channel.close(promise: nil) }
        EventLoopFuture.andAllComplete(
            channels.map(\.closeFuture), on: MultiThreadedEventLoopGroup.singleton.any()
        ).whenComplete { _ in done() }
    }
}

/// `host:port`, a host of IPv6 in brackets.
struct LinkAddress: Sendable {
    var host: String
    var port: Int

    /// - Parameter defaultPort: for a text without a port; nil where there must be one.
    init?(_ text: String, defaultPort: Int? = nil) {
        let bare = text.filter { $0 != "[" && $0 != "]" }
        let isBareV6 = bare == text && text.count(where: { $0 == ":" }) > 1
        if !isBareV6, let colon = text.lastIndex(of: ":"), text.last != "]" {
            guard let port = UInt16(text[text.index(after: colon)...]) else { return nil }
            host = String(text[..<colon].filter { $0 != "[" && $0 != "]" })
            self.port = Int(port)
        } else {
            guard let defaultPort else { return nil }
            (host, port) = (bare, defaultPort)
        }
        if host.isEmpty { return nil }
    }
}

/// Takes connections and puts TLS, with the credentials of that moment, in front of gRPC.
private struct TLSListener: HTTP2ServerTransport.ListenerFactory {
    let place: LinkAddress
    let tls: TLSState
    let callers: Callers
    let gate: Gate
    let isListening: @Sendable (Int) -> Void

    var eventLoopGroup: any EventLoopGroup { .singletonMultiThreadedEventLoopGroup }

    func makeListeningChannel(
        listenerConfigurator: HTTP2ServerTransport.ListenerConfigurator,
        connectionConfigurator: HTTP2ServerTransport.ConnectionConfigurator
    ) async throws -> NIOAsyncChannel<HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel, Never> {
        let channel = try await ServerBootstrap(group: eventLoopGroup)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .serverChannelInitializer { listenerConfigurator.configure(channel: $0) }
            .bind(host: place.host, port: place.port) { [tls, callers, gate] channel in
                channel.eventLoop.makeCompletedFuture {
                    guard gate.admit(channel) else { throw ChannelError.ioOnClosedChannel }
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(NIOSSLServerHandler(context: tls.current.server))
                    try pipeline.addHandler(HandshakeDeadline(.seconds(10)))
                    try pipeline.addHandler(Callers.Reader(callers))
                }.flatMap { connectionConfigurator.configure(channel: channel, tls: .configured(requireALPN: true)) }
                    .map { connection in
                        // Held until it is closed, so that it can be dropped by a listener that is just closing.
                        channel.closeFuture.whenComplete { _ in withExtendedLifetime(connection) {} }
                        return connection
                    }
            }
        guard gate.admit(channel.channel) else {
            try await channel.executeThenClose { _ in }
            throw CancellationError()
        }
        isListening(channel.channel.localAddress?.port ?? place.port)
        return channel
    }
}
