internal import Deploy
internal import EngineAPI

/// What a swarm keeps of a stack's deploys: one config for each version, so that any manager knows them.
package struct StackRecord: Sendable, Equatable {
    enum State: String { case begun, current, kept }
    package var id: String
    package var index: Int
    package var version: Int
    package var state: String
    /// The compose file as it was, images by digest.
    package var text: String
    package var environment: [String: String]
    package var image: String
    /// Digest of each service's spec when the deploy had ended; what differs now was changed by hand.
    package var specs: [String: String]

    static let label = "apus.stack"

    init?(_ config: JSON) {
        guard let id = config["ID"]?.string, let spec = config["Spec"], let labels = spec["Labels"],
            let version = labels[Mark.version]?.string.flatMap(Int.init), let data = spec["Data"]?.string,
            let document = try? JSON(parsing: Base64.decode(data)), let text = document["text"]?.string
        else { return nil }
        (self.id, self.version, self.text) = (id, version, text)
        index = config.at(["Version", "Index"])?.int ?? 0
        state = labels["apus.state"]?.string ?? ""
        image = document["image"]?.string ?? ""
        environment = document["environment"]?.strings ?? [:]
        specs = labels["apus.specs"]?.string.flatMap { try? JSON(parsing: $0) }?.strings ?? [:]
    }

    /// The config that keeps it.
    static func document(_ name: String, _ wish: StackWish, image: String) -> JSON {
        let data: JSON = ["text": .string(wish.text), "environment": JSON(wish.environment), "image": .string(image)]
        return [
            "Name": .string("apus.stack.\(name).v\(wish.version)"), "Labels": labels(name, wish.version, .begun, [:]),
            "Data": .string(Base64.encode(data.utf8)),
        ]
    }

    static func labels(_ name: String, _ version: Int, _ state: State, _ specs: [String: String]) -> JSON {
        [
            label: .string(name), Mark.version: .string("\(version)"), "apus.state": .string(state.rawValue),
            "apus.specs": .string(JSON(specs).text),
        ]
    }

    /// Of a service, what a hand could change.
    static func digest(_ service: JSON) -> String {
        String(Digest.hexadecimal(of: (service["Spec"] ?? .null).text).prefix(16))
    }
}

extension JSON {
    var strings: [String: String] {
        Dictionary(
            (object?.members ?? []).compactMap { one in one.value.string.map { (one.name, $0) } },
            uniquingKeysWith: { a, _ in a })
    }
}

/// The compose file, read only as far as images go; everything else is the docker CLI's business.
package enum Compose {
    /// References on `image:` lines, with variables filled in.
    package static func images(_ text: String, _ environment: [String: String]) -> [String] {
        var found: [String] = []
        for line in text.split(separator: "\n") {
            guard let reference = reference(line) else { continue }
            let image = filled(String(reference), environment)
            if !image.contains("$"), !found.contains(image) { found.append(image) }
        }
        return found
    }

    /// The same text with images by digest, where one is known.
    package static func pinned(_ text: String, _ environment: [String: String], _ digests: [String: String]) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            guard let reference = reference(line) else { return String(line) }
            let name = ImageName(filled(String(reference), environment))
            guard name.digest == nil, let digest = digests[name.description] else { return String(line) }
            return line[..<reference.startIndex] + name.pinned(to: digest).description + line[reference.endIndex...]
        }.joined(separator: "\n")
    }

    private static func reference(_ line: Substring) -> Substring? {
        let start = line.drop { $0 == " " || $0 == "\t" }
        guard start.hasPrefix("image:") else { return nil }
        var rest = start.dropFirst(6).drop { $0 == " " }
        if let quote = rest.first, quote == "\"" || quote == "'" {
            rest = rest.dropFirst()
            return rest.firstIndex(of: quote).map { rest[..<$0] }
        }
        return rest.prefix { $0 != " " && $0 != "#" && $0 != "\r" }
    }

    /// `$NAME`, `${NAME}` and `${NAME:-default}`.
    static func filled(_ text: String, _ environment: [String: String]) -> String {
        var out = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            out += rest[..<dollar]
            rest = rest[rest.index(after: dollar)...]
            if rest.first == "{", let end = rest.firstIndex(of: "}") {
                let inside = rest[rest.index(after: rest.startIndex)..<end]
                let name = String(inside.prefix { $0 != ":" && $0 != "-" })
                let fallback = inside.dropFirst(name.count).drop { $0 == ":" }
                if let value = environment[name] {
                    out += value
                } else if fallback.first == "-" {
                    out += fallback.dropFirst()
                } else {
                    out += "${\(inside)}"
                }
                rest = rest[rest.index(after: end)...]
            } else {
                let name = String(rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" })
                out += environment[name] ?? "$" + name
                rest = rest.dropFirst(name.count)
            }
        }
        return out + rest
    }
}

struct StackPlanner {
    let planner: Planner
    let want: Want
    let manager: Facts
    let registry: [String: RegistryAnswer]

    private var records: [StackRecord] { (manager.records[want.name] ?? []).sorted { $0.version > $1.version } }
    private var current: StackRecord? { records.first { $0.state == StackRecord.State.current.rawValue } }
    private var isThere: Bool { !manager.stackServices(want.name).isEmpty }

    func plan() -> Plan {
        var plan = Plan()
        switch planner.goal {
        case .steps: deploy(&plan)
        case .rollback(let target, let back): rollback(to: target, migratingBack: back, &plan)
        case .migrateBack:
            rollback(to: nil, migratingBack: true, &plan)
            plan.tasks.removeAll { $0.step != .migrateBack }
        case .destroy:
            if isThere || !records.isEmpty {
                plan.tasks.append(task(.destroy, .removeStack(name: want.name)))
            } else {
                unchanged("Nothing is left of it, destroy skipped.", &plan)
            }
        case .restore: plan.problems.append("\(want.name) has nothing to restore: it is no PostgresContainer")
        }
        return plan
    }

    private func task(_ step: Step, _ action: Action, _ changes: [Change] = []) -> PlannedTask {
        PlannedTask(application: want.name, step: step, host: manager.host, action: action, changes: changes)
    }

    private func unchanged(_ words: String, _ plan: inout Plan) {
        plan.unchanged.append(.init(application: want.name, host: manager.host, words: words))
    }

    private func deploy(_ plan: inout Plan) {
        let text = want.fileText ?? ""
        let environment = want.stackEnvironment
        var digests: [String: String] = [:]
        for image in Compose.images(text, environment) {
            let name = ImageName(image).description
            switch registry[name] {
            case .digest(let digest): digests[name] = digest
            case .refused(let reason):
                // What runs may keep its digest; what is new must be there.
                if let known = current.flatMap({ Self.digest(of: name, in: $0.text) }) {
                    digests[name] = known
                    plan.notes.append(
                        "\(want.name): whether \(name) has changed is unknown, its own is taken: \(reason)")
                } else {
                    plan.problems.append(
                        "\(want.name): image \(name) cannot be pulled: \(reason). Nothing was changed anywhere")
                }
            case nil: break
            }
        }
        guard plan.problems.isEmpty else { return }
        let pinned = Compose.pinned(text, environment, digests)
        var changes: [Change] = []
        if let current {
            changes = lines(current.text, pinned)
            for (name, value) in environment.sorted(by: { $0.key < $1.key })
            where current.environment[name] != value && text.contains(name) {
                changes.append(Change("variable \(name)", from: current.environment[name], to: value))
            }
            changes += byHand(current)
        } else {
            changes = [Change("stack", to: want.wished.file ?? want.name)]
        }
        if planner.force, changes.isEmpty { changes = [Change("forced")] }
        if planner.has(.migrate), want.wished.migrations != nil, !changes.isEmpty || !planner.has(.update) {
            if case .fetch(let action) = ImageDecision.make(want, manager, registry) {
                plan.tasks.append(task(.pull, action))
            }
            plan.tasks.append(task(.migrate, .migrate(image: want.image.description)))
        }
        guard planner.has(.update) else { return }
        guard !changes.isEmpty else { return unchanged("No changes detected, update skipped.", &plan) }
        let version = (records.map(\.version).max() ?? 0) + 1
        plan.tasks.append(
            task(
                .update,
                .deployStack(StackWish(text: pinned, environment: environment, version: version, isRollback: false)),
                changes))
    }

    static func digest(of image: String, in text: String) -> String? {
        for one in Compose.images(text, [:]) {
            let name = ImageName(one)
            if let digest = name.digest, name.unpinned == image { return digest }
        }
        return nil
    }

    /// Lines that went and lines that came.
    private func lines(_ old: String, _ new: String) -> [Change] {
        let before = old.split(separator: "\n").map(String.init)
        let after = new.split(separator: "\n").map(String.init)
        return after.difference(from: before).map { one in
            switch one {
            case .remove(_, let line, _): Change(want.wished.file ?? "file", from: line.trimmed)
            case .insert(_, let line, _): Change(want.wished.file ?? "file", to: line.trimmed)
            }
        }
    }

    private func byHand(_ record: StackRecord) -> [Change] {
        let services = manager.stackServices(want.name)
        return Set(record.specs.keys).union(services.keys).sorted().compactMap { name in
            let now = services[name].map(StackRecord.digest)
            guard now != record.specs[name] else { return nil }
            return Change(
                "service \(name)", from: now == nil ? "removed" : record.specs[name] == nil ? "added" : "changed",
                to: "as deployed", byHand: true)
        }
    }

    private func rollback(to target: Int?, migratingBack: Bool, _ plan: inout Plan) {
        guard let current else {
            plan.problems.append("\(want.name): \(manager.host): there is no such stack: deploy it first")
            return
        }
        if let target, current.version == target {
            return unchanged("It is at version \(target) already, rollback skipped.", &plan)
        }
        // A deploy that was begun and never ended is taken back to what was current.
        let begun = records.first { $0.state == StackRecord.State.begun.rawValue && $0.version > current.version }
        let kept = records.filter { $0.state == StackRecord.State.kept.rawValue }
        if target == nil, begun == nil, let newer = kept.first, newer.version > current.version {
            return unchanged(
                "It is at version \(current.version) already, taken back from \(newer.version). Rollback skipped.",
                &plan)
        }
        guard
            let wanted = target.map({ version in kept.first { $0.version == version } })
                ?? (begun != nil ? current : kept.first { $0.version < current.version })
        else {
            let have = kept.map { "\($0.version)" }.joined(separator: ", ")
            plan.problems.append(
                "\(want.name): the swarm keeps no \(target.map { "version \($0)" } ?? "earlier version")\(have.isEmpty ? "" : "; it keeps \(have)")"
            )
            return
        }
        let from = begun?.image ?? current.image
        if migratingBack, want.wished.migrations != nil, !wanted.image.isEmpty, wanted.image != from {
            plan.tasks.append(task(.migrateBack, .migrateBack(from: from, to: wanted.image)))
        }
        let wish = StackWish(
            text: wanted.text, environment: wanted.environment, version: wanted.version, isRollback: true)
        plan.tasks.append(task(.revert, .deployStack(wish), lines(begun?.text ?? current.text, wanted.text)))
    }
}

extension Facts {
    func stackServices(_ name: String) -> [String: JSON] {
        services.filter { $0.value.at(["Spec", "Labels", "com.docker.stack.namespace"])?.string == name }
    }
}

extension Want {
    /// What a compose file or a Kubernetes configuration may name: the application's own variables, and its image.
    var stackEnvironment: [String: String] {
        var all: [String: String] = [:]
        for case .env(let name, let value) in wished.settings { all[name] = self.value(value) }
        if !wished.image.isEmpty { all["APUS_IMAGE"] = image.description }
        return all
    }
}

/// - Source: RFC 4648, section 4.
enum Base64 {
    private static let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var out: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let part = Array(bytes[start..<min(start + 3, bytes.count)])
            let word =
                UInt32(part[0]) << 16 | UInt32(part.count > 1 ? part[1] : 0) << 8 | UInt32(part.count > 2 ? part[2] : 0)
            for place in 0..<4 {
                out.append(place > part.count ? UInt8(ascii: "=") : letters[Int(word >> (18 - 6 * UInt32(place)) & 63)])
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    static func decode(_ text: String) -> [UInt8] {
        var out: [UInt8] = []
        var word: UInt32 = 0
        var bits: UInt32 = 0
        for byte in text.utf8 {
            guard let value = letters.firstIndex(of: byte) else { continue }
            word = (word << 6 | UInt32(value)) & 0xFF_FFFF
            bits += 6
            if bits >= 8 {
                bits -= 8
                out.append(UInt8(word >> bits & 0xFF))
            }
        }
        return out
    }
}
