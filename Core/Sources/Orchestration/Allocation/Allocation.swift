import ClusterModel
import ClusterStore

/// Gives services their virtual addresses and ports, tasks their addresses, and nodes their gateways.
///
/// - Source: swarmkit manager/allocator.
extension AddressBook {
    /// What `service` has after this, for what `spec` asks. What it has already it keeps.
    ///
    /// - Throws: when a port is another's or an address cannot be had; then nothing is taken.
    mutating func endpoint(
        of service: Cluster.Service, _ spec: Cluster.ServiceSpec, in store: ClusterStore
    ) throws(ControlError) -> Cluster.Endpoint {
        var endpoint = Cluster.Endpoint()
        endpoint.ports = try publish(spec.ports, for: service.id, before: service.endpoint.ports, in: store)
        guard spec.resolution == .vip else { return endpoint }
        var taken: [Cluster.NetworkAttachment] = []
        for network in try Self.networks(of: spec, in: store) {
            if let old = service.endpoint.virtualIPs.first(where: { $0.network == network.id }) {
                endpoint.virtualIPs.append(old)
                continue
            }
            do {
                taken.append(try take(on: network))
                endpoint.virtualIPs.append(taken.last!)
            } catch {
                giveBack(taken)
                throw .failedPrecondition("service \(spec.name) gets no virtual address: \(error)")
            }
        }
        return endpoint
    }

    /// The addresses of a task of `spec` that goes to `node`, which becomes a gateway where it is none yet.
    mutating func attach(
        _ spec: Cluster.ServiceSpec, to node: Cluster.ID<Cluster.Node>, in draft: inout Draft
    ) throws(NoAddressLeft) -> [Cluster.NetworkAttachment] {
        guard let networks = try? Self.networks(of: spec, in: draft.store), !networks.isEmpty else { return [] }
        var taken: [Cluster.NetworkAttachment] = []
        do throws(NoAddressLeft) {
            try join(node, networks, in: &draft)
            for network in networks { taken.append(try take(on: network)) }
        } catch {
            giveBack(taken)
            throw error
        }
        return taken
    }

    /// Makes `node` a gateway on each of `networks`.
    mutating func join(
        _ id: Cluster.ID<Cluster.Node>, _ networks: [Cluster.Network], in draft: inout Draft
    ) throws(NoAddressLeft) {
        guard var node = draft.store.node(id) else { return }
        let missing = networks.filter { network in !node.attachments.contains { $0.network == network.id } }
        guard !missing.isEmpty else { return }
        var taken: [Cluster.NetworkAttachment] = []
        do throws(NoAddressLeft) {
            for network in missing { taken.append(try take(on: network)) }
        } catch {
            giveBack(taken)
            throw error
        }
        node.attachments += taken
        node.attachments.sort { $0.network < $1.network }
        draft.make(.putNode(node))
    }

    /// Takes `node` off the networks on which it has no task any more. The ingress network is not one of them while
    /// ports are published: whoever asks this node is answered.
    func leaveUnused(_ node: Cluster.Node, in draft: inout Draft) {
        let used = Set(
            draft.store.tasks(on: node.id).filter { !$0.status.state.isTerminal }
                .flatMap { $0.attachments.map(\.network) })
        var node = node
        node.attachments.removeAll { attachment in
            guard !used.contains(attachment.network) else { return false }
            return !(isIngressUsed && draft.store.network(attachment.network)?.spec.isIngress == true)
        }
        guard node != draft.store.node(node.id) else { return }
        draft.make(.putNode(node))
    }

    /// The overlays on which tasks of `spec` are, the ingress network first.
    static func networks(of spec: Cluster.ServiceSpec, in store: ClusterStore) throws(ControlError) -> [Cluster.Network]
    {
        var networks: [Cluster.Network] = []
        for reference in spec.networks where !NodeNetwork.isOne(reference.target) {
            guard let network = Cluster.ID<Cluster.Network>(reference.target).flatMap(store.network) else {
                throw .notFound(kind: "network", reference: reference.target)
            }
            if !networks.contains(where: { $0.id == network.id }) { networks.append(network) }
        }
        if spec.ports.contains(where: { $0.mode == .ingress }) {
            guard let ingress = store.ingress else {
                throw .failedPrecondition("service needs ingress network, but no ingress network is present")
            }
            networks.insert(ingress, at: 0)
        }
        return networks
    }
}

/// Networks that every engine has of its own.
enum NodeNetwork {
    static func isOne(_ target: String) -> Bool { ["host", "bridge", "none"].contains(target) }
}
