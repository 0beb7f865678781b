package import Deploy
internal import EngineAPI

/// From what is wished and what is seen to what is to be done. Pure: no clock, no disk, no host.
package struct Planner: Sendable {
    package enum Goal: Sendable, Equatable {
        /// Only these steps of a deploy.
        case steps(Set<Step>)
        /// To the version before the last deploy, or to the one that is named.
        case rollback(to: Int?, migrateBack: Bool)
        case destroy
        case restore(file: String?)
        /// The schema alone.
        case migrateBack
    }
    package typealias StepName = Step

    package var goal: Goal
    /// Also where nothing has changed.
    package var force = false
    /// Go on without container hosts that cannot be reached.
    package var skipsUnreachable = false
    /// Applications say themselves whether a deploy backs them up.
    package var backsUpByDefault = false

    package init(_ goal: Goal) { self.goal = goal }

    package func plan(_ wants: [Want], _ sights: [Machine: Sight]) -> Plan {
        var plan = Plan()
        for want in wants { plan.append(planOne(want, sights)) }
        return plan
    }

    private func planOne(_ want: Want, _ sights: [Machine: Sight]) -> Plan {
        var plan = Plan()
        let place = want.wished.place.split(separator: "/").last.map(String.init) ?? want.wished.place
        for mistake in want.wished.mistakes { plan.problems.append("\(place): \(want.name): \(mistake)") }
        guard plan.problems.isEmpty else { return plan }
        guard !want.wished.hosts.isEmpty else {
            plan.problems.append(
                "\(place): \(want.name) has no host: choose an infrastructure with -i, or name hosts in the Deployfile")
            return plan
        }
        var seen: [Facts] = []
        var lost: [(host: Machine, reason: String)] = []
        for host in want.wished.hosts {
            switch sights[host] {
            case .seen(let facts): seen.append(facts)
            case .unreachable(let reason): lost.append((host, reason))
            case nil: continue
            }
        }
        let form = want.wished.form
        if form == .container {
            for meaning in ContainerDocument.meaningless(want.wished.settings) {
                plan.notes.append("\(want.name): no meaning for a container: \(meaning)")
            }
            for (host, reason) in lost {
                if skipsUnreachable {
                    plan.notes.append("\(host) is skipped: \(reason)")
                } else {
                    plan.problems.append(
                        "\(want.name): \(reason). Nothing was changed anywhere; --skip-unreachable goes on without it")
                }
            }
            guard plan.problems.isEmpty else { return plan }
            if seen.isEmpty, !lost.isEmpty { plan.problems.append("\(want.name): no host is left") }
            plan.append(ContainerPlanner(planner: self, want: want).plan(seen))
            return plan
        }
        if form == .service {
            for meaning in ServiceDocument.meaningless(want.wished.settings) {
                plan.notes.append("\(want.name): no meaning for a service: \(meaning)")
            }
        }
        for (host, reason) in lost { plan.notes.append("\(host) is skipped: \(reason)") }
        guard let manager = form == .kubernetes ? seen.first : seen.first(where: \.isManager) else {
            let what = form == .kubernetes ? "host" : "manager of a swarm"
            let states =
                seen.map { "\($0.host) is \($0.swarmState == "active" ? "a worker" : "in no swarm")" }
                + lost.map { "\($0.host) cannot be reached" }
            plan.problems.append("\(want.name): there is no \(what) among its hosts: \(states.joined(separator: ", "))")
            return plan
        }
        for facts in seen where !facts.isManager && form != .kubernetes {
            plan.notes.append("\(facts.host) is no manager: nothing to do there")
        }
        let registry = seen.reduce(into: [:]) { all, facts in all.merge(facts.registry) { first, _ in first } }
        switch form {
        case .service:
            plan.append(ServicePlanner(planner: self, want: want, manager: manager, registry: registry).plan(seen))
        case .stack: plan.append(StackPlanner(planner: self, want: want, manager: manager, registry: registry).plan())
        case .kubernetes, .container:
            plan.problems.append("\(want.name): Kubernetes configurations cannot be deployed yet")
        }
        return plan
    }

    func has(_ step: Step) -> Bool { if case .steps(let steps) = goal { steps.contains(step) } else { false } }
}

// MARK: - Containers

struct ContainerPlanner {
    let planner: Planner
    let want: Want

    func plan(_ seen: [Facts]) -> Plan {
        var plan = Plan()
        switch planner.goal {
        case .steps:
            var updates: [PlannedTask] = []
            let version = (seen.flatMap { versions(in: $0) }.max() ?? 0) + 1
            for facts in seen { updates += deploy(facts, version: version, &plan) }
            // The service that these containers take the place of goes first: both would hold the same ports.
            if planner.has(.update), let manager = seen.first(where: { $0.services[want.name] != nil }),
                let service = manager.services[want.name],
                service.at(["Spec", "Labels", Mark.application]) != nil
            {
                updates.insert(
                    task(.update, manager.host, .removeService(id: service["ID"]?.string ?? "", name: want.name)), at: 0
                )
            }
            migrateOnce(seen, changes: !updates.isEmpty, &plan)
            plan.tasks += updates
        case .rollback(let target, let back): rollback(seen, to: target, migratingBack: back, &plan)
        case .migrateBack:
            rollback(seen, to: nil, migratingBack: true, &plan)
            plan.tasks.removeAll { $0.step != .migrateBack }
        case .destroy:
            for facts in seen {
                let names = facts.marked.filter { $0.application == want.name }.map(\.name).sorted()
                if names.isEmpty {
                    unchanged(facts, "Nothing is left of it, destroy skipped.", &plan)
                } else {
                    plan.tasks.append(task(.destroy, facts.host, .removeContainers(names: names)))
                }
            }
        case .restore(let file):
            guard want.wished.postgres != nil else {
                plan.problems.append("\(want.name) has nothing to restore: it is no PostgresContainer")
                return plan
            }
            if let first = seen.first { plan.tasks.append(task(.restore, first.host, .restore(file: file))) }
        }
        return plan
    }

    private func versions(in facts: Facts) -> [Int] {
        let service = facts.services[want.name]?.at(["Spec", "Labels", Mark.version])?.string.flatMap(Int.init)
        return facts.marked.filter { $0.application == want.name }.map(\.version)
            + [current(facts)?.version, service].compactMap(\.self)
    }

    private func current(_ facts: Facts) -> MarkedContainer? {
        facts.marked.first { $0.application == want.name && $0.name == want.name }
    }

    private func task(_ step: Step, _ host: Machine, _ action: Action, _ changes: [Change] = []) -> PlannedTask {
        PlannedTask(application: want.name, step: step, host: host, action: action, changes: changes)
    }

    private func unchanged(_ facts: Facts, _ words: String, _ plan: inout Plan) {
        plan.unchanged.append(.init(application: want.name, host: facts.host, words: words))
    }

    /// Adds what comes before the update to the plan, and returns the update.
    private func deploy(_ facts: Facts, version: Int, _ plan: inout Plan) -> [PlannedTask] {
        let image = want.image.description
        var pulls = false
        switch ImageDecision.make(want, facts) {
        case .there: break
        case .fetch(let action):
            pulls = true
            if planner.has(.pull) { plan.tasks.append(task(.pull, facts.host, action)) }
        case .stays(let note): plan.notes.append("\(facts.host): \(note)")
        case .missing(let problem):
            plan.problems.append("\(want.name): \(facts.host): \(problem). Nothing was changed anywhere")
            return []
        }
        if planner.has(.backup) || (planner.backsUpByDefault && want.wished.backsUp), want.wished.postgres != nil,
            facts.containers[want.name] != nil
        {
            plan.tasks.append(task(.backup, facts.host, .backup))
        }
        guard planner.has(.update) else {
            if !pulls, planner.has(.pull) { unchanged(facts, "\(image) is there, pull skipped.", &plan) }
            return []
        }
        let recovery = Recovery.needed(want.name, in: facts)
        var updates: [PlannedTask] = recovery.isEmpty ? [] : [task(.update, facts.host, .recover(recovery))]
        guard let actual = facts.containers[want.name] else {
            // What is recovered is looked at again before anything else is decided.
            if !recovery.contains(where: { if case .rename(_, want.name) = $0 { true } else { false } }) {
                updates.append(
                    task(.update, facts.host, .createContainer(version: version), [Change("container", to: image)]))
            }
            return updates
        }
        var changes = ContainerDifferences.find(want, actual: actual, image: facts.images[image], newImage: pulls)
        if planner.force, changes.isEmpty { changes = [Change("forced")] }
        if !changes.isEmpty {
            updates.append(
                task(.update, facts.host, .exchangeContainer(version: version, startFirst: startsFirst), changes))
        } else if actual.at(["State", "Running"])?.bool != true, recovery.isEmpty {
            let change = Change(
                "state", from: actual.at(["State", "Status"])?.string ?? "stopped", to: "running", byHand: true)
            updates.append(task(.update, facts.host, .startContainer(name: want.name), [change]))
        } else if recovery.isEmpty {
            unchanged(facts, "No changes detected, update skipped.", &plan)
        }
        return updates
    }

    /// Two containers cannot hold the same port or write the same volume.
    var startsFirst: Bool {
        switch want.wished.exchange {
        case .startFirst: return true
        case .stopFirst: return false
        case .automatic:
            return !want.wished.settings.contains { setting in
                switch setting {
                case .publish(let port): port.published != nil
                case .mount(let mount): mount.kind != .tmpfs && !mount.readOnly
                case .networkMode: true
                case .engine: true
                default: false
                }
            }
        }
    }

    /// Once for all hosts, after every pull and before any update.
    private func migrateOnce(_ seen: [Facts], changes: Bool, _ plan: inout Plan) {
        guard planner.has(.migrate), want.wished.migrations != nil, let first = seen.first else { return }
        guard changes || !planner.has(.update) || planner.force else { return }
        plan.tasks.append(task(.migrate, first.host, .migrate(image: want.image.description)))
    }

    private func rollback(_ seen: [Facts], to target: Int?, migratingBack: Bool, _ plan: inout Plan) {
        var tasks: [PlannedTask] = []
        for facts in seen {
            let recovery = Recovery.needed(want.name, in: facts)
            if !recovery.isEmpty { tasks.append(task(.revert, facts.host, .recover(recovery))) }
            var kept = facts.marked.filter { $0.application == want.name && ContainerNames.isKept($0) }
            guard let current = current(facts) else {
                if !recovery.isEmpty { continue }
                plan.problems.append("\(want.name): \(facts.host) runs none: deploy it first")
                continue
            }
            if var old = facts.marked.first(where: {
                $0.application == want.name && $0.name == ContainerNames.old(want.name)
            }) {
                old.name = ContainerNames.kept(want.name, old.version)
                kept.append(old)
            } else if !recovery.isEmpty, target == nil {
                // An interrupted exchange is taken back by putting things in order: the old one was never replaced.
                continue
            }
            kept.sort { $0.version > $1.version }
            if let target {
                if current.version == target {
                    unchanged(facts, "It is at version \(target) already, rollback skipped.", &plan)
                } else if let wanted = kept.first(where: { $0.version == target }) {
                    tasks.append(
                        task(
                            .revert, facts.host, .rollbackContainer(to: wanted),
                            [Change("version", from: "\(current.version)", to: "\(target)")]))
                } else {
                    let have = kept.map { "\($0.version)" }.joined(separator: ", ")
                    plan.problems.append(
                        "\(want.name): \(facts.host) has no version \(target)\(have.isEmpty ? "" : "; it keeps \(have)")"
                    )
                }
            } else if let newer = kept.first, newer.version > current.version {
                unchanged(
                    facts,
                    "It is at version \(current.version) already, taken back from \(newer.version); name a version to go further. Rollback skipped.",
                    &plan)
            } else if let previous = kept.first {
                let change = Change("image", from: current.image, to: previous.image)
                tasks.append(task(.revert, facts.host, .rollbackContainer(to: previous), [change]))
            } else {
                plan.problems.append("\(want.name): \(facts.host) keeps no earlier version than \(current.version)")
            }
        }
        let back = tasks.first { if case .rollbackContainer = $0.action { true } else { false } }
        if migratingBack, want.wished.migrations != nil, let back, case .rollbackContainer(let previous) = back.action,
            let facts = seen.first(where: { $0.host == back.host }), let current = current(facts),
            current.imageID != previous.imageID
        {
            tasks.insert(
                task(.migrateBack, back.host, .migrateBack(from: current.imageID, to: previous.imageID)), at: 0)
        }
        plan.tasks += tasks
    }
}

/// Whether an image must be brought to a host.
enum ImageDecision: Equatable {
    case there
    case fetch(Action)
    case stays(String)
    case missing(String)

    static func make(_ want: Want, _ facts: Facts, _ registry: [String: RegistryAnswer]? = nil) -> Self {
        let image = want.image.description
        let local = facts.images[image]
        if case .direct = want.wished.registry {
            return .fetch(.load(image: image)).unless(local?.id != nil && local?.id == want.localID)
        }
        switch want.wished.pull {
        case .never:
            return local == nil
                ? .missing("it has no image \(image), and the Deployfile says never to pull it") : .there
        case .missing: return local == nil ? .fetch(.pull(image: image)) : .there
        case .always: break
        }
        if want.image.digest != nil { return local == nil ? .fetch(.pull(image: image)) : .there }
        switch (registry ?? facts.registry)[image] {
        case .digest(let digest): return local?.has(digest) == true ? .there : .fetch(.pull(image: image))
        case .refused(let reason):
            return local == nil
                ? .missing("image \(image) is not there and cannot be pulled: \(reason)")
                : .stays("whether \(image) has changed is unknown, its own is taken: \(reason)")
        case nil: return local == nil ? .fetch(.pull(image: image)) : .there
        }
    }

    private func unless(_ condition: Bool) -> Self { condition ? .there : self }
}
