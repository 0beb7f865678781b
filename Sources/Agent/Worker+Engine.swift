internal import ClusterModel
internal import EngineAPI
internal import EngineClient
internal import Logging
internal import Orchestration
internal import Synchronization

extension Worker {
    /// Tells the machine what happens to its containers; after every gap it tells all that there is.
    func watchEngine() async {
        var backoff = Backoff(.milliseconds(100), limit: .seconds(1))
        var wasUp = true
        while !Task.isCancelled {
            do {
                try await refreshDescription()
                // Subscribed before the list is taken, so nothing falls between the two.
                let events = try await engine.events([
                    "type": ["container"], "label": [ContainerDocument.swarmLabel],
                    "event": ["die", "health_status", "destroy"],
                ])
                await inbox.send(.containersFound(try await listContainers()))
                if !wasUp { log.notice("the engine answers again") }
                wasUp = true
                networks.compare()
                backoff.reset()
                for try await event in events { await hear(event) }
                log.debug("the engine ended its stream of events")
            } catch {
                if Task.isCancelled { return }
                if wasUp { log.warning("waiting for the engine", metadata: ["error": "\(error)"]) }
                wasUp = false
            }
            guard (try? await backoff.wait()) != nil else { return }
        }
    }

    private func listContainers() async throws -> [WorkerMachine.Found] {
        let ids = try await engine.containers.list(labels: [ContainerDocument.swarmLabel]).compactMap {
            $0["Id"]?.string
        }
        return try await withThrowingTaskGroup(of: WorkerMachine.Found?.self) { group in
            var found: [WorkerMachine.Found] = []
            var waiting = ids.makeIterator()
            for _ in 0..<16 {
                if let id = waiting.next() { group.addTask { try await self.find(id) } }
            }
            while let container = try await group.next() {
                if let container { found.append(container) }
                if let id = waiting.next() { group.addTask { try await self.find(id) } }
            }
            return found
        }
    }

    private func find(_ id: String) async throws -> WorkerMachine.Found? {
        do { return InspectedContainer(try await engine.containers.inspect(id))?.found } catch let error as EngineError
            where error.isNotFound
        {
            return nil
        }
    }

    private func hear(_ event: JSON) async {
        let actor = event["Actor"]
        let attributes = actor?["Attributes"]
        guard let task = attributes?[ContainerDocument.taskLabel]?.string.flatMap({ TaskID($0) }),
            let action = event["Action"]?.string ?? event["status"]?.string
        else { return }
        switch action {
        case "die":
            let exitCode = attributes?["exitCode"]?.string.flatMap { Int($0) } ?? 0
            var text = ""
            if exitCode != 0, let id = actor?["ID"]?.string,
                let document = try? await engine.containers.inspect(id)
            {
                text = document["State"]?["Error"]?.string ?? ""
            }
            await inbox.send(.exited(task, exitCode: exitCode, text: text))
        case "health_status: healthy": await inbox.send(.health(task, isHealthy: true))
        case "health_status: unhealthy": await inbox.send(.health(task, isHealthy: false))
        case "destroy": await inbox.send(.removed(task))
        default: break
        }
    }
}

// MARK: - What the node says of itself

extension Worker {
    func refreshDescription() async throws {
        let description = Self.describe(try await engine.info())
        state.withLock { $0.description = description }
    }

    static func describe(_ info: JSON) -> Cluster.NodeDescription {
        var labels: [String: String] = [:]
        for label in info["Labels"]?.array?.compactMap(\.string) ?? [] {
            let parts = label.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            labels[String(parts[0])] = parts.count == 2 ? String(parts[1]) : ""
        }
        var plugins: [Cluster.NodeDescription.Plugin] = []
        for type in ["Log", "Network", "Volume"] {
            let names = info["Plugins"]?[type]?.array?.compactMap(\.string) ?? []
            plugins += names.sorted().map { Cluster.NodeDescription.Plugin(type: type, name: $0) }
        }
        return Cluster.NodeDescription(
            hostname: info["Name"]?.string ?? "", os: info["OSType"]?.string ?? "linux",
            architecture: info["Architecture"]?.string ?? "x86_64",
            nanoCPUs: Int64(info["NCPU"]?.int ?? 0) * 1_000_000_000, memoryBytes: Int64(info["MemTotal"]?.int ?? 0),
            engineVersion: info["ServerVersion"]?.string ?? "", engineLabels: labels, plugins: plugins)
    }
}
