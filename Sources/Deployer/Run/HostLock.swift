package import Deploy
internal import Subprocess
internal import Synchronization

/// Nobody else deploys to a host while this is held.
///
/// It is a folder on the host, kept by a small script at the other end of our connection: as long as we speak every few seconds it stays,
/// and when we fall silent, for whatever reason, the host takes it away by itself.
final class HostLock: Sendable {
    private let pulse: Channel<Bool>
    private let running: Task<Void, any Error>
    let host: Machine
    private let lost = Mutex(false)

    /// How long the host waits for a word.
    static let silence = 30
    static let beat = Duration.seconds(5)

    /// - Parameter holder: who and what, on one line.
    /// - Throws: `Locked` with who holds it.
    static func take(_ remote: Remote, holder: String) async throws -> HostLock {
        let first = Channel<String>()
        let pulse = Channel<Bool>()
        let command = remote.shellCommand(script)
        let running = Task {
            defer { first.finish() }
            _ = try await Subprocess.run(
                .name(command[0]), arguments: Arguments(Array(command.dropFirst())), platformOptions: Local.options,
                input: .inputWriter,
                output: .sequence, error: .discarded
            ) { execution in
                let writer = execution.standardInputWriter
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        _ = try await writer.write(holder.replacing("\n", with: " ") + "\n")
                        while await pulse.next() != nil { _ = try await writer.write(".") }
                        try await writer.finish()
                    }
                    group.addTask {
                        for try await line in execution.standardOutput.strings() { first.send(line.trimmed) }
                        pulse.finish()
                    }
                    try await group.waitForAll()
                }
            }
        }
        let answer = await first.next() ?? ""
        let words = answer.split(separator: " ", maxSplits: 2).map(String.init)
        switch words.first {
        case "held": return HostLock(remote.host, pulse, running)
        case "busy":
            pulse.finish()
            throw Locked(
                host: remote.host, holder: words.count > 2 ? words[2] : "somebody",
                seconds: words.count > 1 ? Int(words[1]) ?? 0 : 0)
        default:
            pulse.finish()
            throw HostUnreachable(
                host: remote.host,
                reason: "no lock could be taken there: \(answer.isEmpty ? "its shell says nothing" : answer)")
        }
    }

    private init(_ host: Machine, _ pulse: Channel<Bool>, _ running: Task<Void, any Error>) {
        (self.host, self.pulse, self.running) = (host, pulse, running)
        Task {
            while !running.isCancelled {
                try await Task.sleep(for: Self.beat)
                pulse.send(true)
            }
        }
    }

    func release() async {
        pulse.finish()
        _ = await running.result
        running.cancel()
    }

    /// POSIX sh. A lock older than a minute belongs to a host that was switched off: who keeps one touches it.
    private static let script = #"""
        d=/tmp; if [ -k /run/lock ] && [ -w /run/lock ]; then d=/run/lock; fi
        l="$d/apus-deploy-$(uname -n).lock"; IFS= read -r holder; me="$$-$(date +%s)"
        take() { mkdir "$l" 2>/dev/null && printf '%s\n' "$me" >"$l/token" && printf '%s\n' "$holder" >"$l/holder" && date +%s >"$l/since"; }
        if ! take; then
          if [ -n "$(find "$l" -maxdepth 0 -mmin +1 2>/dev/null)" ]; then mv "$l" "$l.$$" 2>/dev/null && rm -rf "$l.$$"; take || { echo "busy 0 somebody who was quicker"; exit 0; }
          else echo "busy $(( $(date +%s) - $(cat "$l/since" 2>/dev/null || date +%s) )) $(cat "$l/holder" 2>/dev/null)"; exit 0; fi
        fi
        echo held
        while [ "$(timeout \#(silence) dd bs=1 count=1 2>/dev/null)" = . ]; do [ "$(cat "$l/token" 2>/dev/null)" = "$me" ] && touch "$l"; done
        [ "$(cat "$l/token" 2>/dev/null)" = "$me" ] && rm -rf "$l"
        """#
}

package struct Locked: Error, CustomStringConvertible, Equatable {
    package var host: Machine
    package var holder: String
    package var seconds: Int
    package var description: String {
        """
        \(host) is locked by another deploy, for \(seconds) s now: \(holder). Nothing was changed. \
        Wait for it (--wait SECONDS); if it has died, its lock goes by itself after \(HostLock.silence) s.
        """
    }
}

/// The locks of all hosts of a run.
struct Locks: Sendable {
    private var held: [HostLock] = []

    /// The first host decides between two that come at once; the others follow together.
    ///
    /// - Parameter patience: how long to try again.
    static func take(_ remotes: [Remote], holder: String, patience: Duration, voice: Voice) async throws -> Locks {
        let ordered = remotes.sorted { "\($0.host)" < "\($1.host)" }
        let end = ContinuousClock.now + patience
        var said = false
        while true {
            var locks = Locks()
            do {
                if let first = ordered.first { locks.held.append(try await HostLock.take(first, holder: holder)) }
                let rest = await withTaskGroup(of: Result<HostLock, any Error>.self) { group in
                    for remote in ordered.dropFirst() {
                        group.addTask {
                            do { return .success(try await HostLock.take(remote, holder: holder)) } catch {
                                return .failure(error)
                            }
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                locks.held += rest.compactMap { try? $0.get() }
                for one in rest { _ = try one.get() }
                return locks
            } catch let error as Locked {
                await locks.release()
                guard ContinuousClock.now < end else { throw error }
                if !said {
                    voice.line(
                        "! \(error.host) is locked by \(error.holder), for \(error.seconds) s now; waiting", .warning)
                }
                said = true
                try await Task.sleep(for: .seconds(1))
            } catch {
                await locks.release()
                throw error
            }
        }
    }

    func release() async {
        await withTaskGroup(of: Void.self) { group in
            for lock in held { group.addTask { await lock.release() } }
        }
    }
}
