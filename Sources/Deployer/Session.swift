internal import Deploy
internal import EngineAPI
internal import EngineClient
internal import Foundation
package import Logging

/// What was said on the command line, and what this machine is.
package struct Invocation: Sendable {
    package var file: String?
    /// Applications; all where none is named.
    package var names: [String] = []
    package var infrastructure: String?
    package var arguments: [String: String] = [:]
    /// In whole or in part: `1.2`, `name:1.2`, `registry/account/name@sha256:…`.
    package var imageOverride: String?
    package var only: [String] = []
    package var force = false
    package var serial = false
    package var skipsUnreachable = false
    package var yes = false
    /// The command takes something away.
    package var asks = false
    package var json = false
    package var lockPatience = Duration.seconds(0)
    package var ssh: SSHSettings
    package var cache: String
    package var toolchain: @Sendable () throws -> Toolchain
    package var dockerConfig: String
    package var environment: [String: String]
    /// `user@machine`, for lock and audit.
    package var operatorName: String
    /// nil where nobody can be asked.
    package var confirm: (@Sendable (String) -> Bool)?
    package var log: Logger

    package init(
        ssh: SSHSettings, cache: String, dockerConfig: String, environment: [String: String], operatorName: String,
        log: Logger,
        toolchain: @escaping @Sendable () throws -> Toolchain
    ) {
        (self.ssh, self.cache, self.dockerConfig, self.environment) = (ssh, cache, dockerConfig, environment)
        (self.operatorName, self.log, self.toolchain) = (operatorName, log, toolchain)
    }
}

/// What stops a command before it has begun; its words are all that is to be said.
package struct Refused: Error, CustomStringConvertible {
    package var description: String
    package init(_ description: String) { self.description = description }
}

/// One command of `apus`, from the Deployfile to the exit status.
package struct Session: Sendable {
    let invocation: Invocation
    let voice: Voice
    let conversation: Conversation
    let wish: Wish
    let wants: [Want]
    let remotes: [Machine: Remote]
    let credentials: Credentials
    let deployment: String

    /// Compiles the Deployfile if needed, asks it for its wish, and reads what it points at. No host is asked yet.
    package static func with<Result: Sendable>(
        _ invocation: Invocation, voice: Voice, needsHosts: Bool = true, _ body: (Session) async throws -> Result
    ) async throws -> Result {
        let file = try Deployfile(invocation.file)
        let program = try await file.program(
            cache: invocation.cache + "/deployfiles", toolchain: invocation.toolchain())
        let conversation = Conversation(program: program, folder: file.folder) { voice.line($0) }
        let session: Session
        do { session = try await Session(invocation, voice, conversation, file, needsHosts: needsHosts) } catch {
            await conversation.close()
            throw error
        }
        do {
            let result = try await body(session)
            await session.close()
            return result
        } catch {
            await session.close()
            throw error
        }
    }

    private init(
        _ invocation: Invocation, _ voice: Voice, _ conversation: Conversation, _ file: Deployfile, needsHosts: Bool
    ) async throws {
        let said = try await conversation.describe(
            Surroundings(infrastructure: invocation.infrastructure, arguments: invocation.arguments))
        if let name = invocation.infrastructure, !said.infrastructures.contains(where: { $0.name == name }) {
            let known = said.infrastructures.map(\.name).joined(separator: ", ")
            throw Refused(
                "there is no infrastructure \(name)\(known.isEmpty ? " in this Deployfile" : "; there is \(known)")")
        }
        for name in invocation.names where !said.applications.contains(where: { $0.name == name }) {
            throw Refused(
                "there is no application \(name); there is \(said.applications.map(\.name).joined(separator: ", "))")
        }
        let doubles = Dictionary(grouping: said.applications.map(\.name)) { $0 }.filter { $0.value.count > 1 }.keys
            .sorted()
        if let double = doubles.first { throw Refused("two applications are called \(double): names must differ") }
        var wish = said
        wish.applications = said.applications.filter { invocation.names.isEmpty || invocation.names.contains($0.name) }
        for place in wish.applications.indices where !invocation.only.isEmpty {
            wish.applications[place].hosts.removeAll { host in
                !invocation.only.contains { $0 == "\(host)" || $0 == host.name }
            }
        }
        if !invocation.only.isEmpty { wish.applications.removeAll { $0.hosts.isEmpty && $0.mistakes.isEmpty } }
        if !invocation.only.isEmpty, wish.applications.isEmpty {
            throw Refused("no application has a host \(invocation.only.joined(separator: ", "))")
        }
        let deployment = said.name ?? URL(fileURLWithPath: file.folder).lastPathComponent
        self.wish = wish
        self.deployment = deployment
        wants =
            try await needsHosts
            ? wish.applications.concurrentMap { try await Self.want($0, deployment, invocation, file) } : []
        var remotes: [Machine: Remote] = [:]
        for host in wants.flatMap(\.wished.hosts) where remotes[host] == nil {
            remotes[host] = Remote(host, settings: invocation.ssh, log: invocation.log)
        }
        self.remotes = remotes
        credentials = Credentials(folder: invocation.dockerConfig)
        (self.invocation, self.voice, self.conversation) = (invocation, voice, conversation)
    }

    private func close() async {
        await conversation.close()
        for remote in remotes.values { await remote.close() }
    }

    /// Reads secrets and files, and works out the image's name.
    private static func want(_ wished: Wish.Wished, _ deployment: String, _ invocation: Invocation, _ file: Deployfile)
        async throws -> Want
    {
        var image = ImageName(wished.image)
        if let override = invocation.imageOverride, !wished.image.isEmpty { image = image.overridden(by: override) }
        let local = image
        if case .intermediate(let push, let hosts) = wished.registry {
            let whole = (hosts ?? push).split(separator: "/", maxSplits: 1).map(String.init)
            image.registry = whole.first
            image.path = (whole.count > 1 ? whole[1] + "/" : "") + image.path
        }
        if case .tunnel(let port, let remote) = wished.registry { image.registry = "localhost:\(remote ?? port)" }
        var secrets: [Secret: String] = [:]
        for case .env(let name, .secret(let secret)) in wished.settings {
            secrets[secret] = try await read(secret, for: "\(wished.name): env \(name)", invocation, file)
        }
        var want = Want(wished, deployment: deployment, image: image, localImage: local, secrets: secrets)
        if let name = wished.file {
            let path = name.hasPrefix("/") ? name : file.folder + "/" + name
            guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
                throw Refused("\(wished.name): there is no file \(path)")
            }
            want.fileText = text
        }
        if case .direct = wished.registry {
            let found = try? await Local.run(
                ["docker", "image", "inspect", "--format", "{{.Id}}", local.description], within: .seconds(30))
            if found?.succeeded == true { want.localID = found?.output.trimmed }
        }
        return want
    }

    private static func read(_ secret: Secret, for what: String, _ invocation: Invocation, _ file: Deployfile)
        async throws -> String
    {
        func line(_ text: String) -> String { text.hasSuffix("\n") ? String(text.dropLast()) : text }
        switch secret {
        case .environment(let name):
            guard let value = invocation.environment[name] else {
                throw Refused("\(what) comes from the variable \(name), which is not set: `export \(name)=…`")
            }
            return value
        case .file(let name):
            let path = name.hasPrefix("/") ? name : file.folder + "/" + name
            guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
                throw Refused("\(what) comes from the file \(path), which cannot be read")
            }
            return line(text)
        case .command(let words):
            let done = try await Local.run(words, in: file.folder, within: .seconds(60))
            guard done.succeeded else {
                throw Refused("\(what) comes from `\(words.joined(separator: " "))`, which failed: \(done.complaint)")
            }
            return line(done.output)
        }
    }

    var orderedRemotes: [Remote] { remotes.values.sorted { "\($0.host)" < "\($1.host)" } }
}

extension Sequence where Element: Sendable {
    func concurrentMap<Result: Sendable>(_ body: @escaping @Sendable (Element) async throws -> Result) async throws
        -> [Result]
    {
        try await withThrowingTaskGroup(of: (Int, Result).self) { group in
            for (place, element) in enumerated() { group.addTask { (place, try await body(element)) } }
            return try await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }
}
