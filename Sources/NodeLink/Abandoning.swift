import GRPCCore
import Synchronization

/// Runs `body` and waits for it, but not for ever: past `limit`, or when the caller is cancelled, it is cancelled, and left
/// behind if that does not end it either.
///
/// gRPC leaves a call hanging, deaf to cancellation and deadline, that opens its stream just as the connection ends
/// (grpc-swift-nio-transport 2.9: seen with a server that stops while calls begin). A hanging call must not hold up a
/// node's demotion, or a client's request.
func abandoning<Value: Sendable>(
    limit: Duration? = nil, grace: Duration = .seconds(1), _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let answer = Answer<Value>()
    // Unstructured, all of these: a task group would wait for what hangs.
    let work = Task { try await body() }
    let delivery = Task { answer.give(await work.result) }
    let alarm = limit.map { limit in
        Task {
            try await Task.sleep(for: limit)
            work.cancel()
            try await Task.sleep(for: grace)
            answer.give(.failure(RPCError(code: .deadlineExceeded, message: "no answer in time")))
        }
    }
    defer {
        alarm?.cancel()
        delivery.cancel()
    }
    return try await withTaskCancellationHandler {
        try await withCheckedThrowingContinuation { answer.wait($0) }
    } onCancel: {
        work.cancel()
        Task {
            try await Task.sleep(for: grace)
            answer.give(.failure(CancellationError()))
        }
    }
}

/// The first answer that is given, for the one who waits.
private final class Answer<Value: Sendable>: Sendable {
    private enum State {
        case nothing
        case waited(CheckedContinuation<Value, any Error>)
        case given(Result<Value, any Error>)
        case done
    }

    private let state = Mutex(State.nothing)

    func wait(_ continuation: CheckedContinuation<Value, any Error>) {
        let given = state.withLock { state -> Result<Value, any Error>? in
            if case .given(let result) = state {
                state = .done
                return result
            }
            state = .waited(continuation)
            return nil
        }
        if let given { continuation.resume(with: given) }
    }

    func give(_ result: Result<Value, any Error>) {
        let waiting = state.withLock { state -> CheckedContinuation<Value, any Error>? in
            switch state {
            case .nothing:
                state = .given(result)
                return nil
            case .waited(let continuation):
                state = .done
                return continuation
            case .given, .done: return nil
            }
        }
        waiting?.resume(with: result)
    }
}
