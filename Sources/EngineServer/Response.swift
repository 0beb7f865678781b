import EngineAPI

/// A body that is written while it comes about. It ends when `run` returns; it is cancelled when the client goes away.
package final class BodyStream: Sendable, Equatable {
    /// Returns once the kernel has the bytes: a client that reads slowly is waited for.
    package typealias Write = @Sendable ([UInt8]) async throws -> Void

    package let run: @Sendable (_ write: @escaping Write) async throws -> Void

    package init(_ run: @escaping @Sendable (_ write: @escaping Write) async throws -> Void) { self.run = run }

    package static func == (a: BodyStream, b: BodyStream) -> Bool { a === b }
}

/// An answer of our own: whole, or the beginning of a stream.
package struct Response: Sendable, Equatable {
    package var status: Int
    package var headers: [Header]
    package var body: [UInt8]
    /// What follows the head in its place, piece by piece; nil where `body` is all.
    package var stream: BodyStream?

    package init(status: Int = 200, headers: [Header] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// A document, with the line's end that dockerd writes after it.
    static func json(_ document: JSON, status: Int = 200) -> Response {
        Response(
            status: status, headers: [Header("Content-Type", "application/json")],
            body: document.utf8 + [UInt8(ascii: "\n")])
    }

    /// Done, and nothing to say.
    static let empty = Response()

    static func refusal(_ refusal: Refusal) -> Response {
        .json(["message": .string(refusal.message)], status: refusal.status)
    }
}
