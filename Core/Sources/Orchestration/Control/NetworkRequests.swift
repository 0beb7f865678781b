import ClusterModel
import ClusterStore

/// What becomes of requests about networks.
///
/// - Source: swarmkit manager/controlapi/network.go; the words of moby daemon/cluster/networks.go.
enum NetworkRequests {
    static func create(
        _ spec: Cluster.NetworkSpec, book: inout AddressBook, in draft: inout Draft
    ) throws(ControlError) -> Control.Reply {
        let networks = draft.store.networks
        guard !networks.contains(where: { $0.spec.name == spec.name }), !NodeNetwork.isOne(spec.name) else {
            throw .alreadyExists("network with name \(spec.name) already exists")
        }
        if spec.isIngress, let ingress = draft.store.ingress {
            throw .alreadyExists("ingress network (\(ingress.spec.name)) is already present")
        }
        let used = networks.flatMap { $0.subnets.map(\.subnet) }
        let subnets = try spec.subnets.isEmpty ? [cut(beside: used, in: draft.store)] : spec.subnets
        for wanted in spec.subnets {
            guard let other = used.first(where: { $0.overlaps(wanted.subnet) }) else { continue }
            let owner = networks.first { $0.subnets.contains { $0.subnet == other } }
            throw .invalidArgument(
                """
                Pool overlaps with other one on this address space: \
                \(wanted.subnet) and \(other) of the network \(owner?.spec.name ?? "")
                """)
        }
        guard let vni = book.takeVNI() else {
            throw .failedPrecondition("no VXLAN identifier is left: remove networks")
        }
        let network = Cluster.Network(
            id: draft.ids.next(), spec: spec, vni: vni, subnets: subnets.map(Self.settled), at: draft.now)
        draft.make(.putNetwork(network))
        return Control.Reply(created: network.id.description)
    }

    static func remove(_ id: Cluster.ID<Cluster.Network>, in draft: inout Draft) throws(ControlError) -> Control.Reply {
        guard let network = draft.store.network(id) else { throw .notFound(kind: "network", reference: id.description) }
        for service in draft.store.services {
            guard let spec = draft.store.currentRevision(of: service)?.spec else { continue }
            let uses =
                spec.networks.contains { $0.target == id.description }
                || service.endpoint.virtualIPs.contains { $0.network == id }
            guard uses else { continue }
            if network.spec.isIngress {
                throw .failedPrecondition(
                    "ingress network cannot be removed because service \(spec.name) (\(service.id)) publishes ports on it"
                )
            }
            throw .failedPrecondition("network \(id) is in use by service \(service.id)")
        }
        for task in draft.store.tasks(onNetwork: id) where !task.status.state.isTerminal {
            throw .failedPrecondition("network \(id) is in use by task \(task.id)")
        }
        for var node in draft.store.nodes where node.attachments.contains(where: { $0.network == id }) {
            node.attachments.removeAll { $0.network == id }
            draft.make(.putNode(node))
        }
        draft.make(.removeNetwork(id))
        return Control.Reply()
    }

    /// The spec with its networks' names replaced by their IDs, in the fields and in the document.
    ///
    /// - Source: moby daemon/cluster/services.go `populateNetworkID`.
    static func resolve(_ spec: Cluster.ServiceSpec, in store: ClusterStore) throws(ControlError) -> Cluster.ServiceSpec
    {
        var ids: [String: String] = [:]
        for reference in spec.networks where !NodeNetwork.isOne(reference.target) {
            guard
                let network = Cluster.ID<Cluster.Network>(reference.target).flatMap(store.network)
                    ?? store.networks.first(where: { $0.spec.name == reference.target })
            else { throw .notFound(kind: "network", reference: reference.target) }
            guard !network.spec.isIngress else {
                throw .permissionDenied(
                    "Service cannot be explicitly attached to the ingress network \"\(network.spec.name)\"")
            }
            if network.id.description != reference.target { ids[reference.target] = network.id.description }
        }
        return ids.isEmpty ? spec : spec.renaming(networks: ids)
    }

    private static func cut(
        beside used: [IPSubnet], in store: ClusterStore
    ) throws(ControlError) -> Cluster.NetworkSpec.WantedSubnet {
        let pools = (store.swarm?.defaultAddressPools ?? []).compactMap { IPSubnet($0) }
        let size = store.swarm?.subnetSize ?? 24
        guard let subnet = AddressBook.freeSubnet(of: pools, size: size, beside: used) else {
            throw .failedPrecondition(
                """
                could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network: \
                name one with --subnet, or remove networks that are not used
                """)
        }
        return .init(subnet: subnet)
    }

    private static func settled(_ wanted: Cluster.NetworkSpec.WantedSubnet) -> Cluster.NetworkSubnet {
        Cluster.NetworkSubnet(
            subnet: wanted.subnet, range: wanted.range,
            gateway: wanted.gateway ?? (wanted.range ?? wanted.subnet).base.advanced(by: 1)!, reserved: wanted.reserved)
    }
}
