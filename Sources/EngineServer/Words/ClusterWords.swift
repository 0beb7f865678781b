import ClusterModel
import ClusterStore
import EngineAPI

/// Objects of the cluster in the words of the Engine API, members in the order in which dockerd writes them.
enum ClusterWords {
    static func swarm(_ swarm: Cluster.Swarm) -> JSON {
        var words = cluster(swarm)
        words["JoinTokens"] = [
            "Worker": .string(swarm.joinTokens.worker), "Manager": .string(swarm.joinTokens.manager),
        ]
        return words
    }

    /// The swarm without what lets others join: `docker info` shows it to everybody.
    static func cluster(_ swarm: Cluster.Swarm) -> JSON {
        var words = head(swarm.id, swarm.meta)
        words["Spec"] = document(swarm.spec.document)
        words["TLSInfo"] = trust(swarm.trust)
        words["RootRotationInProgress"] = false
        words["DefaultAddrPool"] = JSON(swarm.defaultAddressPools)
        words["SubnetSize"] = JSON(swarm.subnetSize)
        words["DataPathPort"] = JSON(swarm.dataPathPort)
        return words
    }

    static func node(_ node: Cluster.Node, in swarm: Cluster.Swarm?, _ managers: ManagersView) -> JSON {
        var words = head(node.id, node.meta)
        var spec: JSON = [:]
        if let name = node.spec.name { spec["Name"] = .string(name) }
        spec["Labels"] = JSON(node.spec.labels)
        spec["Role"] = .string(node.spec.role.rawValue)
        spec["Availability"] = .string(node.spec.availability.rawValue)
        words["Spec"] = spec
        words["Description"] = description(node.description, trust: swarm?.trust)

        var status: JSON = ["State": .string(node.status.state.rawValue)]
        if !node.status.message.isEmpty { status["Message"] = .string(node.status.message) }
        status["Addr"] = .string(node.status.address)
        words["Status"] = status

        if let manager = node.manager {
            var status: JSON = [:]
            if managers.leader == node.id { status["Leader"] = true }
            status["Reachability"] = managers.reachable.contains(node.id) ? "reachable" : "unreachable"
            status["Addr"] = .string(manager.address)
            words["ManagerStatus"] = status
        }
        return words
    }

    private static func description(_ description: Cluster.NodeDescription?, trust: Cluster.Trust?) -> JSON {
        var words: JSON = [:]
        guard let description else {
            // It was admitted and has not spoken yet.
            return ["Platform": [:], "Resources": [:], "Engine": [:], "TLSInfo": [:]]
        }
        words["Hostname"] = .string(description.hostname)
        words["Platform"] = [
            "Architecture": .string(description.architecture), "OS": .string(description.os),
        ]
        words["Resources"] = [
            "NanoCPUs": JSON(description.nanoCPUs), "MemoryBytes": JSON(description.memoryBytes),
        ]
        var engine: JSON = [:]
        if !description.engineVersion.isEmpty { engine["EngineVersion"] = .string(description.engineVersion) }
        if !description.engineLabels.isEmpty { engine["Labels"] = JSON(description.engineLabels) }
        if !description.plugins.isEmpty {
            engine["Plugins"] = .array(
                description.plugins.map { ["Type": .string($0.type), "Name": .string($0.name)] })
        }
        words["Engine"] = engine
        words["TLSInfo"] = trust.map(self.trust) ?? [:]
        return words
    }

    private static func trust(_ trust: Cluster.Trust) -> JSON {
        [
            "TrustRoot": .string(trust.rootCertificate),
            "CertIssuerSubject": .string(trust.issuerSubject),
            "CertIssuerPublicKey": .string(trust.issuerPublicKey),
        ]
    }

    static func head<Object>(_ id: Cluster.ID<Object>, _ meta: Cluster.Meta) -> JSON {
        [
            "ID": .string("\(id)"),
            "Version": ["Index": JSON(meta.version)],
            "CreatedAt": .string("\(meta.createdAt)"),
            "UpdatedAt": .string("\(meta.updatedAt)"),
        ]
    }

    /// A document that was accepted once is one; `{}` if it should not be.
    static func document(_ text: String) -> JSON { (try? JSON(parsing: text)) ?? [:] }

    static func port(_ port: Cluster.PortConfig) -> JSON {
        var words: JSON = [:]
        if !port.name.isEmpty { words["Name"] = .string(port.name) }
        words["Protocol"] = .string(port.transport.rawValue)
        words["TargetPort"] = JSON(port.target)
        if port.published > 0 { words["PublishedPort"] = JSON(port.published) }
        words["PublishMode"] = .string(port.mode.rawValue)
        return words
    }
}
