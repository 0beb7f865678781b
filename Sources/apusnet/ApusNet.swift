import ArgumentParser
import Foundation
import NetworkPlan
import NetworkPlane

/// One node's network by hand: what a view of the cluster asks of this kernel, and whether the kernel holds it.
///
/// For trials, and for the night when something is wrong: `apusd` does the same by itself.
@main
struct ApusNet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apusnet", abstract: "Plans, checks and corrects the network of this node from a view in JSON.",
        subcommands: [Plan.self, Check.self, Apply.self, Remove.self])
}

struct Input: ParsableArguments {
    @Argument(help: "The view: node, peers, networks, endpoints, services.")
    var view: String

    func planner() throws -> Planner {
        let bytes = try Data(contentsOf: URL(fileURLWithPath: view))
        return Planner(try JSONDecoder().decode(NetworkView.self, from: bytes))
    }
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

private func say(_ report: Report) {
    if !report.difference.isEmpty { print(report.difference) }
    for repair in report.repairs { print(repair) }
    for failure in report.failures { FileHandle.standardError.write(Data((failure + "\n").utf8)) }
}
