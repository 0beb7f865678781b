public import ClusterModel
public import EngineAPI

/// What the engine is asked to create for a task: the body of `POST /containers/create`.
///
/// - Source: moby daemon/cluster/executor/container/container.go (20.10), `config` and `hostConfig`.
public enum ContainerDocument {
    /// By this label the containers of the swarm are told from all others, and by its value the tasks.
    public static let taskLabel = "com.docker.swarm.task.id"
    /// Stands on every container of the swarm, empty; events and lists are filtered by it.
    public static let swarmLabel = "com.docker.swarm.task"

    /// True where the task runs only once its health check says so.
    public static func hasHealthcheck(_ assignment: Dispatch.Assignment) -> Bool {
        isHealthcheck(container(assignment)?["Healthcheck"])
    }

    /// True for a health check, as a spec or an inspected container has it, that checks anything.
    public static func isHealthcheck(_ healthcheck: JSON?) -> Bool {
        guard let test = healthcheck?["Test"]?.array, let first = test.first?.string else { return false }
        return first != "NONE"
    }

    /// The image that the task runs.
    public static func image(_ assignment: Dispatch.Assignment) -> String {
        container(assignment)?["Image"]?.string ?? ""
    }

    /// What the document depends on beside the task.
    public struct Node: Sendable, Equatable {
        public var hostname: String
        public var platform: Cluster.Platform
        /// What its engine speaks.
        public var engine: APIVersion

        public init(
            hostname: String, platform: Cluster.Platform = .init(os: "linux", architecture: "x86_64"),
            engine: APIVersion = .newest
        ) {
            self.hostname = hostname
            self.platform = platform
            self.engine = engine
        }
    }

    /// Why this node cannot run the task; it stands in the task's `Err`.
    public struct Unfit: Error, Sendable, Equatable, CustomStringConvertible {
        public var description: String
        public init(description: String) { self.description = description }
    }

    /// A file of the node that the container finds at `target`, to read only.
    public struct MountedFile: Sendable, Equatable {
        public var source: String
        public var target: String

        public init(source: String, target: String) {
            self.source = source
            self.target = target
        }
    }

    /// - Parameter files: its secrets and configs, where they lie in memory.
    /// - Throws: for a template without a result, and for what the node's engine is too old to do: the engine would
    ///   leave it out and say nothing.
    public static func make(
        _ assignment: Dispatch.Assignment, on node: Node, files: [MountedFile] = []
    ) throws(Unfit) -> JSON {
        let template = spec(assignment)?["TaskTemplate"]
        let container = try expanded(assignment, on: node)
        try EngineNeeds.check(container, template, against: node)

        var body: JSON = ["Image": .string(container["Image"]?.string ?? "")]
        func copy(_ from: String, as name: String? = nil) {
            if let value = container[from] { body[name ?? from] = value }
        }
        copy("Command", as: "Entrypoint")
        copy("Args", as: "Cmd")
        copy("Env")
        copy("Dir", as: "WorkingDir")
        copy("User")
        copy("Hostname")
        copy("TTY", as: "Tty")
        copy("OpenStdin")
        copy("StopSignal")
        // Swarm mode stops with the grace itself; here it also holds when the engine, or a person, stops the container.
        body["StopTimeout"] = JSON(wholeSeconds(assignment.stopGracePeriod))
        copy("Healthcheck")
        body["Labels"] = labels(assignment, container["Labels"])

        var host = hostConfig(container, template)
        if !files.isEmpty {
            let mounts = files.map { file -> JSON in
                [
                    "Type": "bind", "Source": .string(file.source), "Target": .string(file.target), "ReadOnly": true,
                    "BindOptions": ["Propagation": "rprivate"],
                ]
            }
            host["Mounts"] = .array((host["Mounts"]?.array ?? []) + mounts)
        }
        publish(assignment.ports, &body, &host)
        body["HostConfig"] = host
        return body
    }

    /// The volumes that are made before the container: those that name a driver of their own.
    ///
    /// - Returns: bodies for `POST /volumes/create`.
    public static func volumes(_ assignment: Dispatch.Assignment, on node: Node) throws(Unfit) -> [JSON] {
        (try expanded(assignment, on: node)["Mounts"]?.array ?? []).compactMap { mount in
            guard let options = mount["VolumeOptions"], let driver = options["DriverConfig"],
                (mount["Type"]?.string ?? "volume") == "volume", let name = mount["Source"]?.string, !name.isEmpty
            else { return nil }
            var volume: JSON = ["Name": .string(name)]
            if let plugin = driver["Name"] { volume["Driver"] = plugin }
            if let own = driver["Options"] { volume["DriverOpts"] = own }
            if let labels = options["Labels"] { volume["Labels"] = labels }
            return volume
        }
    }

    /// `NAME=value`, as the container has it.
    static func environment(_ assignment: Dispatch.Assignment, on node: Node) throws(Unfit) -> [String] {
        (try expanded(assignment, on: node)["Env"]?.array ?? []).compactMap(\.string)
    }

    /// The container's spec with its templates filled in.
    private static func expanded(_ assignment: Dispatch.Assignment, on node: Node) throws(Unfit) -> JSON {
        do {
            return try ContainerTemplates(.init(assignment, on: node)).expand(container(assignment) ?? [:])
        } catch {
            throw Unfit(description: error.description)
        }
    }

    private static func spec(_ assignment: Dispatch.Assignment) -> JSON? { try? JSON(parsing: assignment.spec) }

    private static func container(_ assignment: Dispatch.Assignment) -> JSON? {
        spec(assignment)?["TaskTemplate"]?["ContainerSpec"]
    }

    static func wholeSeconds(_ nanoseconds: Int64) -> Int {
        let (seconds, rest) = max(0, nanoseconds).quotientAndRemainder(dividingBy: 1_000_000_000)
        return Int(seconds) + (rest > 0 ? 1 : 0)
    }

    /// The swarm's own labels win over the container's.
    private static func labels(_ assignment: Dispatch.Assignment, _ own: JSON?) -> JSON {
        var labels: [String: String] = [:]
        for member in own?.object?.members ?? [] { labels[member.name] = member.value.string ?? "" }
        labels["com.docker.swarm.node.id"] = "\(assignment.node)"
        labels["com.docker.swarm.service.id"] = "\(assignment.service)"
        labels["com.docker.swarm.service.name"] = assignment.serviceName
        labels[swarmLabel] = ""
        labels[taskLabel] = "\(assignment.task)"
        labels["com.docker.swarm.task.name"] = assignment.containerName
        return JSON(labels)
    }
}

// MARK: - What the engine calls the host's part

extension ContainerDocument {
    private static func hostConfig(_ container: JSON, _ template: JSON?) -> JSON {
        var host: JSON = [:]
        func copy(_ from: String, as name: String? = nil) {
            if let value = container[from] { host[name ?? from] = value }
        }
        copy("Groups", as: "GroupAdd")
        copy("ReadOnly", as: "ReadonlyRootfs")
        copy("Sysctls")
        copy("CapabilityAdd", as: "CapAdd")
        copy("CapabilityDrop", as: "CapDrop")
        copy("Ulimits")
        copy("Init")
        copy("Isolation")
        copy("OomScoreAdj")
        copy("PidsLimit")
        if let hosts = container["Hosts"]?.array { host["ExtraHosts"] = .array(hosts.compactMap(extraHost)) }
        if let dns = container["DNSConfig"] {
            if let servers = dns["Nameservers"] { host["Dns"] = servers }
            if let search = dns["Search"] { host["DnsSearch"] = search }
            if let options = dns["Options"] { host["DnsOptions"] = options }
        }
        if let mounts = container["Mounts"]?.array { host["Mounts"] = .array(mounts.map(mount)) }
        if let privileges = container["Privileges"] {
            let options = securityOptions(privileges)
            if !options.isEmpty { host["SecurityOpt"] = JSON(options) }
        }
        limit(template?["Resources"], &host)
        if let driver = template?["LogDriver"] {
            host["LogConfig"] = ["Type": driver["Name"] ?? "", "Config": driver["Options"] ?? [:]]
        }
        return host
    }

    /// Reservations are for the scheduler; the engine is told the limits alone.
    private static func limit(_ resources: JSON?, _ host: inout JSON) {
        let limits = resources?["Limits"]
        if let cpus = limits?["NanoCPUs"] { host["NanoCpus"] = cpus }
        if let memory = limits?["MemoryBytes"] { host["Memory"] = memory }
        if let processes = limits?["Pids"], processes.int ?? 0 > 0 { host["PidsLimit"] = processes }
        if let swappiness = resources?["MemorySwappiness"] { host["MemorySwappiness"] = swappiness }
        // The engine counts memory and swap as one.
        guard let swap = resources?["SwapBytes"]?.int else { return }
        host["MemorySwap"] = JSON(swap < 0 ? -1 : swap + (limits?["MemoryBytes"]?.int ?? 0))
    }

    /// - Source: moby daemon/cluster/executor/container/container.go, `applyPrivileges`.
    private static func securityOptions(_ privileges: JSON) -> [String] {
        var options: [String] = []
        if let selinux = privileges["SELinuxContext"] {
            if selinux["Disable"]?.bool == true { options.append("label=disable") }
            for field in ["User", "Role", "Type", "Level"] {
                guard let value = selinux[field]?.string, !value.isEmpty else { continue }
                options.append("label=\(field.lowercased()):\(value)")
            }
        }
        if let seccomp = privileges["Seccomp"] {
            switch seccomp["Mode"]?.string {
            case "unconfined": options.append("seccomp=unconfined")
            case "custom":
                let profile = seccomp["Profile"]?.string.flatMap(Base64.decode) ?? []
                options.append("seccomp=" + String(decoding: profile, as: UTF8.self))
            default: break
            }
        }
        if privileges["AppArmor"]?["Mode"]?.string == "disabled" { options.append("apparmor=unconfined") }
        if privileges["NoNewPrivileges"]?.bool == true { options.append("no-new-privileges=true") }
        return options
    }

    /// `IP name alias…`, as in /etc/hosts, becomes `name:IP`; aliases are left out, as in swarm mode.
    private static func extraHost(_ line: JSON) -> JSON? {
        let parts = (line.string ?? "").split(whereSeparator: \.isWhitespace)
        return parts.count > 1 ? .string("\(parts[1]):\(parts[0])") : nil
    }

    private static func mount(_ mount: JSON) -> JSON {
        var mount = mount
        if (mount["Type"]?.string ?? "").isEmpty { mount["Type"] = "volume" }
        if var bind = mount["BindOptions"], (bind["Propagation"]?.string ?? "").isEmpty {
            bind["Propagation"] = "rprivate"
            mount["BindOptions"] = bind
        }
        return mount
    }

    private static func publish(_ ports: [Cluster.PortConfig], _ body: inout JSON, _ host: inout JSON) {
        var exposed = JSON.Object()
        var bindings = JSON.Object()
        for port in ports where port.mode == .host {
            let name = "\(port.target)/\(port.transport.rawValue)"
            let binding: JSON = ["HostPort": .string(port.published == 0 ? "" : "\(port.published)")]
            exposed[name] = [:]
            bindings[name] = .array((bindings[name]?.array ?? []) + [binding])
        }
        guard !exposed.members.isEmpty else { return }
        body["ExposedPorts"] = .object(exposed)
        host["PortBindings"] = .object(bindings)
    }
}

extension TemplateContext {
    init(_ assignment: Dispatch.Assignment, on node: ContainerDocument.Node) {
        self.init()
        serviceID = "\(assignment.service)"
        serviceName = assignment.serviceName
        serviceLabels = assignment.serviceLabels
        nodeID = "\(assignment.node)"
        nodeHostname = node.hostname
        platform = node.platform
        taskID = "\(assignment.task)"
        taskName = assignment.containerName
        taskSlot = assignment.slot > 0 ? "\(assignment.slot)" : "\(assignment.node)"
    }
}
