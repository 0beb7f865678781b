import ClusterModel
import Synchronization
import Testing

@testable import Manager

@Suite("Collecting logs")
struct LogDeskTests {
    private typealias NodeID = Cluster.ID<Cluster.Node>
    private let nodes: [NodeID: String] = [.init(bits: 1): "host1", .init(bits: 2): "host2"]
    private let wish = Dispatch.LogWish(.service(.init(bits: 7)))

    private final class Reader: Sendable {
        let batches = Mutex<[Dispatch.LogBatch]>([])
        var texts: Set<String> {
            Set(batches.withLock { $0.flatMap(\.lines).map { String(decoding: $0.text, as: UTF8.self) } })
        }
        var trouble: String? { batches.withLock { $0.last?.trouble } }
    }

    private static func batch(_ text: String) -> Dispatch.LogBatch {
        .init(node: "n", service: "s", task: "t", lines: [.init(stream: 1, time: "", text: Array(text.utf8))])
    }

    /// What a node sends for an order, then an error or the end.
    private static func part(
        _ number: UInt64, _ texts: [String], breaks: Bool = false
    ) -> AsyncThrowingStream<(order: UInt64, batch: Dispatch.LogBatch), any Error> {
        AsyncThrowingStream { part in
            for text in texts { part.yield((number, batch(text))) }
            part.finish(throwing: breaks ? CancellationError() : nil)
        }
    }

    /// Asks both nodes; `answer` plays them.
    private func collect(
        _ answer: @escaping @Sendable (LogDesk, UInt64, Cluster.ID<Cluster.Node>) async throws -> Void,
        absent: Set<Cluster.ID<Cluster.Node>> = []
    ) async throws -> Reader {
        let desk = LogDesk(patience: .seconds(1))
        let reader = Reader()
        let (orders, writer) = AsyncStream.makeStream(of: (UInt64, Cluster.ID<Cluster.Node>).self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await withDiscardingTaskGroup { players in
                    for await (number, node) in orders {
                        players.addTask { try? await answer(desk, number, node) }
                    }
                }
            }
            try await desk.collect(
                wish, from: { [nodes] in nodes },
                tell: { node, message in
                    if absent.contains(node) { return false }
                    if case .logs(let order) = message { writer.yield((order.number, node)) }
                    return true
                }, to: { batch in reader.batches.withLock { $0.append(batch) } })
            writer.finish()
            try await group.next()
        }
        return reader
    }

    @Test func `ends when all nodes have said everything`() async throws {
        let reader = try await collect { desk, number, node in
            try await desk.take(Self.part(number, ["a of \(node)", "b of \(node)"]), from: node)
        }
        #expect(reader.texts.count == 4)
        #expect(reader.trouble == nil)
    }

    @Test func `says which node is not there and which broke off`() async throws {
        let reader = try await collect(
            { desk, number, node in try await desk.take(Self.part(number, ["a"], breaks: true), from: node) },
            absent: [.init(bits: 2)])
        #expect(reader.texts == ["a"])
        #expect(
            reader.trouble == """
                warning: incomplete log stream. some logs could not be retrieved for the following reasons: \
                node host2 is not available, node host1 broke off
                """)
    }

    @Test func `gives up a node that does not begin`() async throws {
        let reader = try await collect { desk, number, node in
            if node == .init(bits: 1) { try await desk.take(Self.part(number, ["a"]), from: node) }
        }
        #expect(reader.trouble?.hasSuffix("node host2 does not answer") == true)
    }

    @Test func `takes nothing that nobody asked for`() async throws {
        let desk = LogDesk()
        await #expect(throws: ControlError.self) { try await desk.take(Self.part(1, ["a"]), from: .init(bits: 1)) }
        // Nor from a node that was not asked.
        let reader = try await collect { desk, number, node in
            await #expect(throws: ControlError.self) {
                try await desk.take(Self.part(number, ["stranger"]), from: .init(bits: 9))
            }
            try await desk.take(Self.part(number, ["a"]), from: node)
        }
        #expect(reader.texts == ["a"])
    }

    @Test func `of a service that is followed asks again where it broke off, and says no word of it`() async throws {
        let desk = LogDesk(patience: .seconds(1))
        let reader = Reader()
        let (orders, writer) = AsyncStream.makeStream(of: Dispatch.LogOrder.self)
        let wish = Dispatch.LogWish(.service(.init(bits: 7)), follows: true, tail: 5)
        let node = Cluster.ID<Cluster.Node>(bits: 1)
        let following = Task {
            try await desk.collect(
                wish, from: { [node: "host1"] },
                tell: { _, message in
                    if case .logs(let order) = message { writer.yield(order) }
                    return true
                }, to: { batch in reader.batches.withLock { $0.append(batch) } })
        }
        var asked: [Dispatch.LogWish] = []
        for await order in orders {
            asked.append(order.wish)
            if asked.count == 2 { break }
            try? await desk.take(Self.part(order.number, ["a"], breaks: true), from: node)
        }
        following.cancel()
        _ = await following.result
        #expect(asked[0] == wish)
        #expect(asked[1].tail == nil && !asked[1].since.isEmpty)
        #expect(reader.texts == ["a"])
        #expect(reader.trouble == nil)
    }
}
