import Dispatch
import Foundation

/// Runs `work` until it ends or SIGINT or SIGTERM comes; then cancels it and waits, for ten seconds at most.
func untilSignalled(_ work: @escaping @Sendable () async throws -> Void) async throws {
    let (signals, writer) = AsyncStream.makeStream(of: Int32.self)
    let sources = [SIGINT, SIGTERM].map { number in
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler { writer.yield(number) }
        source.resume()
        return source
    }
    defer { for source in sources { source.cancel() } }

    try await withThrowingTaskGroup(of: Bool.self) { group in
        group.addTask {
            do { try await work() } catch is CancellationError {}
            return true
        }
        group.addTask {
            for await _ in signals { return false }
            return false
        }
        let isDone = try await group.next() ?? true
        guard !isDone else { return group.cancelAll() }
        // A part that does not end must not keep the machine from shutting down.
        let deadline = DispatchSource.makeTimerSource(queue: .global())
        deadline.schedule(deadline: .now() + 10)
        deadline.setEventHandler { _exit(1) }
        deadline.resume()
        group.cancelAll()
        while try await group.next() != nil {}
        deadline.cancel()
    }
}
