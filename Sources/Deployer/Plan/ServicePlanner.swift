internal import Deploy
internal import EngineAPI

struct ServicePlanner {
    let planner: Planner
    let want: Want
    let manager: Facts
    /// Asked once, through any of the hosts.
    let registry: [String: RegistryAnswer]

    func plan(_ seen: [Facts]) -> Plan {
        var plan = Plan()
        let service = manager.services[want.name]
        switch planner.goal {
        case .steps: deploy(service, seen, &plan)
        case .rollback(let target, let back): rollback(service, to: target, migratingBack: back, &plan)
        case .migrateBack:
            rollback(service, to: nil, migratingBack: true, &plan)
            plan.tasks.removeAll { $0.step != .migrateBack }
        case .destroy:
            if let service {
                plan.tasks.append(
                    task(.destroy, .removeService(id: service["ID"]?.string ?? want.name, name: want.name)))
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

    private func deploy(_ service: JSON?, _ seen: [Facts], _ plan: inout Plan) {
        let actual = service?["Spec"]
        guard let image = image(actual, &plan) else { return }
        let version = actual?.at(["Labels", Mark.version])?.string.flatMap(Int.init) ?? 0
        let known = ServiceDocument.Known(manager)
        let (same, missing) = ServiceDocument.make(want, image: image, over: actual, known: known, version: version)
        if !missing.isEmpty {
            plan.problems += missing.map { "\(want.name): \(manager.host): \($0)" }
            return
        }
        var changes: [Change] = []
        if let actual {
            if Self.isGlobal(actual) != Self.isGlobal(same) {
                plan.problems.append(
                    "\(want.name): a service cannot change between replicated and global: destroy it first")
                return
            }
            changes = ServiceDifferences.find(
                from: actual, to: same, networks: manager.networks, secrets: want.secretNames)
            let state = service?.at(["UpdateStatus", "State"])?.string ?? ""
            if changes.isEmpty, state == "paused" || state == "rollback_paused" {
                changes = [
                    Change(
                        "update", from: "paused: \(service?.at(["UpdateStatus", "Message"])?.string ?? "")",
                        to: "done again")
                ]
            }
            if planner.force, changes.isEmpty { changes = [Change("forced")] }
        }
        let replaced = seen.flatMap { facts in
            facts.marked.filter { $0.application == want.name && $0.name == want.name }.map {
                Action.Placed(host: facts.host, name: $0.name, id: $0.id, running: $0.running)
            }
        }
        let needed = actual == nil || !changes.isEmpty
        if planner.has(.migrate), want.wished.migrations != nil, needed || planner.force || !planner.has(.update) {
            // Containers know nothing of a swarm's way to fetch images.
            if case .fetch(let action) = ImageDecision.make(want, manager, registry) {
                plan.tasks.append(task(.pull, action))
            }
            plan.tasks.append(task(.migrate, .migrate(image: want.image.description)))
        }
        if case .direct = want.wished.registry {
            for facts in seen {
                guard case .fetch(let action) = ImageDecision.make(want, facts, [:]) else { continue }
                plan.tasks.append(PlannedTask(application: want.name, step: .pull, host: facts.host, action: action))
            }
        }
        guard planner.has(.update) else { return }
        var (spec, _) = ServiceDocument.make(want, image: image, over: actual, known: known, version: version + 1)
        guard let actual, let id = service?["ID"]?.string else {
            let versions = seen.flatMap(\.marked).filter { $0.application == want.name }.map(\.version)
            spec.set(["Labels", Mark.version], .string("\((versions.max() ?? 0) + 1)"))
            plan.tasks.append(
                task(.update, .createService(spec: spec, replacing: replaced), [Change("service", to: image)]))
            return
        }
        guard !changes.isEmpty else { return unchanged("No changes detected, update skipped.", &plan) }
        if planner.force {
            let bumps = actual.at(["TaskTemplate", "ForceUpdate"])?.int ?? 0
            spec.set(["TaskTemplate", "ForceUpdate"], JSON(bumps + 1))
        }
        plan.tasks.append(task(.update, .updateService(id: id, spec: spec), changes))
    }

    private static func isGlobal(_ spec: JSON) -> Bool { spec["Mode"]?["Global"] != nil }

    /// The image with its digest, so that all nodes run the same.
    private func image(_ actual: JSON?, _ plan: inout Plan) -> String? {
        let name = want.image.description
        let running = actual?.at(["TaskTemplate", "ContainerSpec", "Image"])?.string
        if want.image.digest != nil { return name }
        if case .direct = want.wished.registry { return name }
        switch registry[name] {
        case .digest(let digest): return want.image.pinned(to: digest).description
        case .refused(let reason):
            if let running, ImageName(running).unpinned == name {
                plan.notes.append(
                    "\(want.name): whether \(name) has changed is unknown, the service keeps its own: \(reason)")
                return running
            }
            if manager.images[name] != nil {
                plan.notes.append("\(want.name): \(name) is taken as the nodes have it: \(reason)")
                return name
            }
            plan.problems.append(
                "\(want.name): image \(name) cannot be pulled: \(reason). Nothing was changed anywhere")
            return nil
        case nil:
            if let running, ImageName(running).unpinned == name { return running }
            return name
        }
    }

    private func rollback(_ service: JSON?, to target: Int?, migratingBack: Bool, _ plan: inout Plan) {
        guard let service, let spec = service["Spec"], let id = service["ID"]?.string else {
            plan.problems.append("\(want.name): \(manager.host): there is no such service: deploy it first")
            return
        }
        func version(_ spec: JSON?) -> Int? { spec?.at(["Labels", Mark.version])?.string.flatMap(Int.init) }
        let current = version(spec) ?? 0
        if target == current { return unchanged("It is at version \(current) already, rollback skipped.", &plan) }
        guard let previous = service["PreviousSpec"] else {
            plan.problems.append("\(want.name): \(manager.host): the swarm keeps no earlier version than \(current)")
            return
        }
        let before = version(previous)
        if let target, before != target {
            plan.problems.append(
                "\(want.name): the swarm keeps version \(before.map { "\($0)" } ?? "?") and no other; version \(target) is gone"
            )
            return
        }
        if target == nil, let before, before > current {
            return unchanged("It is at version \(current) already, taken back from \(before). Rollback skipped.", &plan)
        }
        let changes = ServiceDifferences.find(
            from: spec, to: previous, networks: manager.networks, secrets: want.secretNames)
        let images = [spec, previous].map { $0.at(["TaskTemplate", "ContainerSpec", "Image"])?.string ?? "" }
        if migratingBack, want.wished.migrations != nil, images[0] != images[1] {
            plan.tasks.append(task(.migrateBack, .migrateBack(from: images[0], to: images[1])))
        }
        plan.tasks.append(task(.revert, .rollbackService(id: id), changes))
    }
}
