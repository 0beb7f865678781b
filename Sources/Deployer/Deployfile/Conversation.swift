package import Deploy
internal import Subprocess
internal import Synchronization
internal import SystemPackage

/// The running program of a Deployfile: it says what is wished, and runs its own closures when asked.
package final class Conversation: Sendable {
    private let lines = Channel<String>()
    private let outgoing = Channel<String>()
    private let turn = Turnstile()
    private let running: Task<Void, any Error>

    /// - Parameter shown: what the program prints by itself.
    package init(program: String, folder: String, shown: @escaping @Sendable (String) -> Void) {
        let (lines, outgoing) = (lines, outgoing)
        running = Task {
            defer { lines.finish() }
            let done = try await Subprocess.run(
                .path(FilePath(program)), workingDirectory: FilePath(folder), platformOptions: Local.options,
                input: .inputWriter, output: .sequence,
                error: .currentStandardError
            ) { execution in
                let writer = execution.standardInputWriter
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        while let line = await outgoing.next() { _ = try await writer.write(line + "\n") }
                        try await writer.finish()
                    }
                    group.addTask {
                        for try await line in execution.standardOutput.strings() {
                            let text = line.hasSuffix("\n") ? String(line.dropLast()) : line
                            if text.first == Answer.mark { lines.send(String(text.dropFirst())) } else { shown(text) }
                        }
                        outgoing.finish()
                    }
                    try await group.waitForAll()
                }
            }
            _ = done
        }
    }

    package func close() async {
        outgoing.finish()
        _ = await running.result
    }

    package func describe(_ surroundings: Surroundings) async throws -> Wish {
        try await turn.alone {
            try self.say(.describe(surroundings))
            switch try await self.hear() {
            case .wish(let wish): return wish
            case .failed(let reason): throw DeployfileError.ended(reason)
            default: throw DeployfileError.ended("it was asked for its wish and said something else")
            }
        }
    }

    /// Runs one of the Deployfile's hooks; `perform` is its hands. One at a time.
    package func hook(
        application: String, index: Int, step: Step, host: Machine?, image: String,
        perform: @escaping @Sendable (Answer) async throws -> String
    ) async throws {
        try await turn.alone {
            try self.say(
                .hook(application: application, index: index, step: step, host: host.map { "\($0)" }, image: image))
            while true {
                switch try await self.hear() {
                case .finished: return
                case .failed(let reason): throw HookFailed(application: application, step: step, reason: reason)
                case let wanted:
                    do { try self.say(.done(output: try await perform(wanted))) } catch {
                        try self.say(.refused(reason: "\(error)"))
                    }
                }
            }
        }
    }

    private func say(_ question: Question) throws { outgoing.send(try JSONText(encoding: question).text) }

    private func hear() async throws -> Answer {
        guard let line = await lines.next() else {
            let why: String
            if case .failure(let error) = await running.result {
                why = "\(error)"
            } else {
                why = "it stopped before it answered"
            }
            throw DeployfileError.ended(why)
        }
        return try JSONText(parsing: line).decode()
    }
}

package struct HookFailed: Error, CustomStringConvertible {
    package var application: String
    package var step: Step
    package var reason: String
    package var description: String { "\(application): a hook of \(step.rawValue) stopped it: \(reason)" }
}

/// A queue for one reader. Its writers are a conversation of question and answer, so it stays short.
final class Channel<Element: Sendable>: Sendable {
    private struct State {
        var waiting: [Element] = []
        var reader: CheckedContinuation<Element?, Never>?
        var isOver = false
    }
    private let state = Mutex(State())

    func send(_ element: Element) {
        let reader = state.withLock { state -> CheckedContinuation<Element?, Never>? in
            guard let reader = state.reader else {
                state.waiting.append(element)
                return nil
            }
            state.reader = nil
            return reader
        }
        reader?.resume(returning: element)
    }

    func finish() {
        let reader = state.withLock { state in
            state.isOver = true
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(returning: nil)
    }

    /// nil when it is over.
    func next() async -> Element? {
        await withCheckedContinuation { reader in
            let ready: Element?? = state.withLock { state in
                if !state.waiting.isEmpty { return .some(state.waiting.removeFirst()) }
                if state.isOver { return .some(nil) }
                state.reader = reader
                return nil
            }
            if let ready { reader.resume(returning: ready) }
        }
    }
}

/// One at a time, in the order of arrival.
actor Turnstile {
    private var isBusy = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func alone<Result: Sendable>(_ body: @Sendable () async throws -> Result) async throws -> Result {
        if isBusy { await withCheckedContinuation { waiting.append($0) } }
        isBusy = true
        defer {
            if waiting.isEmpty { isBusy = false } else { waiting.removeFirst().resume() }
        }
        return try await body()
    }
}
