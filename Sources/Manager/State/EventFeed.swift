import ClusterModel
import ClusterStore
import Synchronization

/// The cluster's events, for as many readers as there are.
final class EventFeed: Sendable {
    /// As many as dockerd remembers.
    private static let remembered = 256
    /// What may wait for one reader; one that is slower is cut off, with words.
    private static let waiting = 8_192

    struct TooSlow: Error, CustomStringConvertible {
        var description: String { "more happens than the reader of events takes: ask again, with `--since`" }
    }

    private struct State {
        var past: [ClusterEvent] = []
        var readers: [UInt64: AsyncThrowingStream<ClusterEvent, any Error>.Continuation] = [:]
        var lastReader: UInt64 = 0
    }

    private let state = Mutex(State())

    /// True where somebody listens: what only listeners hear of need not be made otherwise.
    var isHeard: Bool { state.withLock { !$0.readers.isEmpty } }

    func publish(_ events: [ClusterEvent]) {
        state.withLock { state in
            for event in events {
                if event.kind != .task {
                    state.past.append(event)
                    if state.past.count > Self.remembered { state.past.removeFirst() }
                }
                for (number, reader) in state.readers {
                    guard case .dropped = reader.yield(event) else { continue }
                    reader.finish(throwing: TooSlow())
                    state.readers[number] = nil
                }
            }
        }
    }

    func subscribe() -> ClusterEventFeed {
        let (stream, reader) = AsyncThrowingStream.makeStream(
            of: ClusterEvent.self, throwing: (any Error).self, bufferingPolicy: .bufferingOldest(Self.waiting))
        let (past, number) = state.withLock { state in
            state.lastReader += 1
            state.readers[state.lastReader] = reader
            return (state.past, state.lastReader)
        }
        reader.onTermination = { [weak self] _ in self?.forget(number) }
        return ClusterEventFeed(past: past, future: stream)
    }

    private func forget(_ number: UInt64) { state.withLock { $0.readers[number] = nil } }
}
