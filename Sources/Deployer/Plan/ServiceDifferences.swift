package import EngineAPI

/// Two specs compared as the swarm means them: defaults, empty things and orders that say nothing do not count.
package enum ServiceDifferences {
    package static func find(from actual: JSON, to wished: JSON, networks: [String: String], secrets: Set<String>)
        -> [Change]
    {
        let names = Dictionary(networks.map { ($0.value, $0.key) }, uniquingKeysWith: { a, _ in a })
        return Differences.between(plain(actual, [], names), plain(wished, [], names), secrets: secrets)
    }

    /// What is there anyway when nothing is said.
    ///
    /// - Source: swarmkit api/defaults/service.go; docker CLI's `service create` says them aloud.
    private static let defaults: [String: [JSON]] = [
        "TaskTemplate.ContainerSpec.StopGracePeriod": [10_000_000_000],
        "TaskTemplate.ContainerSpec.Isolation": ["default"],
        "EndpointSpec.Mode": ["vip"], "TaskTemplate.Runtime": ["container"],
        "TaskTemplate.RestartPolicy.Condition": ["any"],
        "TaskTemplate.RestartPolicy.Delay": [5_000_000_000], "RollbackConfig.Parallelism": [1],
        "RollbackConfig.FailureAction": ["pause"],
        "RollbackConfig.Monitor": [5_000_000_000], "RollbackConfig.Order": ["stop-first"],
    ]
    /// The engine's own business.
    private static let ignored: Set<String> = [
        "TaskTemplate.ForceUpdate", "TaskTemplate.Placement.Platforms", "Labels." + "apus.version",
    ]

    private static func plain(_ value: JSON, _ path: [String], _ networks: [String: String]) -> JSON {
        let place = path.joined(separator: ".")
        if ignored.contains(place) || defaults[place]?.contains(value) == true { return .null }
        switch value {
        case .null, .bool(false), .string(""), .number("0"): return place == "Mode.Replicated.Replicas" ? value : .null
        case .object(let object):
            var kept = JSON.Object()
            for member in object.members {
                let inner = plain(member.value, path + [member.name], networks)
                if inner != .null { kept[member.name] = inner }
            }
            if kept.members.isEmpty { return place == "Mode.Global" ? "global" : .null }
            let sorted = kept.members.sorted { $0.name < $1.name }
            var ordered = JSON.Object()
            for member in sorted { ordered[member.name] = member.value }
            return .object(ordered)
        case .array(let elements):
            let inside = elements.map { element -> JSON in
                guard place == "TaskTemplate.Networks", let target = element["Target"]?.string else {
                    return plain(element, path + ["*"], networks)
                }
                var named = element
                named["Target"] = .string(networks[target] ?? target)
                return plain(named, path + ["*"], networks)
            }.filter { $0 != .null }
            // A command's words have an order; DNS servers too.
            let hasOrder = ["Args", "Command", "Test", "Nameservers", "Search", "Preferences"].contains(path.last ?? "")
            if inside.isEmpty { return .null }
            return .array(hasOrder ? inside : inside.sorted { $0.text < $1.text })
        default: return value
        }
    }
}
