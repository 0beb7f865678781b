/// Asks the container engine beside us for what our own answers contain of it.
package protocol EngineAnswers: Sendable {
    /// - Parameters:
    ///   - path: with its query, escaped.
    ///   - body: JSON; empty for none.
    /// - Throws: `EngineUnreachable`, when it does not answer.
    func ask(_ method: String, _ path: String, body: [UInt8]) async throws -> EngineAnswer

    /// Asks for what comes piece by piece, for as long as the engine has more. Whoever drops the body ends it.
    ///
    /// - Throws: `EngineUnreachable`, when it does not answer.
    func open(_ path: String) async throws -> EngineStream
}

package struct EngineStream: Sendable {
    /// Without a body.
    package var head: EngineAnswer
    package var body: AsyncThrowingStream<[UInt8], any Error>

    package init(head: EngineAnswer, body: AsyncThrowingStream<[UInt8], any Error>) {
        self.head = head
        self.body = body
    }
}

extension EngineAnswers {
    func get(_ path: String) async throws -> EngineAnswer { try await ask("GET", path, body: []) }
}

package struct EngineAnswer: Sendable, Equatable {
    package var status: Int
    package var headers: [Header]
    package var body: [UInt8]

    package init(status: Int, headers: [Header], body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

package struct EngineUnreachable: Error, Sendable, CustomStringConvertible {
    package var socket: String
    package var reason: String

    package init(socket: String, reason: String) {
        self.socket = socket
        self.reason = reason
    }

    package var description: String {
        """
        The container engine of this node does not answer at unix://\(socket) (\(reason)). Start it, for example with \
        `systemctl start docker`, or give apusd the path of its socket.
        """
    }
}

/// What was waited for did not come in time.
struct TimeLimitExceeded: Error {}

/// - Throws: `TimeLimitExceeded`, once `limit` has passed and `work` has heeded its cancellation.
func within<Value: Sendable>(
    _ limit: Duration, _ work: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await work() }
        group.addTask {
            try await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        guard let value = try await group.next() ?? nil else { throw TimeLimitExceeded() }
        return value
    }
}
