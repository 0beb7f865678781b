import ClusterModel
import ClusterStore
import EngineAPI
import Logging
import Synchronization

@testable import EngineServer

/// A manager whose cluster is a store in memory: requests are written down, not carried out.
final class Fixture: SwarmLife, ClusterAccess, EngineAnswers {
    struct State {
        var local = LocalSwarm()
        var refusal: LifeError?
        var store = ClusterStore()
        var index: UInt64 = 0
        var managers = ManagersView()
        var submitted: [Control.Request] = []
        var outcome: Control.Outcome = .success(Control.Reply(created: "new"))
        var initialized: [SwarmInit] = []
        var joined: [SwarmJoin] = []
        var left: [Bool] = []
        var engine: [String: EngineAnswer] = [:]
        var asked: [String] = []
        var logWishes: [Dispatch.LogWish] = []
        var events: ClusterEventFeed?
        var logs: [Dispatch.LogBatch] = []
    }

    let state = Mutex(State())

    var router: Router {
        var log = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        log.logLevel = .critical
        return Router(life: self, engine: self, log: log)
    }

    init() {
        state.withLock {
            $0.local = LocalSwarm(
                state: .active, nodeID: Self.node(1), nodeAddress: "10.0.0.1", controlAvailable: true,
                remoteManagers: [.init(node: Self.node(1), address: "10.0.0.1:2377")])
            $0.engine["/_ping"] = EngineAnswer(
                status: 200,
                headers: [
                    Header("Api-Version", "1.41"), Header("Content-Type", "text/plain; charset=utf-8"),
                    Header("Server", "Docker/20.10"), Header("Connection", "close"), Header("Swarm", "inactive"),
                ], body: Array("OK".utf8))
        }
    }

    func answer(_ path: String, _ body: String, status: Int = 200) {
        state.withLock {
            $0.engine[path] = EngineAnswer(
                status: status, headers: [Header("Content-Type", "application/json")], body: Array(body.utf8))
        }
    }

    @discardableResult
    func apply(_ changes: StoreChange...) -> UInt64 {
        state.withLock {
            $0.index += 1
            _ = $0.store.apply(Proposal(changes: changes, at: .init(nanoseconds: Int64($0.index))), at: $0.index)
            return $0.index
        }
    }

    var submitted: [Control.Request] { state.withLock { $0.submitted } }
    var store: ClusterStore { state.withLock { $0.store } }

    func send(_ method: String, _ target: String, _ body: String = "", headers: [Header] = []) async -> Answer {
        let response = await router.respond(to: Request(method, target, headers: headers, body: body))
        return Answer(response: response)
    }

    struct Answer {
        var response: Response
        var status: Int { response.status }
        var text: String { String(decoding: response.body, as: UTF8.self) }
        var json: JSON { (try? JSON(parsing: response.body)) ?? .null }
        var message: String? { json["message"]?.string }
        var ids: [String] { json.array?.compactMap { $0["ID"]?.string } ?? [] }
    }

    // MARK: SwarmLife

    func local() async -> LocalSwarm { state.withLock { $0.local } }

    func cluster() async throws(LifeError) -> any ClusterAccess {
        if let refusal = state.withLock({ $0.refusal }) { throw refusal }
        return self
    }

    func events() async -> ClusterEventFeed? { state.withLock { $0.events } }

    func initialize(_ request: SwarmInit) async throws(LifeError) -> String {
        state.withLock { $0.initialized.append(request) }
        return Self.node(1).description
    }

    func join(_ request: SwarmJoin) async throws(LifeError) { state.withLock { $0.joined.append(request) } }
    func leave(force: Bool) async throws(LifeError) {
        state.withLock { $0.left.append(force) }
        if !force { throw .managerLeaves(.asTheLast) }
    }
    func newTokens(worker: Bool, manager: Bool) async throws(LifeError) -> Control.TokenRotation {
        .init(worker: worker ? "new-worker" : nil, manager: manager ? "new-manager" : nil)
    }
    func debugDump() async -> JSON { ["role": "leader"] }

    // MARK: ClusterAccess

    func submit(_ request: Control.Request) async throws(ControlError) -> Control.Reply {
        let outcome = state.withLock {
            $0.submitted.append(request)
            return $0.outcome
        }
        return try outcome.get()
    }

    func snapshot() async throws(ControlError) -> ClusterStore { store }
    func logs(
        _ wish: Dispatch.LogWish, to receive: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void
    ) async throws {
        let batches = state.withLock {
            $0.logWishes.append(wish)
            return $0.logs
        }
        for batch in batches { try await receive(batch) }
        if wish.follows { try await Task.sleep(for: .seconds(3_600)) }
    }
    func managers() async -> ManagersView { state.withLock { $0.managers } }

    // MARK: EngineAnswers

    func ask(_ method: String, _ path: String, body: [UInt8]) async throws -> EngineAnswer {
        try state.withLock {
            let path = method == "GET" ? path : "\(method) \(path)"
            $0.asked.append(path)
            guard let answer = $0.engine[path] else { throw EngineUnreachable(socket: "/e", reason: "no \(path)") }
            return answer
        }
    }

    func open(_ path: String) async throws -> EngineStream {
        var head = try await get(path)
        let body = head.body
        head.body = []
        return EngineStream(
            head: head,
            body: AsyncThrowingStream { pieces in
                // Cut in the middle of lines, as a network does.
                for start in stride(from: 0, to: body.count, by: 7) {
                    pieces.yield(Array(body[start..<min(start + 7, body.count)]))
                }
                pieces.finish()
            })
    }

    // MARK: Objects

    static func node(_ number: UInt128) -> Cluster.ID<Cluster.Node> { .init(bits: number) }
    static func service(_ number: UInt128) -> Cluster.ID<Cluster.Service> { .init(bits: number) }
    static func task(_ number: UInt128) -> Cluster.ID<Cluster.Task> { .init(bits: number) }
    static let then = Cluster.Timestamp(nanoseconds: 1_500_000_000_123_456_789)

    func addSwarm() throws {
        apply(
            .putSwarm(
                Cluster.Swarm(
                    id: .init(bits: 5), spec: try .init(parsing: [:]),
                    trust: .init(
                        rootCertificate: "PEM", rootKey: "SECRET", issuerSubject: "U1VC", issuerPublicKey: "S0VZ"),
                    joinTokens: .init(worker: "SWMTKN-w", manager: "SWMTKN-m"), at: Self.then,
                    defaultAddressPools: ["10.0.0.0/8"])))
    }

    func addNode(_ number: UInt128, _ hostname: String, manager: Bool = false, labels: [String: String] = [:]) {
        var node = Cluster.Node(
            id: Self.node(number), spec: .init(labels: labels, role: manager ? .manager : .worker),
            status: .init(state: .ready, address: "10.0.0.\(number)"), at: Self.then)
        node.description = .init(
            hostname: hostname, nanoCPUs: 2_000_000_000, memoryBytes: 1 << 30, engineVersion: "20.10.24",
            engineLabels: ["disk": "fast"])
        if manager { node.manager = .init(member: UInt64(number), address: "10.0.0.\(number):2377") }
        apply(.putNode(node))
    }

    @discardableResult
    func addService(_ number: UInt128, _ document: JSON) throws -> Cluster.Service {
        var service = Cluster.Service(id: Self.service(number), at: Self.then)
        let spec = try Cluster.ServiceSpec(parsing: document)
        service.endpoint.ports = spec.ports
        apply(
            .putRevision(
                .init(
                    service: service.id, number: 1, template: 1, spec: spec,
                    createdAt: Self.then,
                    registryAuth: nil)), .putService(service))
        return service
    }

    func addTask(
        _ number: UInt128, of service: UInt128, slot: Int = 1, on node: UInt128? = nil,
        _ state: Cluster.Task.State = .running, desired: Cluster.Task.State = .running, revision: UInt64 = 1
    ) {
        var task = Cluster.Task(
            id: Self.task(number), service: Self.service(service), slot: slot, revision: revision,
            node: node.map(Self.node), desired: desired, status: .init(state, at: Self.then, message: "started"),
            at: Self.then)
        task.status.container = .init(id: "c\(number)", pid: 7)
        apply(.putTask(task))
    }

    static func web(_ name: String = "web", image: String = "nginx", replicas: Int = 2) -> JSON {
        [
            "Name": .string(name), "Labels": ["team": "blue"],
            "TaskTemplate": ["ContainerSpec": ["Image": .string(image)], "Later": 18_446],
            "Mode": ["Replicated": ["Replicas": JSON(replicas)]],
            "EndpointSpec": [
                "Ports": [["Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"]]
            ],
        ]
    }
}
