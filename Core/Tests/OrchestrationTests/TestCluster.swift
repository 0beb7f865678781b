import ClusterModel
import ClusterStore
import EngineAPI
import Orchestration

/// A leader and its workers in one value: what is proposed is committed at once, and workers do what they are told.
struct TestCluster {
    typealias Task = Cluster.Task

    private(set) var store = ClusterStore()
    private(set) var now = Cluster.Timestamp(nanoseconds: 1_700_000_000_000_000_000)
    private(set) var machine: ManagerMachine
    private(set) var nodes: [String: Cluster.ID<Cluster.Node>] = [:]
    private(set) var wake: Cluster.Timestamp?
    private(set) var sent: [Dispatch.FromManager] = []
    /// What each worker knows of its networks.
    private(set) var pictures: [Cluster.ID<Cluster.Node>: NetworkPicture] = [:]
    /// The secrets and configs that each worker holds.
    private(set) var kept: [Cluster.ID<Cluster.Node>: Set<Cluster.ID<Cluster.Dependency>>] = [:]
    private(set) var removedMembers: [UInt64] = []
    private(set) var changesInLastStep = 0
    /// What becomes of a task that starts; by default it runs.
    var outcome: (Cluster.Task) -> Cluster.Task.State = { _ in .running }
    /// Workers reject every task as soon as they look at it.
    var rejectsWhilePreparing = false
    /// Nodes whose workers say nothing.
    var silent: Set<String> = []
    private var ids: IDSource
    private var sessionOf: [Cluster.ID<Cluster.Node>: ManagerMachine.SessionID] = [:]
    private var nextToken: UInt64 = 0
    private var outcomes: [ManagerMachine.RequestToken: Control.Outcome] = [:]

    init(nodes names: [String] = ["a", "b", "c"], historyLimit: Int = 5) {
        var random = FixedRandom(state: 7)
        ids = IDSource(using: &random)
        var spec = Cluster.SwarmSpec(document: "{}")
        spec.taskHistoryLimit = historyLimit
        let swarm = Cluster.Swarm(
            id: ids.next(), spec: spec,
            trust: .init(rootCertificate: "", rootKey: "", issuerSubject: "", issuerPublicKey: ""),
            joinTokens: .init(worker: "w", manager: "m"), at: now)
        _ = store.apply(Proposal(changes: [.putSwarm(swarm)], at: now), at: 1)
        machine = ManagerMachine(store: store, ids: IDSource(using: &random), now: now)
        for name in names { join(name) }
    }

    // MARK: Nodes

    @discardableResult
    mutating func createNetwork(_ name: String, _ json: String = "{}") throws -> Cluster.ID<Cluster.Network> {
        var document = try JSON(parsing: json)
        document["Name"] = .string(name)
        let reply = try ask(.createNetwork(Cluster.NetworkSpec(parsing: document))).get()
        return Cluster.ID(reply.created!)!
    }

    mutating func join(_ name: String, labels: [String: String] = [:]) {
        let id: Cluster.ID<Cluster.Node> = ids.next()
        nodes[name] = id
        _ = ask(.admitNode(id, .init(labels: labels, role: .worker), address: "10.0.0.1"))
        connect(name)
    }

    mutating func connect(_ name: String) {
        nextToken += 1
        let session = ManagerMachine.SessionID(nextToken)
        sessionOf[nodes[name]!] = session
        step([
            .sessionOpened(
                session, of: nodes[name]!,
                .init(hostname: name, nanoCPUs: 2_000_000_000, memoryBytes: 1 << 30), address: "10.0.0.1")
        ])
    }

    mutating func setAvailability(_ name: String, _ availability: Cluster.Availability) throws {
        let node = store.node(nodes[name]!)!
        var spec = node.spec
        spec.availability = availability
        _ = try ask(.updateNode(node.id, version: node.meta.version, spec)).get()
    }

    // MARK: Asking

    @discardableResult
    mutating func ask(_ request: Control.Request) -> Control.Outcome {
        nextToken += 1
        let token = ManagerMachine.RequestToken(nextToken)
        step([.request(token, request)])
        return outcomes.removeValue(forKey: token)!
    }

    @discardableResult
    mutating func create(_ name: String = "web", _ json: String = #"{"Mode":{"Replicated":{"Replicas":3}}}"#) throws
        -> Cluster.ID<Cluster.Service>
    {
        let reply = try ask(.createService(Self.spec(name, json), registryAuth: nil)).get()
        return Cluster.ID(reply.created!)!
    }

    mutating func update(_ name: String = "web", _ json: String) throws {
        let service = store.service(named: name)!
        _ = try ask(
            .updateService(
                service.id, version: service.meta.version, .spec(Self.spec(name, json)), registryAuth: .fromCurrent)
        ).get()
    }

    mutating func rollback(_ name: String = "web") throws {
        let service = store.service(named: name)!
        _ = try ask(
            .updateService(service.id, version: service.meta.version, .rollback, registryAuth: .fromCurrent)
        ).get()
    }

    /// The members of `json` laid over a spec that runs nginx.
    static func spec(_ name: String, _ json: String) throws -> Cluster.ServiceSpec {
        var document = try JSON(parsing: json)
        document["Name"] = .string(name)
        var template = document["TaskTemplate"] ?? [:]
        var container = template["ContainerSpec"] ?? [:]
        if container["Image"] == nil { container["Image"] = "nginx:stable-alpine" }
        template["ContainerSpec"] = container
        document["TaskTemplate"] = template
        return try Cluster.ServiceSpec(parsing: document)
    }

    // MARK: Time

    /// Lets time pass, with every worker that is not silent speaking each second.
    mutating func pass(seconds: Int) {
        for _ in 0..<seconds {
            now = now.advanced(by: 1_000_000_000)
            step(speaking.map { .heard(sessionOf[$0]!, of: $0) } + [.woken])
        }
    }

    private var speaking: [Cluster.ID<Cluster.Node>] {
        nodes.filter { !silent.contains($0.key) }.map(\.value).filter { sessionOf[$0] != nil }.sorted()
    }

    /// One step of the leader, and then of the workers, until nothing moves.
    mutating func step(_ inputs: [ManagerMachine.Input]) {
        var inputs = inputs
        for _ in 0..<1_000 {
            var effects: [ManagerMachine.Effect] = []
            machine.step(inputs, store: store, now: now, effects: &effects)
            inputs = []
            changesInLastStep = 0
            for effect in effects {
                switch effect {
                case .propose(let proposal):
                    changesInLastStep = proposal.changes.count
                    _ = store.apply(proposal, at: store.index + 1)
                case .reply(let token, let outcome): outcomes[token] = outcome
                case .send(let message, let node, _):
                    sent.append(message)
                    if case .dependencies(let news) = message {
                        if news.isWhole { kept[node] = [] }
                        kept[node, default: []].subtract(news.gone)
                        kept[node, default: []].formUnion(news.put.map(\.id))
                    }
                    if case .network(let news) = message { pictures[node, default: .init()].apply(news) }
                case .wake(let moment):
                    wake = moment
                    if moment <= now { inputs.append(.woken) }
                case .removeMember(let member, _): removedMembers.append(member)
                case .close: break
                }
            }
            inputs += workers()
            if inputs.isEmpty { return }
        }
        preconditionFailure("the cluster does not come to rest")
    }

    private func workers() -> [ManagerMachine.Input] {
        speaking.compactMap { node in
            let reports = store.tasks(on: node).compactMap(report(on:))
            return reports.isEmpty ? nil : .statuses(sessionOf[node]!, of: node, reports)
        }
    }

    private func report(on task: Cluster.Task) -> Dispatch.StatusReport? {
        guard !task.status.state.isTerminal else { return nil }
        let state: Cluster.Task.State =
            switch task.desired {
            case ...Task.State.running where rejectsWhilePreparing: .rejected
            case .ready: .ready
            case ...Task.State.running: outcome(task)
            default: .shutdown
            }
        guard state > task.status.state else { return nil }
        return .init(task: task.id, status: .init(state, at: now, message: "\(state)"))
    }

    // MARK: Looking

    func freshIDs() -> IDSource { ids }

    func tasks(_ name: String = "web") -> [Cluster.Task] {
        store.service(named: name).map { store.tasks(of: $0.id) } ?? []
    }

    func running(_ name: String = "web") -> [Cluster.Task] {
        tasks(name).filter { $0.desired == .running && $0.status.state == .running }
    }

    func name(of node: Cluster.ID<Cluster.Node>?) -> String { nodes.first { $0.value == node }?.key ?? "-" }

    /// Running tasks of the service on each node, as `a:1 b:2`.
    func spread(_ service: String = "web") -> String {
        nodes.keys.sorted().map { name in "\(name):\(running(service).count { $0.node == nodes[name] })" }
            .joined(separator: " ")
    }

    /// The image that each slot runs.
    func images(_ name: String = "web") -> [String] {
        running(name).sorted { $0.slot < $1.slot }.map { store.revision($0.revision, of: $0.service)!.spec.image }
    }
}

struct FixedRandom: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state
    }
}
