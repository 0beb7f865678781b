public import EngineAPI

/// What the templates of a service may say of the service, the task and the node.
///
/// - Source: swarmkit template/context.go.
public struct TemplateContext: Sendable, Equatable {
    public var serviceID = ""
    public var serviceName = ""
    public var serviceLabels: [String: String] = [:]
    public var nodeID = ""
    public var nodeHostname = ""
    public var platform = Cluster.Platform(os: "", architecture: "")
    public var taskID = ""
    public var taskName = ""
    /// The number of the slot; the node's ID where slots mean nothing.
    public var taskSlot = ""

    public init() {}

    public var root: GoTemplate.Value {
        .object(
            type: "*template.Context",
            fields: [
                "Service": .object(
                    type: "struct { ID string; Name string; Labels map[string]string }",
                    fields: [
                        "ID": .string(serviceID), "Name": .string(serviceName), "Labels": .map(serviceLabels),
                    ]),
                "Node": .object(
                    type: "struct { ID string; Hostname string; Platform template.Platform }",
                    fields: [
                        "ID": .string(nodeID), "Hostname": .string(nodeHostname),
                        "Platform": .object(
                            type: "template.Platform",
                            fields: ["OS": .string(platform.os), "Architecture": .string(platform.architecture)]),
                    ]),
                "Task": .object(
                    type: "struct { ID string; Name string; Slot string }",
                    fields: ["ID": .string(taskID), "Name": .string(taskName), "Slot": .string(taskSlot)]),
            ])
    }
}

/// Fills in the templates of a container's spec: the hostname, what stands after `=` in the environment, and of mounts
/// the source, the target, the volume's labels and its driver's options.
///
/// - Source: swarmkit template/expand.go, `ExpandContainerSpec`; its words.
public struct ContainerTemplates: Sendable {
    private let root: GoTemplate.Value

    public init(_ context: TemplateContext) { root = context.root }

    public func expand(_ container: JSON) throws(GoTemplate.Trouble) -> JSON {
        var container = container
        if let environment = container["Env"]?.array {
            container["Env"] = .array(try named("expanding env failed") { try expand(environment: environment) })
        }
        // Mounts before the hostname: so does swarmkit, and the first trouble is what is told.
        if let mounts = container["Mounts"]?.array {
            container["Mounts"] = .array(
                try named("expanding mounts failed") {
                    var expanded: [JSON] = []
                    for mount in mounts { expanded.append(try expand(mount: mount)) }
                    return expanded
                })
        }
        if let hostname = container["Hostname"]?.string {
            container["Hostname"] = .string(try named("expanding hostname failed") { try expand(text: hostname) })
        }
        return container
    }

    private func expand(text: String) throws(GoTemplate.Trouble) -> String {
        guard text.utf8.contains(UInt8(ascii: "{")) else { return text }
        return try GoTemplate(parsing: text).expand(root)
    }

    private func expand(environment: [JSON]) throws(GoTemplate.Trouble) -> [JSON] {
        var expanded: [JSON] = []
        for entry in environment {
            guard let text = entry.string, let equals = text.firstIndex(of: "=") else {
                expanded.append(entry)
                continue
            }
            let value = try named("expanding env \(TemplateParser.quoted(text))") {
                try expand(text: String(text[text.index(after: equals)...]))
            }
            expanded.append(.string(text[...equals] + value))
        }
        return expanded
    }

    private func expand(mount: JSON) throws(GoTemplate.Trouble) -> JSON {
        var mount = mount
        for (field, word) in [("Source", "source"), ("Target", "target")] {
            guard let text = mount[field]?.string else { continue }
            mount[field] = .string(
                try named("expanding mount \(word) \(TemplateParser.quoted(text))") { try expand(text: text) })
        }
        guard var options = mount["VolumeOptions"] else { return mount }
        if let labels = options["Labels"] {
            options["Labels"] = try named("expanding volume labels") { try expand(map: labels) }
        }
        if var driver = options["DriverConfig"], let own = driver["Options"] {
            driver["Options"] = try named("expanding volume driver config") { try expand(map: own) }
            options["DriverConfig"] = driver
        }
        mount["VolumeOptions"] = options
        return mount
    }

    private func expand(map: JSON) throws(GoTemplate.Trouble) -> JSON {
        var map = map
        for member in map.object?.members ?? [] {
            guard let text = member.value.string else { continue }
            let key = TemplateParser.quoted(member.name)
            map[member.name] = .string(
                try named("expanding map entry \(key)=\(TemplateParser.quoted(text))") { try expand(text: text) })
        }
        return map
    }

    private func named<Value>(
        _ words: String, _ body: () throws -> Value
    ) throws(GoTemplate.Trouble) -> Value {
        do { return try body() } catch { throw GoTemplate.Trouble("\(words): \(error)") }
    }
}
