internal import ClusterModel
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

/// Lets at most so many in at a time; some go before the others.
actor Turnstile {
    private var free: Int
    private var first: [CheckedContinuation<Void, Never>] = []
    private var others: [CheckedContinuation<Void, Never>] = []

    init(_ places: Int) { free = places }

    nonisolated func pass<Value: Sendable>(
        isFirst: Bool = false, _ body: @Sendable () async -> Value
    ) async -> Value {
        await enter(isFirst)
        let value = await body()
        await leave()
        return value
    }

    private func enter(_ isFirst: Bool) async {
        guard free == 0 else { return free -= 1 }
        await withCheckedContinuation { if isFirst { first.append($0) } else { others.append($0) } }
    }

    private func leave() {
        if !first.isEmpty { return first.removeFirst().resume() }
        if !others.isEmpty { return others.removeFirst().resume() }
        free += 1
    }
}

/// The tasks that are being prepared, so that each can be given up.
final class Preparations: Sendable {
    /// The cluster does not want the task any more.
    struct Abandoned: Error, CustomStringConvertible {
        var description: String { "its preparation was given up: the task is not wanted any more" }
    }

    private struct State {
        var isAbandoned = false
        var step: Task<Void, any Error>?
    }

    private let tasks = Mutex<[Cluster.ID<Cluster.Task>: State]>([:])

    func begin(_ task: Cluster.ID<Cluster.Task>) { tasks.withLock { $0[task] = State() } }
    func end(_ task: Cluster.ID<Cluster.Task>) { tasks.withLock { $0[task] = nil } }

    func abandon(_ task: Cluster.ID<Cluster.Task>) {
        tasks.withLock { tasks in
            defer { tasks[task]?.isAbandoned = true }
            return tasks[task]?.step
        }?.cancel()
    }

    /// - Throws: `Abandoned`, if it was given up.
    func check(_ task: Cluster.ID<Cluster.Task>) throws {
        if tasks.withLock({ $0[task]?.isAbandoned == true }) { throw Abandoned() }
    }

    /// Runs a step that may be broken off.
    ///
    /// - Throws: `Abandoned`, if the task was given up before or meanwhile.
    func run(_ task: Cluster.ID<Cluster.Task>, _ body: @escaping @Sendable () async throws -> Void) async throws {
        // A handle of its own: giving up one task's step must not cancel what its effect still has to answer.
        let step = Task { try await body() }
        tasks.withLock { $0[task]?.step = step }
        defer { tasks.withLock { $0[task]?.step = nil } }
        do {
            try check(task)
            try await withTaskCancellationHandler {
                try await step.value
            } onCancel: {
                step.cancel()
            }
        } catch {
            step.cancel()
            try check(task)
            throw error
        }
    }
}
