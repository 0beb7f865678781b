import ClusterModel
import NIOCore
import NIOPosix
import NetworkPlan
import Synchronization

/// Sends questions on to those who answer for the node, one socket each: the port that the system chooses and the
/// number that it carries are what an answer from anybody else would have to guess.
final class Forwarder: Sendable {
    private let upstream: [SocketAddress]
    private let limits: NameServer.Limits
    private let waiting = Mutex<(all: Int, of: [IPAddress: Int])>((0, [:]))

    init(upstream: [SocketAddress], limits: NameServer.Limits) {
        self.upstream = upstream
        self.limits = limits
    }

    /// How many questions wait for an answer.
    var count: Int { waiting.withLock { $0.all } }

    /// - Returns: the answer with the asker's own number on it; nil if there is none to be had, or too many wait.
    func forward(_ bytes: [UInt8], query: DNSQuery, for asker: IPAddress, on loop: any EventLoop) -> EventLoopFuture<
        [UInt8]?
    > {
        let isWelcome = waiting.withLock { waiting in
            guard waiting.all < limits.forwarded, waiting.of[asker, default: 0] < limits.forwardedForOne else {
                return false
            }
            waiting.all += 1
            waiting.of[asker, default: 0] += 1
            return true
        }
        guard isWelcome, !upstream.isEmpty else {
            if isWelcome { leave(asker) }
            return loop.makeSucceededFuture(nil)
        }
        let number = UInt16.random(in: 0 ... .max)
        var question = bytes
        (question[0], question[1]) = (UInt8(number >> 8), UInt8(truncatingIfNeeded: number))
        let answer = ask(upstream[...], question, number: number, over: query.transport, on: loop)
        answer.whenComplete { [self] _ in leave(asker) }
        return answer.map { answer in
            guard var answer else { return nil }
            (answer[0], answer[1]) = (bytes[0], bytes[1])
            return answer
        }
    }

    private func leave(_ asker: IPAddress) {
        waiting.withLock { waiting in
            waiting.all -= 1
            waiting.of[asker, default: 1] -= 1
            if waiting.of[asker] == 0 { waiting.of[asker] = nil }
        }
    }

    /// One after the other until one answers.
    private func ask(
        _ servers: ArraySlice<SocketAddress>, _ question: [UInt8], number: UInt16, over transport: DNSQuery.Transport,
        on loop: any EventLoop
    ) -> EventLoopFuture<[UInt8]?> {
        guard let server = servers.first else { return loop.makeSucceededFuture(nil) }
        return askOne(server, question, number: number, over: transport, on: loop).flatMap { [self] answer in
            if let answer { return loop.makeSucceededFuture(answer) }
            return ask(servers.dropFirst(), question, number: number, over: transport, on: loop)
        }
    }

    private func askOne(
        _ server: SocketAddress, _ question: [UInt8], number: UInt16, over transport: DNSQuery.Transport,
        on loop: any EventLoop
    ) -> EventLoopFuture<[UInt8]?> {
        let promise = loop.makePromise(of: [UInt8]?.self)
        let patience = limits.patience
        let isStream = transport == .tcp
        let prepare: @Sendable (any Channel) -> EventLoopFuture<Void> = { channel in
            channel.eventLoop.makeCompletedFuture {
                let handler = AnswerHandler(question: question, number: number, isStream: isStream, promise: promise)
                if isStream { try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(FrameDecoder())) }
                try channel.pipeline.syncOperations.addHandler(handler)
            }
        }
        let connecting =
            isStream
            ? ClientBootstrap(group: loop).connectTimeout(patience).channelInitializer(prepare).connect(to: server)
            : DatagramBootstrap(group: loop)
                .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4_096))
                .channelInitializer(prepare).connect(to: server)
        connecting.whenFailure { _ in promise.succeed(nil) }
        connecting.whenSuccess { channel in
            let late = loop.scheduleTask(in: patience) { promise.succeed(nil) }
            promise.futureResult.whenComplete { _ in
                late.cancel()
                channel.close(promise: nil)
            }
        }
        return promise.futureResult
    }
}

/// Asks when connected, and takes the first answer that fits the question.
private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = Any
    typealias OutboundOut = ByteBuffer

    private let question: [UInt8]
    private let number: UInt16
    private let isStream: Bool
    private let promise: EventLoopPromise<[UInt8]?>

    init(question: [UInt8], number: UInt16, isStream: Bool, promise: EventLoopPromise<[UInt8]?>) {
        self.question = question
        self.number = number
        self.isStream = isStream
        self.promise = promise
    }

    func channelActive(context: ChannelHandlerContext) {
        var buffer = context.channel.allocator.buffer(capacity: question.count + 2)
        if isStream { buffer.writeInteger(UInt16(question.count)) }
        buffer.writeBytes(question)
        if isStream {
            context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
        } else if let server = context.remoteAddress {
            context.writeAndFlush(NIOAny(AddressedEnvelope(remoteAddress: server, data: buffer)), promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer =
            isStream
            ? (unwrapInboundIn(data) as? ByteBuffer) : (unwrapInboundIn(data) as? AddressedEnvelope<ByteBuffer>)?.data
        guard let bytes = buffer.map({ Array($0.readableBytesView) }), fits(bytes) else { return }
        promise.succeed(bytes)
    }

    /// The number, that it is an answer, and the question's own words in any case of letters.
    private func fits(_ bytes: [UInt8]) -> Bool {
        guard bytes.count >= 12, bytes[0] == UInt8(number >> 8), bytes[1] == UInt8(truncatingIfNeeded: number),
            bytes[2] & 0x80 != 0
        else { return false }
        // A server that refuses may leave the question out.
        guard bytes[4] != 0 || bytes[5] != 0 else { return bytes[3] & 15 != 0 }
        var at = 12
        while at < question.count, question[at] != 0 { at += Int(question[at]) + 1 }
        let end = min(at + 5, question.count)
        return bytes.count >= end && zip(bytes[12..<end], question[12..<end]).allSatisfy { $0 | 0x20 == $1 | 0x20 }
    }

    func channelInactive(context: ChannelHandlerContext) { promise.succeed(nil) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.succeed(nil)
        context.close(promise: nil)
    }
}
