import ClusterModel
import ClusterStore

/// One place of a service that a task fills: a number, or for a global service a node.
enum Slot: Hashable, Comparable {
    case number(Int)
    case node(Cluster.ID<Cluster.Node>)

    init(of task: Cluster.Task) {
        if task.slot > 0 { self = .number(task.slot) } else { self = task.node.map(Slot.node) ?? .number(0) }
    }

    static func < (a: Slot, b: Slot) -> Bool {
        switch (a, b) {
        case (.number(let a), .number(let b)): a < b
        case (.node(let a), .node(let b)): a < b
        case (.number, .node): true
        case (.node, .number): false
        }
    }
}

/// A service's tasks as its reconciler reads them: by slot, oldest first.
struct ServiceSlots {
    let service: Cluster.Service
    let revision: Cluster.Revision
    let slots: [Slot: [Cluster.Task]]
    private let store: ClusterStore
    /// The network on which the service's tasks must be for the ports that it publishes on every node.
    private let ingress: Cluster.ID<Cluster.Network>?
    private let templates: [Cluster.Revision.Number: Cluster.Revision.Number]

    init?(_ id: Cluster.ID<Cluster.Service>, in store: ClusterStore) {
        guard let service = store.service(id), let revision = store.currentRevision(of: service) else { return nil }
        self.store = store
        self.service = service
        self.revision = revision
        ingress = revision.spec.ports.contains { $0.mode == .ingress } ? store.ingress?.id : nil
        templates = Dictionary(
            store.revisions(of: id).map { ($0.number, $0.template) }, uniquingKeysWith: { $1 })
        slots = Dictionary(grouping: store.tasks(of: id), by: Slot.init(of:))
            .mapValues { tasks in
                // Made in the same instant, a later attempt is still the later task.
                tasks.sorted {
                    ($0.meta.createdAt, $0.revision, $0.attempt, $0.id)
                        < ($1.meta.createdAt, $1.revision, $1.attempt, $1.id)
                }
            }
    }

    var spec: Cluster.ServiceSpec { revision.spec }
    var ordered: [Slot] { slots.keys.sorted() }

    /// The task runs what the service wants now, where the service now allows it.
    ///
    /// - Source: swarmkit manager/orchestrator/task.go, `IsTaskDirty`.
    func isCurrent(_ task: Cluster.Task) -> Bool {
        if task.revision == revision.number { return true }
        guard templates[task.revision] == revision.template else { return false }
        guard let node = task.node.flatMap(store.node) else { return true }
        // A port more or less concerns a task only if it is not on the network that brings published ports.
        if let ingress, !task.attachments.contains(where: { $0.network == ingress }) { return false }
        return spec.constraints.allSatisfy { $0.matches(node) }
    }

    /// Tasks that the cluster still wants, dead ones among them until they are dealt with.
    func wanted(_ slot: Slot) -> [Cluster.Task] { slots[slot, default: []].filter { $0.desired <= .running } }

    /// It holds a task, or came to an end that the restart policy accepts.
    func isFilled(_ slot: Slot) -> Bool {
        !wanted(slot).isEmpty || slots[slot, default: []].last.map { $0.isFinal && isCurrent($0) } ?? false
    }

    func newTask(
        in slot: Slot, desired: Cluster.Task.State, draft: inout Draft
    ) -> Cluster.Task {
        var task = Cluster.Task(
            id: draft.ids.next(), service: service.id, slot: 0, revision: revision.number, desired: desired,
            status: .init(.pending, at: draft.now, message: "pending task scheduling"), at: draft.now)
        switch slot {
        case .number(let number): task.slot = number
        case .node(let node):
            task.node = node
        }
        return task
    }
}
