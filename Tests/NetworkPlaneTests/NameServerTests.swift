import ClusterModel
import Logging
import NIOCore
import NIOPosix
import NetworkPlan
import Synchronization
import Testing

@testable import NetworkPlane

/// The name server on sockets of this machine: askers are 127.0.0.1, so the view has a network of that address.
@Suite("The name server", .timeLimit(.minutes(1)))
struct NameServerTests {
    private static func view(isInternal: Bool = false) -> NetworkView {
        let node = Cluster.ID<Cluster.Node>(bits: 1)
        let network = OverlayNetwork.ID(bits: 1)
        return NetworkView(
            node: ThisNode(id: node, address: IPAddress("192.0.2.1")!),
            networks: [
                OverlayNetwork(
                    id: network, name: "test", vni: 1, subnets: [IPSubnet("127.0.0.0/8")!],
                    gateways: [node: [IPAddress("127.0.0.2")!]], isInternal: isInternal)
            ],
            endpoints: (1...100).map {
                Endpoint(
                    task: .init(bits: UInt128($0)), network: network, node: node,
                    addresses: [IPAddress("127.1.0.\($0)")!],
                    service: .init(bits: 1), slot: $0)
            },
            services: [
                NetworkedService(id: .init(bits: 1), name: "web", virtualIPs: [network: [IPAddress("127.1.1.1")!]])
            ])
    }

    private static func question(_ name: String, id: UInt16 = 7) -> [UInt8] {
        var bytes: [UInt8] = [UInt8(id >> 8), UInt8(truncatingIfNeeded: id), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        for label in name.split(separator: ".") { bytes += [UInt8(label.utf8.count)] + Array(label.utf8) }
        return bytes + [0, 0, 1, 0, 1]
    }

    private func server(
        upstream: [SocketAddress] = [], limits: NameServer.Limits = .init(), view: NetworkView = view()
    ) async throws -> (NameServer, SocketAddress) {
        let server = NameServer(names: NameTable(view), upstream: upstream, limits: limits, log: Logger(label: "test"))
        let port = try await server.start(port: 0, on: MultiThreadedEventLoopGroup.singleton)
        return (server, try SocketAddress(ipAddress: "127.0.0.1", port: port))
    }

    /// The first datagram that comes back; nil after `patience`.
    private func ask(_ server: SocketAddress, _ bytes: [UInt8], patience: TimeAmount = .seconds(5)) async throws
        -> [UInt8]?
    {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: [UInt8]?.self)
        let channel = try await DatagramBootstrap(group: loop).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(First(promise: promise))
            }
        }.connect(to: server).get()
        channel.writeAndFlush(AddressedEnvelope(remoteAddress: server, data: ByteBuffer(bytes: bytes)), promise: nil)
        let late = loop.scheduleTask(in: patience) { promise.succeed(nil) }
        let answer = try await promise.futureResult.get()
        late.cancel()
        try await channel.close()
        return answer
    }

    private final class First: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        let promise: EventLoopPromise<[UInt8]?>
        init(promise: EventLoopPromise<[UInt8]?>) { self.promise = promise }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            promise.succeed(Array(unwrapInboundIn(data).data.readableBytesView))
        }
    }

    /// Over one connection: the answers to some questions, until the server closes or there are as many.
    private func askByStream(_ server: SocketAddress, _ frames: [UInt8], answers: Int) async throws -> [[UInt8]] {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connect(to: server) {
            channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(FrameDecoder()))
                return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
        return try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(bytes: frames))
            var heard: [[UInt8]] = []
            guard answers > 0 else { return heard }
            for try await frame in inbound {
                heard.append(Array(frame.readableBytesView))
                if heard.count == answers { break }
            }
            return heard
        }
    }

    private func framed(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count >> 8), UInt8(bytes.count & 255)] + bytes }

    /// A server elsewhere that answers every question with one address, or not at all.
    private func elsewhere(_ reply: @escaping @Sendable ([UInt8]) -> [[UInt8]]) async throws -> (
        any Channel, SocketAddress
    ) {
        let channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton).channelInitializer {
            channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(Echo(reply: reply))
            }
        }.bind(host: "127.0.0.1", port: 0).get()
        return (channel, channel.localAddress!)
    }

    private final class Echo: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        let reply: @Sendable ([UInt8]) -> [[UInt8]]
        init(reply: @escaping @Sendable ([UInt8]) -> [[UInt8]]) { self.reply = reply }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let envelope = unwrapInboundIn(data)
            for bytes in reply(Array(envelope.data.readableBytesView)) {
                context.writeAndFlush(
                    NIOAny(AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: ByteBuffer(bytes: bytes))),
                    promise: nil)
            }
        }
    }

    private static func answered(_ question: [UInt8], _ last: UInt8) -> [UInt8] {
        var bytes = question
        (bytes[2], bytes[3], bytes[7]) = (0x81, 0x80, 1)
        return bytes + [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 203, 0, 113, last]
    }

    @Test("answers by UDP; says by UDP that it is too long, and all of it by TCP, several on one connection")
    func both() async throws {
        let (server, address) = try await server()
        let short = try #require(try await ask(address, Self.question("web")))
        #expect(short.suffix(4) == [127, 1, 1, 1] && short[7] == 1)
        let cut = try #require(try await ask(address, Self.question("tasks.web")))
        #expect(cut[2] & 2 == 2 && cut[7] == 0)
        let answers = try await askByStream(
            address, framed(Self.question("tasks.web", id: 1)) + framed(Self.question("web", id: 2)), answers: 2)
        #expect(answers.map { $0[7] } == [100, 1])
        await server.stop()
    }

    @Test("a change is heard at once")
    func change() async throws {
        let (server, address) = try await server()
        #expect(try #require(try await ask(address, Self.question("9.web")))[7] == 1)
        var endpoint = Self.view().endpoints[8]
        endpoint.state = .draining
        server.apply([.endpoint(endpoint)])
        #expect(try #require(try await ask(address, Self.question("9.web")))[7] == 0)
        await server.stop()
    }

    @Test("other names are asked elsewhere: the second server when the first is silent, and no forged answer is taken")
    func forwarding() async throws {
        let (silent, first) = try await elsewhere { _ in [] }
        let (other, second) = try await elsewhere { question in
            var forged = Self.answered(question, 66)
            forged[0] ^= 1
            let stranger = Self.answered([question[0], question[1]] + Self.question("evil.example").dropFirst(2), 66)
            return [forged, stranger, Self.answered(question, 5)]
        }
        var limits = NameServer.Limits()
        limits.patience = .milliseconds(200)
        let (server, address) = try await server(upstream: [first, second], limits: limits)
        let answer = try #require(try await ask(address, Self.question("example.org", id: 0x4242)))
        #expect(answer[0] == 0x42 && answer[1] == 0x42 && answer.last == 5)
        #expect(server.forwarder.count == 0)
        await server.stop()
        try await silent.close()
        try await other.close()
    }

    @Test("one asker cannot take all that waits: what is too much is refused, and later it is welcome again")
    func limits() async throws {
        let seen = Atomic<Int>(0)
        let (silent, upstream) = try await elsewhere { _ in
            seen.wrappingAdd(1, ordering: .relaxed)
            return []
        }
        var limits = NameServer.Limits()
        limits.forwardedForOne = 10
        limits.patience = .milliseconds(500)
        let (server, address) = try await server(upstream: [upstream], limits: limits)
        let codes = try await withThrowingTaskGroup(of: UInt8?.self) { group in
            for number in 0..<40 {
                group.addTask { try await ask(address, Self.question("n\(number).example"))?[3] }
            }
            return try await group.reduce(into: [UInt8?]()) { $0.append($1) }
        }
        #expect(codes.allSatisfy { $0.map { $0 & 15 } == 2 }, "SERVFAIL to all: refused at once, or given up")
        #expect((1...20).contains(seen.load(ordering: .relaxed)), "\(seen.load(ordering: .relaxed)) went on")
        #expect(server.forwarder.count == 0)
        await server.stop()
        try await silent.close()
    }

    @Test("hostile bytes do not stop it", arguments: UInt64(1)...3)
    func hostile(seed: UInt64) async throws {
        let (server, address) = try await server()
        var random = Random(state: seed)
        let channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton).connect(to: address)
            .get()
        for _ in 0..<2_000 {
            let bytes = (0..<Int.random(in: 0...600, using: &random)).map { _ in
                UInt8.random(in: 0 ... .max, using: &random)
            }
            channel.writeAndFlush(
                AddressedEnvelope(remoteAddress: address, data: ByteBuffer(bytes: bytes)), promise: nil)
        }
        try await channel.close()
        for _ in 0..<20 {
            let bytes = (0..<Int.random(in: 0...3_000, using: &random)).map { _ in
                UInt8.random(in: 0 ... .max, using: &random)
            }
            _ = try? await askByStream(address, bytes, answers: 0)
        }
        // A frame that never ends, and more questions than one connection may have waiting.
        _ = try await askByStream(address, [0xff, 0xff, 1], answers: 0)
        #expect(try #require(try await ask(address, Self.question("web"))).last == 1)
        await server.stop()
    }

    private struct Random: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 33
        }
    }
}
