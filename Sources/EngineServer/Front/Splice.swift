import NIOCore

/// One end of two connections that are now one: bytes go through as they come, in both directions.
///
/// Nothing is read of one side while the other cannot take it. A side that has finished sending is finished on the other
/// side too, and may go on receiving: `docker run -i` and `docker exec -i` end their input that way.
final class Splice: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var partner: Splice?
    private var context: ChannelHandlerContext?
    private var isReadHeld = false

    /// Both ends, for two channels of one event loop.
    static func pair() -> (Splice, Splice) {
        let ends = (Splice(), Splice())
        ends.0.partner = ends.1
        ends.1.partner = ends.0
        return ends
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        partner = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        partner?.context?.write(data, promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        partner?.context?.flush()
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        partner?.closeWhenSent()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .inputClosed? = event as? ChannelEvent else { return context.fireUserInboundEventTriggered(event) }
        partner?.context?.close(mode: .output, promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
        partner?.closeWhenSent()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { partner?.releaseRead() }
        context.fireChannelWritabilityChanged()
    }

    func read(context: ChannelHandlerContext) {
        if let partner, partner.context?.channel.isWritable != true {
            isReadHeld = true
        } else {
            context.read()
        }
    }

    /// An engine that has answered is gone at once; a slow client must still get all of the answer.
    private func closeWhenSent() {
        guard let context else { return }
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in channel.close(promise: nil) }
    }

    private func releaseRead() {
        guard isReadHeld else { return }
        isReadHeld = false
        context?.read()
    }
}
