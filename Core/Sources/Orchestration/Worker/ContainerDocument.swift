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

    public static func make(_ assignment: Dispatch.Assignment, hostname nodeHostname: String) -> JSON {
        let template = spec(assignment)?["TaskTemplate"]
        let container = template?["ContainerSpec"] ?? [:]
        let words = TemplateWords(assignment, nodeHostname: nodeHostname)

        var body: JSON = ["Image": .string(container["Image"]?.string ?? "")]
        func copy(_ from: String, as name: String? = nil) {
            if let value = container[from] { body[name ?? from] = value }
        }
        copy("Command", as: "Entrypoint")
        copy("Args", as: "Cmd")
        if let environment = container["Env"]?.array { body["Env"] = .array(environment.map(words.expand)) }
        copy("Dir", as: "WorkingDir")
        copy("User")
        if let hostname = container["Hostname"] { body["Hostname"] = words.expand(hostname) }
        copy("TTY", as: "Tty")
        copy("OpenStdin")
        copy("StopSignal")
        body["StopTimeout"] = JSON(wholeSeconds(assignment.stopGracePeriod))
        copy("Healthcheck")
        body["Labels"] = labels(assignment, container["Labels"])

        var host: JSON = [:]
        func copyToHost(_ from: String, as name: String? = nil) {
            if let value = container[from] { host[name ?? from] = value }
        }
        copyToHost("Groups", as: "GroupAdd")
        copyToHost("ReadOnly", as: "ReadonlyRootfs")
        if let hosts = container["Hosts"]?.array { host["ExtraHosts"] = .array(hosts.flatMap(extraHosts)) }
        if let dns = container["DNSConfig"] {
            if let servers = dns["Nameservers"] { host["Dns"] = servers }
            if let search = dns["Search"] { host["DnsSearch"] = search }
            if let options = dns["Options"] { host["DnsOptions"] = options }
        }
        if let mounts = container["Mounts"]?.array { host["Mounts"] = .array(mounts.map { mount($0, words) }) }
        copyToHost("Sysctls")
        copyToHost("CapabilityAdd", as: "CapAdd")
        copyToHost("CapabilityDrop", as: "CapDrop")
        copyToHost("Ulimits")
        copyToHost("Init")
        copyToHost("Isolation")
        copyToHost("OomScoreAdj")
        let resources = template?["Resources"]
        if let limits = resources?["Limits"] {
            if let cpus = limits["NanoCPUs"] { host["NanoCpus"] = cpus }
            if let memory = limits["MemoryBytes"] { host["Memory"] = memory }
            if let processes = limits["Pids"] { host["PidsLimit"] = processes }
        }
        if let memory = resources?["Reservations"]?["MemoryBytes"] { host["MemoryReservation"] = memory }
        if let driver = template?["LogDriver"] {
            host["LogConfig"] = ["Type": driver["Name"] ?? "", "Config": driver["Options"] ?? [:]]
        }
        publish(assignment.ports, &body, &host)
        body["HostConfig"] = host
        return body
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

    /// `IP name alias…`, as in /etc/hosts, becomes `name:IP` for each name.
    private static func extraHosts(_ line: JSON) -> [JSON] {
        let parts = (line.string ?? "").split(whereSeparator: \.isWhitespace)
        guard let address = parts.first else { return [] }
        return parts.dropFirst().map { .string("\($0):\(address)") }
    }

    private static func mount(_ mount: JSON, _ words: TemplateWords) -> JSON {
        var mount = mount
        if (mount["Type"]?.string ?? "").isEmpty { mount["Type"] = "volume" }
        if let source = mount["Source"] { mount["Source"] = words.expand(source) }
        if let target = mount["Target"] { mount["Target"] = words.expand(target) }
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

/// The words that a service's spec may use for what differs from task to task, `{{.Task.Slot}}`.
///
/// What it does not know stays as it was written.
///
/// - Source: swarmkit template/context.go.
private struct TemplateWords {
    private let values: [String: String]
    private let labels: [String: String]

    init(_ assignment: Dispatch.Assignment, nodeHostname: String) {
        values = [
            ".Service.ID": "\(assignment.service)",
            ".Service.Name": assignment.serviceName,
            ".Node.ID": "\(assignment.node)",
            ".Node.Hostname": nodeHostname,
            ".Task.ID": "\(assignment.task)",
            ".Task.Name": assignment.containerName,
            ".Task.Slot": assignment.slot > 0 ? "\(assignment.slot)" : "\(assignment.node)",
        ]
        labels = assignment.serviceLabels
    }

    func expand(_ value: JSON) -> JSON { value.string.map { .string(expand($0)) } ?? value }

    func expand(_ text: String) -> String {
        var out = ""
        var rest = Substring(text)
        while let open = rest.firstRange(of: "{{") {
            guard let close = rest[open.upperBound...].firstRange(of: "}}") else { break }
            out += rest[..<open.lowerBound]
            let word = String(rest[open.upperBound..<close.lowerBound])
            out += value(of: word) ?? "{{\(word)}}"
            rest = rest[close.upperBound...]
        }
        return out + rest
    }

    private func value(of word: String) -> String? {
        var name = Substring(word)
        while name.first?.isWhitespace == true { name.removeFirst() }
        while name.last?.isWhitespace == true { name.removeLast() }
        if let known = values[String(name)] { return known }
        let prefix = ".Service.Labels."
        if name.hasPrefix(prefix) { return labels[String(name.dropFirst(prefix.count))] ?? "" }
        // `{{index .Service.Labels "with.dots"}}`
        let words = name.split(separator: " ", maxSplits: 2)
        guard words.count == 3, words[0] == "index", words[1] == ".Service.Labels" else { return nil }
        var key = words[2]
        guard key.count >= 2, key.first == "\"", key.last == "\"" else { return nil }
        key.removeFirst()
        key.removeLast()
        return labels[String(key)] ?? ""
    }
}
