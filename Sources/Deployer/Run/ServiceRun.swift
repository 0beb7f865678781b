internal import Deploy
internal import EngineAPI
internal import EngineClient

/// One service of a swarm, through one of its managers.
struct ServiceRun {
    let want: Want
    let remote: Remote
    let voice: Voice
    let credentials: Credentials
    private var engine: EngineClient.DeployCalls { remote.engine.deploying }
    private var name: String { want.name }

    func create(_ spec: JSON, replacing: [Action.Placed], remotes: [Machine: Remote]) async throws -> String {
        // Containers in whose place it comes may hold its ports.
        for one in replacing where one.running { try await containers(one, remotes, "stop") }
        do {
            let made = try await engine.post("/services/create", spec, for: "create service", auth: await auth())
            guard let id = made["ID"]?.string else { throw Stop("the swarm named no service") }
            do { try await converge(id, previousUpdate: nil, updates: false) } catch {
                if !replacing.isEmpty {
                    _ = await Task { try? await engine.delete(engine.path("services", id), for: "remove service") }
                        .value
                }
                throw error
            }
        } catch {
            for one in replacing where one.running {
                _ = await Task { try? await containers(one, remotes, "start") }.value
            }
            throw error
        }
        for one in replacing { try await containers(one, remotes, nil) }
        return "the service runs" + (replacing.isEmpty ? "" : ", \(replacing.count) container(s) are gone")
    }

    private func containers(_ one: Action.Placed, _ remotes: [Machine: Remote], _ verb: String?) async throws {
        guard let engine = remotes[one.host]?.engine.deploying else { return }
        if let verb {
            try await engine.post(engine.path("containers", one.id, "/" + verb), for: "\(verb) container")
        } else {
            try await engine.delete(engine.path("containers", one.id) + "?force=1", for: "remove container")
        }
    }

    func update(_ id: String, _ spec: JSON) async throws -> String {
        let before = try await engine.get(engine.path("services", id), for: "inspect service")
        guard let version = before.at(["Version", "Index"])?.int else { throw Stop("the service has no version") }
        try await engine.post(
            engine.path("services", id, "/update") + engine.query(["version": "\(version)"]), spec,
            for: "update service", auth: await auth())
        let old = before.at(["Spec", "TaskTemplate"]) ?? .null
        try await converge(id, previousUpdate: started(before), updates: old != spec["TaskTemplate"])
        return "the service runs as wished"
    }

    func rollback(_ id: String) async throws -> String {
        let before = try await engine.get(engine.path("services", id), for: "inspect service")
        guard let version = before.at(["Version", "Index"])?.int, let spec = before["Spec"],
            let previous = before["PreviousSpec"]
        else { throw Stop("the service has no earlier version") }
        try await engine.post(
            engine.path("services", id, "/update") + engine.query(["version": "\(version)", "rollback": "previous"]),
            spec, for: "roll back service",
            auth: await auth())
        let updates = spec["TaskTemplate"] != previous["TaskTemplate"]
        try await converge(id, previousUpdate: started(before), updates: updates, isRollback: true)
        return "the service runs as before"
    }

    /// Returns when its containers are gone: whatever comes in its place may need their ports.
    func remove(_ id: String, _ name: String, remotes: [Machine: Remote]) async throws -> String {
        try await engine.delete(engine.path("services", id), for: "remove service")
        let end = ContinuousClock.now + .milliseconds(want.wished.patience.milliseconds)
        for remote in want.wished.hosts.compactMap({ remotes[$0] }) {
            let engine = remote.engine.deploying
            let filter = engine.filters(["label": ["com.docker.swarm.service.name=\(name)"]])
            let uri = "/containers/json" + engine.query(["filters": filter])
            // A host that cannot be asked holds up nobody.
            while let left = try? await engine.get(uri, for: "list containers").array, !left.isEmpty {
                guard ContinuousClock.now < end else {
                    throw Stop("the service is gone, but \(left.count) of its containers still run on \(remote.host)")
                }
                try await Task.sleep(for: .milliseconds(100))
            }
        }
        return "\(name) is gone"
    }

    private func auth() async -> String? { await credentials.header(for: want.image) }
    private func started(_ service: JSON) -> String? { service.at(["UpdateStatus", "StartedAt"])?.string }

    /// Waits until the swarm has done what it was told, and says why if it did not.
    ///
    /// - Parameter updates: tasks are replaced, so the swarm reports on an update.
    func converge(_ id: String, previousUpdate: String?, updates: Bool, isRollback: Bool = false) async throws {
        let clock = ContinuousClock()
        let began = clock.now
        let end = began + .milliseconds(want.wished.patience.milliseconds)
        var steadySince: ContinuousClock.Instant?
        var last = ""
        var known: Set<String>?
        while true {
            let service = try await engine.get(engine.path("services", id), for: "inspect service")
            let tasks =
                try await engine.get(
                    "/tasks" + engine.query(["filters": engine.filters(["service": [id]])]), for: "list tasks"
                ).array ?? []
            let status = service["UpdateStatus"]
            let state = started(service) != previousUpdate ? status?["State"]?.string : nil
            switch state {
            case "paused", "rollback_paused":
                throw Stop(
                    "the update is paused: \(status?["Message"]?.string ?? "")\n\(failures(tasks))\nDeploy again when it is mended, or `apus rollback \(name)`."
                )
            case "rollback_completed" where !isRollback:
                throw Stop(
                    "the new version did not run, the swarm has gone back to the one before: \(status?["Message"]?.string ?? "")\n\(failures(tasks))"
                )
            default: break
            }
            let live = tasks.filter { $0["DesiredState"]?.string == "running" }
            let running = live.filter { $0.at(["Status", "State"])?.string == "running" }.count
            let wanted = service.at(["Spec", "Mode", "Replicated", "Replicas"])?.int ?? max(live.count, 1)
            let finished =
                !updates || state == "completed" || state == "rollback_completed"
                // An engine may have nothing to replace, and then reports nothing.
                || (state == nil && clock.now - began > .seconds(5))
            let now = "\(running)/\(wanted) running"
            if now != last {
                voice.progress(remote.host, name, now, hundredths: wanted == 0 ? 100 : min(100, running * 100 / wanted))
            }
            last = now
            if finished, running == wanted {
                steadySince = steadySince ?? clock.now
                if clock.now - steadySince!
                    >= .milliseconds(updates || previousUpdate != nil ? 0 : want.wished.steady.milliseconds)
                {
                    return
                }
            } else {
                steadySince = nil
            }
            // Without an update to report on, tasks that fail again and again say it.
            let failed = Set(tasks.filter(Self.hasFailed).compactMap { $0["ID"]?.string })
            let before = known ?? failed
            known = before
            if state == nil || state == "completed", failed.subtracting(before).count >= max(3, wanted) {
                throw Stop(
                    "its tasks do not run: \(running)/\(wanted)\n\(failures(tasks))\nIt is left for a look; `apus destroy \(name)` removes it."
                )
            }
            guard clock.now < end else {
                throw Stop("\(now) after \(want.wished.patience.milliseconds / 1_000) s\n\(failures(tasks))")
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    private static func hasFailed(_ task: JSON) -> Bool {
        ["failed", "rejected"].contains(task.at(["Status", "State"])?.string)
    }

    /// Each reason once, with how often.
    private func failures(_ tasks: [JSON]) -> String {
        var counts: [String: Int] = [:]
        for task in tasks
        where ["failed", "rejected", "preparing", "pending"].contains(task.at(["Status", "State"])?.string) {
            let text = task.at(["Status", "Err"])?.string ?? ""
            if !text.isEmpty { counts[text, default: 0] += 1 }
        }
        return counts.sorted { $0.key < $1.key }.map { "    \($0.value) × \($0.key)" }.joined(separator: "\n")
    }
}
