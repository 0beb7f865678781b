import EngineAPI

/// An answer of our own, whole.
package struct Response: Sendable, Equatable {
    package var status: Int
    package var headers: [Header]
    package var body: [UInt8]

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
