import ArgumentParser
import Foundation
import Logging
import NIOCore
import NIOPosix
import NetworkPlan
import NetworkPlane

/// One node's network by hand: what a view of the cluster asks of this kernel, and whether the kernel holds it.
///
/// For trials, and for the night when something is wrong: `apusd` does the same by itself.
@main
struct ApusNet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apusnet", abstract: "Plans, checks and corrects the network of this node from a view in JSON.",
        subcommands: [Plan.self, Check.self, Apply.self, Remove.self, Serve.self, Measure.self])
}

struct Input: ParsableArguments {
    @Argument(help: "The view: node, peers, networks, endpoints, services.")
    var view: String

    func read() throws -> NetworkView {
        try JSONDecoder().decode(NetworkView.self, from: Data(contentsOf: URL(fileURLWithPath: view)))
    }

    func planner() throws -> Planner { Planner(try read()) }
}

struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print what is wanted, one line an item; change nothing.")
    @OptionGroup var input: Input

    func run() throws {
        let planner = try input.planner()
        print(Difference(from: [:], to: planner.items))
        for refusal in planner.refusals.values.sorted() { print("refused: \(refusal)") }
    }
}

struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print how the kernel differs from what is wanted; change nothing.",
        discussion: "Exit status: 0 when nothing differs, 2 when something does, 1 on failure.")
    @OptionGroup var input: Input

    func run() async throws {
        let report = try await KernelPlane().check(try input.planner().items)
        say(report)
        if !report.isClean { throw ExitCode(2) }
    }
}

struct Apply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make the kernel hold what is wanted; print what was changed.",
        discussion: "Exit status: 0 when all of it holds, 1 when something could not be done.")
    @OptionGroup var input: Input

    func run() async throws {
        let report = try await KernelPlane().reconcile(try input.planner().items)
        say(report)
        if !report.failures.isEmpty { throw ExitCode.failure }
    }
}

struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Take everything of ours out of the kernel.")

    func run() async throws {
        let report = try await KernelPlane().remove()
        say(report)
        if !report.failures.isEmpty { throw ExitCode.failure }
    }
}

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Keep the kernel to the view, answer for its names, and follow the file when it is replaced.")
    @OptionGroup var input: Input
    @Option(help: "Who answers for other names; repeat for more. Otherwise those of /etc/resolv.conf.")
    var upstream: [String] = []
    @Option(help: "Seconds between two passes over the whole kernel.")
    var every = 10.0

    func run() async throws {
        var view = try input.read()
        var planner = Planner(view)
        let plane = try KernelPlane()
        let servers =
            try upstream.isEmpty
            ? NameServer.upstream(of: "/etc/resolv.conf")
            : upstream.map { server in
                let parts = server.split(separator: "#")
                return try .init(ipAddress: String(parts[0]), port: parts.count > 1 ? Int(parts[1]) ?? 53 : 53)
            }
        let names = NameServer(names: NameTable(view), upstream: servers, log: Logger(label: "apusnet"))
        try await names.start(port: Int(view.node.resolverPort), on: MultiThreadedEventLoopGroup.singleton)
        say(try await plane.reconcile(planner.items))
        let clock = ContinuousClock()
        var whole = clock.now
        while true {
            try await clock.sleep(for: .milliseconds(50))
            // A file that is being written is read at the next turn.
            if let new = try? input.read(), new != view {
                names.apply([.view(new)])
                let (difference, aftermath) = planner.apply([.view(new)])
                say(try await plane.apply(difference, then: aftermath, wanted: planner.items))
                view = new
            }
            if clock.now - whole > .seconds(every) {
                say(try await plane.reconcile(planner.items))
                whole = clock.now
            }
        }
    }
}

private func say(_ report: Report) {
    if !report.difference.isEmpty { print(report.difference) }
    for repair in report.repairs { print(repair) }
    for failure in report.failures { FileHandle.standardError.write(Data((failure + "\n").utf8)) }
}
