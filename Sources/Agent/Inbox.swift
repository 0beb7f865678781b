internal import Synchronization

/// Where everything that a loop should know waits, in order, until the loop takes all of it at once.
///
/// Two doors: `put` never waits and is for what a loop must hear and of which there is one per task; `send` waits while
/// the inbox is full, which holds back a manager that talks faster than we work.
final class Inbox<Item: Sendable>: Sendable {
    private struct State {
        var items: [Item] = []
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let limit: Int
    private let bell: AsyncStream<Void>
    private let ring: AsyncStream<Void>.Continuation

    init(limit: Int) {
        self.limit = limit
        (bell, ring) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func put(_ item: Item) {
        state.withLock { $0.items.append(item) }
        ring.yield()
    }

    func send(_ item: Item) async {
        // Every take lets all who wait go on, and the loop always takes; cancelled or not, the wait is short.
        while state.withLock({ $0.items.count }) >= limit, !Task.isCancelled {
            await withCheckedContinuation { continuation in
                let isFull = state.withLock {
                    guard $0.items.count >= limit else { return false }
                    $0.waiting.append(continuation)
                    return true
                }
                if !isFull { continuation.resume() }
            }
        }
        put(item)
    }

    /// Waits until there is something; empty once the loop is cancelled.
    func take() async -> [Item] {
        while !Task.isCancelled {
            let (items, waiting) = state.withLock { state in
                defer { state = State() }
                return (state.items, state.waiting)
            }
            for continuation in waiting { continuation.resume() }
            if !items.isEmpty { return items }
            var iterator = bell.makeAsyncIterator()
            guard await iterator.next() != nil else { break }
        }
        close()
        return []
    }

    /// Lets go of whoever waits.
    func close() {
        let waiting = state.withLock { state in
            defer { state = State() }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

/// Lets at most so many in at a time.
actor Turnstile {
    private var free: Int
    private var queue: [CheckedContinuation<Void, Never>] = []

    init(_ places: Int) { free = places }

    /// Whoever enters must leave.
    func enter() async {
        guard free == 0 else { return free -= 1 }
        await withCheckedContinuation { queue.append($0) }
    }

    func leave() {
        guard queue.isEmpty else { return queue.removeFirst().resume() }
        free += 1
    }
}
