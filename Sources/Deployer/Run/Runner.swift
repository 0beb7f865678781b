package import Deploy
internal import EngineAPI
internal import EngineClient

/// What became of one application on one host.
package struct Outcome: Sendable, Equatable {
    package enum State: String, Sendable { case unchanged, done, failed, skipped }
    package var application: String
    package var host: Machine
    package var state: State
    package var words: String
    package var seconds: Double = 0
}

/// Does what a plan says: step by step, hosts together unless told otherwise. A failed step ends the plan before the next one begins.
struct Runner: Sendable {
    let wants: [String: Want]
    let remotes: [Machine: Remote]
    let voice: Voice
    let credentials: Credentials
    let serial: Bool
    /// Runs the Deployfile's hooks around a step on a host.
    let hook: @Sendable (Want, Step, Application.Moment, Machine) async throws -> Void

    /// - Returns: outcomes by application and host; tasks after a failure are `skipped`.
    func run(_ plan: Plan) async -> [Outcome] {
        var outcomes: [Outcome] = []
        var failed = false
        for stage in Self.stages(plan.tasks) {
            if failed || Task.isCancelled {
                outcomes += stage.map {
                    Outcome(
                        application: $0.application, host: $0.host, state: .skipped,
                        words: "\($0.action.words): not begun")
                }
                continue
            }
            let results = await perform(stage)
            outcomes += results
            failed = results.contains { $0.state == .failed }
        }
        return outcomes
    }

    /// First everything that only fetches, for all applications together; then each application's own steps in order.
    static func stages(_ tasks: [PlannedTask]) -> [[PlannedTask]] {
        var stages: [[PlannedTask]] = []
        let fetching = tasks.filter { $0.step == .pull }
        if !fetching.isEmpty { stages.append(fetching) }
        for task in tasks where task.step != .pull {
            let isFirstOfHost = stages.last?.contains { $0.host == task.host } != true
            if let last = stages.last?.last, last.application == task.application, last.step == task.step,
                last.step != .pull, isFirstOfHost,
                !Self.standsAlone(last.action), !Self.standsAlone(task.action)
            {
                stages[stages.count - 1].append(task)
            } else {
                stages.append([task])
            }
        }
        return stages
    }

    private static func standsAlone(_ action: Action) -> Bool {
        switch action {
        case .removeService, .migrate, .migrateBack, .backup: true
        default: false
        }
    }

    private func perform(_ stage: [PlannedTask]) async -> [Outcome] {
        if serial {
            var outcomes: [Outcome] = []
            for task in stage {
                if outcomes.contains(where: { $0.state == .failed }) {
                    outcomes.append(
                        Outcome(
                            application: task.application, host: task.host, state: .skipped,
                            words: "\(task.action.words): not begun"))
                } else {
                    outcomes.append(await perform(task))
                }
            }
            return outcomes
        }
        return await withTaskGroup(of: (Int, Outcome).self) { group in
            for (place, task) in stage.enumerated() { group.addTask { (place, await perform(task)) } }
            return await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private func perform(_ task: PlannedTask) async -> Outcome {
        let began = ContinuousClock.now
        func outcome(_ state: Outcome.State, _ words: String) -> Outcome {
            let spent = (ContinuousClock.now - began).components
            return Outcome(
                application: task.application, host: task.host, state: state, words: words,
                seconds: Double(spent.seconds) + Double(spent.attoseconds) / 1e18)
        }
        guard let want = wants[task.application], let remote = remotes[task.host] else {
            return outcome(.failed, "nobody knows \(task.host)")
        }
        voice.say(task.host, task.application, "\(task.step.rawValue): \(task.action.words) …")
        do {
            try await hook(want, task.step, .before, task.host)
            let words = try await act(task.action, want, remote)
            try await hook(want, task.step, .after, task.host)
            voice.endProgress(task.host, task.application)
            voice.say(task.host, task.application, "\(task.step.rawValue): \(words)", .good)
            return outcome(.done, words)
        } catch {
            voice.endProgress(task.host, task.application)
            let words = error is CancellationError ? "\(task.action.words): interrupted" : "\(error)"
            voice.say(task.host, task.application, "\(task.step.rawValue): ✘ \(words)", .bad)
            return outcome(.failed, words.split(separator: "\n").first.map(String.init) ?? words)
        }
    }

    private func act(_ action: Action, _ want: Want, _ remote: Remote) async throws -> String {
        let containers = ContainerRun(want: want, remote: remote, voice: voice)
        let services = ServiceRun(want: want, remote: remote, voice: voice, credentials: credentials)
        let stacks = StackRun(want: want, remote: remote, voice: voice, credentials: credentials)
        switch action {
        case .pull(let image): return try await pull(image, want, remote)
        case .load(let image): return try await load(image, want, remote)
        case .createContainer(let version): return try await containers.create(version: version)
        case .exchangeContainer(let version, let startFirst):
            return try await containers.exchange(version: version, startFirst: startFirst)
        case .startContainer: return try await containers.start()
        case .rollbackContainer(let to): return try await containers.rollback(to: to)
        case .removeContainers(let names): return try await containers.remove(names)
        case .recover(let steps): return try await containers.recover(steps)
        case .migrate(let image): return try await MigrationRun(want: want, remote: remote, voice: voice).migrate(image)
        case .migrateBack(let from, let to):
            return try await MigrationRun(want: want, remote: remote, voice: voice).back(from: from, to: to)
        case .createService(let spec, let replacing):
            return try await services.create(spec, replacing: replacing, remotes: remotes)
        case .updateService(let id, let spec): return try await services.update(id, spec)
        case .rollbackService(let id): return try await services.rollback(id)
        case .removeService(let id, let name): return try await services.remove(id, name, remotes: remotes)
        case .backup: return try await PostgresRun(want: want, remote: remote).backup()
        case .restore(let file): return try await PostgresRun(want: want, remote: remote).restore(file)
        case .deployStack(let wish): return try await stacks.deploy(wish)
        case .removeStack: return try await stacks.remove()
        case .applyKubernetes, .deleteKubernetes: throw Stop("not known here")
        }
    }

    private func pull(_ image: String, _ want: Want, _ remote: Remote) async throws -> String {
        let name = want.name
        let auth = await credentials.header(for: ImageName(image))
        func fetch() async throws {
            try await remote.engine.deploying.pull(image, auth: auth) { progress in
                guard progress.total > 0 else { return }
                voice.progress(remote.host, name, "pull \(image)", hundredths: progress.current * 100 / progress.total)
            }
        }
        if case .tunnel(let port, let remotePort) = want.wished.registry {
            try await remote.withReverseTunnel(remotePort ?? port, to: port, fetch)
        } else {
            try await fetch()
        }
        return "\(image) is there"
    }

    /// From this machine's engine to the host's, through the connection that is there anyway.
    private func load(_ image: String, _ want: Want, _ remote: Remote) async throws -> String {
        let local = want.localImage.description
        let script =
            "set -o pipefail; docker save \(local.quoted) | docker -H \("unix://\(remote.socketPath)".quoted) load -q"
        let done = try await Local.run(["bash", "-c", script], within: .seconds(3_600))
        guard done.succeeded else { throw Stop("sending \(local): \(done.complaint)") }
        if local != image {
            let engine = remote.engine.deploying
            let name = ImageName(image)
            try await engine.post(
                engine.imagePath("images", local, "/tag")
                    + engine.query(["repo": name.repository, "tag": name.tag ?? "latest"]), for: "tag image")
        }
        return "\(image) is there"
    }
}
