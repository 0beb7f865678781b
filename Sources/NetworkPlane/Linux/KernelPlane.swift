import CNetlink
package import NetworkPlan

/// What came of a pass over the kernel.
package struct Report: Sendable {
    /// What was done, or for `check` what is to be done.
    package var difference: Difference
    /// Beyond the plan's items: ports and the engine's firewall.
    package var repairs: [String] = []
    /// What could not be done now, and why. The next pass tries again: a bridge may not be there yet.
    package var failures: [String] = []

    package init(difference: Difference = Difference(steps: []), repairs: [String] = [], failures: [String] = []) {
        self.difference = difference
        self.repairs = repairs
        self.failures = failures
    }

    package var isClean: Bool { difference.isEmpty && repairs.isEmpty && failures.isEmpty }
}

/// One node's kernel, made to hold what a plan wants: read, compared, corrected.
///
/// All calls run in order on a thread of their own. Whatever others do to the kernel (a flushed rule set, an engine that
/// starts again, a link that is gone), `reconcile` brings it back; when nothing is different it changes nothing.
package actor KernelPlane {
    private let thread: KernelThread
    package nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    private var hands: Hands?

    /// - Parameter namespace: the path of a network namespace; nil for the process's own.
    package init(namespace: String? = nil) throws {
        thread = try KernelThread.started(in: namespace)
    }

    deinit { thread.end() }

    private func taken() throws -> Hands {
        if let hands { return hands }
        let new = try Hands()
        hands = new
        return new
    }

    /// What this kernel can do. WireGuard is not driven yet, so it is never offered.
    package func offers() -> KernelOffers {
        KernelOffers(
            bridgeNetfilter: SysctlFile.read("net/bridge/bridge-nf-call-iptables") != nil, connectionMarks: true,
            sctp: SysctlFile.read("net/netfilter/nf_conntrack_sctp_timeout_established") != nil, wireGuard: false)
    }

    /// Whether the namespace has no link but its own loopback: measurements are made there.
    package func isAlone() throws -> Bool { try taken().routes.links().allSatisfy { $0.name == "lo" } }

    /// What the kernel lacks, or has too much: nothing is changed.
    package func check(_ wanted: [Item.Key: Item]) throws -> Report {
        let hands = try taken()
        let present = try hands.read(for: wanted)
        return Report(
            difference: Difference(from: present, to: wanted),
            repairs: try hands.neededRepairs(wanted).map(\.description))
    }

    /// Reads, compares, corrects.
    package func reconcile(_ wanted: [Item.Key: Item]) throws -> Report {
        let hands = try taken()
        var report = Report(difference: Difference(steps: []))
        // A link that is made again comes without what stood on it: then a second pass puts it back.
        for _ in 0..<3 {
            let difference = Difference(from: try hands.read(for: wanted), to: wanted)
            guard !difference.isEmpty else { break }
            report.difference.steps += difference.steps
            report.failures = hands.perform(difference)
            guard report.failures.isEmpty, difference.steps.contains(where: { $0.item.isLink }) else { break }
        }
        for repair in try hands.neededRepairs(wanted) {
            report.repairs.append(repair.description)
            if let failure = hands.perform(repair) { report.failures.append(failure) }
        }
        return report
    }

    /// Does what changed since the last plan, without reading the kernel: the quick way, for a single change.
    ///
    /// - Parameter wanted: all that is wanted. If the kernel turns out not to be as the last plan left it, everything is
    ///   compared and corrected.
    package func apply(_ difference: Difference, then aftermath: Planner.Aftermath, wanted: [Item.Key: Item]) throws
        -> Report
    {
        let hands = try taken()
        let isLayout = difference.steps.contains { $0.item.key == .chain("layout") }
        var report = Report(difference: difference)
        if !isLayout { report.failures = hands.perform(difference) }
        if isLayout || !report.failures.isEmpty { report = try reconcile(wanted) }
        do { _ = try hands.connections.forget(aftermath) } catch { report.failures.append("\(error)") }
        return report
    }

    /// Nothing of the plane is left in the kernel; the engine's bridges stay.
    package func remove() throws -> Report {
        let hands = try taken()
        let present = try hands.read(for: [:])
        let difference = Difference(from: present, to: [:])
        var report = Report(difference: difference, failures: hands.perform(difference))
        if EnginePassage.state() == .open, !EnginePassage.close() {
            report.failures.append("the rule in DOCKER-USER could not be removed: iptables -D DOCKER-USER by hand")
        }
        return report
    }
}

extension Item {
    fileprivate var isLink: Bool {
        switch self {
        case .bridge, .tunnel: true
        default: false
        }
    }
}
