import Synchronization

/// Frames on their way to one peer: filled without waiting, emptied in batches, and bounded.
///
/// It is open only while there is a stream to write to. What waited for a stream that broke is out of date, and Raft
/// repeats whatever mattered, so it is dropped.
final class FrameQueue: Sendable {
    private struct State {
        var isOpen = false
        var frames: [[UInt8]] = []
        var bytes = 0
    }

    /// Past these the newest is dropped.
    static let mostFrames = 4_096
    static let mostBytes = 64 << 20
    /// More goes into another message; a single larger frame goes alone.
    static let batchBytes = 1 << 20
    /// Room in a message for what is not a frame.
    static let largestFrame = Wire.mostBytes - 1_024

    /// Rings at least once after each frame that was taken. For one reader.
    let rings: AsyncStream<Void>
    private let bell: AsyncStream<Void>.Continuation
    private let state = Mutex(State())

    init() { (rings, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

    func open() { state.withLock { $0.isOpen = true } }

    func close() {
        state.withLock { $0 = State() }
        bell.finish()
    }

    /// - Returns: false where the frame was dropped.
    func put(_ frame: [UInt8]) -> Bool {
        let isTaken = state.withLock { state in
            guard state.isOpen, frame.count <= Self.largestFrame, state.frames.count < Self.mostFrames,
                state.bytes + frame.count <= Self.mostBytes
            else { return false }
            state.frames.append(frame)
            state.bytes += frame.count
            return true
        }
        if isTaken { bell.yield() }
        return isTaken
    }

    /// - Returns: the oldest frames that fit into one message; none where none wait.
    func takeBatch() -> [[UInt8]] {
        state.withLock { state in
            var (count, bytes) = (0, 0)
            while count < state.frames.count,
                count == 0 || bytes + state.frames[count].count <= Self.batchBytes
            {
                bytes += state.frames[count].count
                count += 1
            }
            let batch = Array(state.frames[..<count])
            state.frames.removeFirst(count)
            state.bytes -= bytes
            return batch
        }
    }
}
