import ArgumentParser
internal import Deployer
internal import Glibc
internal import Logging

/// What every command takes.
struct Common: ParsableArguments {
    @ArgumentParser.Option(
        name: .shortAndLong, help: "The Deployfile, or its folder; else Deployfile.swift here or above.")
    var file: String?
    @ArgumentParser.Option(name: .shortAndLong, help: "The infrastructure, as the Deployfile names it.")
    var infrastructure: String?
    @ArgumentParser.Option(name: .customLong("set"), help: "NAME=VALUE for computed options; repeat for more.")
    var settings: [String] = []
    @ArgumentParser.Option(help: "Only this host; repeat for more.")
    var only: [String] = []
    @ArgumentParser.Option(help: "Instead of ~/.ssh/config (APUS_SSH_CONFIG).")
    var sshConfig: String?
    @Flag(help: "One JSON document on standard output, words on standard error.")
    var json = false
    @Flag(help: "Say what goes on underneath.")
    var verbose = false

    func invocation() throws -> Invocation {
        var log = Logger(label: "apus", factory: { StreamLogHandler.standardError(label: $0) })
        log.logLevel = verbose ? .debug : .error
        var invocation = Invocation.here(sshConfig: sshConfig, log: log)
        invocation.file = file
        invocation.infrastructure = infrastructure
        invocation.only = only
        invocation.json = json
        for setting in settings {
            let halves = setting.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard halves.count == 2, !halves[0].isEmpty else {
                throw ValidationError("--set is NAME=VALUE, not \"\(setting)\"")
            }
            invocation.arguments[halves[0]] = halves[1]
        }
        return invocation
    }

    /// Runs the body until it ends or Ctrl-C asks it to.
    func run(
        _ change: (inout Invocation) -> Void = { _ in }, _ body: @escaping @Sendable (Session) async throws -> Int32
    ) async throws {
        var invocation = try invocation()
        change(&invocation)
        let voice = Terminal.voice(json: json)
        let frozen = invocation
        let work = Task { try await Session.with(frozen, voice: voice, body) }
        Terminal.onInterrupt {
            voice.line("! interrupted: hosts are put in order, one moment", .warning)
            work.cancel()
        }
        let status: Int32
        do { status = try await work.value } catch is CancellationError { status = Session.Exit.interrupted } catch {
            voice.line("✘ \(error)", .bad)
            status = work.isCancelled ? Session.Exit.interrupted : Session.Exit.failed
        }
        throw ExitCode(status)
    }
}

/// Which applications, and what of their images.
struct Applications: ParsableArguments {
    @Argument(help: "Applications of the Deployfile; all of them where none is named.")
    var names: [String] = []
    @ArgumentParser.Option(
        name: [.customShort("t"), .long],
        help: "Another image, in whole or in part: 1.2, name:1.2, registry/account/name:1.2, name@sha256:….")
    var tag: String?
}

/// How hosts are changed.
struct Changing: ParsableArguments {
    @Flag(help: "Also where nothing has changed.")
    var force = false
    @Flag(help: "One host after the other.")
    var serial = false
    @Flag(help: "All hosts of a step together, which is the default.")
    var parallel = false
    @Flag(help: "Go on without hosts that cannot be reached.")
    var skipUnreachable = false
    @Flag(help: "Say what would be done, as plan does.")
    var dryRun = false
    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false
    @ArgumentParser.Option(name: .customLong("wait"), help: "Seconds to wait for another deploy to end.")
    var wait = 0

    func apply(to invocation: inout Invocation, _ names: [String], tag: String?) {
        invocation.names = names
        invocation.imageOverride = tag
        invocation.force = force
        invocation.serial = serial
        invocation.skipsUnreachable = skipUnreachable
        invocation.yes = yes
        invocation.lockPatience = .seconds(wait)
        if isatty(0) == 1 { invocation.confirm = Terminal.confirm }
    }

    func planner(_ goal: Planner.Goal) -> Planner {
        var planner = Planner(goal)
        planner.force = force
        planner.skipsUnreachable = skipUnreachable
        return planner
    }
}
