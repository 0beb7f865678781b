import ClusterModel
import ClusterStore

/// The workers that are connected to this leader: who was heard when, and what each was sent.
///
/// Gone with the office; workers come back to the next leader and are sent everything.
///
/// - Source: swarmkit manager/dispatcher/dispatcher.go.
struct Sessions: Sendable {
    typealias NodeID = Cluster.ID<Cluster.Node>

    private struct Session {
        let id: ManagerMachine.SessionID
        /// What the node was sent last, by task; nil before its first full set.
        var sent: [Cluster.ID<Cluster.Task>: Cluster.Task.State]?
        var heardCluster: Bool
        var heardNetworks = false
        /// The secrets and configs that it was sent; nil before its first full set.
        var dependencies: Set<Cluster.ID<Cluster.Dependency>>?
    }

    /// Periods without a word after which a node counts as down.
    private static let silentPeriodsAllowed: Int64 = 3

    /// How much of secrets and configs goes into one message, about.
    private static let bytesPerMessage = 2 << 20

    private var open: [NodeID: Session] = [:]
    /// When each node that is thought to be up is given up.
    private var deadlines: [NodeID: Cluster.Timestamp] = [:]
    private var heartbeatPeriod: Int64
    /// What changed on the networks since the last step.
    var pictures = NetworkPictures()
    private var managers: [Dispatch.ManagerAddress]

    init(_ store: ClusterStore, now: Cluster.Timestamp) {
        heartbeatPeriod = store.swarm?.spec.heartbeatPeriod ?? 5_000_000_000
        managers = Self.managers(in: store)
        // A new leader has heard of nobody: all are given the same time to come.
        for node in store.nodes where node.status.state != .down {
            deadlines[node.id] = now.advanced(by: allowedSilence)
        }
    }

    var count: Int { open.count }
    var nextDeadline: Cluster.Timestamp? { deadlines.values.min() }

    private var allowedSilence: Int64 {
        // A heartbeat of nothing is accepted, as by swarmkit; it must not make every node look dead.
        max(heartbeatPeriod, 1_000_000_000).multipliedReportingOverflow(by: Self.silentPeriodsAllowed).partialValue
    }

    // MARK: Coming and going

    /// - Returns: false for a node that the swarm does not know: it is told so.
    mutating func open(
        _ session: ManagerMachine.SessionID, of id: NodeID, _ description: Cluster.NodeDescription, address: String,
        in draft: inout Draft, after: inout [ManagerMachine.Effect]
    ) -> Bool {
        if let old = open[id] { after.append(.close(old.id, of: id)) }
        guard var node = draft.store.node(id) else {
            open[id] = nil
            after += [.send(.removed, to: id, session), .close(session, of: id)]
            return false
        }
        open[id] = Session(id: session, sent: nil, heardCluster: true)
        deadlines[id] = draft.now.advanced(by: allowedSilence)
        let status = Cluster.NodeStatus(state: .ready, address: address)
        if node.description != description || node.status != status {
            node.description = description
            node.status = status
            draft.make(.putNode(node))
        }
        after.append(
            .send(
                .welcome(heartbeatPeriod: heartbeatPeriod, role: node.role, managers: managers), to: id, session))
        return true
    }

    mutating func heard(_ session: ManagerMachine.SessionID, of node: NodeID, at now: Cluster.Timestamp) {
        guard open[node]?.id == session else { return }
        deadlines[node] = now.advanced(by: allowedSilence)
    }

    /// The node is not given up yet: its daemon may only be restarting.
    mutating func close(_ session: ManagerMachine.SessionID, of node: NodeID) {
        if open[node]?.id == session { open[node] = nil }
    }

    /// Marks as down the nodes that were silent for too long.
    mutating func expire(in draft: inout Draft) {
        for id in deadlines.filter({ $0.value <= draft.now }).map(\.key).sorted() {
            deadlines[id] = nil
            guard var node = draft.store.node(id), node.status.state != .down else { continue }
            node.status.state = .down
            node.status.message = "heartbeat failure"
            draft.make(.putNode(node))
        }
    }

    // MARK: What they are told

    mutating func noteNode(old: Cluster.Node?, new: Cluster.Node?) {
        if let gone = old, new == nil { deadlines[gone.id] = nil }
        if let new {
            if old?.role != new.role { open[new.id]?.heardCluster = false }
        }
        if old?.manager != new?.manager || (new == nil && old?.manager != nil) { tellEveryone() }
    }

    mutating func noteSwarm(old: Cluster.Swarm?, new: Cluster.Swarm) {
        guard old?.spec.heartbeatPeriod != new.spec.heartbeatPeriod else { return }
        heartbeatPeriod = new.spec.heartbeatPeriod
        tellEveryone()
    }

    private mutating func tellEveryone() {
        for node in open.keys { open[node]!.heardCluster = false }
    }

    /// Sends each node what changed for it.
    mutating func dispatch(
        _ dirty: Set<NodeID>, _ store: ClusterStore, into effects: inout [ManagerMachine.Effect]
    ) {
        tellOfNetworks(store, into: &effects)
        let news = open.filter { !$0.value.heardCluster }.map(\.key)
        if !news.isEmpty { managers = Self.managers(in: store) }
        for id in dirty.union(news).sorted() {
            guard var session = open[id] else { continue }
            guard let node = store.node(id) else {
                effects += [.send(.removed, to: id, session.id), .close(session.id, of: id)]
                open[id] = nil
                continue
            }
            if !session.heardCluster {
                session.heardCluster = true
                effects.append(
                    .send(
                        .cluster(heartbeatPeriod: heartbeatPeriod, role: node.role, managers: managers), to: id,
                        session.id))
            }
            sendAssignments(id, &session, store, into: &effects)
            open[id] = session
        }
    }

    /// Before the assignments: a network is there when the first task comes to it.
    private mutating func tellOfNetworks(_ store: ClusterStore, into effects: inout [ManagerMachine.Effect]) {
        let desk = pictures.isEmpty ? nil : pictures.news(in: store)
        for id in open.keys.sorted() where desk != nil || open[id]?.heardNetworks == false {
            guard let session = open[id], let node = store.node(id) else { continue }
            open[id]!.heardNetworks = true
            let news = session.heardNetworks ? desk?.news(for: node) : pictures.whole(for: node, in: store)
            if let news { effects.append(.send(.network(news), to: id, session.id)) }
        }
        pictures.clear()
    }

    private func sendAssignments(
        _ node: NodeID, _ session: inout Session, _ store: ClusterStore, into effects: inout [ManagerMachine.Effect]
    ) {
        let tasks = store.tasks(on: node).filter { $0.status.state >= .assigned }
        sendDependencies(of: tasks, node, &session, store, into: &effects)
        let wished = Dictionary(uniqueKeysWithValues: tasks.map { ($0.id, $0.desired) })
        let changed = tasks.filter { session.sent?[$0.id] != $0.desired }.compactMap { assignment($0, node, store) }
        if let sent = session.sent {
            let gone = sent.keys.filter { wished[$0] == nil }.sorted()
            if !changed.isEmpty || !gone.isEmpty {
                effects.append(.send(.assign(changed, remove: gone), to: node, session.id))
            }
        } else {
            effects.append(.send(.assignAll(changed), to: node, session.id))
        }
        session.sent = wished
    }

    private func sendDependencies(
        of tasks: [Cluster.Task], _ node: NodeID, _ session: inout Session, _ store: ClusterStore,
        into effects: inout [ManagerMachine.Effect]
    ) {
        var used: Set<Cluster.ID<Cluster.Dependency>> = []
        for task in tasks where !task.status.state.isTerminal {
            for reference in store.revision(task.revision, of: task.service)?.spec.dependencies ?? [] {
                if let id = Cluster.ID<Cluster.Dependency>(reference.id) { used.insert(id) }
            }
        }
        let had = session.dependencies ?? []
        guard session.dependencies == nil || used != had else { return }
        session.dependencies = used
        var news = Dispatch.DependencyNews(
            isWhole: session.sent == nil, put: [], gone: had.subtracting(used).sorted())
        var size = 0
        for dependency in used.subtracting(had).sorted().compactMap(store.dependency) {
            // One message holds about as much as one link may carry at a time.
            if size > 0, size + dependency.spec.data.utf8.count > Self.bytesPerMessage {
                effects.append(.send(.dependencies(news), to: node, session.id))
                news = .init(isWhole: false, put: [])
                size = 0
            }
            news.put.append(dependency)
            size += dependency.spec.data.utf8.count
        }
        effects.append(.send(.dependencies(news), to: node, session.id))
    }

    private func assignment(_ task: Cluster.Task, _ node: NodeID, _ store: ClusterStore) -> Dispatch.Assignment? {
        store.revision(task.revision, of: task.service).map {
            Dispatch.Assignment(
                task: task, revision: $0, node: node,
                attachments: task.attachments.compactMap { attachment in
                    store.network(attachment.network).map { .init(attachment, network: $0) }
                })
        }
    }

    private static func managers(in store: ClusterStore) -> [Dispatch.ManagerAddress] {
        store.nodes.compactMap { node in
            node.manager.map { Dispatch.ManagerAddress(node: node.id, address: $0.address) }
        }
    }
}
