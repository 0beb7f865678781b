import Synchronization

/// Where inputs wait for the one loop that steps them: filled from anywhere, emptied whole.
///
/// Emptied whole, because one disk write can then cover everything that waited for it.
package final class Inbox<Input: Sendable>: Sendable {
    private struct Waiting {
        var inputs: [Input] = []
        var weight = 0
    }

    private let waiting = Mutex(Waiting())
    private let limit: Int
    private let weightLimit: Int
    private let bell: AsyncStream<Void>.Continuation
    /// Rings at least once after each `put` that was taken. For one reader.
    package let rings: AsyncStream<Void>

    /// - Parameters:
    ///   - limit: inputs that may wait; more are refused, so that a flood does not become memory.
    ///   - weightLimit: what the inputs that wait may weigh together. One alone is taken whatever it weighs.
    package init(limit: Int, weightLimit: Int = .max) {
        self.limit = limit
        self.weightLimit = weightLimit
        (rings, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// - Parameters:
    ///   - weight: in whatever unit `weightLimit` has.
    ///   - room: places that must stay free for inputs that matter more.
    /// - Returns: false if the inbox is full. Whoever asked for something must then be told; a peer's message
    ///   may be dropped, since Raft repeats whatever mattered.
    package func put(_ input: Input, weight: Int = 0, leaving room: Int = 0) -> Bool {
        let taken = waiting.withLock { waiting in
            guard waiting.inputs.count < limit - room else { return false }
            guard weight == 0 || waiting.weight == 0 || waiting.weight + weight <= weightLimit else { return false }
            waiting.inputs.append(input)
            waiting.weight += weight
            return true
        }
        if taken { bell.yield() }
        return taken
    }

    /// For what the reader itself has set going, and so keeps few: it is taken even when the inbox is full.
    package func putAlways(_ input: Input) {
        waiting.withLock { $0.inputs.append(input) }
        bell.yield()
    }

    /// Wakes the reader with nothing new to read.
    package func ring() { bell.yield() }

    /// Moves all that waits into `inputs`, which must be empty, and takes its storage in exchange.
    package func drain(into inputs: inout [Input]) {
        waiting.withLock { waiting in
            swap(&waiting.inputs, &inputs)
            waiting.weight = 0
        }
    }

    package var count: Int { waiting.withLock { $0.inputs.count } }
}
