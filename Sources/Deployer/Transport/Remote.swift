package import Deploy
package import EngineClient
internal import Foundation
package import Logging
internal import Synchronization

/// How this run talks to hosts.
package struct SSHSettings: Sendable {
    /// Instead of `~/.ssh/config`; `APUS_SSH_CONFIG`.
    package var config: String?
    /// Where control and engine sockets stand: for this user alone.
    package var folder: String
    /// How long a connection stays for the next command, in seconds.
    package var persist = 600
    package var connectSeconds = 10

    package init(config: String?, folder: String) { (self.config, self.folder) = (config, folder) }
}

/// One host: one multiplexed ssh connection, and through it the engine's socket as one of ours.
///
/// A connection that an earlier command left open is taken over, so a second command begins without a handshake.
package final class Remote: Sendable {
    package let host: Machine
    /// Our end of the engine's socket.
    package let socketPath: String
    package let engine: EngineClient
    private let settings: SSHSettings
    private let control: String
    private let bridge = Mutex<EngineBridge?>(nil)

    package init(_ host: Machine, settings: SSHSettings, log: Logger) {
        let identity = "\(host)|\(host.socket)|\(settings.config ?? "")"
        let name = String(Digest.hexadecimal(of: identity).prefix(16))
        self.host = host
        self.settings = settings
        control = settings.folder + "/" + name + ".c"
        socketPath = settings.folder + "/" + name + ".s"
        engine = EngineClient(socketPath: socketPath, log: log)
    }

    package func close() async {
        await engine.shutdown()
        await bridge.withLock { $0 }?.close()
    }

    private var command: [String] {
        var words = ["ssh"]
        if let config = settings.config { words += ["-F", config] }
        words += ["-o", "ControlPath=\(control)", "-o", "BatchMode=yes"]
        words += [
            "-o", "ConnectTimeout=\(settings.connectSeconds)", "-o", "ServerAliveInterval=5", "-o",
            "ServerAliveCountMax=3",
        ]
        if let port = host.port { words += ["-p", "\(port)"] }
        if let user = host.user { words += ["-l", user] }
        return words
    }

    /// Makes sure that the engine answers.
    ///
    /// - Throws: `HostUnreachable`, `EngineSilent`.
    package func connect() async throws {
        if FileManager.default.fileExists(atPath: socketPath) {
            do {
                return try await within(.seconds(5), "the connection to \(host)") { [engine] in
                    try await engine.deploying.ping()
                }
            } catch is CancellationError { throw CancellationError() } catch {
                // Left by a connection that has ended, or that the network has lost.
                _ = try? await Local.start(command + ["-O", "exit", "--", host.name], within: .seconds(5))
                try? FileManager.default.removeItem(atPath: socketPath)
            }
        }
        try await open()
        do {
            try await within(.seconds(10), "the engine of \(host)") { [engine] in try await engine.deploying.ping() }
        } catch is CancellationError { throw CancellationError() } catch { try await connectByCLI() }
    }

    /// A connection that stays, with the engine's socket forwarded.
    private func open() async throws {
        try FileManager.default.createDirectory(
            atPath: settings.folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let log = control + ".log"
        try? FileManager.default.removeItem(atPath: log)
        let status = try await Local.start(
            command + [
                "-E", log, "-o", "ControlMaster=auto", "-o", "ControlPersist=\(settings.persist)", "-o",
                "ExitOnForwardFailure=yes",
                "-o", "StreamLocalBindUnlink=yes", "-L", "\(socketPath):\(host.socket)", "-f", "-N", "-T", "--",
                host.name,
            ], within: .seconds(settings.connectSeconds + 20))
        defer { try? FileManager.default.removeItem(atPath: log) }
        guard status == 0 else {
            let said = (try? String(contentsOfFile: log, encoding: .utf8))?.trimmed ?? ""
            throw HostUnreachable(host: host, reason: said.isEmpty ? "ssh ended with status \(status)" : said)
        }
    }

    /// Where the socket may not be forwarded: the docker CLI of the host carries the bytes.
    private func connectByCLI() async throws {
        let carrier = command + ["--", host.name, "docker -H \("unix://\(host.socket)".quoted) system dial-stdio"]
        // Says in its own words why the engine does not answer, if it does not.
        let tried = try await Local.run(carrier, input: "GET /_ping HTTP/1.0\r\n\r\n", within: .seconds(20))
        guard tried.output.contains("200 OK") else { throw EngineSilent(host: host, reason: tried.complaint) }
        try? FileManager.default.removeItem(atPath: socketPath)
        let made = try await EngineBridge(socketPath: socketPath, carrier: carrier)
        bridge.withLock { $0 = made }
        try await within(.seconds(10), "the engine of \(host)") { [engine] in try await engine.deploying.ping() }
    }

    /// Runs words on the host. No shell of the host sees them unquoted.
    package func run(_ words: [String], input: String = "", within limit: Duration = .seconds(600)) async throws
        -> Finished
    {
        try await shell(words.map(\.quoted).joined(separator: " "), input: input, within: limit)
    }

    /// Runs a script of ours in the host's `sh`.
    package func shell(_ script: String, input: String = "", within limit: Duration = .seconds(600)) async throws
        -> Finished
    {
        let done = try await Local.run(shellCommand(script), input: input, within: limit)
        // ssh's own failures have this status, and words; a script of ours never ends with it.
        if done.status == 255 { throw HostUnreachable(host: host, reason: done.complaint) }
        return done
    }

    package func shellCommand(_ script: String) -> [String] {
        command + ["-T", "--", host.name, "sh -c " + script.quoted]
    }

    /// A tunnel from a port of the host to one of ours, for as long as `body` runs.
    func withReverseTunnel<Result>(_ remote: Int, to local: Int, _ body: () async throws -> Result) async throws
        -> Result
    {
        let way = "localhost:\(remote):localhost:\(local)"
        let opened = try await Local.run(command + ["-O", "forward", "-R", way, "--", host.name], within: .seconds(20))
        guard opened.succeeded else {
            throw HostUnreachable(host: host, reason: "no tunnel from its port \(remote): \(opened.complaint)")
        }
        do {
            let result = try await body()
            _ = try? await Local.run(command + ["-O", "cancel", "-R", way, "--", host.name], within: .seconds(20))
            return result
        } catch {
            _ = try? await Local.run(command + ["-O", "cancel", "-R", way, "--", host.name], within: .seconds(20))
            throw error
        }
    }
}

package struct HostUnreachable: Error, CustomStringConvertible, Equatable {
    package var host: Machine
    package var reason: String
    package var description: String {
        let port = host.port.map { "-p \($0) " } ?? ""
        let user = host.user.map { $0 + "@" } ?? ""
        return "\(host) cannot be reached: \(reason). Try `ssh \(port)\(user)\(host.name)`"
    }
}

package struct EngineSilent: Error, CustomStringConvertible, Equatable {
    package var host: Machine
    package var reason: String
    package var description: String { "the engine of \(host) does not answer at \(host.socket): \(reason)" }
}
