package import ClusterModel
import Foundation
import GRPCCore
import SwiftProtobuf
import Synchronization

// Logs over a link: asked for by a manager, sent by a node.
extension LinkClient {
    /// Has this manager, the leader, collect logs.
    ///
    /// - Throws: `.unavailable` if nothing was received, so that another manager can be asked.
    package func logs(
        _ wish: Dispatch.LogWish, to receive: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void
    ) async throws {
        let json = try Wire.write(wish)
        let hasBegun = Atomic(false)
        do {
            try await abandoning { [stub] in
                try await stub.logs(.with { $0.json = json }, options: Self.options(waitForReady: false)) { response in
                    for try await batch in response.messages {
                        hasBegun.store(true, ordering: .relaxed)
                        try await receive(Dispatch.LogBatch(batch))
                    }
                }
            }
        } catch let error as RPCError {
            if let verdict = ControlError(verdictIn: error) { throw verdict }
            let words = "the logs of the manager at \(address) broke off: \(Trouble.text(of: error))"
            throw hasBegun.load(ordering: .relaxed) ? ControlError.unknown(words) : .unavailable(words)
        }
    }

    /// Sends this node's part of logs that the manager asked for. When `body` returns, the part is whole.
    package func publishLogs(
        _ order: UInt64,
        _ body:
            @escaping @Sendable (_ send: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void) async throws
            -> Void
    ) async throws {
        try await abandoning { [stub] in
            _ = try await stub.publishLogs(
                options: Self.options(waitForReady: false),
                requestProducer: { writer in
                    // The first says that this node has begun, however long its containers are silent.
                    try await writer.write(.with { $0.order = order })
                    try await body { batch in try await writer.write(Apus_V1_LogBatch(batch, order: order)) }
                })
        }
    }
}

extension Apus_V1_LogBatch {
    init(_ batch: Dispatch.LogBatch, order: UInt64) {
        self.init()
        self.order = order
        node = batch.node
        service = batch.service
        task = batch.task
        trouble = batch.trouble ?? ""
        lines = batch.lines.map { line in
            .with {
                $0.stream = UInt32(line.stream)
                $0.time = line.time
                $0.details = line.details
                $0.text = Data(line.text)
            }
        }
    }
}

extension Dispatch.LogBatch {
    init(_ batch: Apus_V1_LogBatch) {
        self.init(
            node: batch.node, service: batch.service, task: batch.task,
            lines: batch.lines.map {
                .init(
                    stream: UInt8(truncatingIfNeeded: $0.stream), time: $0.time, details: $0.details,
                    text: Array($0.text))
            })
        if !batch.trouble.isEmpty { trouble = batch.trouble }
    }
}

/// A node's part, read as it comes.
struct LogBatches: AsyncSequence, Sendable {
    typealias Element = (order: UInt64, batch: Dispatch.LogBatch)
    let messages: RPCAsyncSequence<Apus_V1_LogBatch, any Error>

    struct AsyncIterator: AsyncIteratorProtocol {
        var messages: RPCAsyncSequence<Apus_V1_LogBatch, any Error>.AsyncIterator

        mutating func next() async throws -> Element? {
            guard let message = try await messages.next() else { return nil }
            return (message.order, Dispatch.LogBatch(message))
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(messages: messages.makeAsyncIterator()) }
}
