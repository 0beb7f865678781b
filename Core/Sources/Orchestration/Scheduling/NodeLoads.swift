import ClusterModel
import ClusterStore

/// What each node carries, kept up as tasks change, so that placing one task does not count them all.
struct NodeLoads {
    struct Load {
        /// Tasks that run or are on their way to.
        var tasks = 0
        var tasksOfService: [Cluster.ID<Cluster.Service>: Int] = [:]
        var reservedNanoCPUs: Int64 = 0
        var reservedMemoryBytes: Int64 = 0
        /// Host ports in use, until the task that holds one has ended.
        var ports: [Port: Int] = [:]
    }

    struct Port: Hashable {
        var transport: Cluster.PortConfig.Transport
        var number: Int
    }

    private var loads: [Cluster.ID<Cluster.Node>: Load] = [:]

    init(_ store: ClusterStore) {
        for task in store.tasks { count(task, 1, store) }
    }

    subscript(node: Cluster.ID<Cluster.Node>) -> Load { loads[node] ?? Load() }

    mutating func replace(_ old: Cluster.Task?, by new: Cluster.Task?, in store: ClusterStore) {
        if let old { count(old, -1, store) }
        if let new { count(new, 1, store) }
    }

    private mutating func count(_ task: Cluster.Task, _ sign: Int, _ store: ClusterStore) {
        guard let node = task.node else { return }
        if task.isLive {
            loads[node, default: Load()].tasks += sign
            loads[node, default: Load()].tasksOfService[task.service, default: 0] += sign
        }
        // What it reserved is free only when it has ended, not when it was told to.
        guard !task.status.state.isTerminal, let spec = store.revision(task.revision, of: task.service)?.spec else {
            return
        }
        loads[node, default: Load()].reservedNanoCPUs += Int64(sign) * spec.reservedNanoCPUs
        loads[node, default: Load()].reservedMemoryBytes += Int64(sign) * spec.reservedMemoryBytes
        for port in spec.ports where port.mode == .host && port.published > 0 {
            loads[node, default: Load()]
                .ports[Port(transport: port.transport, number: port.published), default: 0] += sign
        }
    }
}
