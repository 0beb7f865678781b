internal import ClusterModel
internal import EngineAPI
internal import EngineClient
internal import Logging
internal import Orchestration
internal import Synchronization

extension Worker {
    typealias TaskID = Cluster.ID<Cluster.Task>

    /// Does one thing and tells the machine what came of it. It only gives up when it is cancelled.
    func perform(_ effect: WorkerMachine.Effect) async {
        var backoff = Backoff(.milliseconds(200), limit: .seconds(5))
        var attempt = 0
        while !Task.isCancelled {
            do {
                if let answer = try await tryOnce(effect, attempt: attempt) { inbox.put(answer) }
                return
            } catch {
                if Task.isCancelled { return }
                if attempt == 0 {
                    log.warning("trying again", metadata: ["effect": "\(effect.words)", "error": "\(error)"])
                }
            }
            attempt += 1
            guard (try? await backoff.wait()) != nil else { return }
        }
    }

    /// - Returns: what the machine should know.
    /// - Throws: what is worth another attempt.
    private func tryOnce(_ effect: WorkerMachine.Effect, attempt: Int) async throws -> WorkerMachine.Input? {
        switch effect {
        case .prepare(let assignment):
            return try await prepare(assignment)
        case .abandon(let task):
            preparations.abandon(task)
            return nil
        case .start(let task, let container):
            return try await start(task, container, isFirstAttempt: attempt == 0)
        case .stop(let task, let container, let graceSeconds):
            return try await stop(task, container, graceSeconds)
        case .remove(let task, let container):
            return try await remove(task, container)
        case .discard(let task, let container):
            return try await discard(task, container)
        case .check(let task, let container):
            return try await isGone(container) ? .removed(task) : nil
        case .report(let reports):
            outbox.put(reports)
            return nil
        }
    }

    private func prepare(_ assignment: Dispatch.Assignment) async throws -> WorkerMachine.Input {
        let task = assignment.task
        do {
            let image = ContainerDocument.image(assignment)
            try await preparations.run(task) { [images] in
                try await images.provide(image, registryAuth: assignment.registryAuth)
            }
            let here = try await describeForContainers()
            let places = try await networks.places(for: assignment)
            let known = state.withLock { $0.dependencies }
            let files = try memory.write(try TaskFiles.make(assignment, known: known, on: here), of: task)
            let document = places.joined(
                by: try ContainerDocument.make(assignment, on: here, files: files), of: assignment)
            for volume in try ContainerDocument.volumes(assignment, on: here) {
                try await engine.createVolume(volume)
            }
            let created: Result<String, any Error> = await heavyCalls.pass {
                // A container is created whole or not at all: from here on it is too late to give up.
                do {
                    try preparations.check(task)
                    let container = try await create(assignment, document)
                    try await connect(container, to: places)
                    return .success(container)
                } catch {
                    return .failure(error)
                }
            }
            return .prepared(task, containerID: try created.get())
        } catch let error as EngineError {
            return .prepareFailed(task, error.message)
        } catch let error as Preparations.Abandoned {
            return .prepareFailed(task, "\(error)")
        } catch let error as ContainerDocument.Unfit {
            return .prepareFailed(task, "\(error)")
        } catch let error as MemoryFiles.Failure {
            return .prepareFailed(task, "\(error)")
        }
    }

    /// This node, as templates and the engine's age make it matter to a container.
    private func describeForContainers() async throws -> ContainerDocument.Node {
        let node = state.withLock { $0.description }
        return ContainerDocument.Node(
            hostname: node?.hostname ?? "",
            platform: .init(os: node?.os ?? "linux", architecture: node?.architecture ?? ""),
            engine: try await engine.apiVersion())
    }

    /// All networks, or no container.
    private func connect(_ container: String, to places: ContainerNetworks) async throws {
        for (network, body) in places.connections(of: container) {
            do { try await engine.networks.connect(network, body) } catch let error as EngineError {
                // An attempt whose answer was lost may have done it.
                if error.isAlreadyConnected { continue }
                try? await engine.containers.remove(container, force: true)
                throw error
            }
        }
    }

    private func create(_ assignment: Dispatch.Assignment, _ document: JSON) async throws -> String {
        do {
            try Task.checkCancellation()
            return try await engine.containers.create(name: assignment.containerName, document)
        } catch let error as EngineError where error.isConflict {
            return try await adopt(assignment, insteadOf: error)
        }
    }

    /// An earlier life, or an attempt whose answer was lost, may have created it already.
    private func adopt(_ assignment: Dispatch.Assignment, insteadOf conflict: EngineError) async throws -> String {
        let container: JSON
        do { container = try await engine.containers.inspect(assignment.containerName) } catch is EngineError {
            throw conflict
        }
        guard container["Config"]?["Labels"]?[ContainerDocument.taskLabel]?.string == "\(assignment.task)",
            let id = container["Id"]?.string
        else { throw conflict }
        return id
    }

    private func start(_ task: TaskID, _ id: String, isFirstAttempt: Bool) async throws -> WorkerMachine.Input {
        do {
            // An attempt whose answer was lost may have started it: never start what ran already.
            let mayStart: Bool
            if isFirstAttempt {
                mayStart = true
            } else {
                mayStart = InspectedContainer(try await engine.containers.inspect(id))?.state == .created
            }
            if mayStart {
                // Before any container that is yet to be created: what is ready runs as soon as can be.
                let started: Result<Void, any Error> = await heavyCalls.pass(isFirst: true) {
                    do { return .success(try await engine.containers.start(id)) } catch { return .failure(error) }
                }
                try started.get()
                // The container's port on the bridge is new.
                networks.compare()
            }
        } catch let error as EngineError {
            return error.isNotFound ? .removed(task) : .startFailed(task, error.message)
        }
        do {
            guard let container = InspectedContainer(try await engine.containers.inspect(id)) else {
                return .started(task, Cluster.ContainerStatus(id: id), ports: [])
            }
            if container.state == .exited {
                return .exited(task, exitCode: container.exitCode, text: container.error)
            }
            return .started(
                task, Cluster.ContainerStatus(id: id, pid: container.pid), ports: container.ports,
                hasHealthcheck: container.hasHealthcheck)
        } catch let error as EngineError where error.isNotFound {
            return .removed(task)
        }
    }

    private func stop(_ task: TaskID, _ id: String, _ graceSeconds: Int) async throws -> WorkerMachine.Input {
        do {
            do { try await engine.containers.stop(id, timeoutSeconds: graceSeconds) } catch let error as EngineError
                where !error.isNotFound
            {
                log.warning("stopping failed, killing it", metadata: ["container": "\(id)", "error": "\(error)"])
                try await engine.containers.kill(id)
            }
            let container = InspectedContainer(try await engine.containers.inspect(id))
            return .stopped(task, exitCode: container?.exitCode ?? 0)
        } catch let error as EngineError where error.isNotFound {
            return .removed(task)
        }
    }

    private func remove(_ task: TaskID, _ id: String) async throws -> WorkerMachine.Input {
        do { try await engine.containers.remove(id, force: true) } catch let error as EngineError where error.isNotFound
        {
            // Somebody else was quicker.
        }
        return .removed(task)
    }

    private func discard(_ task: TaskID, _ id: String) async throws -> WorkerMachine.Input {
        do { try await engine.containers.stop(id, timeoutSeconds: nil) } catch let error as EngineError {
            if error.isNotFound { return .removed(task) }
            log.warning("stopping failed, killing it", metadata: ["container": "\(id)", "error": "\(error)"])
        }
        return try await remove(task, id)
    }

    private func isGone(_ id: String) async throws -> Bool {
        do {
            _ = try await engine.containers.inspect(id)
            return false
        } catch let error as EngineError where error.isNotFound {
            return true
        }
    }
}

extension WorkerMachine.Effect {
    /// For the log.
    fileprivate var words: String {
        switch self {
        case .prepare(let assignment): "prepare \(assignment.containerName)"
        case .start(let task, _): "start \(task)"
        case .stop(let task, _, _): "stop \(task)"
        case .remove(let task, _): "remove \(task)"
        case .check(let task, _): "check \(task)"
        case .abandon(let task): "abandon \(task)"
        case .discard(let task, _): "discard \(task)"
        case .report: "report"
        }
    }
}
