public import ClusterModel

/// Something that happened to an object of the cluster, as `docker events` tells it.
///
/// - Source: moby daemon/events.go (20.10), `ProcessClusterNotifications`. Events of tasks are ours.
public struct ClusterEvent: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable { case node, service, secret, config, network, task }
    public enum Action: String, Sendable { case create, update, remove }

    public var kind: Kind
    public var action: Action
    public var id: String
    public var attributes: [String: String]
    public var time: Cluster.Timestamp

    public init(kind: Kind, action: Action, id: String, attributes: [String: String], time: Cluster.Timestamp) {
        self.kind = kind
        self.action = action
        self.id = id
        self.attributes = attributes
        self.time = time
    }
}

extension ClusterEvent {
    /// - Parameters:
    ///   - before: the store before the entry that made the change, which still knows what is removed.
    ///   - after: the store after it.
    ///   - now: when the leader decided it.
    /// - Returns: nil for what is no news to a client.
    public init?(_ event: StoreEvent, before: ClusterStore, after: ClusterStore, at now: Cluster.Timestamp) {
        switch event {
        case .swarm: return nil
        case .node(let old, let new):
            self.init(.node, old, new, id: (new ?? old)!.id, at: now)
            attributes["name"] = Self.name(of: (new ?? old)!)
            guard let old, let new else { return }
            note("availability", old.spec.availability.rawValue, new.spec.availability.rawValue)
            note("role", old.role.rawValue, new.role.rawValue)
            note("state", old.status.state.rawValue, new.status.state.rawValue)
        case .service(let old, let new):
            self.init(.service, old, new, id: (new ?? old)!.id, at: now)
            let oldSpec = old.flatMap { before.currentRevision(of: $0) ?? after.currentRevision(of: $0) }?.spec
            let newSpec = new.flatMap { after.currentRevision(of: $0) }?.spec
            attributes["name"] = (newSpec ?? oldSpec)?.name ?? ""
            guard let oldSpec, let newSpec else { return }
            note("image", oldSpec.image, newSpec.image)
            if let from = oldSpec.mode.replicas, let to = newSpec.mode.replicas { note("replicas", "\(from)", "\(to)") }
            if let state = new?.update?.state, state != old?.update?.state {
                if let before = old?.update?.state { attributes["updatestate.old"] = before.rawValue }
                attributes["updatestate.new"] = state.rawValue
            }
        case .task(let old, let new):
            let task = (new ?? old)!
            self.init(.task, old, new, id: task.id, at: now)
            let spec =
                (after.revision(task.revision, of: task.service) ?? before.revision(task.revision, of: task.service))?
                .spec
            let place = task.slot > 0 ? "\(task.slot)" : task.node.map { "\($0)" } ?? ""
            attributes["name"] = "\(spec?.name ?? "").\(place).\(task.id)"
            attributes["service.id"] = "\(task.service)"
            if let node = task.node { attributes["node.id"] = "\(node)" }
            if !task.status.error.isEmpty { attributes["error"] = task.status.error }
            guard let old, let new else { return }
            note("state", old.status.state.rawValue, new.status.state.rawValue)
            note("desiredstate", old.desired.rawValue, new.desired.rawValue)
        case .network(let old, let new):
            let network = (new ?? old)!
            self.init(.network, old, new, id: network.id, at: now)
            attributes["name"] = network.spec.name
        case .dependency(let old, let new):
            let dependency = (new ?? old)!
            self.init(dependency.spec.kind == .secret ? .secret : .config, old, new, id: dependency.id, at: now)
            attributes["name"] = dependency.spec.name
        }
    }

    private init<Object>(
        _ kind: Kind, _ old: Object?, _ new: Object?, id: Cluster.ID<Object>, at now: Cluster.Timestamp
    ) {
        self.init(
            kind: kind, action: old == nil ? .create : new == nil ? .remove : .update, id: "\(id)", attributes: [:],
            time: now)
    }

    private mutating func note(_ name: String, _ old: String, _ new: String) {
        guard old != new else { return }
        attributes["\(name).old"] = old
        attributes["\(name).new"] = new
    }

    private static func name(of node: Cluster.Node) -> String {
        if let name = node.spec.name, !name.isEmpty { return name }
        return node.description?.hostname ?? ""
    }
}

/// What a manager tells of the cluster's events: the last ones, and those to come.
public struct ClusterEventFeed: Sendable {
    /// Oldest first; only so many are remembered, and none of tasks.
    public var past: [ClusterEvent]
    /// Ends with an error for who reads too slowly. What it has is after `past`, without a gap.
    public var future: AsyncThrowingStream<ClusterEvent, any Error>

    public init(past: [ClusterEvent], future: AsyncThrowingStream<ClusterEvent, any Error>) {
        self.past = past
        self.future = future
    }
}
