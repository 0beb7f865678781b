/// The engine heard us and refused.
package struct EngineError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The HTTP status; 200 where a stream that began well reported a failure.
    package var status: Int
    /// In the engine's own words.
    package var message: String
    /// What was asked, `create container`.
    package var operation: String

    package init(status: Int, message: String, operation: String) {
        self.status = status
        self.message = message
        self.operation = operation
    }

    package var description: String { message }
    package var isNotFound: Bool { status == 404 }
    package var isConflict: Bool { status == 409 }
    /// A container that is on the network already.
    package var isAlreadyConnected: Bool { status == 403 && message.contains("already exists in network") }
}

/// The engine could not be reached, or the connection broke before it answered.
package struct EngineUnreachable: Error, Sendable, Equatable, CustomStringConvertible {
    package var socketPath: String
    package var reason: String

    package var description: String {
        "The Docker engine at \(socketPath) does not answer (\(reason)). Is dockerd running?"
    }
}
