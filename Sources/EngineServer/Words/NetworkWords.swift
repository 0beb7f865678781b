import ClusterModel
import ClusterStore
import EngineAPI

/// Networks of the swarm in the words of the Engine API, members in the order in which dockerd writes them.
extension ClusterWords {
    /// One entry of `GET /networks`.
    static func network(_ network: Cluster.Network) -> JSON {
        let spec = network.spec
        return [
            "Name": .string(spec.name),
            "Id": .string("\(network.id)"),
            "Created": .string("\(network.meta.createdAt)"),
            "Scope": "swarm",
            "Driver": .string(spec.driver),
            "EnableIPv6": false,
            "IPAM": ["Driver": "default", "Options": .null, "Config": .array(network.subnets.map(ipam))],
            "Internal": .bool(spec.isInternal),
            "Attachable": .bool(spec.isAttachable),
            "Ingress": .bool(spec.isIngress),
            "ConfigFrom": ["Network": ""],
            "ConfigOnly": false,
            "Containers": .null,
            "Options": JSON(driverOptions(network)),
            "Labels": spec.labels.isEmpty ? .null : JSON(spec.labels),
        ]
    }

    /// `GET /networks/{id}`: with what runs on it.
    ///
    /// - Parameters:
    ///   - node: this node, whose containers are shown.
    ///   - verbose: with the services and tasks on all nodes.
    static func network(
        _ network: Cluster.Network, on node: Cluster.ID<Cluster.Node>?, verbose: Bool, in store: ClusterStore
    ) -> JSON {
        var words = self.network(network)
        let peers = store.nodes.filter { $0.attachments.contains { $0.network == network.id } }
        let isHere = peers.contains { $0.id == node }
        if isHere, let node {
            var containers: JSON = [:]
            var names = TaskWords(store)
            for task in store.tasks(on: node) where !task.status.state.isTerminal {
                guard let own = task.attachments.first(where: { $0.network == network.id }),
                    let container = task.status.container
                else { continue }
                containers[container.id] = [
                    "Name": .string(names.name(of: task)), "EndpointID": .string("\(task.id)"),
                    "MacAddress": .string("\(MACAddress(for: own.address))"),
                    "IPv4Address": .string("\(own.address)/\(own.prefix)"), "IPv6Address": "",
                ]
            }
            words["Containers"] = containers
        }
        if isHere || verbose {
            words["Peers"] = .array(
                peers.map { ["Name": .string("\($0.id)".prefix(12).description), "IP": .string($0.status.address)] })
        }
        if verbose { words["Services"] = services(on: network, in: store) }
        return words
    }

    private static func services(on network: Cluster.Network, in store: ClusterStore) -> JSON {
        var words: JSON = [:]
        var names = TaskWords(store)
        for service in store.services {
            guard let spec = store.currentRevision(of: service)?.spec else { continue }
            let address = service.endpoint.virtualIPs.first { $0.network == network.id }?.address
            let tasks = store.tasks(of: service.id).filter { task in
                !task.status.state.isTerminal && task.attachments.contains { $0.network == network.id }
            }
            guard address != nil || !tasks.isEmpty else { continue }
            let ports = network.spec.isIngress ? service.endpoint.ports.filter { $0.mode == .ingress } : []
            words[spec.name] = [
                "VIP": .string(address.map { "\($0)" } ?? ""),
                "Ports": JSON(ports.map { "Target: \($0.target), Publish: \($0.published)" }),
                "LocalLBIndex": 0,
                "Tasks": .array(
                    tasks.map { task in
                        [
                            "Name": .string(names.name(of: task)), "EndpointID": .string("\(task.id)"),
                            "EndpointIP": .string(
                                task.attachments.first { $0.network == network.id }.map { "\($0.address)" } ?? ""),
                            "Info": ["Host IP": .string(task.node.flatMap(store.node)?.status.address ?? "")],
                        ]
                    }),
            ]
        }
        return words
    }

    /// A task's place on a network, with the network as it is stored.
    static func attachment(_ attachment: Cluster.NetworkAttachment, in store: ClusterStore) -> JSON? {
        guard let network = store.network(attachment.network) else { return nil }
        let spec = network.spec
        var shown: JSON = ["Name": .string(spec.name), "Labels": JSON(spec.labels)]
        shown["DriverConfiguration"] = spec.isIngress ? [:] : ["Name": .string(spec.driver)]
        if spec.isInternal { shown["Internal"] = true }
        if spec.isAttachable { shown["Attachable"] = true }
        if spec.isIngress { shown["Ingress"] = true }
        shown["IPAMOptions"] = ["Driver": spec.isIngress ? [:] : ["Name": "default"]]
        shown["Scope"] = "swarm"
        var words = head(network.id, network.meta)
        words["Spec"] = shown
        words["DriverState"] = ["Name": .string(spec.driver), "Options": JSON(driverOptions(network))]
        words["IPAMOptions"] = [
            "Driver": ["Name": "default"], "Configs": .array(network.subnets.map(ipam)),
        ]
        return ["Network": words, "Addresses": JSON(["\(attachment.address)/\(attachment.prefix)"])]
    }

    private static func ipam(_ subnet: Cluster.NetworkSubnet) -> JSON {
        var words: JSON = ["Subnet": .string("\(subnet.subnet)")]
        if let range = subnet.range { words["IPRange"] = .string("\(range)") }
        words["Gateway"] = .string("\(subnet.gateway)")
        if !subnet.reserved.isEmpty { words["AuxiliaryAddresses"] = JSON(subnet.reserved.mapValues { "\($0)" }) }
        return words
    }

    private static func driverOptions(_ network: Cluster.Network) -> [String: String] {
        var options = network.spec.options
        if let vni = network.vni { options["com.docker.network.driver.overlay.vxlanid_list"] = String(vni) }
        return options
    }
}
