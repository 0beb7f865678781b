public import ClusterModel
public import ClusterStore

/// Everything that the leader decides, as a value: what came in and the committed store go in, one proposal and what
/// follows from it come out.
///
/// Its owner takes all that waits, calls `step` once, has the proposal committed, and only then performs the other
/// effects: an answer or an assignment never runs ahead of what it rests on. While a proposal is under way new inputs
/// gather; if it is not committed the office is over and so is this value. What it remembers between steps can be
/// built anew from the store and from the workers, who come back: sessions, loads, what is to be looked at again.
public struct ManagerMachine: Sendable {
    public typealias NodeID = Cluster.ID<Cluster.Node>
    public typealias ServiceID = Cluster.ID<Cluster.Service>
    public typealias TaskID = Cluster.ID<Cluster.Task>

    /// Names one question, so that its answer finds the way back. Chosen by the owner.
    public struct RequestToken: Hashable, Sendable {
        public let rawValue: UInt64
        public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    }

    /// One stay of a worker; a newer one of the same node takes its place.
    public struct SessionID: Hashable, Sendable {
        public let rawValue: UInt64
        public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    }

    public enum Input: Sendable {
        case request(RequestToken, Control.Request)
        case sessionOpened(SessionID, of: NodeID, Cluster.NodeDescription, address: String)
        case heard(SessionID, of: NodeID)
        case statuses(SessionID, of: NodeID, [Dispatch.StatusReport])
        case sessionClosed(SessionID, of: NodeID)
        /// A moment that was asked for with `.wake` has come.
        case woken
    }

    public enum Effect: Sendable, Equatable {
        /// At most one a step, and the first of its effects. The others wait until it is committed and applied.
        case propose(Proposal)
        case reply(RequestToken, Control.Outcome)
        case send(Dispatch.FromManager, to: NodeID, SessionID)
        /// Nothing more is sent to it.
        case close(SessionID, of: NodeID)
        /// Step again then, even if nothing comes in. Replaces an earlier wish.
        case wake(at: Cluster.Timestamp)
        /// Have Raft let this member go, then ask `.setManager(node, nil)`.
        case removeMember(UInt64, node: NodeID)
    }

    /// A step makes about this many changes; the rest stays for the next one, so that no entry grows without bound.
    public static let changesPerStep = 2_000

    private var ids: IDSource
    private var loads: NodeLoads
    private var book: AddressBook
    private var sessions: Sessions
    private var dirtyServices: Set<ServiceID>
    private var unplaced: Set<TaskID>
    /// Set when a node came, changed or has more room: tasks that found no place may find one now.
    private var placesChanged = true
    private var dirtyNodes: Set<NodeID> = []
    /// Set when nodes or published ports changed: who carries the ingress network is looked at again.
    private var ingressChanged = true
    private var alarms: [ServiceID: Cluster.Timestamp] = [:]
    /// Demotions that an earlier leader began and did not end.
    private var unfinishedDemotions: [Effect]

    /// - Parameter store: with everything committed before this office began.
    public init(store: ClusterStore, ids: IDSource, now: Cluster.Timestamp) {
        self.ids = ids
        loads = NodeLoads(store)
        book = AddressBook(store)
        sessions = Sessions(store, now: now)
        dirtyServices = Set(store.services.map(\.id)).union(store.tasks.map(\.service))
        unfinishedDemotions = store.nodes.compactMap { node in
            guard node.spec.role == .worker, let manager = node.manager else { return nil }
            return .removeMember(manager.member, node: node.id)
        }
        unplaced = Set(store.tasks.filter { $0.status.state == .pending && $0.desired <= .running }.map(\.id))
    }

    public mutating func step(
        _ inputs: [Input], store: ClusterStore, now: Cluster.Timestamp, effects: inout [Effect]
    ) {
        var draft = Draft(store: store, now: now, ids: ids)
        var after = unfinishedDemotions
        unfinishedDemotions = []
        for input in inputs { take(input, &draft, &after) }
        sessions.expire(in: &draft)
        absorb(&draft)

        let isMore = settle(&draft)
        sessions.dispatch(dirtyNodes, draft.store, into: &after)
        dirtyNodes.removeAll(keepingCapacity: true)

        ids = draft.ids
        if let proposal = draft.proposal { effects.append(.propose(proposal)) }
        effects += after
        if let next = isMore ? now : nextAlarm { effects.append(.wake(at: next)) }
    }

    /// For the debug dump.
    public var queueDepths: (dirtyServices: Int, unplacedTasks: Int, sessions: Int) {
        (dirtyServices.count, unplaced.count, sessions.count)
    }
}

// MARK: - Inputs

extension ManagerMachine {
    private mutating func take(_ input: Input, _ draft: inout Draft, _ after: inout [Effect]) {
        switch input {
        case .request(let token, let request):
            do throws(ControlError) {
                let reply = try decide(request, &draft, &after)
                after.append(.reply(token, .success(reply)))
            } catch {
                after.append(.reply(token, .failure(error)))
            }
        case .sessionOpened(let session, let node, let description, let address):
            if sessions.open(session, of: node, description, address: address, in: &draft, after: &after) {
                dirtyNodes.insert(node)
            }
        case .heard(let session, let node): sessions.heard(session, of: node, at: draft.now)
        case .statuses(let session, let node, let reports):
            sessions.heard(session, of: node, at: draft.now)
            for report in reports { TaskStatuses.accept(report, from: node, in: &draft) }
        case .sessionClosed(let session, let node): sessions.close(session, of: node)
        case .woken: break
        }
    }

    private mutating func decide(
        _ request: Control.Request, _ draft: inout Draft, _ after: inout [Effect]
    ) throws(ControlError) -> Control.Reply {
        switch request {
        case .createService(let spec, let auth):
            return try ServiceRequests.create(spec, registryAuth: auth, book: &book, in: &draft)
        case .updateService(let id, let version, let change, let auth):
            return try ServiceRequests.update(id, version: version, change, registryAuth: auth, book: &book, in: &draft)
        case .removeService(let id):
            return try ServiceRequests.remove(id, in: &draft)
        case .createDependency(let spec):
            return try DependencyRequests.create(spec, in: &draft)
        case .relabelDependency(let id, let kind, let version, let labels):
            return try DependencyRequests.relabel(id, kind, version: version, labels, in: &draft)
        case .removeDependency(let id, let kind):
            return try DependencyRequests.remove(id, kind, in: &draft)
        case .createNetwork(let spec):
            return try NetworkRequests.create(spec, book: &book, in: &draft)
        case .removeNetwork(let id):
            return try NetworkRequests.remove(id, in: &draft)
        case .updateNode(let id, let version, let spec):
            let reply = try SwarmRequests.updateNode(id, version: version, spec, in: &draft)
            if spec.role == .worker, let manager = draft.store.node(id)?.manager {
                after.append(.removeMember(manager.member, node: id))
            }
            return reply
        case .removeNode(let id, let force):
            return try SwarmRequests.removeNode(id, force: force, in: &draft)
        case .updateSwarm(let version, let spec, let rotation):
            return try SwarmRequests.updateSwarm(version: version, spec, rotate: rotation, in: &draft)
        case .admitNode(let id, let spec, let address):
            return try SwarmRequests.admitNode(id, spec, address: address, in: &draft)
        case .setManager(let id, let status):
            return try SwarmRequests.setManager(id, status, in: &draft)
        }
    }
}

// MARK: - Decisions

extension ManagerMachine {
    /// Services, then places, in turn until nothing is left to decide.
    ///
    /// - Returns: true if there is more to do than one step may hold.
    private mutating func settle(_ draft: inout Draft) -> Bool {
        for service in alarms.filter({ $0.value <= draft.now }).map(\.key) { dirtyServices.insert(service) }

        var rounds = 0
        while !dirtyServices.isEmpty || (placesChanged && !unplaced.isEmpty) {
            rounds += 1
            precondition(
                rounds < 100,
                "decisions do not come to rest: services \(dirtyServices.sorted()), tasks \(unplaced.sorted())")
            for service in dirtyServices.sorted() {
                guard draft.count < Self.changesPerStep else { return true }
                dirtyServices.remove(service)
                let before = draft.count
                alarms[service] = Services.reconcile(
                    service, loads: loads, limit: Self.changesPerStep, in: &draft)
                if draft.count > before, draft.count >= Self.changesPerStep { dirtyServices.insert(service) }
                absorb(&draft)
            }
            place(&draft)
            absorb(&draft)
        }
        settleGateways(&draft)
        return false
    }

    /// Gives each task that waits for a node the best one, or the reason why there is none.
    private mutating func place(_ draft: inout Draft) {
        guard placesChanged, !unplaced.isEmpty else { return }
        placesChanged = false
        let nodes = draft.store.nodes
        for id in unplaced.sorted() {
            guard let task = draft.store.task(id), task.desired <= .running, task.status.state == .pending,
                let spec = draft.store.revision(task.revision, of: task.service)?.spec
            else {
                unplaced.remove(id)
                continue
            }
            do {
                // Of a global service each task was made for its node.
                let node =
                    try task.node ?? Scheduler.place(spec, of: task.service, on: nodes, loads: loads).get()
                let attachments = try book.attach(spec, to: node, in: &draft)
                unplaced.remove(id)
                let status = Cluster.TaskStatus(
                    .assigned, at: draft.now, message: "scheduler assigned task to node")
                draft.change(task) { ($0.node, $0.status, $0.attachments) = (node, status, attachments) }
                absorb(&draft)
            } catch {
                guard task.status.error != "\(error)" else { continue }
                draft.change(task) { $0.status.error = "\(error)" }
            }
        }
    }

    /// Every node is on the ingress network while a service publishes there, and on others while it has tasks there.
    private mutating func settleGateways(_ draft: inout Draft) {
        let mayLeave = ingressChanged && !book.isIngressUsed ? draft.store.nodes.map(\.id) : dirtyNodes.sorted()
        for id in mayLeave {
            guard let node = draft.store.node(id), !node.attachments.isEmpty else { continue }
            book.leaveUnused(node, in: &draft)
        }
        if ingressChanged, book.isIngressUsed, let ingress = draft.store.ingress {
            for node in draft.store.nodes where !node.attachments.contains(where: { $0.network == ingress.id }) {
                // A node without an address there does not answer on published ports; the network's use says so.
                try? book.join(node.id, [ingress], in: &draft)
            }
        }
        absorb(&draft)
        ingressChanged = false
    }

    /// Takes note of what the draft's changes touched.
    private mutating func absorb(_ draft: inout Draft) {
        for event in draft.takeEvents() {
            book.note(event)
            sessions.pictures.note(event, in: draft.store)
            switch event {
            case .task(let old, let new):
                loads.replace(old, by: new, in: draft.store)
                let task = (new ?? old)!
                dirtyServices.insert(task.service)
                for node in [old?.node, new?.node] { if let node { dirtyNodes.insert(node) } }
                if let new, new.status.state == .pending, new.desired <= .running {
                    if old == nil { placesChanged = true }
                    unplaced.insert(new.id)
                } else {
                    unplaced.remove(task.id)
                }
                if let old, !old.status.state.isTerminal, new?.status.state.isTerminal ?? true { placesChanged = true }
            case .node(let old, let new):
                placesChanged = true
                if old == nil { ingressChanged = true }
                let id = (new ?? old)!.id
                for task in draft.store.tasks(on: id) { dirtyServices.insert(task.service) }
                for service in draft.store.services
                where draft.store.currentRevision(of: service)?.spec.mode == .global {
                    dirtyServices.insert(service.id)
                }
                if new == nil { dirtyNodes.insert(id) }
                sessions.noteNode(old: old, new: new)
            case .service(let old, let new):
                dirtyServices.insert((new ?? old)!.id)
                if new == nil { alarms[old!.id] = nil }
                if old?.endpoint != new?.endpoint { ingressChanged = true }
            case .dependency: break
            case .network(_, let new): if new?.spec.isIngress == true { ingressChanged = true }
            case .swarm(let old, let new):
                sessions.noteSwarm(old: old, new: new)
                if old?.spec.taskHistoryLimit != new.spec.taskHistoryLimit {
                    dirtyServices.formUnion(draft.store.services.map(\.id))
                }
            }
        }
    }

    private var nextAlarm: Cluster.Timestamp? {
        [alarms.values.min(), sessions.nextDeadline].compactMap(\.self).min()
    }
}

/// What a worker says of a task.
enum TaskStatuses {
    /// A status moves only forward, and only by the node that owns the task.
    static func accept(_ report: Dispatch.StatusReport, from node: Cluster.ID<Cluster.Node>, in draft: inout Draft) {
        guard let task = draft.store.task(report.task), task.node == node, report.status.state >= task.status.state,
            report.status != task.status
        else { return }
        draft.change(task) { $0.status = report.status }
    }
}
