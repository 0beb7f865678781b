internal import Subprocess
internal import SystemPackage

/// How a command on this machine ended.
package struct Finished: Sendable, Equatable {
    package var status: Int
    package var output: String
    package var errors: String
    package var succeeded: Bool { status == 0 }
    /// What to show of a failure.
    package var complaint: String {
        let text = (errors.isEmpty ? output : errors).trimmed
        return text.isEmpty ? "it ended with status \(status)" : text
    }
}

/// Commands on this machine: ssh, docker, kubectl, swiftc. Words go as they are, no shell reads them.
package enum Local {
    /// Output past this is an error, not a cut text.
    static let outputLimit = 64 << 20

    /// - Throws: `NoSuchCommand` where there is none of that name, `TimedOut`.
    package static func run(
        _ words: [String], input: String = "", environment: [String: String] = [:], in folder: String? = nil,
        within limit: Duration? = nil
    ) async throws -> Finished {
        @Sendable func once() async throws -> Finished {
            do {
                let done = try await Subprocess.run(
                    executable(words[0]), arguments: Arguments(Array(words.dropFirst())),
                    environment: subprocess(environment),
                    workingDirectory: folder.map { FilePath($0) }, platformOptions: options,
                    input: .string(input), output: .string(limit: outputLimit), error: .string(limit: outputLimit))
                return Finished(
                    status: status(done.terminationStatus), output: done.standardOutput, errors: done.standardError)
            } catch let error as SubprocessError where error.code == .executableNotFound {
                throw NoSuchCommand(name: words[0])
            }
        }
        guard let limit else { return try await once() }
        return try await within(limit, words.prefix(2).joined(separator: " "), once)
    }

    /// Without pipes, so that a process which goes on in the background holds up nobody.
    static func start(_ words: [String], environment: [String: String] = [:], within limit: Duration) async throws
        -> Int
    {
        try await within(limit, words[0]) {
            do {
                let done = try await Subprocess.run(
                    executable(words[0]), arguments: Arguments(Array(words.dropFirst())),
                    environment: subprocess(environment),
                    platformOptions: options, input: .none, output: .discarded, error: .discarded)
                return status(done.terminationStatus)
            } catch let error as SubprocessError where error.code == .executableNotFound {
                throw NoSuchCommand(name: words[0])
            }
        }
    }

    /// With this process's own terminal, for `docker build` and interactive commands.
    package static func runHere(_ words: [String], environment: [String: String] = [:]) async throws -> Int {
        do {
            let done = try await Subprocess.run(
                executable(words[0]), arguments: Arguments(Array(words.dropFirst())),
                environment: subprocess(environment),
                input: .currentStandardInput, output: .currentStandardOutput, error: .currentStandardError)
            return status(done.terminationStatus)
        } catch let error as SubprocessError where error.code == .executableNotFound {
            throw NoSuchCommand(name: words[0])
        }
    }

    static func executable(_ word: String) -> Executable { word.contains("/") ? .path(FilePath(word)) : .name(word) }

    static func subprocess(_ changes: [String: String]) -> Environment {
        var keyed: [Environment.Key: String?] = [:]
        for (name, value) in changes { keyed[Environment.Key(stringLiteral: name)] = value }
        return .inherit.updating(keyed)
    }

    /// Ctrl-C goes to us alone: what runs is ended in order, not by the terminal.
    static var options: PlatformOptions {
        var options = PlatformOptions()
        options.processGroupID = 0
        options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(1))]
        return options
    }

    static func status(_ status: TerminationStatus) -> Int {
        switch status {
        case .exited(let code): Int(code)
        case .signaled(let signal): 128 + Int(signal)
        }
    }
}

package struct NoSuchCommand: Error, CustomStringConvertible, Equatable {
    package var name: String
    package var description: String { "there is no command `\(name)` on this machine; install it, or put it into PATH" }
}

package struct TimedOut: Error, CustomStringConvertible, Equatable {
    package var what: String
    package var limit: Duration
    package var description: String { "\(what) did not end within \(limit.seconds) s" }
}

/// Gives `body` a limit. What is past it is cancelled.
package func within<Result: Sendable>(
    _ limit: Duration, _ what: String, _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Result.self) { group in
        group.addTask(operation: body)
        group.addTask {
            try await Task.sleep(for: limit)
            throw TimedOut(what: what, limit: limit)
        }
        defer { group.cancelAll() }
        return try await group.next()!
    }
}

extension Duration {
    var seconds: Int { Int(components.seconds) }
}

extension String {
    var trimmed: String {
        var text = self[...]
        while let last = text.last, last.isWhitespace { text.removeLast() }
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        return String(text)
    }

    /// One word for a POSIX shell, whatever is in it.
    package var quoted: String {
        let plain = unicodeScalars.allSatisfy {
            ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
                || "-_./:=@%+,".unicodeScalars.contains($0)
        }
        return plain && !isEmpty
            ? self : "'" + split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
    }
}
