internal import Deploy
internal import EngineAPI
internal import EngineClient

/// One application's containers on one host. What is interrupted anywhere here is put in order by `Recovery`.
struct ContainerRun {
    let want: Want
    let remote: Remote
    let voice: Voice
    private var engine: EngineClient.DeployCalls { remote.engine.deploying }
    private var name: String { want.name }

    init(want: Want, remote: Remote, voice: Voice) { (self.want, self.remote, self.voice) = (want, remote, voice) }

    func create(version: Int) async throws -> String {
        let next = ContainerNames.next(name)
        try await make(next, version)
        do {
            try await call("start", next)
            try await untilWell(next)
        } catch {
            let reason = await why(next, error)
            await putAside(next)
            throw Stop(
                "the new container is not well: \(reason)\nIt is kept as \(ContainerNames.failed(name)) for a look.")
        }
        try await rename(next, name)
        return "version \(version) is well"
    }

    /// The new one must be well before the old one is given up; where both cannot run at once, the old one comes back if the new one is not.
    func exchange(version: Int, startFirst: Bool) async throws -> String {
        let next = ContainerNames.next(name)
        let old = ContainerNames.old(name)
        guard let before = try await inspect(name) else { return try await create(version: version) }
        try await make(next, version)
        do {
            if !startFirst { try await stop(name) }
            try await call("start", next)
            try await untilWell(next)
        } catch {
            let reason = await why(next, error)
            let name = name
            // An interrupt must not leave the host between the two.
            let back = await Task {
                await putAside(next)
                guard !startFirst else { return true }
                do { try await call("start", name) } catch { return false }
                return true
            }.value
            guard back else {
                throw Stop(
                    "the new container is not well: \(reason)\nAND THE OLD ONE DOES NOT START: look at \(remote.host) with `docker start \(name)`"
                )
            }
            if error is CancellationError { throw error }
            throw Stop(
                "the new container is not well: \(reason)\nThe old one is running again; the new one is kept as \(ContainerNames.failed(name)) for a look."
            )
        }
        // From here on the new one stays: an interrupt waits for the names to be in order.
        return try await Task {
            try await rename(name, old)
            try await rename(next, name)
            if startFirst { try await stop(old) }
            try await keep(old, version: Self.version(before))
            return "version \(version) is well, version \(Self.version(before)) is kept"
        }.value
    }

    func start() async throws -> String {
        try await call("start", name)
        try await untilWell(name)
        return "started"
    }

    func rollback(to kept: MarkedContainer) async throws -> String {
        let back = ContainerNames.back(name)
        let old = ContainerNames.old(name)
        guard let before = try await inspect(name), let then = try await inspect(kept.name) else {
            throw Stop("version \(kept.version) is gone")
        }
        let policy = then.at(["Config", "Labels", Mark.wish])?.string.flatMap { try? JSON(parsing: $0) }?.at([
            "HostConfig", "RestartPolicy",
        ])
        try await rename(kept.name, back)
        do {
            try await stop(name)
            try await engine.post(
                engine.path("containers", back, "/update"), ["RestartPolicy": policy ?? ["Name": "no"]],
                for: "update container")
            try await call("start", back)
            try await untilWell(back)
        } catch {
            let reason = await why(back, error)
            let name = name
            await Task {
                try? await stop(back)
                try? await rename(back, kept.name)
                try? await call("start", name)
            }.value
            if error is CancellationError { throw error }
            throw Stop(
                "version \(kept.version) is not well: \(reason)\nVersion \(Self.version(before)) is running again.")
        }
        return try await Task {
            try await rename(name, old)
            try await rename(back, name)
            try await keep(old, version: Self.version(before))
            return "version \(kept.version) is well"
        }.value
    }

    func remove(_ names: [String]) async throws -> String {
        for one in names { try await delete(one) }
        return "removed \(names.joined(separator: ", "))"
    }

    func recover(_ steps: [Recovery]) async throws -> String {
        for step in steps {
            switch step {
            case .remove(let one): try await delete(one)
            case .rename(let from, let to): try await rename(from, to)
            case .stop(let one): try await stop(one)
            case .start(let one): try await call("start", one)
            }
        }
        return "what an interrupted command left is in order"
    }
}

// MARK: - Parts

extension ContainerRun {
    private static func version(_ inspected: JSON) -> Int {
        inspected.at(["Config", "Labels", Mark.version])?.string.flatMap(Int.init) ?? 0
    }

    private func inspect(_ container: String) async throws -> JSON? {
        try await engine.find(engine.path("containers", container, "/json"), for: "inspect container")
    }

    private func call(_ verb: String, _ container: String) async throws {
        try await engine.post(engine.path("containers", container, "/" + verb), for: "\(verb) container")
    }

    private func stop(_ container: String) async throws {
        let limit = try await inspect(container)?.at(["Config", "StopTimeout"])?.int ?? 10
        try await engine.post(
            engine.path("containers", container, "/stop"), for: "stop container", within: .seconds(limit + 60))
    }

    private func rename(_ from: String, _ to: String) async throws {
        try await engine.post(
            engine.path("containers", from, "/rename") + engine.query(["name": to]), for: "rename container")
    }

    private func delete(_ container: String) async throws {
        do {
            try await engine.delete(engine.path("containers", container) + "?force=1", for: "remove container")
        } catch let error as EngineError where error.isNotFound {}
    }

    private func make(_ container: String, _ version: Int) async throws {
        var document = ContainerDocument.make(want)
        var labels = document["Labels"] ?? [:]
        labels[Mark.application] = .string(name)
        labels[Mark.deployment] = .string(want.deployment)
        labels[Mark.version] = .string("\(version)")
        labels[Mark.image] = .string(want.image.description)
        labels[Mark.wish] = .string(ContainerDocument.make(want, masked: true).text)
        document["Labels"] = labels
        // One network at creation; engines before 25 take no more.
        var others: [(String, JSON)] = []
        if let endpoints = document.at(["NetworkingConfig", "EndpointsConfig"])?.object,
            let first = endpoints.members.first
        {
            others = endpoints.members.dropFirst().map { ($0.name, $0.value) }
            var one = JSON.Object()
            one[first.name] = first.value
            document["NetworkingConfig"] = ["EndpointsConfig": .object(one)]
        }
        try await delete(container)
        try await engine.post(
            "/containers/create" + engine.query(["name": container]), document, for: "create container")
        for (network, endpoint) in others {
            try await engine.post(
                engine.path("networks", network, "/connect"),
                ["Container": .string(container), "EndpointConfig": endpoint], for: "connect network")
        }
    }

    /// Healthy where there is a check; else running for a while without having ended.
    private func untilWell(_ container: String) async throws {
        let end = ContinuousClock.now + .milliseconds(want.wished.patience.milliseconds)
        var steadySince: ContinuousClock.Instant?
        while true {
            guard let state = try await inspect(container)?["State"] else { throw Stop("it is gone") }
            let restarts = try await restarts(container)
            if state["Running"]?.bool != true || state["Restarting"]?.bool == true || restarts > 0 {
                throw Stop(
                    "it ended with status \(state["ExitCode"]?.int ?? -1)\(state["Error"]?.string.map { $0.isEmpty ? "" : ": " + $0 } ?? "")"
                )
            }
            switch state["Health"]?["Status"]?.string {
            case "healthy": return
            case "unhealthy":
                let last = state.at(["Health", "Log"])?.array?.last?["Output"]?.string?.trimmed ?? ""
                throw Stop("its health check fails\(last.isEmpty ? "" : ": " + last)")
            case "starting": voice.progress(remote.host, name, "waiting for health")
            default:
                let now = ContinuousClock.now
                steadySince = steadySince ?? now
                if now - steadySince! >= .milliseconds(want.wished.steady.milliseconds) { return }
            }
            guard ContinuousClock.now < end else {
                throw Stop("it was not well within \(want.wished.patience.milliseconds / 1_000) s")
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func restarts(_ container: String) async throws -> Int {
        try await inspect(container)?["RestartCount"]?.int ?? 0
    }

    /// The failure with the container's last words.
    private func why(_ container: String, _ error: any Error) async -> String {
        if error is CancellationError { return "interrupted" }
        let logs = (try? await engine.logs(of: container, tail: 5))?.trimmed ?? ""
        return "\(error)"
            + (logs.isEmpty
                ? "" : "\nIts last words:\n" + logs.split(separator: "\n").map { "    " + $0 }.joined(separator: "\n"))
    }

    private func putAside(_ container: String) async {
        let failed = ContainerNames.failed(name)
        try? await delete(failed)
        _ = try? await engine.post(
            engine.path("containers", container, "/update"), ["RestartPolicy": ["Name": "no"]], for: "update container")
        try? await stop(container)
        try? await rename(container, failed)
    }

    /// Puts the replaced one away: stopped, and not started again with its host. Older ones than the Deployfile keeps go.
    private func keep(_ old: String, version: Int) async throws {
        try await engine.post(
            engine.path("containers", old, "/update"), ["RestartPolicy": ["Name": "no"]], for: "update container")
        let kept = ContainerNames.kept(name, version)
        try await delete(kept)
        try await rename(old, kept)
        let filter = engine.filters(["label": ["\(Mark.application)=\(name)"]])
        let all =
            try await engine.get(
                "/containers/json" + engine.query(["all": "1", "filters": filter]), for: "list containers"
            ).array ?? []
        let mine = all.compactMap(MarkedContainer.init).filter(ContainerNames.isKept).sorted { $0.version > $1.version }
        let used = Set(
            all.compactMap(MarkedContainer.init).filter { one in !mine.dropFirst(want.wished.keep).contains(one) }.map(
                \.imageID))
        for one in mine.dropFirst(want.wished.keep) {
            try await delete(one.name)
            // An image that still has a name, or is used by somebody, stays: the engine says so.
            if !used.contains(one.imageID) {
                try? await engine.delete(engine.imagePath("images", one.imageID, ""), for: "remove image")
            }
        }
    }
}
