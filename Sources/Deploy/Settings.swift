/// One thing that a container or service is told, as it travels to the tool. `Option` is how a Deployfile says it.
public enum Setting: Sendable, Codable, Equatable {
    case publish(Port)
    case env(name: String, value: Value)
    case label(name: String, value: String)
    case containerLabel(name: String, value: String)
    case mount(Mount)
    case network(name: String, aliases: [String])
    case networkMode(String)
    case replicas(Int)
    case global
    case constraint(String)
    case placementPreference(String)
    case maxReplicasPerNode(Int)
    case restart(Restart)
    case memory(Bytes)
    case memoryReservation(Bytes)
    case cpus(nano: Int)
    case cpuReservation(nano: Int)
    case user(String)
    case group(String)
    case workdir(String)
    case hostname(String)
    case entrypoint([String])
    case host(name: String, address: String)
    case dns(String)
    case dnsOption(String)
    case dnsSearch(String)
    case secret(name: String, target: String)
    case config(name: String, target: String)
    case health(HealthCheck)
    case noHealthCheck
    case stopSignal(String)
    case stopGracePeriod(Time)
    case update(Rollout)
    case rollback(Rollout)
    case capAdd(String)
    case capDrop(String)
    case ulimit(name: String, soft: Int, hard: Int)
    case sysctl(name: String, value: String)
    case readOnly
    case privileged
    case initProcess
    case logDriver(name: String, options: [String: String])
    /// A field of the engine's own document, by its path, with a JSON value.
    case engine(path: String, json: String)
    /// What could not be read; said with the place where it stands.
    case mistake(String)

    /// The word by which people know it.
    package var word: String {
        switch self {
        case .publish: "publish"
        case .env: "env"
        case .label: "label"
        case .containerLabel: "containerLabel"
        case .mount: "mount"
        case .network: "network"
        case .networkMode: "networkMode"
        case .replicas: "replicas"
        case .global: "global"
        case .constraint: "constraint"
        case .placementPreference: "placementPreference"
        case .maxReplicasPerNode: "maxReplicasPerNode"
        case .restart: "restart"
        case .memory: "memory"
        case .memoryReservation: "memoryReservation"
        case .cpus: "cpus"
        case .cpuReservation: "cpuReservation"
        case .user: "user"
        case .group: "group"
        case .workdir: "workdir"
        case .hostname: "hostname"
        case .entrypoint: "entrypoint"
        case .host: "host"
        case .dns: "dns"
        case .dnsOption: "dnsOption"
        case .dnsSearch: "dnsSearch"
        case .secret: "secret"
        case .config: "config"
        case .health: "health"
        case .noHealthCheck: "noHealthCheck"
        case .stopSignal: "stopSignal"
        case .stopGracePeriod: "stopGracePeriod"
        case .update: "update"
        case .rollback: "rollback"
        case .capAdd: "capAdd"
        case .capDrop: "capDrop"
        case .ulimit: "ulimit"
        case .sysctl: "sysctl"
        case .readOnly: "readOnly"
        case .privileged: "privileged"
        case .initProcess: "initProcess"
        case .logDriver: "logDriver"
        case .engine: "engine"
        case .mistake: "mistake"
        }
    }
}
