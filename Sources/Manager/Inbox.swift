import Synchronization

/// Where inputs wait for the one loop that steps them: filled from anywhere, emptied whole.
///
/// Emptied whole, because one disk write can then cover everything that waited for it.
package final class Inbox<Input: Sendable>: Sendable {
    private let waiting: Mutex<[Input]>
    private let limit: Int
    private let bell: AsyncStream<Void>.Continuation
    /// Rings at least once after each `put` that was taken. For one reader.
    package let rings: AsyncStream<Void>

    /// - Parameter limit: inputs that may wait; more are refused, so that a flood does not become memory.
    package init(limit: Int) {
        self.limit = limit
        waiting = Mutex([])
        (rings, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// - Returns: false if the inbox is full. Whoever asked for something must then be told; a peer's message
    ///   may be dropped, since Raft repeats whatever mattered.
    package func put(_ input: Input) -> Bool {
        let taken = waiting.withLock { waiting in
            guard waiting.count < limit else { return false }
            waiting.append(input)
            return true
        }
        if taken { bell.yield() }
        return taken
    }

    /// Moves all that waits into `inputs`, which must be empty, and takes its storage in exchange.
    package func drain(into inputs: inout [Input]) {
        waiting.withLock { swap(&$0, &inputs) }
    }

    package var count: Int { waiting.withLock { $0.count } }
}
