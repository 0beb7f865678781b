import EngineAPI
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix

/// The first handler of a connection: finds out, request by request, whose each one is.
///
///     between ──▶ head ──▶ body ──▶ answering ──▶ between      a request for us; the connection stays
///                   │        │
///                   │        └──▶ connecting ──▶ spliced       for the engine after all (its body said so)
///                   └───────────▶ connecting ──▶ spliced       for the engine: it takes the connection over
///                                        answering ──▶ streaming ──▶ between   an answer that comes piece by piece
///     … ──▶ draining                                           refused; what the client still sends is thrown away
///
/// Whole requests go to `submit`, one at a time. It never holds more of a request than `Limits` allow.
final class Reception: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// A request that waits for its answer, and where the answer goes.
    struct Work: Sendable {
        let request: Request
        /// Called once, from anywhere.
        let answer: @Sendable (Response) -> Void
        /// After an answer with a stream: writes a piece of it and returns once the kernel has it; nil is the end.
        let write: @Sendable ([UInt8]?) async throws -> Void
        /// Ends when the client has gone.
        let gone: AsyncStream<Never>

        /// Answers, and writes what follows the head until it is all or the client has gone.
        func perform(_ response: Response) async {
            answer(response)
            guard let stream = response.stream else { return }
            await withTaskGroup(of: Bool.self) { group in
                group.addTask {
                    do { try await stream.run { if !$0.isEmpty { try await write($0) } } } catch { return false }
                    return true
                }
                group.addTask {
                    for await _ in gone {}
                    return false
                }
                let isWhole = await group.next() ?? false
                group.cancelAll()
                if isWhole { try? await write(nil) } else { await close() }
            }
        }

        /// A stream that broke is cut off, so that nobody takes it for whole.
        let close: @Sendable () async -> Void
    }

    struct Limits: Sendable {
        /// Bytes of a body that we read ourselves.
        var body = 8 << 20
        /// From the first byte of a request to the end of its head. A connection without a request may stay for ever.
        var head: TimeAmount = .seconds(10)
        /// From the end of the head to the end of the body.
        var bodyTime: TimeAmount = .seconds(60)
        /// Bytes of requests that may wait while an answer streams.
        var pipelined = 64 << 10
        /// For a refused client to notice.
        var draining: TimeAmount = .seconds(5)
    }

    private enum Phase { case between, head, body, connecting, answering, streaming, spliced, draining }

    private let router: Router
    private let engine: String
    private let limits: Limits
    private let log: Logger
    private let submit: @Sendable (Work) -> Void

    private var phase = Phase.between
    /// What has arrived of the present request and not yet been taken.
    private var buffer = ByteBuffer()
    private var head: RequestHead?
    private var body: RequestBody?
    /// The present request goes on to the engine unless its body says that it is for us.
    private var bodyDecides = false
    private var inputIsClosed = false
    /// Of the last answer on this connection: the kernel has all of it.
    private var isAnswerSent = false
    private var isReadHeld = false
    private var deadline: Scheduled<Void>?
    /// Of the present request: ends what is written to a client that went away.
    private var sayGone: AsyncStream<Never>.Continuation?

    init(
        router: Router, engine: String, limits: Limits, log: Logger, submit: @escaping @Sendable (Work) -> Void
    ) {
        self.router = router
        self.engine = engine
        self.limits = limits
        self.log = log
        self.submit = submit
    }

    // MARK: What the client sends

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase != .draining else { return }
        var bytes = unwrapInboundIn(data)
        if buffer.readableBytes == 0 { buffer = bytes } else { buffer.writeBuffer(&bytes) }
        // Nobody asks this much before the stream that was asked for has ended.
        if phase == .streaming, buffer.readableBytes > limits.pipelined { return context.close(promise: nil) }
        proceed(context)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .inputClosed? = event as? ChannelEvent else { return context.fireUserInboundEventTriggered(event) }
        inputIsClosed = true
        switch phase {
        // The answer, or the engine, is still awaited by a client that has nothing more to say.
        case .answering, .connecting, .spliced: break
        // As for dockerd: who closes its side does not read any more.
        case .streaming: context.close(promise: nil)
        case .draining where !isAnswerSent: break
        case .between, .head, .body, .draining: context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        setDeadline(nil, context) { _, _ in }
        sayGone?.finish()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A client that goes away in the middle of something is no news.
        log.debug("A client's connection broke", metadata: ["reason": "\(error)"])
        context.close(promise: nil)
    }

    func read(context: ChannelHandlerContext) {
        // While one request is answered, the next one waits in the kernel, and with it the client.
        if phase == .answering || phase == .connecting { isReadHeld = true } else { context.read() }
    }

    private func releaseRead(_ context: ChannelHandlerContext) {
        guard isReadHeld else { return }
        isReadHeld = false
        context.read()
    }

    // MARK: From phase to phase

    private func proceed(_ context: ChannelHandlerContext) {
        if phase == .between, buffer.readableBytes > 0 {
            phase = .head
            setDeadline(limits.head, context) { me, context in
                me.refuse(408, "the head of the request did not arrive in time", context)
            }
        }
        if phase == .head { readHead(context) }
        if phase == .body { readBody(context) }
    }

    private func readHead(_ context: ChannelHandlerContext) {
        do {
            guard let head = try RequestHead(reading: buffer) else { return }
            self.head = head
            let target = RequestTarget(head.target)
            switch router.owner(of: head.method, target) {
            case .engine: return connect(context, head)
            case .us: bodyDecides = false
            case .bodyDecides: bodyDecides = true
            }
            phase = .body
            body = RequestBody(head.framing, limit: limits.body)
            if case .length(0) = head.framing { return }
            setDeadline(limits.bodyTime, context) { me, context in
                me.refuse(408, "the body of the request did not arrive in time", context)
            }
            if case .length(let length) = head.framing, length > limits.body { return }
            if head.expectsContinue, buffer.readableBytes == head.length {
                context.writeAndFlush(
                    wrapOutboundOut(ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")), promise: nil)
            }
        } catch {
            refuse(error.status, error.message, context)
        }
    }

    private func readBody(_ context: ChannelHandlerContext) {
        guard let head else { return }
        switch body?.read(buffer.readableBytesView.dropFirst(head.length)) {
        case .incomplete?, nil: return
        case .malformed?: refuse(400, "the request's body is malformed: its chunks do not fit together", context)
        case .tooLong?:
            refuse(413, "the request's body is longer than the \(limits.body) bytes that are read here", context)
        case .complete(let bytes, let length)?:
            body = nil
            let request = Request(head.method, RequestTarget(head.target), headers: head.headers, body: bytes)
            if bodyDecides, !router.answers(request) { return connect(context, head) }
            setDeadline(nil, context) { _, _ in }
            buffer.moveReaderIndex(forwardBy: head.length + length)
            buffer.discardReadBytes()
            if buffer.readableBytes == 0 { buffer = ByteBuffer() }
            phase = .answering
            submit(work(request, context))
        }
    }

    // MARK: Answering ourselves

    private func work(_ request: Request, _ context: ChannelHandlerContext) -> Work {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let loop = context.eventLoop
        let (gone, sayGone) = AsyncStream.makeStream(of: Never.self)
        self.sayGone = sayGone
        return Work(
            request: request,
            answer: { response in
                loop.execute {
                    let (me, context) = bound.value
                    me.answer(response, context)
                }
            },
            write: { bytes in
                try await loop.flatSubmit {
                    let (me, context) = bound.value
                    return me.write(bytes, context)
                }.get()
            }, gone: gone,
            close: {
                loop.execute { bound.value.1.close(promise: nil) }
            })
    }

    private func answer(_ response: Response, _ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        let keepsAlive = head?.keepsAlive == true && !inputIsClosed
        let bytes = wrapOutboundOut(Self.encode(response, keepsAlive: keepsAlive))
        if response.stream != nil {
            if inputIsClosed { return context.close(promise: nil) }
            phase = .streaming
            context.writeAndFlush(bytes, promise: nil)
            // Read on, so that it is noticed when the client goes.
            return releaseRead(context)
        }
        head = nil
        guard keepsAlive else { return sendLast(bytes, context) }
        context.writeAndFlush(bytes, promise: nil)
        nextRequest(context)
    }

    private func nextRequest(_ context: ChannelHandlerContext) {
        phase = .between
        proceed(context)
        releaseRead(context)
    }

    /// A chunk of an answer that is a stream; nil ends it.
    private func write(_ bytes: [UInt8]?, _ context: ChannelHandlerContext) -> EventLoopFuture<Void> {
        guard phase == .streaming, context.channel.isActive else {
            return context.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel)
        }
        var chunk = ByteBuffer()
        chunk.writeString(String(bytes?.count ?? 0, radix: 16) + "\r\n")
        chunk.writeBytes(bytes ?? [])
        chunk.writeString("\r\n")
        let written = context.eventLoop.makePromise(of: Void.self)
        if bytes != nil {
            context.writeAndFlush(wrapOutboundOut(chunk), promise: written)
        } else if head?.keepsAlive == true, !inputIsClosed {
            head = nil
            context.writeAndFlush(wrapOutboundOut(chunk), promise: written)
            nextRequest(context)
        } else {
            head = nil
            sendLast(wrapOutboundOut(chunk), context)
            written.succeed()
        }
        return written.futureResult
    }

    private func refuse(_ status: Int, _ message: String, _ context: ChannelHandlerContext) {
        let response = Response.refusal(Refusal(status, message))
        sendLast(wrapOutboundOut(Self.encode(response, keepsAlive: false)), context)
    }

    /// Sends what ends this connection, all of it, and closes once the client has: closing at once, with bytes unread,
    /// would take the answer away from it.
    private func sendLast(_ bytes: NIOAny, _ context: ChannelHandlerContext) {
        phase = .draining
        buffer = ByteBuffer()
        setDeadline(nil, context) { _, _ in }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.writeAndFlush(bytes).whenComplete { _ in
            let (me, context) = bound.value
            me.isAnswerSent = true
            if me.inputIsClosed { return context.close(promise: nil) }
            context.close(mode: .output, promise: nil)
            me.setDeadline(me.limits.draining, context) { _, context in context.close(promise: nil) }
        }
        releaseRead(context)
    }

    private static func encode(_ response: Response, keepsAlive: Bool) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.reserveCapacity(response.body.count + 512)
        let status = HTTPResponseStatus(statusCode: response.status)
        bytes.writeString("HTTP/1.1 \(status.code) \(status.reasonPhrase)\r\n")
        for header in response.headers where !header.value.utf8.contains(where: { $0 < 0x20 }) {
            bytes.writeString("\(header.name): \(header.value)\r\n")
        }
        if !keepsAlive { bytes.writeString("Connection: close\r\n") }
        if response.stream != nil {
            bytes.writeString("Transfer-Encoding: chunked\r\n\r\n")
            return bytes
        }
        bytes.writeString("Content-Length: \(response.body.count)\r\n\r\n")
        bytes.writeBytes(response.body)
        return bytes
    }

    // MARK: Giving the connection to the engine

    private func connect(_ context: ChannelHandlerContext, _ head: RequestHead) {
        phase = .connecting
        setDeadline(nil, context) { _, _ in }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        ClientBootstrap(group: context.eventLoop)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.autoRead, value: false)
            .connect(unixDomainSocketPath: engine)
            .whenComplete { result in
                let (me, context) = bound.value
                switch result {
                case .success(let channel): me.splice(context, head, with: channel)
                case .failure(let error):
                    let unreachable = EngineUnreachable(socket: me.engine, reason: "\(error)")
                    me.refuse(503, unreachable.description, context)
                }
            }
    }

    private func splice(_ context: ChannelHandlerContext, _ head: RequestHead, with engine: any Channel) {
        guard context.channel.isActive else { return engine.close(promise: nil) }
        let (ours, theirs) = Splice.pair()
        do {
            // In front of this handler, which from now on sees nothing but reads to pass on.
            try context.pipeline.syncOperations.addHandler(ours, position: .before(self))
            try engine.pipeline.syncOperations.addHandler(theirs)
        } catch {
            engine.close(promise: nil)
            return context.close(promise: nil)
        }
        engine.write(head.forEngine(from: buffer), promise: nil)
        buffer.moveReaderIndex(forwardBy: head.length)
        engine.writeAndFlush(buffer, promise: nil)
        buffer = ByteBuffer()
        self.head = nil
        phase = .spliced
        if inputIsClosed { engine.close(mode: .output, promise: nil) }
        engine.setOption(.autoRead, value: true).whenFailure { _ in engine.close(promise: nil) }
        releaseRead(context)
    }

    // MARK: Time

    /// Replaces the deadline; nil takes it away.
    private func setDeadline(
        _ delay: TimeAmount?, _ context: ChannelHandlerContext,
        _ action: @escaping @Sendable (Reception, ChannelHandlerContext) -> Void
    ) {
        deadline?.cancel()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        deadline = delay.map { delay in
            context.eventLoop.scheduleTask(in: delay) {
                let (me, context) = bound.value
                action(me, context)
            }
        }
    }
}
