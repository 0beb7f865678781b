public import EngineAPI

extension Cluster.ServiceSpec {
    /// Reads what a client sent, and keeps it. Past this door nobody checks again.
    ///
    /// - Throws: `ControlError` with the reference's words for what is no spec, and `.unimplemented` for what
    ///   this version cannot do: it is never left out in silence.
    /// - Source: swarmkit manager/controlapi/service.go `validateServiceSpec`; moby daemon/cluster/convert/service.go.
    public init(parsing document: JSON) throws(ControlError) {
        guard case .object = document else {
            throw .malformed("json: cannot unmarshal \(document.kind) into Go value of type swarm.ServiceSpec")
        }
        let root = SpecField(document, at: "ServiceSpec")
        let task = root.member("TaskTemplate")
        let container = task.member("ContainerSpec")

        name = try root.string("Name") ?? ""
        labels = try root.strings("Labels")
        mode = try Self.mode(root)
        update = try Self.updateConfig(root.member("UpdateConfig"), mayBeNegative: false)
        rollback = try Self.updateConfig(root.member("RollbackConfig"), mayBeNegative: true)
        restart = try Self.restart(task.member("RestartPolicy"))

        if try task.string("Runtime") ?? "container" != "container" || task.member("PluginSpec").exists {
            throw .unimplemented("plugins as services are not supported: run the image as a container instead")
        }
        if task.member("NetworkAttachmentSpec").exists {
            throw .unimplemented("network attachments are not supported yet")
        }
        guard container.exists else { throw .malformed("mismatched Runtime and *Spec fields") }
        try Self.check(name: name)
        image = try container.string("Image") ?? ""
        guard !image.isEmpty else { throw .invalidArgument("ContainerSpec: image reference must be provided") }
        guard ImageReference.isValid(image) else {
            throw .invalidArgument(#"ContainerSpec: "\#(image)" is not a valid repository/tag"#)
        }
        try Self.check(container: container)
        try ContainerSpecChecks.check(container.json ?? [:], service: name, labels: labels)
        stopGracePeriod = try container.int("StopGracePeriod") ?? 10_000_000_000

        let placement = task.member("Placement")
        var constraints: [Cluster.Constraint] = []
        for text in try placement.list("Constraints") {
            constraints.append(try Cluster.Constraint(parsing: text))
        }
        self.constraints = constraints
        if !(placement.json?["Preferences"]?.array ?? []).isEmpty {
            throw .unimplemented(
                "placement preferences are not supported yet: use constraints or a limit of replicas per node")
        }
        platforms = (placement.json?["Platforms"]?.array ?? []).map {
            Cluster.Platform(os: $0["OS"]?.string ?? "", architecture: $0["Architecture"]?.string ?? "")
        }
        maxReplicasPerNode = Int(try placement.int("MaxReplicas") ?? 0)

        let resources = task.member("Resources")
        let reservations = resources.member("Reservations")
        reservedNanoCPUs = try reservations.int("NanoCPUs") ?? 0
        reservedMemoryBytes = try reservations.int("MemoryBytes") ?? 0
        for side in [reservations, resources.member("Limits")] { try Self.check(resources: side) }
        if !(reservations.json?["GenericResources"]?.array ?? []).isEmpty {
            throw .unimplemented("generic resources are not supported yet: use node labels and a constraint")
        }

        let endpoint = root.member("EndpointSpec")
        guard
            let resolution = Cluster.Resolution(
                rawValue: try endpoint.string("Mode").flatMap { $0.isEmpty ? nil : $0 } ?? "vip")
        else { throw .malformed("invalid resolution mode: \"\(try endpoint.string("Mode") ?? "")\"") }
        self.resolution = resolution
        ports = try Self.ports(endpoint, resolution)
        // Clients before 1.44 may name them beside the template.
        dependencies = try Cluster.DependencyReference.list(container)
        networks = try Self.networks(task)
        if networks.isEmpty { networks = try Self.networks(root) }

        self.document = document.text
        template = Self.template(of: document)
    }

    /// The same with other targets of its networks.
    package func renaming(networks targets: [String: String]) -> Self {
        guard var root = try? JSON(parsing: Array(document.utf8)) else { return self }
        var spec = self
        for place in spec.networks.indices {
            spec.networks[place].target = targets[spec.networks[place].target] ?? spec.networks[place].target
        }
        let renamed: (JSON?) -> JSON? = { list in
            list?.array.map {
                JSON.array(
                    $0.map { reference in
                        guard let target = reference["Target"]?.string.flatMap({ targets[$0] }) else {
                            return reference
                        }
                        var reference = reference
                        reference["Target"] = .string(target)
                        return reference
                    })
            }
        }
        if let list = renamed(root["Networks"]) { root["Networks"] = list }
        if var task = root["TaskTemplate"], let list = renamed(task["Networks"]) {
            task["Networks"] = list
            root["TaskTemplate"] = task
        }
        spec.document = root.text
        spec.template = Self.template(of: root)
        return spec
    }

    private static func template(of document: JSON) -> String {
        // A change of the ports published on the nodes replaces tasks too: their containers carry them. Where tasks may
        // run, and what the ingress network brings them, is no part of it.
        var containers = document["TaskTemplate"] ?? .null
        containers["Placement"] = nil
        let ports = (document["EndpointSpec"]?["Ports"]?.array ?? []).filter { $0["PublishMode"]?.string == "host" }
        let networks = containers["Networks"] == nil ? document["Networks"] ?? .null : .null
        return containers.text + JSON.array(ports).text + networks.text
    }

    private static func check(name: String) throws(ControlError) {
        guard !name.isEmpty else { throw .invalidArgument("meta: name must be provided") }
        guard name.utf8.count <= 63 else { throw .invalidArgument("name must be 63 characters or fewer") }
        let isWordCharacter: (UInt8) -> Bool = {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: false
            }
        }
        // ^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_]*[a-zA-Z0-9])?$
        guard isWordCharacter(name.utf8.first!), isWordCharacter(name.utf8.last!),
            name.utf8.allSatisfy({ isWordCharacter($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") })
        else { throw .invalidArgument("name must be valid as a DNS name component") }
    }

    private static func mode(_ root: SpecField) throws(ControlError) -> Cluster.ServiceMode {
        let mode = root.member("Mode")
        guard ["Replicated", "Global", "ReplicatedJob", "GlobalJob"].count(where: { mode.member($0).exists }) <= 1
        else {
            throw .malformed("must specify only one service mode")
        }
        if mode.member("Global").exists { return .global }
        for job in ["ReplicatedJob", "GlobalJob"] where mode.member(job).exists {
            throw .unimplemented("services of mode \(job) are not supported yet: use --mode replicated or global")
        }
        let replicas = try mode.member("Replicated").int("Replicas") ?? 1
        guard replicas >= 0 else {
            throw .malformed(
                "json: cannot unmarshal number \(replicas) into Go struct field ReplicatedService.Mode.Replicated.Replicas of type uint64"
            )
        }
        guard replicas <= 1_000_000 else {
            throw .invalidArgument("Number of replicas must be 1000000 or fewer: \(replicas) were asked for")
        }
        return .replicated(Int(replicas))
    }

    private static func check(container: SpecField) throws(ControlError) {
        _ = try container.list("Env")
        _ = try container.list("Command")
        _ = try container.list("Args")
        var targets: Set<String> = []
        for mount in container.json?["Mounts"]?.array ?? [] {
            let target = mount["Target"]?.string ?? ""
            guard targets.insert(target).inserted else {
                throw .invalidArgument("ContainerSpec: duplicate mount point: \(target)")
            }
        }
        let health = container.member("Healthcheck")
        for field in ["Interval", "Timeout", "StartPeriod"] {
            if let value = try health.int(field), value != 0, value < 1_000_000 {
                throw .invalidArgument("ContainerSpec: \(field) in HealthConfig cannot be less than 1ms")
            }
        }
        if let retries = try health.int("Retries"), retries < 0 {
            throw .invalidArgument("ContainerSpec: Retries in HealthConfig cannot be negative")
        }
    }

    private static func check(resources: SpecField) throws(ControlError) {
        if let cpus = try resources.int("NanoCPUs"), cpus != 0, cpus < 1_000_000 {
            throw .invalidArgument("invalid cpu value \(decimal(billionths: cpus)): Must be at least 0.001")
        }
        if let bytes = try resources.int("MemoryBytes"), bytes != 0, bytes < 4 << 20 {
            throw .invalidArgument("invalid memory value \(bytes): Must be at least 4MiB")
        }
    }

    private static func decimal(billionths: Int64) -> String {
        var digits = String(billionths.magnitude)
        digits = String(repeating: "0", count: max(0, 10 - digits.count)) + digits
        var decimals = digits.suffix(9)
        while decimals.last == "0" { decimals.removeLast() }
        return (billionths < 0 ? "-" : "") + digits.dropLast(9) + (decimals.isEmpty ? "" : "." + decimals)
    }

    private static func networks(_ holder: SpecField) throws(ControlError) -> [Cluster.NetworkReference] {
        var references: [Cluster.NetworkReference] = []
        for json in holder.json?["Networks"]?.array ?? [] {
            let field = SpecField(json, at: "NetworkAttachmentConfig")
            let target = try field.string("Target") ?? ""
            guard !target.isEmpty else {
                throw .invalidArgument("TaskSpec: a network needs a target: its name or its ID")
            }
            references.append(
                .init(target: target, aliases: try field.list("Aliases"), options: try field.strings("DriverOpts")))
        }
        return references
    }

    private static func ports(
        _ endpoint: SpecField, _ resolution: Cluster.Resolution
    ) throws(ControlError) -> [Cluster.PortConfig] {
        var ports: [Cluster.PortConfig] = []
        var published: Set<String> = []
        for json in endpoint.json?["Ports"]?.array ?? [] {
            let field = SpecField(json, at: "PortConfig")
            guard let transport = Cluster.PortConfig.Transport(rawValue: try field.string("Protocol") ?? "tcp") else {
                throw .invalidArgument("EndpointSpec: a port's protocol is tcp, udp or sctp")
            }
            guard let mode = Cluster.PortConfig.Mode(rawValue: try field.string("PublishMode") ?? "ingress") else {
                throw .invalidArgument("EndpointSpec: a port's publish mode is ingress or host")
            }
            let port = Cluster.PortConfig(
                name: try field.string("Name") ?? "", transport: transport,
                target: Int(try field.int("TargetPort") ?? 0), published: Int(try field.int("PublishedPort") ?? 0),
                mode: mode)
            guard (1...65_535).contains(port.target), (0...65_535).contains(port.published) else {
                throw .invalidArgument("EndpointSpec: ports are numbers from 1 to 65535")
            }
            if mode == .ingress, resolution == .dnsrr {
                throw .invalidArgument("EndpointSpec: port published with ingress mode can't be used with dnsrr mode")
            }
            if port.published > 0, !published.insert("\(port.published)/\(transport)").inserted {
                throw .invalidArgument("EndpointSpec: duplicate published ports provided")
            }
            ports.append(port)
        }
        return ports
    }

    private static func restart(_ field: SpecField) throws(ControlError) -> Cluster.RestartPolicy {
        var policy = Cluster.RestartPolicy()
        if let text = try field.string("Condition"), !text.isEmpty {
            guard let condition = Cluster.RestartPolicy.Condition(rawValue: text) else {
                throw .malformed("invalid RestartCondition: \"\(text)\"")
            }
            policy.condition = condition
        }
        if let delay = try field.int("Delay") {
            guard delay >= 0 else { throw .invalidArgument("TaskSpec: restart-delay cannot be negative") }
            policy.delay = delay
        }
        policy.maxAttempts = Int(try field.int("MaxAttempts") ?? 0)
        if let window = try field.int("Window") {
            guard window >= 0 else { throw .invalidArgument("TaskSpec: restart-window cannot be negative") }
            policy.window = window
        }
        return policy
    }

    /// - Parameter mayBeNegative: swarmkit checks the times of an update, and not those of a rollback.
    private static func updateConfig(
        _ field: SpecField, mayBeNegative: Bool
    ) throws(ControlError) -> Cluster.UpdateConfig {
        var config = Cluster.UpdateConfig()
        guard field.exists else { return config }
        config.parallelism = Int(try field.int("Parallelism") ?? 0)
        config.delay = try field.int("Delay") ?? 0
        guard mayBeNegative || config.delay >= 0 else {
            throw .invalidArgument("TaskSpec: update-delay cannot be negative")
        }
        if let monitor = try field.int("Monitor") {
            guard mayBeNegative || monitor >= 0 else {
                throw .invalidArgument("TaskSpec: update-monitor cannot be negative")
            }
            if monitor > 0 { config.monitor = monitor }
        }
        if let text = try field.string("FailureAction"), !text.isEmpty {
            guard let action = Cluster.UpdateConfig.FailureAction(rawValue: text) else {
                throw .malformed("unrecognized update failure action \(text)")
            }
            config.failureAction = action
        }
        config.maxFailureRatio = try field.double("MaxFailureRatio") ?? 0
        guard (0...1).contains(config.maxFailureRatio) else {
            throw .invalidArgument("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1")
        }
        if let text = try field.string("Order"), !text.isEmpty {
            guard let order = Cluster.UpdateConfig.Order(rawValue: text) else {
                throw .malformed("unrecognized update order \(text)")
            }
            config.order = order
        }
        return config
    }
}

/// A member of a document together with its path, so that what is wrong can be named.
struct SpecField {
    let json: JSON?
    let path: String

    init(_ json: JSON?, at path: String) {
        self.json = json
        self.path = path
    }

    var exists: Bool { json != nil }

    func member(_ name: String) -> SpecField { SpecField(json?[name], at: "\(path).\(name)") }

    private func wrong(_ value: JSON, _ name: String, _ type: String) -> ControlError {
        .malformed("json: cannot unmarshal \(value.kind) into Go struct field \(path).\(name) of type \(type)")
    }

    func string(_ name: String) throws(ControlError) -> String? {
        guard let value = json?[name] else { return nil }
        guard let text = value.string else { throw wrong(value, name, "string") }
        return text
    }

    func int(_ name: String) throws(ControlError) -> Int64? {
        guard let value = json?[name] else { return nil }
        guard let number = value.int else { throw wrong(value, name, "int64") }
        return Int64(number)
    }

    func double(_ name: String) throws(ControlError) -> Double? {
        guard let value = json?[name] else { return nil }
        guard let number = value.double else { throw wrong(value, name, "float32") }
        return number
    }

    func list(_ name: String) throws(ControlError) -> [String] {
        guard let value = json?[name] else { return [] }
        guard let elements = value.array else { throw wrong(value, name, "[]string") }
        var list: [String] = []
        for element in elements {
            guard let text = element.string else { throw wrong(element, name, "string") }
            list.append(text)
        }
        return list
    }

    func strings(_ name: String) throws(ControlError) -> [String: String] {
        guard let value = json?[name] else { return [:] }
        guard let object = value.object else { throw wrong(value, name, "map[string]string") }
        var map: [String: String] = [:]
        for member in object.members {
            guard let text = member.value.string else { throw wrong(member.value, name, "string") }
            map[member.name] = text
        }
        return map
    }
}

/// `[registry[:port]/]path[:tag][@digest]`.
///
/// - Source: distribution/reference, `ReferenceRegexp`.
public enum ImageReference {
    public static func isValid(_ text: String) -> Bool {
        var rest = Substring(text)
        if let at = rest.firstIndex(of: "@") {
            let digest = rest[rest.index(after: at)...].split(separator: ":", omittingEmptySubsequences: false)
            guard digest.count == 2, !digest[0].isEmpty, digest[1].count >= 32, digest[1].allSatisfy(\.isHexDigit)
            else { return false }
            rest = rest[..<at]
        }
        if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("/") {
            let tag = rest[rest.index(after: colon)...]
            guard (1...128).contains(tag.utf8.count), tag.utf8.first != UInt8(ascii: "."),
                tag.utf8.first != UInt8(ascii: "-"),
                tag.utf8.allSatisfy({ isWord($0, upper: true) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") })
            else { return false }
            rest = rest[..<colon]
        }
        var parts = rest.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count > 1, let host = parts.first, host == "localhost" || host.contains(".") || host.contains(":") {
            parts.removeFirst()
        }
        return rest.utf8.count <= 255 && !parts.isEmpty
            && parts.allSatisfy { part in
                guard let first = part.utf8.first, let last = part.utf8.last else { return false }
                return isLetterOrDigit(first) && isLetterOrDigit(last)
                    && part.utf8.allSatisfy {
                        isWord($0, upper: false) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-")
                    }
            }
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        byte != UInt8(ascii: "_") && isWord(byte, upper: false)
    }

    private static func isWord(_ byte: UInt8, upper: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): upper
        default: false
        }
    }
}
