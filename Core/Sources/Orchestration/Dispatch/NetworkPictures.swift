import ClusterModel
import ClusterStore

/// What changed on the swarm's networks since the workers were last told.
///
/// Holds what is dirty and nothing per session: a fact is computed once and sent to the nodes on its networks.
struct NetworkPictures: Sendable {
    typealias NodeID = Cluster.ID<Cluster.Node>
    typealias NetworkID = Cluster.ID<Cluster.Network>
    typealias Fact = Dispatch.NetworkFact

    private var networks: Set<NetworkID> = []
    /// With the networks on which each was before.
    private var services: [Cluster.ID<Cluster.Service>: Set<NetworkID>] = [:]
    private var tasks: [Cluster.ID<Cluster.Task>: Set<NetworkID>] = [:]
    /// Nodes that came to a network: they are told all about it.
    private var joined: [NodeID: Set<NetworkID>] = [:]
    private var left: [NodeID: Set<NetworkID>] = [:]

    mutating func note(_ event: StoreEvent, in store: ClusterStore) {
        switch event {
        case .network(let old, let new): networks.insert((new ?? old)!.id)
        case .node(let old, let new):
            let before = old?.attachments ?? []
            let after = new?.attachments ?? []
            let hasMoved = old?.status.address != new?.status.address
            for attachment in before where hasMoved || !after.contains(attachment) {
                networks.insert(attachment.network)
            }
            for attachment in before where !after.contains(where: { $0.network == attachment.network }) {
                left[old!.id, default: []].insert(attachment.network)
            }
            for attachment in after where hasMoved || !before.contains(attachment) {
                networks.insert(attachment.network)
                if let new, !before.contains(where: { $0.network == attachment.network }) {
                    joined[new.id, default: []].insert(attachment.network)
                }
            }
        case .service(let old, let new):
            let id = (new ?? old)!.id
            guard old?.endpoint != new?.endpoint || old?.current != new?.current else { return }
            services[id, default: []].formUnion((old?.endpoint.virtualIPs ?? []).map(\.network))
            services[id]!.formUnion(Self.networks(of: id, in: store))
        case .task(let old, let new):
            guard old?.attachments.isEmpty == false || new?.attachments.isEmpty == false else { return }
            touch(old, new)
        default: break
        }
    }

    private mutating func touch(_ old: Cluster.Task?, _ new: Cluster.Task?) {
        let id = (new ?? old)!.id
        for task in [old, new] { tasks[id, default: []].formUnion((task?.attachments ?? []).map(\.network)) }
    }

    /// True when no worker has to be told anything.
    var isEmpty: Bool { networks.isEmpty && services.isEmpty && tasks.isEmpty && joined.isEmpty && left.isEmpty }

    mutating func clear() { self = NetworkPictures() }

    // MARK: What to say

    /// Everything that a node must know; for the beginning of its session.
    func whole(for node: Cluster.Node, in store: ClusterStore) -> Dispatch.NetworkNews {
        let on = Set(node.attachments.map(\.network))
        return .init(version: store.index, isWhole: true, facts: on.isEmpty ? [] : Self.facts(on, in: store))
    }

    /// The differences for many nodes; each fact is made once.
    func news(in store: ClusterStore) -> NewsDesk {
        var desk = NewsDesk(version: store.index)
        for id in networks.sorted() {
            if let fact = Self.fact(id, in: store) {
                desk.facts.append((fact, [id]))
            } else {
                desk.gone.append((.network(id), nil))
            }
        }
        for (id, before) in services.sorted(by: { $0.key < $1.key }) {
            let now = Self.networks(of: id, in: store)
            if let fact = Self.fact(id, in: store), !now.isEmpty { desk.facts.append((fact, now)) }
            let left = before.subtracting(now)
            if !left.isEmpty || now.isEmpty { desk.gone.append((.service(id), left.union(before))) }
        }
        for (id, before) in tasks.sorted(by: { $0.key < $1.key }) {
            if let fact = Self.fact(id, in: store) {
                desk.facts.append((fact, Set(store.task(id)!.attachments.map(\.network))))
            } else {
                desk.gone.append((.endpoint(id), before))
            }
        }
        desk.left = left
        for (node, networks) in joined { desk.joined[node] = Self.facts(networks, in: store) }
        return desk
    }

    /// One step's news before it is sorted by node.
    struct NewsDesk {
        var version: UInt64
        var facts: [(fact: Fact, on: Set<NetworkID>)] = []
        /// nil: everybody.
        var gone: [(key: Fact.Key, on: Set<NetworkID>?)] = []
        var joined: [NodeID: [Fact]] = [:]
        var left: [NodeID: Set<NetworkID>] = [:]

        /// - Returns: nil when there is nothing that concerns the node.
        func news(for node: Cluster.Node) -> Dispatch.NetworkNews? {
            let on = Set(node.attachments.map(\.network))
            var mine = facts.filter { !$0.on.isDisjoint(with: on) }.map(\.fact)
            if let more = joined[node.id] {
                let known = Set(mine.map(\.key))
                mine += more.filter { !known.contains($0.key) }
            }
            let kept = Set(mine.map(\.key))
            let gone =
                left[node.id, default: []].subtracting(on).sorted().map(Fact.Key.network)
                + gone.filter { entry in
                    !kept.contains(entry.key) && (entry.on.map { !$0.isDisjoint(with: on) } ?? true)
                }.map(\.key)
            guard !mine.isEmpty || !gone.isEmpty else { return nil }
            return .init(version: version, isWhole: false, facts: mine, gone: gone)
        }
    }

    // MARK: Facts

    private static func facts(_ networks: Set<NetworkID>, in store: ClusterStore) -> [Fact] {
        var facts = networks.sorted().compactMap { fact($0, in: store) }
        for service in store.services where !Self.networks(of: service.id, in: store).isDisjoint(with: networks) {
            if let fact = fact(service.id, in: store) { facts.append(fact) }
        }
        // Also of services that are not there any more: their tasks still have their addresses.
        let tasks = Set(networks.flatMap { store.tasks(onNetwork: $0).map(\.id) })
        return facts + tasks.sorted().compactMap { fact($0, in: store) }
    }

    private static func fact(_ id: NetworkID, in store: ClusterStore) -> Fact? {
        guard let network = store.network(id) else { return nil }
        let gateways = store.nodes.compactMap { node -> Dispatch.NetworkOnNode.Gateway? in
            guard let attachment = node.attachments.first(where: { $0.network == id }),
                let dataPath = IPAddress(node.status.address)
            else { return nil }
            return .init(node: node.id, number: node.number, address: attachment.address, dataPath: dataPath)
        }
        return .network(.init(network: network, gateways: gateways))
    }

    private static func fact(_ id: Cluster.ID<Cluster.Service>, in store: ClusterStore) -> Fact? {
        guard let service = store.service(id), let spec = store.currentRevision(of: service)?.spec else { return nil }
        return .service(.init(service: service, spec: spec))
    }

    private static func fact(_ id: Cluster.ID<Cluster.Task>, in store: ClusterStore) -> Fact? {
        guard let task = store.task(id), !task.status.state.isTerminal, let node = task.node else { return nil }
        return .endpoint(.init(task: task, node: node))
    }

    private static func networks(of id: Cluster.ID<Cluster.Service>, in store: ClusterStore) -> Set<NetworkID> {
        guard let service = store.service(id), let spec = store.currentRevision(of: service)?.spec else { return [] }
        return Set((try? AddressBook.networks(of: spec, in: store).map(\.id)) ?? [])
            .union(service.endpoint.virtualIPs.map(\.network))
    }
}
