import ClusterModel
import ClusterStore

/// What becomes of requests about nodes and about the swarm itself.
///
/// - Source: swarmkit manager/controlapi/node.go, cluster.go; manager/role_manager.go.
enum SwarmRequests {
    static func updateSwarm(
        version: UInt64, _ spec: Cluster.SwarmSpec, rotate: Control.TokenRotation, in draft: inout Draft
    ) throws(ControlError) -> Control.Reply {
        guard var swarm = draft.store.swarm else { throw .notFound(kind: "cluster", reference: "default") }
        guard swarm.meta.version == version else { throw .outOfSequence }
        swarm.spec = spec
        swarm.joinTokens.worker = rotate.worker ?? swarm.joinTokens.worker
        swarm.joinTokens.manager = rotate.manager ?? swarm.joinTokens.manager
        draft.make(.putSwarm(swarm))
        return Control.Reply()
    }

    static func updateNode(
        _ id: Cluster.ID<Cluster.Node>, version: UInt64, _ spec: Cluster.NodeSpec, in draft: inout Draft
    ) throws(ControlError) -> Control.Reply {
        var node = try find(id, in: draft.store)
        guard node.meta.version == version else { throw .outOfSequence }
        if spec.role == .worker, node.spec.role == .manager {
            let managers = draft.store.nodes.filter { $0.manager != nil }
            guard managers.count > 1 || node.manager == nil else {
                throw .failedPrecondition("attempting to demote the last manager of the swarm")
            }
            // With it gone, more than half of the rest must be there.
            let reachable = managers.filter { $0.id != id && $0.status.state == .ready }.count
            guard node.manager == nil || reachable >= (managers.count - 1) / 2 + 1 else {
                throw .failedPrecondition("can't remove member from the raft: this would result in a loss of quorum")
            }
        }
        node.spec = spec
        // A promoted node may ask for a manager's certificate now. A demoted one loses its certificate only once Raft
        // has let it go: see `setManager`.
        if spec.role == .manager || node.manager == nil { node.role = spec.role }
        draft.make(.putNode(node))
        return Control.Reply()
    }

    static func removeNode(
        _ id: Cluster.ID<Cluster.Node>, force: Bool, in draft: inout Draft
    ) throws(ControlError) -> Control.Reply {
        let node = try find(id, in: draft.store)
        // One that the consensus does not know any more, since the swarm was begun anew without it, may go.
        if node.manager != nil {
            throw .failedPrecondition(
                """
                node \(id) is a cluster manager and is a member of the raft cluster. \
                It must be demoted to worker before removal
                """)
        }
        guard force || node.status.state == .down else {
            throw .failedPrecondition("node \(id) is not down and can't be removed")
        }
        // What it ran is lost to us: nobody will ever report on it.
        for task in draft.store.tasks(on: id) where !task.status.state.isTerminal {
            let status = Cluster.TaskStatus(
                .orphaned, at: draft.now, message: task.status.message, error: "the node was removed from the swarm",
                container: task.status.container)
            draft.change(task) { $0.status = status }
        }
        draft.make(.removeNode(id))
        return Control.Reply()
    }

    static func admitNode(
        _ id: Cluster.ID<Cluster.Node>, _ spec: Cluster.NodeSpec, address: String, in draft: inout Draft
    ) throws(ControlError) -> Control.Reply {
        if draft.store.node(id) == nil {
            let taken = Set(draft.store.nodes.map(\.number))
            guard let number = Cluster.nodeNumbers.first(where: { !taken.contains($0) }) else {
                throw .failedPrecondition(
                    "the swarm has \(taken.count) nodes and takes no more: remove those that are down (`docker node rm`)"
                )
            }
            draft.make(
                .putNode(
                    Cluster.Node(
                        id: id, spec: spec, status: .init(state: .unknown, address: address), number: number,
                        at: draft.now)))
        }
        return Control.Reply(created: id.description)
    }

    static func setManager(
        _ id: Cluster.ID<Cluster.Node>, _ status: Cluster.ManagerStatus?, in draft: inout Draft
    ) throws(ControlError) -> Control.Reply {
        var node = try find(id, in: draft.store)
        guard node.manager != status else { return Control.Reply() }
        node.manager = status
        if status == nil { node.role = node.spec.role }
        draft.make(.putNode(node))
        return Control.Reply()
    }

    private static func find(_ id: Cluster.ID<Cluster.Node>, in store: ClusterStore) throws(ControlError)
        -> Cluster.Node
    {
        guard let node = store.node(id) else { throw .notFound(kind: "node", reference: id.description) }
        return node
    }
}
