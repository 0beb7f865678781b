import ClusterModel
import ClusterStore
import EngineAPI

extension ClusterWords {
    static func service(
        _ service: Cluster.Service, in store: ClusterStore, withStatus: Bool = false, withDefaults: Bool = false
    ) -> JSON {
        var words = head(service.id, service.meta)
        let revision = store.currentRevision(of: service)
        var spec = document(revision?.spec.document ?? "{}")
        let endpoint = spec["EndpointSpec"] ?? [:]
        if withDefaults { spec = ServiceDocument.withDefaults(spec) }
        words["Spec"] = spec
        if let previous = service.previous, let revision = store.revision(previous, of: service.id) {
            words["PreviousSpec"] = document(revision.spec.document)
        }
        var shown: JSON = [
            "Spec": revision?.spec.ports.isEmpty == false || !service.endpoint.virtualIPs.isEmpty ? endpoint : [:]
        ]
        if !service.endpoint.ports.isEmpty { shown["Ports"] = .array(service.endpoint.ports.map(port)) }
        if !service.endpoint.virtualIPs.isEmpty {
            shown["VirtualIPs"] = .array(
                service.endpoint.virtualIPs.map {
                    ["NetworkID": .string("\($0.network)"), "Addr": .string("\($0.address)/\($0.prefix)")]
                })
        }
        words["Endpoint"] = shown
        if let update = service.update { words["UpdateStatus"] = self.update(update) }
        if withStatus { words["ServiceStatus"] = status(service, mode: revision?.spec.mode, in: store) }
        return words
    }

    private static func update(_ update: Cluster.UpdateStatus) -> JSON {
        var words: JSON = ["State": .string(update.state.rawValue), "StartedAt": .string("\(update.startedAt)")]
        if let end = update.completedAt { words["CompletedAt"] = .string("\(end)") }
        words["Message"] = .string(update.message)
        return words
    }

    private static func status(
        _ service: Cluster.Service, mode: Cluster.ServiceMode?, in store: ClusterStore
    ) -> JSON {
        let tasks = store.tasks(of: service.id)
        return [
            "RunningTasks": JSON(tasks.count { isRunning($0, in: store) }),
            "DesiredTasks": JSON(mode?.replicas ?? tasks.count(where: \.isLive)),
            "CompletedTasks": JSON(tasks.count { $0.status.state == .complete }),
        ]
    }

    /// Of a task on a node that is down nobody knows: what was last heard of it does not count as running.
    private static func isRunning(_ task: Cluster.Task, in store: ClusterStore) -> Bool {
        task.status.state == .running && task.node.flatMap(store.node)?.status.state != .down
    }
}

extension Cluster.ServiceMode {
    /// As the filter `mode` calls it.
    var word: String {
        switch self {
        case .replicated: "replicated"
        case .global: "global"
        }
    }
}

/// What dockerd adds to a service's spec.
enum ServiceDocument {
    /// The members that every client expects in a spec, though none must send them.
    ///
    /// - Source: moby daemon/cluster/convert/service.go, `ServiceSpecToGRPC` and back.
    static func filled(_ document: JSON) -> JSON {
        guard case .object = document else { return document }
        var spec = document
        if spec["Labels"] == nil { spec["Labels"] = [:] }
        if var task = spec["TaskTemplate"], case .object = task {
            if task["ForceUpdate"] == nil { task["ForceUpdate"] = 0 }
            if var container = task["ContainerSpec"], case .object = container, container["Isolation"] == nil {
                container["Isolation"] = "default"
                task["ContainerSpec"] = container
            }
            if task["Runtime"] == nil || task["Runtime"] == "" { task["Runtime"] = "container" }
            spec["TaskTemplate"] = task
        }
        let mode = spec["Mode"]
        if mode == nil || mode == [:] {
            spec["Mode"] = ["Replicated": ["Replicas": 1]]
        } else if mode?["Replicated"] == [:] {
            spec["Mode"]?["Replicated"] = ["Replicas": 1]
        }
        return spec
    }

    /// A spec with what the cluster does where the spec says nothing.
    ///
    /// - Source: swarmkit api/defaults/service.go.
    static func withDefaults(_ document: JSON) -> JSON {
        var spec = document
        var task = spec["TaskTemplate"] ?? [:]
        var container = task["ContainerSpec"] ?? [:]
        fill(&container, ["StopGracePeriod": 10_000_000_000, "DNSConfig": [:]])
        task["ContainerSpec"] = container
        var restart = task["RestartPolicy"] ?? [:]
        fill(&restart, ["Condition": "any", "Delay": 5_000_000_000, "MaxAttempts": 0])
        fill(&task, ["Resources": [:], "Placement": [:]])
        task["RestartPolicy"] = restart
        spec["TaskTemplate"] = task
        for name in ["UpdateConfig", "RollbackConfig"] {
            var config = spec[name] ?? [:]
            fill(
                &config,
                [
                    // 0 means all at the same time, where a client says so; what it does not say is 1.
                    "Parallelism": 1, "FailureAction": "pause", "Monitor": 5_000_000_000, "MaxFailureRatio": 0,
                    "Order": "stop-first",
                ])
            spec[name] = config
        }
        var endpoint = spec["EndpointSpec"] ?? [:]
        fill(&endpoint, ["Mode": "vip"])
        spec["EndpointSpec"] = endpoint
        return spec
    }

    private static func fill(_ document: inout JSON, _ defaults: JSON) {
        for member in defaults.object?.members ?? [] where document[member.name] == nil {
            document[member.name] = member.value
        }
    }
}
