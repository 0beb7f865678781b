internal import ClusterModel
internal import EngineAPI
internal import EngineClient
internal import Logging
internal import NetworkPlan
internal import NetworkPlane
internal import Orchestration
internal import Synchronization

/// Keeps this node's networks true to what the leader says of them: the engine's bridges and the kernel.
///
/// What it made stays when it is cancelled: traffic goes on while the daemon is away, and what is there when it comes
/// back is compared and corrected, not made anew.
final class NetworkKeeper: Sendable {
    /// The label on the engine's networks that carry ours; its value is our network's ID.
    static let carrierLabel = "apus.network"
    /// The kernel is compared with the plan this often, whatever was heard.
    private static let period: Duration = .seconds(20)

    private let node: Cluster.ID<Cluster.Node>
    private let engine: EngineClient
    private let log: Logger
    private let state = Mutex(State())
    private let bell: AsyncStream<Void>
    private let ring: AsyncStream<Void>.Continuation

    private struct State {
        var picture = NetworkPicture()
        /// News that are in the picture and not in the plan yet; nil: all of it is to be planned anew.
        var news: [Dispatch.NetworkNews]? = []
        var isCompareDue = false
        /// The engine's names of the networks that are ready to be joined.
        var ready: [Cluster.ID<Cluster.Network>: String] = [:]
        /// Networks that this node keeps away from, and why.
        var refusals: [Cluster.ID<Cluster.Network>: String] = [:]
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    init(node: Cluster.ID<Cluster.Node>, engine: EngineClient, log: Logger) {
        self.node = node
        self.engine = engine
        self.log = log
        (bell, ring) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func hear(_ news: Dispatch.NetworkNews) {
        state.withLock { state in
            state.picture.apply(news)
            let isRare = news.isWhole || news.concernsNetworks
            state.news = isRare ? nil : state.news.map { $0 + [news] }
        }
        ring.yield()
    }

    /// Somebody else may have changed the kernel: the engine started again.
    func compare() {
        state.withLock { $0.isCompareDue = true }
        ring.yield()
    }

    // MARK: For containers

    /// Waits until the networks of a task are there.
    ///
    /// - Throws: `ContainerDocument.Unfit`, where this node cannot carry one of them.
    func places(for assignment: Dispatch.Assignment) async throws -> ContainerNetworks {
        while true {
            try Task.checkCancellation()
            let found = try state.withLock { state in
                try assignment.attachments.map { attachment -> ContainerNetworks.Place? in
                    if let reason = state.refusals[attachment.network] {
                        throw ContainerDocument.Unfit(description: reason)
                    }
                    guard let name = state.ready[attachment.network],
                        let own = state.picture.networks[attachment.network]?.gateways.first(where: { $0.node == node })
                    else { return nil }
                    return .init(
                        name: name, address: attachment.address, gateway: own.address, isIngress: attachment.isIngress)
                }
            }
            if !found.contains(nil) { return ContainerNetworks(found.compactMap(\.self)) }
            await withCheckedContinuation { continuation in state.withLock { $0.waiting.append(continuation) } }
        }
    }

    private func wakeAll() {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    // MARK: The loop

    /// Runs until it is cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.keep() }
            group.addTask {
                while (try? await Task.sleep(for: Self.period)) != nil { self.compare() }
            }
        }
        ring.finish()
        wakeAll()
    }

    private func keep() async {
        var plane: KernelPlane?
        var planner: Planner?
        var kernel = KernelOffers()
        var names: NameServer?
        /// Something of ours may be there, from now or from an earlier life.
        var isCarrying = true
        for await _ in bell {
            if Task.isCancelled { break }
            let (picture, news, isCompareDue) = state.withLock { state in
                defer { (state.news, state.isCompareDue) = ([], false) }
                return (state.picture, state.news, state.isCompareDue)
            }
            do {
                // Before the leader said anything nobody knows what should go.
                if picture.version == 0 { continue }
                if plane == nil {
                    let new = try KernelPlane()
                    kernel = await new.offers()
                    plane = new
                }
                guard let plane else { continue }
                let translator = NetworkTranslator(node: node, kernel: kernel)
                var report: Report?
                guard let view = translator.view(of: picture) else {
                    guard isCarrying else { continue }
                    report = try await plane.remove()
                    planner = nil
                    isCarrying = try await carryNetworks(picture, [], kernel)
                    continue
                }
                isCarrying = true
                if names == nil {
                    let server = NameServer(names: NameTable(view), resolverFile: "/etc/resolv.conf", log: log)
                    try await server.start(port: Int(view.node.resolverPort))
                    names = server
                }
                if planner == nil || news == nil || isCompareDue {
                    _ = try await carryNetworks(picture, view.networks, kernel)
                    planner = Planner(view)
                    names?.apply([.view(view)])
                    report = try await plane.reconcile(planner!.items)
                } else if let news, !news.isEmpty {
                    let changes = translator.changes(news, picture)
                    names?.apply(changes)
                    let (difference, aftermath) = planner!.apply(changes)
                    report = try await plane.apply(difference, then: aftermath, wanted: planner!.items)
                }
                let refusals = planner!.refusals
                state.withLock {
                    $0.refusals = refusals
                }
                if let report { say(report, wasAskedFor: !isCompareDue) }
            } catch {
                if Task.isCancelled { break }
                log.warning("the networks are not as they should be; trying again", metadata: ["error": "\(error)"])
                state.withLock { $0.news = nil }
                Task { [ring] in
                    try? await Task.sleep(for: .seconds(1))
                    ring.yield()
                }
            }
            wakeAll()
        }
        await names?.stop()
    }

    private func say(_ report: Report, wasAskedFor: Bool) {
        if !wasAskedFor, !report.difference.isEmpty || !report.repairs.isEmpty {
            log.notice(
                "the kernel was not as the cluster wants it, and was mended",
                metadata: [
                    "steps": "\(report.difference.steps.count)",
                    "first": "\(report.difference.steps.first.map { "\($0)" } ?? report.repairs.first ?? "")",
                ])
        }
        for failure in report.failures {
            log.warning("a part of the network is missing", metadata: ["reason": "\(failure)"])
        }
    }

    // MARK: The engine's part

    /// Makes the bridges that are missing, and takes away those of networks that this node is not on any more.
    ///
    /// - Returns: true while there is one.
    private func carryNetworks(
        _ picture: NetworkPicture, _ overlays: [OverlayNetwork], _ kernel: KernelOffers
    ) async throws -> Bool {
        var ready: [Cluster.ID<Cluster.Network>: String] = [:]
        var present: [Cluster.ID<Cluster.Network>: [JSON]] = [:]
        for carrier in try await engine.networks.list(labels: [Self.carrierLabel]) {
            guard let id = carrier["Labels"]?[Self.carrierLabel]?.string.flatMap({ Cluster.ID<Cluster.Network>($0) })
            else { continue }
            present[id, default: []].append(carrier)
        }
        for overlay in overlays {
            guard let network = picture.networks[overlay.id]?.network,
                let document = NetworkTranslator(node: node, kernel: kernel).carrier(of: network, overlay)
            else { continue }
            var isThere = false
            for carrier in present.removeValue(forKey: network.id) ?? [] {
                if !isThere, Self.isAlike(carrier, document), let name = carrier["Name"]?.string {
                    isThere = true
                    ready[network.id] = name
                } else {
                    try await engine.networks.remove(carrier["Id"]?.string ?? "")
                }
            }
            if !isThere { ready[network.id] = try await make(document, for: network) }
        }
        var isCarrying = !ready.isEmpty
        for carrier in present.values.flatMap(\.self) {
            // While a container is on it the engine refuses: the next look tries again.
            do { try await engine.networks.remove(carrier["Id"]?.string ?? "") } catch let error as EngineError {
                log.debug("a bridge is still in use", metadata: ["error": "\(error)"])
                isCarrying = true
            }
        }
        state.withLock { $0.ready = ready }
        return isCarrying
    }

    private func make(_ document: JSON, for network: Cluster.Network) async throws -> String {
        do {
            _ = try await engine.networks.create(document)
            return network.spec.name
        } catch let error as EngineError where error.isConflict {
            // The engine has a network of that name already, of its own.
            var other = document
            let name = "\(network.spec.name)-\(network.id)"
            other["Name"] = .string(name)
            _ = try await engine.networks.create(other)
            return name
        }
    }

    private static func isAlike(_ carrier: JSON, _ wanted: JSON) -> Bool {
        let config = carrier["IPAM"]?["Config"]?.array?.first
        let wish = wanted["IPAM"]?["Config"]?.array?.first
        return config?["Subnet"] == wish?["Subnet"] && config?["Gateway"] == wish?["Gateway"]
            && carrier["Options"]?["com.docker.network.bridge.name"]
                == wanted["Options"]?["com.docker.network.bridge.name"]
    }

    /// Nothing of the swarm's networks is left on this node. For one that has left the swarm, when its containers are gone.
    static func forget(engine: EngineClient, log: Logger) async {
        do {
            let report = try await KernelPlane().remove()
            for failure in report.failures {
                log.warning("a part of the network is left behind", metadata: ["reason": "\(failure)"])
            }
            for carrier in try await engine.networks.list(labels: [carrierLabel]) {
                try await engine.networks.remove(carrier["Id"]?.string ?? "")
            }
        } catch {
            log.warning("the swarm's networks could not all be taken away", metadata: ["error": "\(error)"])
        }
    }
}

extension Dispatch.NetworkNews {
    /// Something changed that touches whole networks.
    fileprivate var concernsNetworks: Bool {
        facts.contains { if case .network = $0 { true } else { false } }
            || gone.contains { if case .network = $0 { true } else { false } }
    }
}
