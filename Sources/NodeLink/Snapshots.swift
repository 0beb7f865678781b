import ClusterModel
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SwiftProtobuf
import Synchronization

// Snapshots between managers: a stream of their own, in which the receiver says where to begin and what it has taken. The
// sender is never far ahead of that: what the receiver's gRPC would keep in memory for a slow disk has no limit of its own.

/// A snapshot as the sender has it.
package struct OutgoingSnapshot: Sendable {
    /// A document that the link does not read.
    package var head: [UInt8]
    package var chunkCount: Int
    package var chunk: @Sendable (_ place: Int) async throws -> [UInt8]
    /// The frame of the consensus that follows the last chunk.
    package var offer: [UInt8]

    package init(
        head: [UInt8], chunkCount: Int, chunk: @escaping @Sendable (_ place: Int) async throws -> [UInt8],
        offer: [UInt8]
    ) {
        self.head = head
        self.chunkCount = chunkCount
        self.chunk = chunk
        self.offer = offer
    }
}

/// A snapshot as the receiver takes it: one call after another.
package protocol IncomingSnapshot: Sendable {
    /// - Returns: the place of the first chunk that is wanted.
    func begin() async throws -> Int
    /// Returns when it is on the disk: the sender waits meanwhile.
    func take(_ chunk: [UInt8], at place: Int) async throws
    /// After the last chunk.
    ///
    /// - Returns: how many chunks are there, all of them.
    func finish(offer: [UInt8]) async throws -> Int
}

extension LinkClient {
    /// Sends what the other manager does not have of a snapshot.
    ///
    /// - Parameter patience: how long a single chunk may take.
    /// - Returns: how many chunks were sent.
    /// - Throws: if it did not arrive whole. What did arrive need not be sent again.
    @discardableResult
    package func send(_ snapshot: OutgoingSnapshot, patience: Duration = .seconds(10)) async throws -> Int {
        guard let member else { preconditionFailure("a snapshot is sent by a member") }
        let progress = Progress()
        return try await withThrowingTaskGroup(of: Int?.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                while try await progress.isMoving(within: patience) {}
                throw RPCError(code: .deadlineExceeded, message: "the snapshot came to a standstill for \(patience)")
            }
            group.addTask { [stub] in
                try await abandoning { try await Self.send(snapshot, as: member, over: stub, progress) }
            }
            while let sent = try await group.next() { if let sent { return sent } }
            throw CancellationError()
        }
    }

    /// Chunks under way.
    private static let window = 16

    private static func send(
        _ snapshot: OutgoingSnapshot, as member: UInt64, over stub: Apus_V1_Link.Client<HTTP2ClientTransport.Posix>,
        _ progress: Progress
    ) async throws -> Int {
        let (answers, answered) = AsyncStream.makeStream(of: Int.self)
        return try await stub.snapshot(
            options: options(waitForReady: true),
            requestProducer: { writer in
                try await writer.write(
                    .with {
                        $0.head = .with {
                            $0.member = member
                            $0.json = Data(snapshot.head)
                        }
                    })
                var answers = answers.makeAsyncIterator()
                guard var taken = await answers.next() else { return }
                for place in min(taken, snapshot.chunkCount)..<snapshot.chunkCount {
                    while place - taken >= window {
                        guard let more = await answers.next() else { return }
                        taken = more
                    }
                    let chunk = try await snapshot.chunk(place)
                    try await writer.write(.with { $0.chunk = Data(chunk) })
                    progress.note()
                }
                try await writer.write(.with { $0.offer = Data(snapshot.offer) })
            },
            onResponse: { response in
                defer { answered.finish() }
                // One answer where to begin, one for each chunk, one for the whole.
                var missing: Int?
                var count = 0
                for try await answer in response.messages {
                    if answer.hasRefusal { throw Wire.error(answer.refusal) }
                    progress.note()
                    count += 1
                    let chunks = Int(clamping: answer.chunks)
                    if missing == nil { missing = snapshot.chunkCount - min(chunks, snapshot.chunkCount) }
                    if let missing, count == missing + 2 {
                        guard chunks >= snapshot.chunkCount else { break }
                        return missing
                    }
                    answered.yield(chunks)
                }
                throw RPCError(code: .aborted, message: "the other manager did not take the whole snapshot")
            })
    }
}

/// Whether something still moves.
private final class Progress: Sendable {
    private let moves = Mutex(0)

    func note() { moves.withLock { $0 += 1 } }

    func isMoving(within patience: Duration) async throws -> Bool {
        let before = moves.withLock { $0 }
        try await Task.sleep(for: patience)
        return moves.withLock { $0 } != before
    }
}

extension LinkService {
    func snapshot(
        request: RPCAsyncSequence<Apus_V1_SnapshotPiece, any Error>, response: RPCWriter<Apus_V1_SnapshotAnswer>,
        context: ServerContext
    ) async throws {
        let peer = try caller()
        var incoming: (any IncomingSnapshot)?
        var place = 0
        do {
            for try await piece in request {
                switch (piece.piece, incoming) {
                case (.head(let head), nil):
                    let begun = try await handler.snapshot(Array(head.json), from: peer, member: head.member)
                    incoming = begun
                    place = try await begun.begin()
                    try await response.write(.with { [place] in $0.chunks = UInt64(place) })
                case (.chunk(let chunk), let incoming?):
                    try await incoming.take(Array(chunk), at: place)
                    place += 1
                    try await response.write(.with { [place] in $0.chunks = UInt64(place) })
                case (.offer(let offer), let incoming?):
                    let chunks = try await incoming.finish(offer: Array(offer))
                    try await response.write(.with { $0.chunks = UInt64(chunks) })
                    return
                default: throw RPCError(code: .invalidArgument, message: "a snapshot begins with its head")
                }
            }
        } catch let error as ControlError {
            try await response.write(.with { $0.refusal = Wire.refusal(error) })
        }
    }
}
