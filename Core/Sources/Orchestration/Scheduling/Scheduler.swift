import ClusterModel
import ClusterStore

/// Where a task goes: the filters that a node must pass, then the node that carries least.
///
/// - Source: swarmkit manager/scheduler/filter.go, pipeline.go, scheduler.go.
enum Scheduler {
    /// Why a node cannot take a task. In the order in which they are asked.
    enum Filter: CaseIterable {
        case ready, resources, constraints, platform, hostPorts, maxReplicas

        func explanation(_ nodes: Int) -> String {
            let onNodes = nodes == 1 ? "on 1 node" : "on \(nodes) nodes"
            return switch self {
            case .ready:
                nodes == 1 ? "1 node not available for new tasks" : "\(nodes) nodes not available for new tasks"
            case .resources: "insufficient resources \(onNodes)"
            case .constraints: "scheduling constraints not satisfied \(onNodes)"
            case .platform: "unsupported platform \(onNodes)"
            case .hostPorts: "host-mode port already in use \(onNodes)"
            case .maxReplicas: "max replicas per node limit exceed"
            }
        }
    }

    /// The node for one more task of `service`; or why there is none.
    static func place(
        _ spec: Cluster.ServiceSpec, of service: Cluster.ID<Cluster.Service>, on nodes: [Cluster.Node],
        loads: NodeLoads
    ) -> Result<Cluster.ID<Cluster.Node>, NoSuitableNode> {
        var refusals: [Filter: Int] = [:]
        var best: (node: Cluster.Node, ofService: Int, all: Int)?
        for node in nodes {
            let load = loads[node.id]
            if let refusal = refusal(of: node, load: load, spec, service) {
                refusals[refusal, default: 0] += 1
                continue
            }
            let ofService = load.tasksOfService[service] ?? 0
            if best == nil || (ofService, load.tasks) < (best!.ofService, best!.all) {
                best = (node, ofService, load.tasks)
            }
        }
        if let best { return .success(best.node.id) }
        return .failure(NoSuitableNode(refusals: refusals))
    }

    static func refusal(
        of node: Cluster.Node, load: NodeLoads.Load, _ spec: Cluster.ServiceSpec, _ service: Cluster.ID<Cluster.Service>
    ) -> Filter? {
        Filter.allCases.first { !passes($0, node, load, spec, service) }
    }

    private static func passes(
        _ filter: Filter, _ node: Cluster.Node, _ load: NodeLoads.Load, _ spec: Cluster.ServiceSpec,
        _ service: Cluster.ID<Cluster.Service>
    ) -> Bool {
        switch filter {
        case .ready: node.status.state == .ready && node.spec.availability == .active
        case .resources:
            fits(spec.reservedNanoCPUs, beside: load.reservedNanoCPUs, in: node.description?.nanoCPUs)
                && fits(spec.reservedMemoryBytes, beside: load.reservedMemoryBytes, in: node.description?.memoryBytes)
        case .constraints: spec.constraints.allSatisfy { $0.matches(node) }
        case .platform: runs(spec.platforms, node.description)
        case .hostPorts:
            !spec.ports.contains {
                $0.mode == .host && $0.published > 0
                    && (load.ports[.init(transport: $0.transport, number: $0.published)] ?? 0) > 0
            }
        case .maxReplicas:
            spec.maxReplicasPerNode == 0 || (load.tasksOfService[service] ?? 0) < spec.maxReplicasPerNode
        }
    }

    private static func fits(_ wanted: Int64, beside reserved: Int64, in capacity: Int64?) -> Bool {
        wanted == 0 || reserved + wanted <= capacity ?? 0
    }

    /// An empty field of a platform stands for any.
    private static func runs(_ platforms: [Cluster.Platform], _ node: Cluster.NodeDescription?) -> Bool {
        guard !platforms.isEmpty, let node else { return true }
        return platforms.contains {
            ($0.os.isEmpty || $0.os == node.os)
                && ($0.architecture.isEmpty || architecture($0.architecture) == architecture(node.architecture))
        }
    }

    private static func architecture(_ name: String) -> String {
        switch name {
        case "x86_64": "amd64"
        case "aarch64": "arm64"
        default: name
        }
    }
}

/// How many nodes each filter refused.
struct NoSuitableNode: Error, CustomStringConvertible {
    var refusals: [Scheduler.Filter: Int]

    /// What most nodes failed at comes first.
    var description: String {
        guard !refusals.isEmpty else { return "no suitable node" }
        let reasons = Scheduler.Filter.allCases.compactMap { filter in refusals[filter].map { (filter, $0) } }
        let sorted = reasons.enumerated().sorted { ($1.element.1, $0.offset) < ($0.element.1, $1.offset) }
        return "no suitable node (\(sorted.map { $0.element.0.explanation($0.element.1) }.joined(separator: "; ")))"
    }
}
