internal import Deploy
internal import EngineAPI
internal import EngineClient

/// One stack, by the docker CLI of this machine on the manager's engine; and then waiting for what the CLI does not wait for.
struct StackRun {
    let want: Want
    let remote: Remote
    let voice: Voice
    let credentials: Credentials
    private var engine: EngineClient.DeployCalls { remote.engine.deploying }
    private var name: String { want.name }

    func deploy(_ wish: StackWish) async throws -> String {
        let before = try await services()
        let image = wish.environment["APUS_IMAGE"] ?? ""
        if !wish.isRollback {
            // A version that was begun and never ended makes room.
            for one in try await records() where one.version >= wish.version { try await forget(one) }
            try await engine.post(
                "/configs/create", StackRecord.document(name, wish, image: image), for: "keep the stack's version")
        }
        let done = try await Local.run(
            [
                "docker", "-H", "unix://\(remote.socketPath)", "stack", "deploy", "--with-registry-auth", "--prune",
                "--compose-file", "-", name,
            ],
            input: wish.text, environment: wish.environment, within: .seconds(600))
        guard done.succeeded else { throw Stop("`docker stack deploy`: \(done.complaint)") }
        let after = try await services()
        let run = ServiceRun(want: want, remote: remote, voice: voice, credentials: credentials)
        for (service, document) in after.sorted(by: { $0.key < $1.key }) {
            guard let id = document["ID"]?.string else { continue }
            let old = before[service]
            let changed = old != nil && old?.at(["Spec", "TaskTemplate"]) != document.at(["Spec", "TaskTemplate"])
            do {
                try await run.converge(
                    id, previousUpdate: old?.at(["UpdateStatus", "StartedAt"])?.string, updates: changed)
            } catch {
                throw Stop("\(service): \(error)")
            }
        }
        try await mark(wish.version)
        return "version \(wish.version) of the stack runs, \(after.count) service(s)"
    }

    func remove() async throws -> String {
        let done = try await Local.run(
            ["docker", "-H", "unix://\(remote.socketPath)", "stack", "rm", name], within: .seconds(300))
        guard done.succeeded else { throw Stop("`docker stack rm`: \(done.complaint)") }
        for one in try await records() { try await forget(one) }
        return "\(name) is gone"
    }

    private func services() async throws -> [String: JSON] {
        let filter = engine.filters(["label": ["com.docker.stack.namespace=\(name)"]])
        let list =
            try await engine.get("/services" + engine.query(["filters": filter]), for: "list services").array ?? []
        return Dictionary(
            list.compactMap { one in one.at(["Spec", "Name"])?.string.map { ($0, one) } },
            uniquingKeysWith: { a, _ in a })
    }

    private func records() async throws -> [StackRecord] {
        let filter = engine.filters(["label": ["\(StackRecord.label)=\(name)"]])
        return (try await engine.get("/configs" + engine.query(["filters": filter]), for: "list configs").array ?? [])
            .compactMap(StackRecord.init)
    }

    private func forget(_ record: StackRecord) async throws {
        try await engine.delete(engine.path("configs", record.id), for: "forget a version")
    }

    /// This version is the current one; others are kept, as many as the Deployfile says.
    private func mark(_ version: Int) async throws {
        var specs: [String: String] = [:]
        for (service, document) in try await services() { specs[service] = StackRecord.digest(document) }
        let all = try await records().sorted { $0.version > $1.version }
        for record in all {
            let state: StackRecord.State = record.version == version ? .current : .kept
            guard record.state != state.rawValue || state == .current else { continue }
            let config = try await engine.get(engine.path("configs", record.id), for: "inspect config")
            guard var spec = config["Spec"], let index = config.at(["Version", "Index"])?.int else { continue }
            spec["Labels"] = StackRecord.labels(name, record.version, state, state == .current ? specs : record.specs)
            try await engine.post(
                engine.path("configs", record.id, "/update") + engine.query(["version": "\(index)"]), spec,
                for: "mark a version")
        }
        for record in all.filter({ $0.version != version }).dropFirst(want.wished.keep) { try await forget(record) }
    }
}
