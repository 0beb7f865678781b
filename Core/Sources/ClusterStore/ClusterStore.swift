public import ClusterModel
import HashTreeCollections

/// The replicated state of the cluster, as a value: a copy is free, so a copy is a snapshot.
///
/// Every manager makes the same changes in the same order and so holds an equal store. Nothing here decides
/// anything: what a change means was settled before it was proposed.
public struct ClusterStore: Sendable {
    /// The log index of the last change.
    public private(set) var index: UInt64 = 0

    public private(set) var swarm: Cluster.Swarm?
    private var nodeTable = Table<Cluster.Node>()
    private var serviceTable = Table<Cluster.Service>()
    private var taskTable = Table<Cluster.Task>()
    private var networkTable = Table<Cluster.Network>()
    private var dependencyTable = Table<Cluster.Dependency>()
    private var dependenciesByName: TreeDictionary<String, Cluster.ID<Cluster.Dependency>> = [:]
    /// The revisions of each service, oldest first.
    private var revisionTable: TreeDictionary<Cluster.ID<Cluster.Service>, [Cluster.Revision]> = [:]
    /// By the name in small letters: two names that differ in case alone are one to swarm mode.
    private var servicesByName: TreeDictionary<String, Cluster.ID<Cluster.Service>> = [:]
    private var tasksByService = Index<Cluster.Service, Cluster.Task>()
    private var tasksByNode = Index<Cluster.Node, Cluster.Task>()
    private var tasksByNetwork = Index<Cluster.Network, Cluster.Task>()

    public init() {}

    /// Makes one entry's changes and says what happened.
    ///
    /// - Parameter index: the entry's place in the log; it becomes the version of what the entry touches.
    public mutating func apply(_ proposal: Proposal, at index: UInt64) -> [StoreEvent] {
        self.index = max(self.index, index)
        return proposal.changes.flatMap { apply($0, index: index, now: proposal.at) }
    }

    /// Says that the log has come this far without a change of the store.
    public mutating func advance(to index: UInt64) {
        self.index = max(self.index, index)
    }
}

// MARK: - Reading

extension ClusterStore {
    public func node(_ id: Cluster.ID<Cluster.Node>) -> Cluster.Node? { nodeTable[id] }
    public func service(_ id: Cluster.ID<Cluster.Service>) -> Cluster.Service? { serviceTable[id] }
    public func task(_ id: Cluster.ID<Cluster.Task>) -> Cluster.Task? { taskTable[id] }
    public func dependency(_ id: Cluster.ID<Cluster.Dependency>) -> Cluster.Dependency? { dependencyTable[id] }
    public func dependency(_ kind: Cluster.DependencyKind, named name: String) -> Cluster.Dependency? {
        dependenciesByName["\(kind) \(name.lowercased())"].flatMap { dependencyTable[$0] }
    }
    public func network(_ id: Cluster.ID<Cluster.Network>) -> Cluster.Network? { networkTable[id] }
    public func service(named name: String) -> Cluster.Service? {
        servicesByName[name.lowercased()].flatMap { serviceTable[$0] }
    }

    public func revisions(of service: Cluster.ID<Cluster.Service>) -> [Cluster.Revision] {
        revisionTable[service] ?? []
    }

    public func revision(_ number: Cluster.Revision.Number, of service: Cluster.ID<Cluster.Service>)
        -> Cluster.Revision?
    {
        revisionTable[service]?.last { $0.number == number }
    }

    public func currentRevision(of service: Cluster.Service) -> Cluster.Revision? {
        revision(service.current, of: service.id)
    }

    /// All of them, by ID.
    public var nodes: [Cluster.Node] { nodeTable.sorted }
    /// By service, oldest first; those of removed services whose tasks still end are among them.
    public var revisions: [Cluster.Revision] { revisionTable.sorted { $0.key < $1.key }.flatMap(\.value) }
    public var services: [Cluster.Service] { serviceTable.sorted }
    public var tasks: [Cluster.Task] { taskTable.sorted }
    public var networks: [Cluster.Network] { networkTable.sorted }
    /// Secrets and configs.
    public var dependencies: [Cluster.Dependency] { dependencyTable.sorted }
    /// The one that carries published ports; nil if the user removed it.
    public var ingress: Cluster.Network? { networks.first { $0.spec.isIngress } }
    public var nodeCount: Int { nodeTable.count }
    public var serviceCount: Int { serviceTable.count }
    public var taskCount: Int { taskTable.count }

    /// By ID.
    public func tasks(of service: Cluster.ID<Cluster.Service>) -> [Cluster.Task] {
        tasksByService[service].compactMap { taskTable[$0] }
    }

    public func tasks(on node: Cluster.ID<Cluster.Node>) -> [Cluster.Task] {
        tasksByNode[node].compactMap { taskTable[$0] }
    }

    /// With those that have ended there.
    public func tasks(onNetwork network: Cluster.ID<Cluster.Network>) -> [Cluster.Task] {
        tasksByNetwork[network].compactMap { taskTable[$0] }
    }
}

// MARK: - Changing

extension ClusterStore {
    private mutating func apply(_ change: StoreChange, index: UInt64, now: Cluster.Timestamp) -> [StoreEvent] {
        switch change {
        case .putSwarm(var swarm):
            swarm.meta.touch(index, now)
            let old = self.swarm
            self.swarm = swarm
            return [.swarm(old: old, new: swarm)]

        case .putNode(var node):
            node.meta.touch(index, now)
            let old = nodeTable.put(node, node.id)
            return [.node(old: old, new: node)]

        case .removeNode(let id):
            guard let old = nodeTable.remove(id) else { return [] }
            return [.node(old: old, new: nil)]

        case .putService(var service):
            service.meta.touch(index, now)
            let old = serviceTable.put(service, service.id)
            if let name = revision(service.current, of: service.id)?.spec.name {
                servicesByName[name.lowercased()] = service.id
            }
            return [.service(old: old, new: service)]

        case .removeService(let id):
            guard let old = serviceTable.remove(id) else { return [] }
            for name in revisions(of: id).map({ $0.spec.name.lowercased() }) where servicesByName[name] == id {
                servicesByName[name] = nil
            }
            // Tasks that are still ending need their revision: it goes with the last of them.
            if tasksByService[id].isEmpty { revisionTable[id] = nil }
            return [.service(old: old, new: nil)]

        case .putRevision(let revision):
            revisionTable[revision.service, default: []].append(revision)
            return []

        case .removeRevision(let service, let number):
            revisionTable[service]?.removeAll { $0.number == number }
            return []

        case .putTask(var task):
            task.meta.touch(index, now)
            let old = taskTable.put(task, task.id)
            if old == nil { tasksByService.insert(task.id, under: task.service) }
            if old?.node != task.node {
                if let node = old?.node { tasksByNode.remove(task.id, under: node) }
                if let node = task.node { tasksByNode.insert(task.id, under: node) }
            }
            if old?.attachments ?? [] != task.attachments {
                for attachment in old?.attachments ?? [] { tasksByNetwork.remove(task.id, under: attachment.network) }
                for attachment in task.attachments { tasksByNetwork.insert(task.id, under: attachment.network) }
            }
            return [.task(old: old, new: task)]

        case .removeTask(let id):
            guard let old = taskTable.remove(id) else { return [] }
            tasksByService.remove(id, under: old.service)
            if let node = old.node { tasksByNode.remove(id, under: node) }
            for attachment in old.attachments { tasksByNetwork.remove(id, under: attachment.network) }
            if serviceTable[old.service] == nil, tasksByService[old.service].isEmpty {
                revisionTable[old.service] = nil
            }
            return [.task(old: old, new: nil)]

        case .putNetwork(var network):
            network.meta.touch(index, now)
            let old = networkTable.put(network, network.id)
            return [.network(old: old, new: network)]

        case .removeNetwork(let id):
            guard let old = networkTable.remove(id) else { return [] }
            return [.network(old: old, new: nil)]

        case .putDependency(var dependency):
            dependency.meta.touch(index, now)
            let old = dependencyTable.put(dependency, dependency.id)
            dependenciesByName["\(dependency.spec.kind) \(dependency.spec.name.lowercased())"] = dependency.id
            return [.dependency(old: old, new: dependency)]

        case .removeDependency(let id):
            guard let old = dependencyTable.remove(id) else { return [] }
            dependenciesByName["\(old.spec.kind) \(old.spec.name.lowercased())"] = nil
            return [.dependency(old: old, new: nil)]
        }
    }
}

extension Cluster.Meta {
    fileprivate mutating func touch(_ index: UInt64, _ now: Cluster.Timestamp) {
        version = index
        updatedAt = now
    }
}

/// What one change did, for those who follow the store: old is nil for what is new, new for what is gone.
public enum StoreEvent: Sendable, Equatable {
    case swarm(old: Cluster.Swarm?, new: Cluster.Swarm)
    case node(old: Cluster.Node?, new: Cluster.Node?)
    case service(old: Cluster.Service?, new: Cluster.Service?)
    case task(old: Cluster.Task?, new: Cluster.Task?)
    case network(old: Cluster.Network?, new: Cluster.Network?)
    case dependency(old: Cluster.Dependency?, new: Cluster.Dependency?)
}

/// Objects by ID. Boxed, so that changing one copies a pointer of its neighbours and not their bytes.
private struct Table<Object: Sendable>: Sendable {
    private final class Box: Sendable {
        let object: Object
        init(_ object: Object) { self.object = object }
    }

    private var boxes: TreeDictionary<Cluster.ID<Object>, Box> = [:]

    var count: Int { boxes.count }
    var sorted: [Object] { boxes.sorted { $0.key < $1.key }.map(\.value.object) }

    subscript(id: Cluster.ID<Object>) -> Object? { boxes[id]?.object }

    mutating func put(_ object: Object, _ id: Cluster.ID<Object>) -> Object? {
        boxes.updateValue(Box(object), forKey: id)?.object
    }

    mutating func remove(_ id: Cluster.ID<Object>) -> Object? { boxes.removeValue(forKey: id)?.object }
}

private struct Index<Owner: Sendable, Object: Sendable>: Sendable {
    private var sets: TreeDictionary<Cluster.ID<Owner>, TreeSet<Cluster.ID<Object>>> = [:]

    subscript(owner: Cluster.ID<Owner>) -> [Cluster.ID<Object>] { sets[owner]?.sorted() ?? [] }

    mutating func insert(_ id: Cluster.ID<Object>, under owner: Cluster.ID<Owner>) {
        sets[owner, default: []].insert(id)
    }

    mutating func remove(_ id: Cluster.ID<Object>, under owner: Cluster.ID<Owner>) {
        sets[owner]?.remove(id)
        if sets[owner]?.isEmpty == true { sets[owner] = nil }
    }
}
