/// What a client said is not what the Engine API has words for. The message is the one Docker's engine gives.
public struct WordError: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
