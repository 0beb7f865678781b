import Foundation
import NetworkPlan

/// Docker's firewall drops what it did not publish itself. Its chain for users' rules, DOCKER-USER, gets one rule that
/// lets through the packets that our own table vouches for with a mark.
///
/// By the `iptables` command, as the engine does it: a rule that iptables cannot read back would make the engine's own
/// calls fail. Where there is no such chain, nothing is to be done.
enum EnginePassage {
    private static var mark: String {
        let mark = "0x" + String(Layout.vouchedMark, radix: 16); return "\(mark)/\(mark)"
    }
    private static var rule: [String] {
        ["DOCKER-USER", "-m", "mark", "--mark", mark, "-m", "comment", "--comment", "apus: published", "-j", "ACCEPT"]
    }

    enum State { case noChain, closed, open }

    static func state() -> State {
        guard run(["-n", "-L", "DOCKER-USER", "1"]) else { return .noChain }
        return run(["-C"] + rule) ? .open : .closed
    }

    static func open() -> Bool { run(["-I"] + rule) }
    static func close() -> Bool { run(["-D"] + rule) }

    /// In the namespace of the calling thread.
    private static func run(_ arguments: [String]) -> Bool {
        let paths = ["/usr/sbin/iptables", "/sbin/iptables", "/usr/bin/iptables"]
        guard let path = paths.first(where: FileManager.default.isExecutableFile(atPath:)) else { return false }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        // -w: the engine may hold the lock.
        process.arguments = ["-w", "5"] + arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}
