import NIOCore
import NIOHTTP1
import NIOPosix

/// Asks the engine over its unix socket, one connection per question: they are few and small.
struct EngineSocket: EngineAnswers {
    let path: String
    let group: any EventLoopGroup

    private static let longestAnswer = 16 << 20
    private static let timeLimit = Duration.seconds(20)

    func ask(_ method: String, _ path: String, body: [UInt8]) async throws -> EngineAnswer {
        do {
            return try await within(Self.timeLimit) { try await exchange(method, path, body) }
        } catch let error as CancellationError {
            throw error
        } catch is TimeLimitExceeded {
            throw EngineUnreachable(socket: self.path, reason: "no answer to \(path) within \(Self.timeLimit)")
        } catch {
            throw EngineUnreachable(socket: self.path, reason: "\(error)")
        }
    }

    private func exchange(_ method: String, _ path: String, _ body: [UInt8]) async throws -> EngineAnswer {
        let channel = try await ClientBootstrap(group: group).connect(unixDomainSocketPath: self.path) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                    wrappingChannelSynchronously: channel)
            }
        }
        return try await channel.executeThenClose { inbound, outbound in
            var headers: HTTPHeaders = ["Host": "docker", "User-Agent": "apusd", "Connection": "close"]
            if !body.isEmpty || method == "POST" {
                headers.add(name: "Content-Type", value: "application/json")
                headers.add(name: "Content-Length", value: String(body.count))
            }
            try await outbound.write(
                .head(HTTPRequestHead(version: .http1_1, method: .init(rawValue: method), uri: path, headers: headers)))
            if !body.isEmpty { try await outbound.write(.body(.byteBuffer(ByteBuffer(bytes: body)))) }
            // An engine that answers at once may have closed before this, which writes nothing anyway.
            try? await outbound.write(.end(nil))
            var answer: EngineAnswer?
            for try await part in inbound {
                switch part {
                case .head(let head):
                    answer = EngineAnswer(
                        status: Int(head.status.code), headers: head.headers.map { Header($0.name, $0.value) }, body: []
                    )
                case .body(let bytes):
                    guard (answer?.body.count ?? 0) + bytes.readableBytes <= Self.longestAnswer else {
                        throw BrokenAnswer.tooLong
                    }
                    answer?.body += bytes.readableBytesView
                case .end:
                    if let answer { return answer }
                }
            }
            throw BrokenAnswer.cutShort
        }
    }

    /// What may wait for a reader who is slower than the engine.
    private static let waitingPieces = 4_096

    func open(_ path: String) async throws -> EngineStream {
        let (body, writer) = AsyncThrowingStream.makeStream(
            of: [UInt8].self, throwing: (any Error).self, bufferingPolicy: .bufferingOldest(Self.waitingPieces))
        let (heads, headWriter) = AsyncThrowingStream.makeStream(of: EngineAnswer.self, throwing: (any Error).self)
        // The connection lives as long as the body is read, which is longer than this call.
        let reading = Task {
            do {
                try await read(path, head: { headWriter.yield($0) }) { piece in
                    if case .dropped = writer.yield(piece) { throw BrokenAnswer.tooFast }
                }
                writer.finish()
            } catch {
                writer.finish(throwing: error)
                headWriter.finish(throwing: EngineUnreachable(socket: self.path, reason: "\(error)"))
            }
            headWriter.finish()
        }
        writer.onTermination = { _ in reading.cancel() }
        do {
            let head = try await within(Self.timeLimit) { try await heads.first { _ in true } }
            guard let head else { throw EngineUnreachable(socket: self.path, reason: "it closed the connection") }
            return EngineStream(head: head, body: body)
        } catch {
            reading.cancel()
            if error is TimeLimitExceeded {
                throw EngineUnreachable(socket: self.path, reason: "no answer to \(path) within \(Self.timeLimit)")
            }
            throw error
        }
    }

    private func read(
        _ path: String, head: @Sendable (EngineAnswer) -> Void, piece: @Sendable ([UInt8]) throws -> Void
    ) async throws {
        let channel = try await ClientBootstrap(group: group).connect(unixDomainSocketPath: self.path) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                    wrappingChannelSynchronously: channel)
            }
        }
        try await channel.executeThenClose { inbound, outbound in
            let headers: HTTPHeaders = ["Host": "docker", "User-Agent": "apusd", "Connection": "close"]
            try await outbound.write(
                .head(HTTPRequestHead(version: .http1_1, method: .GET, uri: path, headers: headers)))
            try await outbound.write(.end(nil))
            for try await part in inbound {
                switch part {
                case .head(let answer):
                    head(
                        EngineAnswer(
                            status: Int(answer.status.code), headers: answer.headers.map { Header($0.name, $0.value) },
                            body: []))
                case .body(let bytes): try piece(Array(bytes.readableBytesView))
                case .end: return
                }
            }
        }
    }

    private enum BrokenAnswer: Error, CustomStringConvertible {
        case tooLong, cutShort, tooFast
        var description: String {
            switch self {
            case .tooLong: "its answer is longer than \(longestAnswer) bytes"
            case .cutShort: "its answer was cut short"
            case .tooFast: "it sends faster than the client reads"
            }
        }
    }
}
