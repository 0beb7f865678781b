/// What a Deployfile says about a container or a service: `.publish("8080:80")`, `.replicas(3)`.
///
/// The same options hold for containers and services; the plan says where one has no meaning. What is not covered
/// passes through as a field of the engine's own document, with `engine(_:_:)`.
public struct Option: Sendable {
    package enum Content: Sendable {
        case setting(Setting)
        case computed(@Sendable (Surroundings) -> [Option])
    }
    package var content: Content

    init(_ setting: Setting) { content = .setting(setting) }

    /// Options that depend on where they go: on the infrastructure that was chosen, or on `--set NAME=VALUE`.
    public static func computed(_ options: @escaping @Sendable (Surroundings) -> [Option]) -> Self {
        var option = Self(.global)
        option.content = .computed(options)
        return option
    }

    package func settings(in surroundings: Surroundings) -> [Setting] {
        switch content {
        case .setting(let setting): [setting]
        case .computed(let options): options(surroundings).flatMap { $0.settings(in: surroundings) }
        }
    }
}

// MARK: - Ports, environment, labels

extension Option {
    /// As in `docker run --publish`: `80`, `8080:80`, `127.0.0.1:8080:80/udp`, `8000-8002:9000-9002`.
    public static func publish(_ text: String, mode: Port.Mode = .ingress) -> Self {
        switch Port.parse(text, mode: mode) {
        case .some(let ports) where ports.count == 1: Self(.publish(ports[0]))
        case .some(let ports): computed { _ in ports.map { Option(.publish($0)) } }
        case nil:
            Self(
                .mistake(
                    "publish(\"\(text)\") is no port: it is [[ADDRESS:]PUBLISHED:]TARGET[/tcp|udp], as in \"8080:80\""))
        }
    }
    public static func publish(_ port: Port) -> Self { Self(.publish(port)) }

    public static func env(_ name: String, _ value: String) -> Self { Self(.env(name: name, value: .plain(value))) }
    /// A value that stays out of the Deployfile, command lines, logs and labels.
    public static func env(_ name: String, secret: Secret) -> Self { Self(.env(name: name, value: .secret(secret))) }
    public static func env(_ values: [String: String]) -> Self {
        computed { _ in values.sorted { $0.key < $1.key }.map { .env($0.key, $0.value) } }
    }
    /// A label of the container, or of the service.
    public static func label(_ name: String, _ value: String = "") -> Self { Self(.label(name: name, value: value)) }
    /// A label of a service's containers.
    public static func containerLabel(_ name: String, _ value: String = "") -> Self {
        Self(.containerLabel(name: name, value: value))
    }
}

// MARK: - Files and networks

extension Option {
    /// As in `docker run --volume`: `data:/var/lib/data`, `/srv/www:/www:ro`, `/cache`.
    public static func volume(_ text: String) -> Self {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let modes = parts.count > 2 ? parts[2].split(separator: ",") : []
        guard (1...3).contains(parts.count), !parts.contains(""),
            (parts.count == 1 ? parts[0] : parts[1]).hasPrefix("/")
        else { return Self(.mistake("volume(\"\(text)\") is no volume: it is [NAME|/PATH:]/TARGET[:ro]")) }
        let source = parts.count == 1 ? nil : parts[0]
        return Self(
            .mount(
                Mount(
                    kind: source?.hasPrefix("/") == true ? .bind : .volume, source: source,
                    target: parts.count == 1 ? parts[0] : parts[1], readOnly: modes.contains("ro"))))
    }
    public static func mount(_ kind: Mount.Kind, source: String? = nil, target: String, readOnly: Bool = false) -> Self
    {
        Self(.mount(Mount(kind: kind, source: source, target: target, readOnly: readOnly)))
    }
    public static func tmpfs(_ target: String) -> Self { mount(.tmpfs, target: target) }
    public static func network(_ name: String, aliases: [String] = []) -> Self {
        Self(.network(name: name, aliases: aliases))
    }
    /// `host`, `none` or `container:NAME`, for containers.
    public static func networkMode(_ mode: String) -> Self { Self(.networkMode(mode)) }
    /// A line of /etc/hosts.
    public static func host(_ name: String, _ address: String) -> Self { Self(.host(name: name, address: address)) }
    public static func dns(_ address: String) -> Self { Self(.dns(address)) }
    public static func dnsOption(_ option: String) -> Self { Self(.dnsOption(option)) }
    public static func dnsSearch(_ domain: String) -> Self { Self(.dnsSearch(domain)) }
    /// A secret of the swarm, by name; it appears as `/run/secrets/TARGET`.
    public static func secret(_ name: String, target: String? = nil) -> Self {
        Self(.secret(name: name, target: target ?? name))
    }
    /// A config of the swarm, by name.
    public static func config(_ name: String, target: String? = nil) -> Self {
        Self(.config(name: name, target: target ?? "/" + name))
    }
}

// MARK: - How many, where, how long

extension Option {
    public static func replicas(_ count: Int) -> Self {
        count < 0 ? Self(.mistake("replicas(\(count)): there cannot be fewer than none")) : Self(.replicas(count))
    }
    /// One task on every node.
    public static var global: Self { Self(.global) }
    /// As in `docker service create --constraint`: `node.role==manager`.
    public static func constraint(_ expression: String) -> Self { Self(.constraint(expression)) }
    /// Spread over the values of a label: `node.labels.zone`.
    public static func placementPreference(spread descriptor: String) -> Self { Self(.placementPreference(descriptor)) }
    public static func maxReplicasPerNode(_ count: Int) -> Self { Self(.maxReplicasPerNode(count)) }
    public static func restart(_ policy: Restart) -> Self { Self(.restart(policy)) }
    public static func memory(_ limit: Bytes) -> Self { Self(.memory(limit)) }
    public static func memoryReservation(_ amount: Bytes) -> Self { Self(.memoryReservation(amount)) }
    /// 1.5 is one and a half processors.
    public static func cpus(_ count: Double) -> Self { Self(.cpus(nano: Int((count * 1e9).rounded()))) }
    public static func cpuReservation(_ count: Double) -> Self {
        Self(.cpuReservation(nano: Int((count * 1e9).rounded())))
    }
    public static func health(_ check: HealthCheck) -> Self { Self(.health(check)) }
    /// The image's own check is not run.
    public static var noHealthCheck: Self { Self(.noHealthCheck) }
    public static func stopSignal(_ signal: String) -> Self { Self(.stopSignal(signal)) }
    /// How long a container may take to end before it is killed; the engine's default is 10 s.
    public static func stopGracePeriod(_ time: Time) -> Self { Self(.stopGracePeriod(time)) }
    public static func update(_ rollout: Rollout) -> Self { Self(.update(rollout)) }
    public static func rollback(_ rollout: Rollout) -> Self { Self(.rollback(rollout)) }
}

// MARK: - The process

extension Option {
    public static func user(_ name: String) -> Self { Self(.user(name)) }
    /// A further group of the process.
    public static func group(_ name: String) -> Self { Self(.group(name)) }
    public static func workdir(_ path: String) -> Self { Self(.workdir(path)) }
    public static func hostname(_ name: String) -> Self { Self(.hostname(name)) }
    public static func entrypoint(_ words: String...) -> Self { Self(.entrypoint(words)) }
    public static func capAdd(_ name: String) -> Self { Self(.capAdd(name)) }
    public static func capDrop(_ name: String) -> Self { Self(.capDrop(name)) }
    public static func ulimit(_ name: String, soft: Int, hard: Int? = nil) -> Self {
        Self(.ulimit(name: name, soft: soft, hard: hard ?? soft))
    }
    public static func sysctl(_ name: String, _ value: String) -> Self { Self(.sysctl(name: name, value: value)) }
    public static var readOnly: Self { Self(.readOnly) }
    public static var privileged: Self { Self(.privileged) }
    /// A small init inside the container reaps what is left behind.
    public static var initProcess: Self { Self(.initProcess) }
    public static func logDriver(_ name: String, options: [String: String] = [:]) -> Self {
        Self(.logDriver(name: name, options: options))
    }

    /// Any other field of the engine's document, by its path: `.engine("HostConfig.ShmSize", "67108864")` for a container,
    /// `.engine("TaskTemplate.ContainerSpec.TTY", "true")` for a service.
    ///
    /// - Parameter json: the value as JSON, so a text is `"\"text\""`.
    public static func engine(_ path: String, _ json: String) -> Self {
        do { _ = try JSONText(parsing: json) } catch {
            return Self(.mistake("engine(\"\(path)\", …): the value is \(error); a text stands in quotes"))
        }
        return Self(.engine(path: path, json: json))
    }
}

extension Port {
    /// nil if it is none.
    package static func parse(_ text: String, mode: Mode) -> [Port]? {
        let halves = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let transport = halves.count > 1 ? halves[1] : "tcp"
        guard ["tcp", "udp", "sctp"].contains(transport) else { return nil }
        var parts = halves[0].split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard let targets = range(parts.removeLast()) else { return nil }
        var published: [Int?] = targets.map { _ in nil }
        if let last = parts.popLast(), !last.isEmpty {
            guard let found = range(last), found.count == targets.count else { return nil }
            published = found
        }
        // What is left of an IPv6 address has its own colons.
        var address = parts.isEmpty ? nil : parts.joined(separator: ":")
        if let text = address, text.hasPrefix("["), text.hasSuffix("]") {
            address = String(text.dropFirst().dropLast())
        }
        return zip(targets, published).map {
            Port(target: $0, published: $1, address: address, transport: transport, mode: mode)
        }
    }

    private static func range(_ text: String) -> [Int]? {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard let first = ends.first ?? nil, let last = ends.last ?? nil, ends.count <= 2, first <= last,
            (1...65_535).contains(first), last <= 65_535
        else { return nil }
        return Array(first...last)
    }
}
