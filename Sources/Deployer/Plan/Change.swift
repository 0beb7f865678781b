internal import EngineAPI

/// One thing that is not as it should be.
package struct Change: Sendable, Equatable, Codable {
    /// In the field's own words: `env FOO`, `image`, `memory`.
    package var field: String
    package var from: String?
    package var to: String?
    /// Nobody deployed it: somebody changed the host.
    package var byHand = false

    package init(_ field: String, from: String? = nil, to: String? = nil, byHand: Bool = false) {
        (self.field, self.from, self.to, self.byHand) = (field, from, to, byHand)
    }

    package var description: String {
        let what =
            switch (from, to) {
            case (nil, nil): field
            case (nil, let to?): "\(field): + \(to)"
            case (let from?, nil): "\(field): - \(from)"
            case (let from?, let to?): "\(field): \(from) → \(to)"
            }
        return byHand ? what + " (changed by hand)" : what
    }
}

/// Two documents compared, in the fields' own words.
enum Differences {
    /// Leaves by path. Lists of `NAME=value` and maps are taken apart by name, so that one changed variable is one change.
    static func leaves(_ document: JSON, secrets: Set<String> = []) -> [String: String] {
        var found: [String: String] = [:]
        gather(document, [], secrets, into: &found)
        return found
    }

    static func between(_ old: JSON, _ new: JSON, secrets: Set<String> = [], byHand: Bool = false) -> [Change] {
        let before = leaves(old, secrets: secrets)
        let after = leaves(new, secrets: secrets)
        return Set(before.keys).union(after.keys).sorted().compactMap { field in
            guard before[field] != after[field] else { return nil }
            let hidden = secrets.contains { field == "env \($0)" }
            return Change(
                field, from: before[field].map { hidden ? "••••" : $0 }, to: after[field].map { hidden ? "••••" : $0 },
                byHand: byHand)
        }
    }

    private static func gather(
        _ value: JSON, _ path: [String], _ secrets: Set<String>, into found: inout [String: String]
    ) {
        switch value {
        case .object(let object):
            for member in object.members { gather(member.value, path + [member.name], secrets, into: &found) }
        case .array(let elements):
            if path.last == "Env" {
                for entry in elements.compactMap(\.string) {
                    let halves = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
                        String.init)
                    found["env \(halves[0])"] = halves.count > 1 ? halves[1] : ""
                }
            } else {
                found[word(path)] = elements.map { $0.string ?? $0.text }.joined(separator: ", ")
            }
        case .null: break
        case .string(let text): found[word(path)] = text
        default: found[word(path)] = value.text
        }
    }

    /// `HostConfig.Memory` is "memory" to people.
    private static func word(_ path: [String]) -> String {
        var rest = path[...]
        if let place = rest.firstIndex(of: "Labels"), place < rest.endIndex - 1 {
            let owner = rest[..<place].last == "ContainerSpec" ? "container label" : "label"
            return "\(owner) " + rest[(place + 1)...].joined(separator: ".")
        }
        while let first = rest.first,
            ["HostConfig", "TaskTemplate", "ContainerSpec", "NetworkingConfig"].contains(first), rest.count > 1
        {
            rest.removeFirst()
        }
        let joined = rest.joined(separator: ".")
        return names[joined] ?? joined
    }

    private static let names = [
        "Image": "image", "Memory": "memory", "NanoCpus": "cpus", "Mode.Replicated.Replicas": "replicas",
        "User": "user",
        "Cmd": "command", "Args": "command", "EndpointSpec.Ports": "publish", "Mounts": "mounts",
        "Networks": "networks",
        "Placement.Constraints": "constraints", "RestartPolicy.Name": "restart", "RestartPolicy.Condition": "restart",
        "Resources.Limits.MemoryBytes": "memory", "Resources.Limits.NanoCPUs": "cpus",
    ]
}
