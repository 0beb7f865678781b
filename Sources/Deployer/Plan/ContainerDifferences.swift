internal import Deploy
internal import EngineAPI

/// What of a running container is not as wished.
enum ContainerDifferences {
    /// - Parameter image: what the wished name stands for on the host; nil where it must be pulled first.
    static func find(_ want: Want, actual: JSON, image: ImageFacts?, newImage: Bool) -> [Change] {
        var changes: [Change] = []
        let config = actual["Config"] ?? [:]
        let masked = ContainerDocument.make(want, masked: true)
        let label = config["Labels"]?[Mark.wish]?.string
        let running = config["Labels"]?[Mark.image]?.string ?? config["Image"]?.string ?? "?"
        if newImage || image?.id != actual["Image"]?.string {
            let same = running == want.image.description
            changes.append(
                Change("image", from: running, to: want.image.description + (same ? " (its content is new)" : "")))
        }
        guard let label, let old = try? JSON(parsing: label) else {
            return changes + [
                Change("container", from: "made by hand, without a deploy's labels", to: "made anew", byHand: true)
            ]
        }
        // 1. What the Deployfile says differently than at the last deploy.
        changes += Differences.between(withoutImage(old), withoutImage(masked))
        // 2. What the host says differently than the last deploy did.
        changes += drift(old, actual)
        // 3. Secrets stand only in the container itself.
        let actualEnv = Differences.leaves(["Env": config["Env"] ?? []])
        for case .env(let name, .secret(let secret)) in want.wished.settings {
            let field = "env \(name)"
            if changes.contains(where: { $0.field == field }) { continue }
            if actualEnv[field] != want.secrets[secret] {
                changes.append(Change(field, from: "••••", to: "•••• (another secret)"))
            }
        }
        return changes
    }

    private static func withoutImage(_ document: JSON) -> JSON {
        var copy = document
        copy["Image"] = nil
        return copy
    }

    /// Every leaf of the old wish must be found in what runs; what can be changed in place and was not wished must be at its default.
    private static func drift(_ old: JSON, _ actual: JSON) -> [Change] {
        var shown: JSON = [:]
        var seen: JSON = [:]
        guard case .object(let wished) = old else { return [] }
        for member in wished.members {
            switch member.name {
            case "Image", "NetworkingConfig", "ExposedPorts": continue
            case "HostConfig":
                for inner in member.value.object?.members ?? [] where !["CapAdd", "CapDrop"].contains(inner.name) {
                    shown.set(["HostConfig", inner.name], inner.value)
                    seen.set(
                        ["HostConfig", inner.name], part(actual.at(["HostConfig", inner.name]), like: inner.value))
                }
            case "Env", "Labels":
                shown.set([member.name], unmasked(member.value))
                seen.set([member.name], part(actual.at(["Config", member.name]), like: unmasked(member.value)))
            default:
                shown.set([member.name], member.value)
                seen.set([member.name], part(actual.at(["Config", member.name]), like: member.value))
            }
        }
        // `docker update` can change these.
        let inPlace: [(String, [JSON])] = [
            ("RestartPolicy", [["Name": "no", "MaximumRetryCount": 0], ["Name": "", "MaximumRetryCount": 0]]),
            ("Memory", [0]), ("NanoCpus", [0]),
            ("CpuShares", [0]), ("CpusetCpus", [""]),
        ]
        for (name, defaults) in inPlace where old.at(["HostConfig", name]) == nil {
            if let value = actual.at(["HostConfig", name]), !defaults.contains(value) {
                seen.set(["HostConfig", name], value)
            }
        }
        var changes = Differences.between(shown, seen, byHand: true).map {
            Change($0.field, from: $0.to, to: $0.from, byHand: true)
        }
        if let attached = actual.at(["NetworkSettings", "Networks"])?.object?.members.map(\.name).sorted() {
            let mode = old.at(["HostConfig", "NetworkMode"])?.string ?? "default"
            let wanted =
                old.at(["NetworkingConfig", "EndpointsConfig"])?.object?.members.map(\.name).sorted()
                ?? (mode == "default" ? ["bridge"] : mode.hasPrefix("container:") ? [] : [mode])
            if attached != wanted {
                changes.append(
                    Change(
                        "networks", from: attached.joined(separator: ", "), to: wanted.joined(separator: ", "),
                        byHand: true))
            }
        }
        return changes
    }

    /// Secrets are compared elsewhere.
    private static func unmasked(_ value: JSON) -> JSON {
        guard case .array(let entries) = value else { return value }
        return .array(entries.filter { $0.string?.hasSuffix("=‹secret›") != true })
    }

    /// Of what the engine says, only what was wished: it adds the image's and its own.
    private static func part(_ actual: JSON?, like wished: JSON) -> JSON? {
        guard let actual else { return nil }
        switch (wished, actual) {
        case (.object(let wished), .object(let actual)):
            var kept = JSON.Object()
            for member in wished.members {
                if let inner = part(actual[member.name], like: member.value) { kept[member.name] = inner }
            }
            return .object(kept)
        case (.array(let wished), .array(let actual)):
            let names = Set(wished.compactMap { $0.string?.split(separator: "=", maxSplits: 1).first.map(String.init) })
            if wished.allSatisfy({ $0.string?.contains("=") == true }) {
                return .array(
                    actual.filter {
                        names.contains($0.string?.split(separator: "=", maxSplits: 1).first.map(String.init) ?? "")
                    })
            }
            // Lists of documents, such as mounts: the engine may add fields to each.
            if wished.count == actual.count { return .array(zip(actual, wished).map { part($0, like: $1) ?? $0 }) }
            return .array(actual)
        default: return actual
        }
    }
}
