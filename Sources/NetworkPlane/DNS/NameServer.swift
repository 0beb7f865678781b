import ClusterModel
import Foundation
package import Logging
package import NIOCore
import NIOPosix
package import NetworkPlan
import Synchronization

/// The name server of one node: answers containers of what their networks hold, and sends on what it does not know.
///
/// It listens on 127.0.0.1 alone. Containers ask the gateway of their network, where the packet filter sends the
/// question here with the container's own address on it: that address says what may be heard.
package final class NameServer: Sendable {
    /// What is too much is dropped, or refused in words where that is cheap.
    package struct Limits: Sendable {
        /// Questions that wait for an answer from elsewhere: of all, and of one container.
        package var forwarded = 1_024
        package var forwardedForOne = 100
        /// For an answer from one of the servers elsewhere, before the next is asked.
        package var patience: TimeAmount = .seconds(2)
        package var connections = 256
        /// A connection over which nothing is asked is closed.
        package var idle: TimeAmount = .seconds(10)
        package var pipelined = 16
        package init() {}
    }

    /// The names; changed by whoever hears of changes.
    private let names: Mutex<NameTable>
    private let turn = Atomic<Int>(0)
    private let channels = Mutex<[any Channel]>([])
    let forwarder: Forwarder
    let limits: Limits
    let log: Logger
    let openConnections = Atomic<Int>(0)

    /// - Parameter upstream: who answers for the rest, in this order; port 53 unless told. Empty: nobody.
    package init(names: NameTable, upstream: [SocketAddress], limits: Limits = Limits(), log: Logger) {
        self.names = Mutex(names)
        self.limits = limits
        self.log = log
        forwarder = Forwarder(upstream: upstream, limits: limits)
    }

    /// What `/etc/resolv.conf` names, without what would lead back here.
    package static func upstream(of resolverFile: String) -> [SocketAddress] {
        let text = (try? String(contentsOfFile: resolverFile, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").compactMap { line in
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count >= 2, words[0] == "nameserver" else { return nil }
            return try? SocketAddress(ipAddress: String(words[1]), port: 53)
        }
    }

    package func apply(_ changes: [NetworkChange]) { names.withLock { $0.apply(changes) } }

    /// Binds UDP and TCP; both or neither.
    ///
    /// - Returns: the port, which the system chose if 0 was given.
    @discardableResult
    package func start(host: String = "127.0.0.1", port: Int, on group: any EventLoopGroup) async throws -> Int {
        let loop = group.next()
        let datagrams = try await DatagramBootstrap(group: loop)
            .channelOption(.socketOption(.so_reuseaddr), value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4_096))
            .channelInitializer { [self] channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DatagramHandler(server: self))
                }
            }
            .bind(host: host, port: port).get()
        let chosen = datagrams.localAddress?.port ?? port
        do {
            let connections = try await ServerBootstrap(group: loop)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .serverChannelOption(.backlog, value: 128)
                .childChannelInitializer { [self] channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandlers([
                            IdleStateHandler(readTimeout: limits.idle), ByteToMessageHandler(FrameDecoder()),
                            ConnectionHandler(server: self),
                        ])
                    }
                }
                .bind(host: host, port: chosen).get()
            channels.withLock { $0 = [datagrams, connections] }
        } catch {
            try? await datagrams.close()
            throw error
        }
        return chosen
    }

    package func stop() async {
        for channel in channels.withLock({
            let all = $0; $0 = []; return all
        }) { try? await channel.close() }
    }

    /// The answer to a question, now or from elsewhere; nil: silence.
    func answer(
        _ bytes: [UInt8], from asker: SocketAddress?, over transport: DNSQuery.Transport, on loop: any EventLoop
    )
        -> EventLoopFuture<[UInt8]?>
    {
        let query: DNSQuery
        do { query = try DNSQuery(bytes, over: transport) } catch {
            switch error {
            case .dropped: return loop.makeSucceededFuture(nil)
            case .answered(let answer): return loop.makeSucceededFuture(answer)
            }
        }
        guard let address = asker?.ipAddress.flatMap({ IPAddress($0) }) else { return loop.makeSucceededFuture(nil) }
        let start = turn.wrappingAdd(1, ordering: .relaxed).oldValue
        let outcome = names.withLock { $0.outcome(of: query, from: address, turn: start) }
        switch outcome {
        case .reply(let bytes): return loop.makeSucceededFuture(bytes)
        case .forward:
            return forwarder.forward(bytes, query: query, for: address, on: loop)
                .map { $0 ?? query.failure(.serverFailure) }
        }
    }
}

/// Questions as datagrams: one in, at most one out.
private final class DatagramHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    private let server: NameServer

    init(server: NameServer) { self.server = server }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        let channel = context.channel
        server.answer(
            Array(envelope.data.readableBytesView), from: envelope.remoteAddress, over: .udp, on: context.eventLoop
        )
        .whenSuccess { bytes in
            guard let bytes else { return }
            // Not waited for: a datagram may be lost anywhere on its way.
            channel.writeAndFlush(
                AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: ByteBuffer(bytes: bytes)), promise: nil)
        }
    }

    /// What the system says of one datagram (its sender is gone) is no reason to stop answering others.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        server.log.debug("a datagram could not be read or answered", metadata: ["error": "\(error)"])
    }
}

/// Messages behind their length, RFC 1035 section 4.2.2.
struct FrameDecoder: ByteToMessageDecoder {
    typealias InboundOut = ByteBuffer

    mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt16.self),
            buffer.readableBytes >= 2 + Int(length)
        else { return .needMoreData }
        buffer.moveReaderIndex(forwardBy: 2)
        context.fireChannelRead(wrapInboundOut(buffer.readSlice(length: Int(length))!))
        return .continue
    }

    /// What was cut off by the end is no question.
    mutating func decodeLast(context: ChannelHandlerContext, buffer: inout ByteBuffer, seenEOF: Bool) throws
        -> DecodingState
    {
        try decode(context: context, buffer: &buffer)
    }
}

/// Questions over one connection, answered as answers come.
private final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let server: NameServer
    private var waiting = 0

    init(server: NameServer) { self.server = server }

    func channelActive(context: ChannelHandlerContext) {
        let open = server.openConnections.wrappingAdd(1, ordering: .relaxed).newValue
        if open > server.limits.connections { context.close(promise: nil) }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        server.openConnections.wrappingSubtract(1, ordering: .relaxed)
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        waiting += 1
        guard waiting <= server.limits.pipelined else { return context.close(promise: nil) }
        let channel = context.channel
        let done = NIOLoopBound(self, eventLoop: context.eventLoop)
        server.answer(
            Array(unwrapInboundIn(data).readableBytesView), from: channel.remoteAddress, over: .tcp,
            on: context.eventLoop
        ).whenSuccess { bytes in
            done.value.waiting -= 1
            guard let bytes else { return channel.close(promise: nil) }
            var frame = channel.allocator.buffer(capacity: bytes.count + 2)
            frame.writeInteger(UInt16(bytes.count))
            frame.writeBytes(bytes)
            channel.writeAndFlush(frame, promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent, waiting == 0 { return context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
