import CNetlink
import Glibc
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

    /// In the namespace of the calling thread. Not by Foundation's `Process`, which needs a loopback that is up.
    private static func run(_ arguments: [String]) -> Bool {
        for path in ["/usr/sbin/iptables", "/sbin/iptables", "/usr/bin/iptables"] {
            // -w: the engine may hold the lock.
            var words: [UnsafeMutablePointer<CChar>?] = ([path, "-w", "5"] + arguments).map { strdup($0) }
            words.append(nil)
            defer { for word in words { free(word) } }
            let status = cnetlink_run(path, words)
            if status >= 0 { return status == 0 }
        }
        return false
    }
}
