package import Deploy
package import EngineAPI

/// A service as the swarm is asked to keep it: what the Deployfile says, laid over what is there.
///
/// Every field that an option can say is owned by the Deployfile: it is set, or taken back to its default. What no option
/// covers stays as it is.
package enum ServiceDocument {
    /// IDs of things that a spec names by ID.
    package struct Known: Sendable, Equatable {
        package var networks: [String: String] = [:]
        package var secrets: [String: String] = [:]
        package var configs: [String: String] = [:]
        package init(_ facts: Facts) { (networks, secrets, configs) = (facts.networks, facts.secrets, facts.configs) }
        package init() {}
    }

    /// - Parameter actual: the spec that is there, if there is one.
    /// - Returns: the spec, and what it names but the swarm does not have.
    package static func make(_ want: Want, image: String, over actual: JSON?, known: Known, version: Int) -> (
        spec: JSON, missing: [String]
    ) {
        var draft = Draft(want: want, known: known, spec: actual ?? [:])
        for setting in want.wished.settings { draft.take(setting) }
        draft.finish(image: image, version: version)
        return (draft.spec, draft.missing)
    }

    package static func meaningless(_ settings: [Setting]) -> [String] {
        settings.compactMap { setting in
            switch setting {
            case .networkMode: "networkMode: say network; a service has networks of the swarm"
            case .privileged: "privileged: swarm mode has no such thing; say capAdd"
            case .publish(let port) where port.address != nil: "publish: a service listens on all addresses of a node"
            default: nil
            }
        }
    }

    private struct Draft {
        let want: Want
        let known: Known
        var spec: JSON
        var missing: [String] = []
        var lists: [[String]: [JSON]] = [:]
        var values: [[String]: JSON] = [:]
        var labels = JSON.Object()
        var containerLabels = JSON.Object()
        var paths: [String] = []
        var extra: [(path: [String], value: JSON)] = []
        var isGlobal = false
        var replicas: Int?

        static let container = ["TaskTemplate", "ContainerSpec"]

        mutating func add(_ path: [String], _ value: JSON) { lists[path, default: []].append(value) }

        mutating func take(_ setting: Setting) {
            let container = Self.container
            switch setting {
            case .publish(let port):
                var document: JSON = ["Protocol": .string(port.transport), "TargetPort": JSON(port.target)]
                if let published = port.published { document["PublishedPort"] = JSON(published) }
                document["PublishMode"] = .string(port.mode.rawValue)
                add(["EndpointSpec", "Ports"], document)
            case .env(let name, let value): add(container + ["Env"], .string(name + "=" + want.value(value)))
            case .label(let name, let value): labels[name] = .string(value)
            case .containerLabel(let name, let value): containerLabels[name] = .string(value)
            case .mount(let mount): add(container + ["Mounts"], mount.document)
            case .network(let name, let aliases):
                guard let id = known.networks[name] else {
                    missing.append(
                        "network \(name) is not there; make it with `docker network create --driver overlay \(name)`")
                    return
                }
                add(
                    ["TaskTemplate", "Networks"],
                    aliases.isEmpty ? ["Target": .string(id)] : ["Target": .string(id), "Aliases": JSON(aliases)])
            case .secret(let name, let target):
                refer(
                    "secret", name, target, known.secrets[name], to: container + ["Secrets"], "SecretID", "SecretName")
            case .config(let name, let target):
                refer(
                    "config", name, target, known.configs[name], to: container + ["Configs"], "ConfigID", "ConfigName")
            case .replicas(let count): replicas = count
            case .global: isGlobal = true
            case .constraint(let text): add(["TaskTemplate", "Placement", "Constraints"], .string(Self.spaced(text)))
            case .placementPreference(let text):
                add(["TaskTemplate", "Placement", "Preferences"], ["Spread": ["SpreadDescriptor": .string(text)]])
            case .maxReplicasPerNode(let count): values[["TaskTemplate", "Placement", "MaxReplicas"]] = JSON(count)
            case .restart(let restart): values[["TaskTemplate", "RestartPolicy"]] = restart.servicePolicy
            case .memory(let bytes): values[["TaskTemplate", "Resources", "Limits", "MemoryBytes"]] = JSON(bytes.count)
            case .memoryReservation(let bytes):
                values[["TaskTemplate", "Resources", "Reservations", "MemoryBytes"]] = JSON(bytes.count)
            case .cpus(let nano): values[["TaskTemplate", "Resources", "Limits", "NanoCPUs"]] = JSON(nano)
            case .cpuReservation(let nano):
                values[["TaskTemplate", "Resources", "Reservations", "NanoCPUs"]] = JSON(nano)
            case .user(let name): values[container + ["User"]] = .string(name)
            case .workdir(let path): values[container + ["Dir"]] = .string(path)
            case .hostname(let name): values[container + ["Hostname"]] = .string(name)
            case .entrypoint(let words): values[container + ["Command"]] = JSON(words)
            case .host(let name, let address): add(container + ["Hosts"], .string("\(address) \(name)"))
            case .dns(let address): add(container + ["DNSConfig", "Nameservers"], .string(address))
            case .dnsOption(let option): add(container + ["DNSConfig", "Options"], .string(option))
            case .dnsSearch(let domain): add(container + ["DNSConfig", "Search"], .string(domain))
            case .group(let name): add(container + ["Groups"], .string(name))
            case .capAdd(let name): add(container + ["CapabilityAdd"], .string(Self.capability(name)))
            case .capDrop(let name): add(container + ["CapabilityDrop"], .string(Self.capability(name)))
            case .ulimit(let name, let soft, let hard):
                add(container + ["Ulimits"], ["Name": .string(name), "Soft": JSON(soft), "Hard": JSON(hard)])
            case .sysctl(let name, let value):
                var all = values[container + ["Sysctls"]] ?? [:]
                all.set([name], .string(value))
                values[container + ["Sysctls"]] = all
            case .health(let check): values[container + ["Healthcheck"]] = check.document
            case .noHealthCheck: values[container + ["Healthcheck"]] = ["Test": ["NONE"]]
            case .stopSignal(let signal): values[container + ["StopSignal"]] = .string(signal)
            case .stopGracePeriod(let time): values[container + ["StopGracePeriod"]] = JSON(time.nanoseconds)
            case .update(let rollout): values[["UpdateConfig"]] = rollout.document
            case .rollback(let rollout): values[["RollbackConfig"]] = rollout.document
            case .readOnly: values[container + ["ReadOnly"]] = true
            case .initProcess: values[container + ["Init"]] = true
            case .logDriver(let name, let options):
                values[["TaskTemplate", "LogDriver"]] = ["Name": .string(name), "Options": JSON(options)]
            case .engine(let path, let json):
                paths.append(path)
                extra.append((path.split(separator: ".").map(String.init), (try? JSON(parsing: json)) ?? .null))
            case .networkMode, .privileged, .mistake: break
            }
        }

        private mutating func refer(
            _ kind: String, _ name: String, _ target: String, _ id: String?, to path: [String], _ idField: String,
            _ nameField: String
        ) {
            guard let id else {
                missing.append("\(kind) \(name) is not there; make it with `docker \(kind) create \(name) FILE`")
                return
            }
            let file: JSON = ["Name": .string(target), "UID": "0", "GID": "0", "Mode": 292]
            var document: JSON = ["File": file]
            document[idField] = .string(id)
            document[nameField] = .string(name)
            add(path, document)
        }

        /// As the engine writes it: `node.role==manager`.
        private static func spaced(_ text: String) -> String { String(text.filter { $0 != " " }) }
        private static func capability(_ name: String) -> String {
            let upper = name.uppercased()
            return upper == "ALL" || upper.hasPrefix("CAP_") ? upper : "CAP_" + upper
        }

        mutating func finish(image: String, version: Int) {
            let before = spec["Labels"]?[Mark.paths]?.string?.split(separator: " ").map(String.init) ?? []
            for path in before where !paths.contains(path) {
                spec.set(path.split(separator: ".").map(String.init), nil)
            }
            for path in ServiceDocument.ownedLists { spec.set(path, lists[path].map { .array($0) }) }
            for path in ServiceDocument.ownedValues { spec.set(path, values[path]) }
            if values[["UpdateConfig"]] == nil { spec["UpdateConfig"] = Rollout().document }
            spec.set(Self.container + ["Image"], .string(image))
            spec.set(Self.container + ["Args"], want.wished.command.map { JSON($0) })
            spec.set(Self.container + ["Labels"], containerLabels.members.isEmpty ? nil : .object(containerLabels))
            spec["Name"] = .string(want.name)
            if isGlobal {
                spec["Mode"] = ["Global": [:]]
            } else {
                spec["Mode"] = ["Replicated": ["Replicas": JSON(replicas ?? 1)]]
            }
            labels[Mark.application] = .string(want.name)
            labels[Mark.deployment] = .string(want.deployment)
            labels[Mark.version] = .string(String(version))
            if !paths.isEmpty { labels[Mark.paths] = .string(paths.joined(separator: " ")) }
            spec["Labels"] = .object(labels)
            for (path, value) in extra { spec.set(path, value) }
        }
    }
}

extension ServiceDocument {
    fileprivate static let ownedLists: [[String]] =
        [
            ["EndpointSpec", "Ports"], ["TaskTemplate", "Networks"], ["TaskTemplate", "Placement", "Constraints"],
            ["TaskTemplate", "Placement", "Preferences"],
        ]
        + ["Env", "Mounts", "Secrets", "Configs", "Hosts", "Groups", "CapabilityAdd", "CapabilityDrop", "Ulimits"].map {
            Draft.container + [$0]
        }
        + ["Nameservers", "Options", "Search"].map { Draft.container + ["DNSConfig", $0] }

    fileprivate static let ownedValues: [[String]] =
        [
            ["TaskTemplate", "Placement", "MaxReplicas"], ["TaskTemplate", "RestartPolicy"],
            ["TaskTemplate", "LogDriver"], ["RollbackConfig"],
            ["TaskTemplate", "Resources", "Limits", "MemoryBytes"],
            ["TaskTemplate", "Resources", "Limits", "NanoCPUs"],
            ["TaskTemplate", "Resources", "Reservations", "MemoryBytes"],
            ["TaskTemplate", "Resources", "Reservations", "NanoCPUs"],
            ["UpdateConfig"],
        ]
        + [
            "User", "Dir", "Hostname", "Command", "Sysctls", "Healthcheck", "StopSignal", "StopGracePeriod", "ReadOnly",
            "Init",
        ].map {
            Draft.container + [$0]
        }
}

extension Rollout {
    var document: JSON {
        [
            "Parallelism": JSON(parallelism), "Delay": JSON(delay.nanoseconds),
            "FailureAction": .string(onFailure.rawValue),
            "Monitor": JSON(monitor.nanoseconds),
            "MaxFailureRatio": .number(maxFailureRatio == 0 ? "0" : "\(maxFailureRatio)"),
            "Order": .string(order.rawValue),
        ]
    }
}
