package import Deploy
package import EngineAPI

/// A container as the engine is asked to create it.
package enum ContainerDocument {
    /// - Parameter masked: secrets are left out; such a document is kept in a label.
    package static func make(_ want: Want, masked: Bool = false) -> JSON {
        var draft = Draft(want: want, masked: masked)
        for setting in want.wished.settings { draft.take(setting) }
        return draft.document
    }

    /// Options that say nothing to a container, with why.
    package static func meaningless(_ settings: [Setting]) -> [String] {
        settings.compactMap { setting in
            switch setting {
            case .replicas, .global, .maxReplicasPerNode: "\(setting.word): one container runs on each host"
            case .constraint, .placementPreference: "\(setting.word): the hosts of the application say where it runs"
            case .containerLabel: "containerLabel: a container has labels of its own; say label"
            case .secret, .config: "\(setting.word): only a swarm has them; say volume, or env(_:secret:)"
            case .memoryReservation, .cpuReservation: "\(setting.word): nothing is scheduled"
            case .update, .rollback: "\(setting.word): exchange says how a container is replaced"
            default: nil
            }
        }
    }

    private struct Draft {
        let want: Want
        let masked: Bool
        var config = JSON.Object()
        var host = JSON.Object()
        var env: [JSON] = []
        var labels = JSON.Object()
        var exposed = JSON.Object()
        var bindings = JSON.Object()
        var lists: [String: [JSON]] = [:]
        var endpoints = JSON.Object()
        var extra: [(path: String, value: JSON)] = []

        mutating func take(_ setting: Setting) {
            switch setting {
            case .publish(let port): publish(port)
            case .env(let name, .secret) where masked: env.append(.string(name + "=‹secret›"))
            case .env(let name, let value): env.append(.string(name + "=" + want.value(value)))
            case .label(let name, let value): labels[name] = .string(value)
            case .mount(let mount): lists["Mounts", default: []].append(mount.document)
            case .network(let name, let aliases):
                endpoints[name] = aliases.isEmpty ? [:] : ["Aliases": JSON(aliases)]
            case .networkMode(let mode): host["NetworkMode"] = .string(mode)
            case .restart(let restart): host["RestartPolicy"] = restart.containerPolicy
            case .memory(let bytes): host["Memory"] = JSON(bytes.count)
            case .cpus(let nano): host["NanoCpus"] = JSON(nano)
            case .user(let name): config["User"] = .string(name)
            case .workdir(let path): config["WorkingDir"] = .string(path)
            case .hostname(let name): config["Hostname"] = .string(name)
            case .entrypoint(let words): config["Entrypoint"] = JSON(words)
            case .host(let name, let address): lists["ExtraHosts", default: []].append(.string("\(name):\(address)"))
            case .dns(let address): lists["Dns", default: []].append(.string(address))
            case .dnsOption(let option): lists["DnsOptions", default: []].append(.string(option))
            case .dnsSearch(let domain): lists["DnsSearch", default: []].append(.string(domain))
            case .group(let name): lists["GroupAdd", default: []].append(.string(name))
            case .capAdd(let name): lists["CapAdd", default: []].append(.string(name))
            case .capDrop(let name): lists["CapDrop", default: []].append(.string(name))
            case .ulimit(let name, let soft, let hard):
                lists["Ulimits", default: []].append(["Name": .string(name), "Soft": JSON(soft), "Hard": JSON(hard)])
            case .sysctl(let name, let value):
                var all = host["Sysctls"]?.object ?? .init()
                all[name] = .string(value)
                host["Sysctls"] = .object(all)
            case .health(let check): config["Healthcheck"] = check.document
            case .noHealthCheck: config["Healthcheck"] = ["Test": ["NONE"]]
            case .stopSignal(let signal): config["StopSignal"] = .string(signal)
            case .stopGracePeriod(let time): config["StopTimeout"] = JSON((time.milliseconds + 999) / 1_000)
            case .readOnly: host["ReadonlyRootfs"] = true
            case .privileged: host["Privileged"] = true
            case .initProcess: host["Init"] = true
            case .logDriver(let name, let options):
                host["LogConfig"] = ["Type": .string(name), "Config": JSON(options)]
            case .engine(let path, let json): extra.append((path, (try? JSON(parsing: json)) ?? .null))
            case .replicas, .global, .maxReplicasPerNode, .constraint, .placementPreference, .containerLabel, .secret,
                .config,
                .memoryReservation, .cpuReservation, .update, .rollback, .mistake:
                break
            }
        }

        private mutating func publish(_ port: Port) {
            let key = "\(port.target)/\(port.transport)"
            exposed[key] = [:]
            let binding: JSON = [
                "HostIp": .string(port.address ?? ""), "HostPort": .string(port.published.map(String.init) ?? ""),
            ]
            bindings[key] = .array((bindings[key]?.array ?? []) + [binding])
        }

        var document: JSON {
            var config = config
            var host = host
            config["Image"] = .string(want.image.description)
            if let command = want.wished.command { config["Cmd"] = JSON(command) }
            if !env.isEmpty { config["Env"] = .array(env) }
            if !labels.members.isEmpty { config["Labels"] = .object(labels) }
            if !exposed.members.isEmpty {
                config["ExposedPorts"] = .object(exposed)
                host["PortBindings"] = .object(bindings)
            }
            for (name, values) in lists.sorted(by: { $0.key < $1.key }) { host[name] = .array(values) }
            if let first = endpoints.members.first, host["NetworkMode"] == nil {
                host["NetworkMode"] = .string(first.name)
            }
            config["HostConfig"] = .object(host)
            if !endpoints.members.isEmpty { config["NetworkingConfig"] = ["EndpointsConfig": .object(endpoints)] }
            var whole = JSON.object(config)
            for (path, value) in extra { whole.set(path.split(separator: ".").map(String.init), value) }
            return whole
        }
    }
}

extension JSON {
    /// Sets a member deep inside; objects on the way are made.
    mutating func set(_ path: [String], _ value: JSON?) {
        guard let first = path.first else { return }
        var object = object ?? .init()
        if path.count == 1 {
            object[first] = value
        } else {
            var inner = object[first] ?? [:]
            inner.set(Array(path.dropFirst()), value)
            object[first] = inner
        }
        self = .object(object)
    }

    func at(_ path: [String]) -> JSON? {
        var here: JSON? = self
        for name in path { here = here?[name] }
        return here
    }
}

extension Mount {
    var document: JSON {
        var object = JSON.Object()
        object["Type"] = .string(kind.rawValue)
        if let source { object["Source"] = .string(source) }
        object["Target"] = .string(target)
        if readOnly { object["ReadOnly"] = true }
        return .object(object)
    }
}

extension Restart {
    var containerPolicy: JSON {
        switch self {
        case .never: ["Name": "no"]
        case .always: ["Name": "always"]
        case .unlessStopped: ["Name": "unless-stopped"]
        case .onFailure(let attempts): ["Name": "on-failure", "MaximumRetryCount": JSON(attempts)]
        }
    }

    var servicePolicy: JSON {
        switch self {
        case .never: ["Condition": "none"]
        case .always, .unlessStopped: ["Condition": "any"]
        case .onFailure(let attempts):
            attempts == 0 ? ["Condition": "on-failure"] : ["Condition": "on-failure", "MaxAttempts": JSON(attempts)]
        }
    }
}

extension HealthCheck {
    var document: JSON {
        var object = JSON.Object()
        object["Test"] = ["CMD-SHELL", .string(command)]
        object["Interval"] = JSON(interval.nanoseconds)
        object["Timeout"] = JSON(timeout.nanoseconds)
        object["Retries"] = JSON(retries)
        if startPeriod.milliseconds > 0 { object["StartPeriod"] = JSON(startPeriod.nanoseconds) }
        return .object(object)
    }
}
