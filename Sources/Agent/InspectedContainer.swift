internal import ClusterModel
internal import EngineAPI
internal import Orchestration

/// What we read of `GET /containers/{id}/json`.
struct InspectedContainer {
    var id: String
    var task: Cluster.ID<Cluster.Task>?
    var state: WorkerMachine.Found.State
    var exitCode: Int
    var error: String
    var pid: Int
    var isHealthy: Bool?
    var hasHealthcheck: Bool
    var ports: [Cluster.PortConfig]

    init?(_ document: JSON) {
        guard let id = document["Id"]?.string, let state = document["State"] else { return nil }
        self.id = id
        task = document["Config"]?["Labels"]?[ContainerDocument.taskLabel]?.string.flatMap { Cluster.ID($0) }
        self.state =
            switch state["Status"]?.string ?? "" {
            case "created": .created
            case "running", "paused", "restarting": .running
            default: .exited
            }
        exitCode = state["ExitCode"]?.int ?? 0
        error = state["Error"]?.string ?? ""
        pid = state["Pid"]?.int ?? 0
        let health = state["Health"]?["Status"]?.string ?? "none"
        hasHealthcheck = health != "none"
        isHealthy = health == "healthy" ? true : health == "unhealthy" ? false : nil
        ports = Self.publishedPorts(document["NetworkSettings"]?["Ports"])
    }

    /// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}, {"HostIp": "::", "HostPort": "32768"}]}`
    static func publishedPorts(_ document: JSON?) -> [Cluster.PortConfig] {
        var ports: [Cluster.PortConfig] = []
        for member in document?.object?.members ?? [] {
            let parts = member.name.split(separator: "/")
            guard parts.count == 2, let target = Int(parts[0]),
                let transport = Cluster.PortConfig.Transport(rawValue: String(parts[1]))
            else { continue }
            for binding in member.value.array ?? [] {
                guard let published = binding["HostPort"]?.string.flatMap({ Int($0) }) else { continue }
                let port = Cluster.PortConfig(
                    transport: transport, target: target, published: published, mode: .host)
                // One for IPv4 and one for IPv6, as swarm mode shows them.
                ports.append(port)
            }
        }
        return ports.sorted { ($0.target, $0.published) < ($1.target, $1.published) }
    }

    var found: WorkerMachine.Found? {
        task.map {
            WorkerMachine.Found(
                task: $0, container: id, state: state, exitCode: exitCode, error: error, isHealthy: isHealthy, pid: pid,
                hasHealthcheck: hasHealthcheck, ports: ports)
        }
    }
}
