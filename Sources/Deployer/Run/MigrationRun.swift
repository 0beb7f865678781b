internal import Deploy
internal import EngineAPI
internal import EngineClient

/// A project's schema, moved by the project's own `manage.py` in a container that is gone afterwards.
struct MigrationRun {
    let want: Want
    let remote: Remote
    let voice: Voice
    private var engine: EngineClient.DeployCalls { remote.engine.deploying }
    private var manage: [String] { want.wished.migrations?.manage ?? [] }

    func migrate(_ image: String) async throws -> String {
        let plan = MigrationPlan(parsing: try await run(image, ["showmigrations", "--plan"]))
        guard !plan.pending.isEmpty else { return "No migrations to apply, migrate skipped." }
        _ = try await run(image, ["migrate", "--noinput"])
        return "applied " + plan.pending.map { "\($0.app).\($0.name)" }.joined(separator: ", ")
    }

    func back(from newer: String, to older: String) async throws -> String {
        let now = MigrationPlan(parsing: try await run(newer, ["showmigrations", "--plan"]))
        let then = MigrationPlan(parsing: try await run(older, ["showmigrations", "--plan"]))
        let steps = now.back(to: then)
        for step in steps { _ = try await run(newer, ["migrate", "--noinput", step.app, step.target]) }
        // What only the older project has.
        let missing = then.pending.filter { !now.migrations.contains($0) }
        if !missing.isEmpty { _ = try await run(older, ["migrate", "--noinput"]) }
        if steps.isEmpty, missing.isEmpty { return "The schemas are the same, migrate-back skipped." }
        return (steps.map { "\($0.app) back to \($0.target)" } + missing.map { "\($0.app).\($0.name) again" }).joined(
            separator: ", ")
    }

    /// The application's own environment, networks and volumes; no port, and nobody restarts it.
    private func run(_ image: String, _ words: [String]) async throws -> String {
        var want = want
        want.wished.command = manage + words
        want.wished.settings = want.wished.settings.filter { setting in
            switch setting {
            case .env, .mount, .network, .host, .dns, .dnsOption, .dnsSearch, .user, .group, .workdir: true
            case .networkMode: true
            default: false
            }
        }
        var document = ContainerDocument.make(want)
        document["Image"] = .string(image)
        let name = want.name + ".migrate"
        func delete() async throws {
            do {
                try await engine.delete(engine.path("containers", name) + "?force=1&v=1", for: "remove container")
            } catch let error as EngineError where error.isNotFound {}
        }
        try await delete()
        try await engine.post("/containers/create" + engine.query(["name": name]), document, for: "create container")
        do {
            try await engine.post(engine.path("containers", name, "/start"), for: "start container")
            let limit = Duration.milliseconds(max(want.wished.patience.milliseconds, 3_600_000))
            let ended = try await engine.post(
                engine.path("containers", name, "/wait"), for: "wait for container", within: limit)
            let output = try await engine.logs(of: name, tail: 1_000)
            guard ended["StatusCode"]?.int == 0 else {
                let last = output.split(separator: "\n").suffix(8).map { "    " + $0 }.joined(separator: "\n")
                throw Stop(
                    "`\((manage + words).joined(separator: " "))` ended with status \(ended["StatusCode"]?.int ?? -1):\n\(last)"
                )
            }
            try await delete()
            return output
        } catch {
            _ = await Task { try? await delete() }.value
            throw error
        }
    }
}
