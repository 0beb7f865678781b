package import Deploy
internal import EngineAPI
internal import EngineClient

/// Reads what hosts run: one round to connect, one round of questions, all hosts and all questions at once.
package struct Look: Sendable {
    package var wants: [Want]
    package var credentials: Credentials

    package init(_ wants: [Want], credentials: Credentials) { (self.wants, self.credentials) = (wants, credentials) }

    package func look(_ remotes: [Remote]) async -> [Machine: Sight] {
        var sights: [Machine: Sight] = [:]
        await withTaskGroup(of: (Machine, String?).self) { group in
            for remote in remotes {
                group.addTask {
                    do {
                        try await remote.connect()
                        return (remote.host, nil)
                    } catch { return (remote.host, "\(error)") }
                }
            }
            for await (host, failure) in group { if let failure { sights[host] = .unreachable(failure) } }
        }
        let reached = remotes.filter { sights[$0.host] == nil }
        // Services ask a registry once, through the first of their hosts that answers.
        var asking: [Machine: Set<String>] = [:]
        for want in wants where asksRegistry(want) {
            let hosts = want.wished.hosts.filter { host in reached.contains { $0.host == host } }
            for host in want.wished.form == .container ? hosts[...] : hosts.prefix(1) {
                asking[host, default: []].formUnion(images(of: want))
            }
        }
        await withTaskGroup(of: (Machine, Sight).self) { group in
            for remote in reached {
                let images = asking[remote.host] ?? []
                group.addTask {
                    do { return (remote.host, .seen(try await read(remote, asking: images))) } catch {
                        return (remote.host, .unreachable("\(remote.host): \(error)"))
                    }
                }
            }
            for await (host, sight) in group { sights[host] = sight }
        }
        return sights
    }

    private func images(of want: Want) -> [String] {
        let own = want.wished.image.isEmpty ? [] : [want.image.description]
        guard want.wished.form == .stack else { return own }
        let named = Compose.images(want.fileText ?? "", want.stackEnvironment).map(ImageName.init)
        return own + named.filter { $0.digest == nil }.map(\.description)
    }

    private func asksRegistry(_ want: Want) -> Bool {
        guard want.wished.pull == .always, want.image.digest == nil || want.wished.form == .stack else { return false }
        if case .direct = want.wished.registry { return false }
        if case .tunnel = want.wished.registry { return false }
        return want.wished.form == .container || want.wished.form == .service || want.wished.form == .stack
    }

    private typealias Finding = @Sendable (inout Facts) -> Void

    private func read(_ remote: Remote, asking images: Set<String>) async throws -> Facts {
        let mine = wants.filter { $0.wished.hosts.contains(remote.host) }
        let engine = remote.engine.deploying
        var questions: [@Sendable () async throws -> Finding] = []
        let inSwarm = mine.contains { $0.wished.form != .container && $0.wished.form != .kubernetes }
        if inSwarm {
            questions.append {
                let info = try await engine.get("/info", for: "info")["Swarm"]
                return {
                    $0.swarmState = info?["LocalNodeState"]?.string ?? "";
                    $0.isManager = info?["ControlAvailable"]?.bool ?? false
                }
            }
        }
        questions.append {
            let list = try await engine.get(
                "/containers/json"
                    + engine.query(["all": "1", "filters": engine.filters(["label": [Mark.application]])]),
                for: "list containers")
            let marked = (list.array ?? []).compactMap(MarkedContainer.init)
            return { $0.marked = marked }
        }
        questions.append {
            // No manager says 503: then there are none.
            let names = mine.filter { $0.wished.form != .stack }.map(\.name)
            let list = try? await engine.get(
                "/services" + engine.query(["filters": engine.filters(["name": names])]), for: "list services")
            let services = Self.byName(list).filter { names.contains($0.key) }
            return { $0.services.merge(services) { a, _ in a } }
        }
        for want in mine where want.wished.form == .stack {
            questions.append {
                let filter = engine.filters(["label": ["com.docker.stack.namespace=\(want.name)"]])
                let services = Self.byName(
                    try? await engine.get("/services" + engine.query(["filters": filter]), for: "list services"))
                return { $0.services.merge(services) { a, _ in a } }
            }
            questions.append {
                let filter = engine.filters(["label": ["\(StackRecord.label)=\(want.name)"]])
                let list = try? await engine.get("/configs" + engine.query(["filters": filter]), for: "list configs")
                let records = (list?.array ?? []).compactMap(StackRecord.init)
                return { $0.records[want.name] = records }
            }
        }
        for want in mine where want.wished.form == .container {
            questions.append {
                let found = try await engine.find(
                    engine.path("containers", want.name, "/json"), for: "inspect container")
                return { $0.containers[want.name] = found }
            }
        }
        for image in Set(mine.filter { !$0.wished.image.isEmpty }.map(\.image.description)) {
            questions.append {
                let found = try await engine.find(engine.imagePath("images", image, "/json"), for: "inspect image")
                    .flatMap(ImageFacts.init)
                return { $0.images[image] = found }
            }
        }
        for image in images {
            let header = await credentials.header(for: ImageName(image))
            questions.append {
                let answer: RegistryAnswer
                do {
                    let found = try await engine.get(
                        engine.imagePath("distribution", image, "/json"), for: "ask the registry", auth: header)
                    answer =
                        found.at(["Descriptor", "digest"])?.string.map { .digest($0) } ?? .refused("it named no digest")
                } catch let error as EngineError { answer = .refused(error.message) }
                return { $0.registry[image] = answer }
            }
        }
        let settings = mine.filter { $0.wished.form == .service }.flatMap(\.wished.settings)
        if settings.contains(where: { if case .network = $0 { true } else { false } }) {
            questions.append {
                let ids = Self.ids(try await engine.get("/networks", for: "list networks"), "Id", ["Name"])
                return { $0.networks = ids }
            }
        }
        if settings.contains(where: { if case .secret = $0 { true } else { false } }) {
            questions.append {
                let ids = Self.ids(try? await engine.get("/secrets", for: "list secrets"), "ID", ["Spec", "Name"])
                return { $0.secrets = ids }
            }
        }
        if settings.contains(where: { if case .config = $0 { true } else { false } }) {
            questions.append {
                let ids = Self.ids(try? await engine.get("/configs", for: "list configs"), "ID", ["Spec", "Name"])
                return { $0.configs = ids }
            }
        }
        var facts = Facts(host: remote.host)
        facts.requests = questions.count + 1
        facts.roundTrips = 2
        try await withThrowingTaskGroup(of: Finding.self) { group in
            for question in questions { group.addTask { try await question() } }
            for try await finding in group { finding(&facts) }
        }
        return facts
    }

    private static func byName(_ list: JSON?) -> [String: JSON] {
        Dictionary(
            (list?.array ?? []).compactMap { one in one.at(["Spec", "Name"])?.string.map { ($0, one) } },
            uniquingKeysWith: { a, _ in a })
    }

    private static func ids(_ list: JSON?, _ id: String, _ name: [String]) -> [String: String] {
        Dictionary(
            (list?.array ?? []).compactMap { one in
                one.at(name)?.string.flatMap { name in one[id]?.string.map { (name, $0) } }
            }, uniquingKeysWith: { a, _ in a })
    }
}
