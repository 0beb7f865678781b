internal import Deploy
internal import EngineAPI
internal import EngineClient
internal import Foundation

extension Session {
    /// How a command ended, as its exit status.
    package enum Exit {
        package static let fine: Int32 = 0
        package static let failed: Int32 = 1
        /// `plan`: there is something to do.
        package static let changes: Int32 = 2
        package static let interrupted: Int32 = 130
    }

    package func list() {
        var rows: [[String]] = [["APPLICATION", "KIND", "IMAGE", "HOSTS"]]
        for one in wish.applications {
            let kind =
                one.migrations != nil
                ? "django \(one.form.rawValue)" : one.postgres != nil ? "postgres" : one.form.rawValue
            rows.append([
                one.name, kind, one.image.isEmpty ? one.file ?? "" : one.image,
                one.hosts.isEmpty
                    ? "none: choose an infrastructure with -i" : one.hosts.map(\.description).joined(separator: " "),
            ])
        }
        voice.table(rows, tones: [.quiet])
        if !wish.infrastructures.isEmpty {
            voice.line("")
            voice.line(
                "infrastructures: "
                    + wish.infrastructures.map { $0.name + ($0.confirm ? " (asks first)" : "") }.joined(separator: ", ")
            )
        }
    }

    /// Looks and says what would change.
    package func plan(_ planner: Planner) async -> Int32 {
        let (sights, plan) = await look(planner)
        if invocation.json {
            voice.line(document(plan, sights).text)
        } else {
            plan.say(to: voice)
            sayCost(sights)
        }
        return !plan.problems.isEmpty ? Exit.failed : plan.tasks.isEmpty ? Exit.fine : Exit.changes
    }

    /// Looks, plans, does it, and says what became of it.
    package func carryOut(_ planner: Planner, verb: String) async throws -> Int32 {
        try confirm(verb)
        try await prepare(planner)
        var (sights, plan) = await look(planner)
        try Task.checkCancellation()
        guard plan.problems.isEmpty else {
            plan.say(to: voice)
            return Exit.failed
        }
        if plan.tasks.isEmpty {
            // Nothing to do needs no lock.
            plan.say(to: voice)
            return finish([], plan, verb)
        }
        let reached = orderedRemotes.filter { sights[$0.host]?.facts != nil }
        let now = ISO8601DateFormatter().string(from: Date())
        let locks = try await Locks.take(
            reached,
            holder: "\(invocation.operatorName) since \(now): \(verb) \(wants.map(\.name).joined(separator: ", "))",
            patience: invocation.lockPatience, voice: voice)
        // Somebody may have been quicker.
        (sights, plan) = await look(planner)
        plan = await recover(plan, planner)
        if Task.isCancelled {
            await Task { await locks.release() }.value
            throw CancellationError()
        }
        plan.say(to: voice)
        guard plan.problems.isEmpty, !plan.tasks.isEmpty else {
            await locks.release()
            return plan.problems.isEmpty ? finish([], plan, verb) : Exit.failed
        }
        voice.line("")
        let outcomes = await runner.run(plan)
        // Also after an interrupt: the trail is written and the lock given back.
        await Task {
            await audit(verb, plan, outcomes, at: now)
            await locks.release()
        }.value
        return finish(outcomes, plan, verb)
    }

    private func look(_ planner: Planner) async -> ([Machine: Sight], Plan) {
        let sights = await Look(wants, credentials: credentials).look(orderedRemotes)
        return (sights, planner.plan(wants, sights))
    }

    /// A deploy begins with hosts in order; then it looks anew.
    private func recover(_ plan: Plan, _ planner: Planner) async -> Plan {
        guard case .steps = planner.goal else { return plan }
        var rest = plan
        rest.tasks = plan.tasks.filter { if case .recover = $0.action { true } else { false } }
        guard !rest.tasks.isEmpty else { return plan }
        voice.line("! an interrupted command left something behind; it is put in order first", .warning)
        let outcomes = await runner.run(rest)
        var (_, again) = await look(planner)
        for failure in outcomes where failure.state == .failed {
            again.problems.append("\(failure.application): \(failure.host): \(failure.words)")
        }
        return again
    }

    private var runner: Runner {
        Runner(
            wants: Dictionary(wants.map { ($0.name, $0) }, uniquingKeysWith: { a, _ in a }), remotes: remotes,
            voice: voice, credentials: credentials,
            serial: invocation.serial,
            hook: { want, step, moment, host in try await runHooks(want, step, moment, host) })
    }

    private func runHooks(_ want: Want, _ step: Step, _ moment: Application.Moment, _ host: Machine?) async throws {
        for (index, around) in want.wished.hooks.enumerated() where around.step == step && around.moment == moment {
            try await conversation.hook(
                application: want.name, index: index, step: step, host: host, image: want.image.description
            ) { answer in
                switch answer {
                case .run(let name, let command):
                    guard let remote = remotes.values.first(where: { "\($0.host)" == name }) else {
                        throw Stop("this step is on no host; say local")
                    }
                    voice.say(remote.host, want.name, "run: \(command.map(\.quoted).joined(separator: " "))")
                    let done = try await remote.run(command)
                    guard done.succeeded else { throw Stop("`\(command.joined(separator: " "))`: \(done.complaint)") }
                    return done.output
                case .exec(let name, let command):
                    guard let remote = remotes.values.first(where: { "\($0.host)" == name }) else {
                        throw Stop("this step is on no host; say local")
                    }
                    let (status, output) = try await remote.engine.deploying.exec(
                        command, in: try await container(want, remote))
                    guard status == 0 else {
                        throw Stop("`\(command.joined(separator: " "))` ended with status \(status): \(output.trimmed)")
                    }
                    return output
                case .local(let command):
                    voice.say(nil, want.name, "local: \(command.map(\.quoted).joined(separator: " "))")
                    let done = try await Local.run(command)
                    guard done.succeeded else { throw Stop("`\(command.joined(separator: " "))`: \(done.complaint)") }
                    return done.output
                case .log(let text):
                    voice.say(host, want.name, text)
                    return ""
                default: throw Stop("not understood")
                }
            }
        }
    }

    private func confirm(_ verb: String) throws {
        let place = wish.infrastructures.first { $0.name == invocation.infrastructure }
        guard place?.confirm == true || invocation.asks, !invocation.yes else { return }
        let question = "\(verb) \(wants.map(\.name).joined(separator: ", "))\(place.map { " on \($0.name)" } ?? "")?"
        guard let confirm = invocation.confirm else {
            throw Refused("\(verb) asks first, and nobody can be asked here: say --yes. Nothing was changed")
        }
        guard confirm(question) else { throw Refused("nothing was changed") }
    }

    /// What happens on this machine before hosts are looked at: images are built and pushed, once for all hosts.
    private func prepare(_ planner: Planner) async throws {
        for want in wants {
            if planner.has(.prepare) {
                try await runHooks(want, .prepare, .before, nil)
                if let build = want.wished.build {
                    try await self.build(build, want)
                } else if case .intermediate = want.wished.registry {
                    try await docker(["pull", want.localImage.description], want, "prepare")
                }
                try await runHooks(want, .prepare, .after, nil)
            }
            if planner.has(.push) {
                try await runHooks(want, .push, .before, nil)
                switch want.wished.registry {
                case .intermediate(let push, _):
                    let whole = push.split(separator: "/", maxSplits: 1).map(String.init)
                    var target = want.localImage
                    target.registry = whole.first
                    target.path = (whole.count > 1 ? whole[1] + "/" : "") + target.path
                    try await docker(["tag", want.localImage.description, target.description], want, "push")
                    try await docker(["push", target.description], want, "push")
                case .tunnel(let port, _):
                    var target = want.localImage
                    target.registry = "localhost:\(port)"
                    if want.wished.build != nil {
                        try await docker(["tag", want.localImage.description, target.description], want, "push")
                        try await docker(["push", target.description], want, "push")
                    }
                case .direct: break
                case nil:
                    if want.wished.build != nil {
                        try await docker(["push", want.localImage.description], want, "push")
                    }
                }
                try await runHooks(want, .push, .after, nil)
            }
        }
    }

    private func build(_ build: Build, _ want: Want) async throws {
        var words = ["build", "--tag", want.localImage.description]
        if let file = build.dockerfile { words += ["--file", file] }
        for (name, value) in build.arguments.sorted(by: { $0.key < $1.key }) {
            words += ["--build-arg", "\(name)=\(value)"]
        }
        let folder = (want.wished.place as NSString).deletingLastPathComponent
        try await docker(
            words + build.options + [build.path.hasPrefix("/") ? build.path : folder + "/" + build.path], want,
            "prepare")
    }

    /// The docker CLI of this machine.
    private func docker(_ words: [String], _ want: Want, _ step: String) async throws {
        voice.say(nil, want.name, "\(step): docker \(words.map(\.quoted).joined(separator: " "))")
        let done = try await Local.run(["docker"] + words)
        guard done.succeeded else {
            throw Refused(
                "\(want.name): \(step): `docker \(words.first ?? "")` failed; nothing was changed on any host:\n\(done.complaint)"
            )
        }
    }

    func container(_ want: Want, _ remote: Remote) async throws -> String {
        guard want.wished.form != .container else { return want.name }
        let engine = remote.engine.deploying
        let filter = engine.filters(["label": ["com.docker.swarm.service.name=\(want.name)"]])
        let found =
            try await engine.get("/containers/json" + engine.query(["filters": filter]), for: "list containers").array
            ?? []
        guard let id = found.first?["Id"]?.string else {
            throw Stop("no container of \(want.name) runs on \(remote.host)")
        }
        return id
    }
}

// MARK: - The end

extension Session {
    private func finish(_ outcomes: [Outcome], _ plan: Plan, _ verb: String) -> Int32 {
        let failed = outcomes.contains { $0.state == .failed || $0.state == .skipped }
        if invocation.json {
            var document = plan.document
            document["outcomes"] = .array(
                outcomes.map {
                    [
                        "application": .string($0.application), "host": .string("\($0.host)"),
                        "state": .string($0.state.rawValue), "words": .string($0.words),
                        "milliseconds": JSON(Int($0.seconds * 1_000)),
                    ]
                })
            voice.line(document.text)
        } else if !outcomes.isEmpty {
            voice.line("")
            var rows: [[String]] = [["APPLICATION", "HOST", "RESULT", "SECONDS", ""]]
            var tones: [Voice.Tone] = [.quiet]
            for one in outcomes {
                rows.append([one.application, "\(one.host)", one.state.rawValue, Self.tenths(one.seconds), one.words])
                tones.append(one.state == .done ? .good : .bad)
            }
            for one in plan.unchanged {
                rows.append([one.application, "\(one.host)", "unchanged", "", ""])
                tones.append(.quiet)
            }
            voice.table(rows, tones: tones)
            if failed { voice.line("\(verb) failed", .bad) }
        }
        return Task.isCancelled ? Exit.interrupted : failed ? Exit.failed : Exit.fine
    }

    static func tenths(_ seconds: Double) -> String {
        let tenths = Int((seconds * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    private func sayCost(_ sights: [Machine: Sight]) {
        let facts = sights.values.compactMap(\.facts)
        guard let trips = facts.map(\.roundTrips).max() else { return }
        voice.line("\(facts.count) host(s) looked at, \(trips) round trips each", .quiet)
    }

    private func document(_ plan: Plan, _ sights: [Machine: Sight]) -> JSON {
        var document = plan.document
        document["hosts"] = .array(
            sights.sorted { "\($0.key)" < "\($1.key)" }.map { host, sight in
                switch sight {
                case .seen(let facts):
                    [
                        "host": .string("\(host)"), "roundTrips": JSON(facts.roundTrips),
                        "requests": JSON(facts.requests),
                    ]
                case .unreachable(let reason): ["host": .string("\(host)"), "unreachable": .string(reason)]
                }
            })
        return document
    }
}
