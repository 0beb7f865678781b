internal import ClusterModel
internal import EngineAPI
internal import EngineClient
internal import Logging
internal import Orchestration
internal import Synchronization

/// The logs that one session asked for: each is sent on a stream of its own, and all end with the session.
final class LogOrders: Sendable {
    /// More at once are refused, with words.
    static let limit = 64

    private let running = Mutex<[UInt64: Task<Void, Never>]>([:])

    /// A handle of its own for each: one order ends without the others.
    ///
    /// - Returns: false where too many run already.
    func begin(_ number: UInt64, _ work: @escaping @Sendable () async -> Void) -> Bool {
        running.withLock { running in
            // The manager asks again for what broke off.
            running[number]?.cancel()
            guard running[number] != nil || running.count < Self.limit else { return false }
            running[number] = Task {
                await work()
                self.running.withLock { $0[number] = nil }
            }
            return true
        }
    }

    func end(_ number: UInt64) { running.withLock { $0[number] }?.cancel() }

    func endAll() {
        for task in running.withLock({ $0.values }) { task.cancel() }
    }
}

extension Worker {
    typealias SendLogs = @Sendable (Dispatch.LogBatch) async throws -> Void

    func publish(_ order: Dispatch.LogOrder, to manager: Dispatch.ManagerAddress, _ orders: LogOrders) {
        let isTaken = orders.begin(order.number) { [self] in
            do {
                try await dialer.publishLogs(order.number, to: manager) { [self] send in
                    try await readLogs(order.wish, send)
                }
            } catch {
                if !Task.isCancelled {
                    log.debug("logs were not sent", metadata: ["order": "\(order.number)", "error": "\(error)"])
                }
            }
        }
        if !isTaken { log.warning("too many logs are asked for at once", metadata: ["limit": "\(LogOrders.limit)"]) }
    }

    /// Sends the logs of the containers that this node has of a service or a task, and of those that start meanwhile if
    /// they are followed.
    private func readLogs(_ wish: Dispatch.LogWish, _ send: @escaping SendLogs) async throws {
        var isOneTask = false
        let label: String
        switch wish.subject {
        case .service(let id): label = "com.docker.swarm.service.id=\(id)"
        case .task(let id):
            label = "\(ContainerDocument.taskLabel)=\(id)"
            isOneTask = true
        }
        // Subscribed before the list is taken, so nothing falls between the two.
        let starts =
            wish.follows
            ? try await engine.events(["type": ["container"], "label": [label], "event": ["start"]]) : nil
        let there = try await engine.containers.list(labels: [label]).compactMap { $0["Id"]?.string }
        if isOneTask, let container = there.first { return try await readLog(container, wish, send) }

        try await withThrowingDiscardingTaskGroup { group in
            for container in there { group.addTask { try await self.readLog(container, wish, send) } }
            guard let starts else { return }
            var known = Set(there)
            var whole = wish
            whole.tail = nil
            for try await event in starts {
                guard let container = event["Actor"]?["ID"]?.string, known.insert(container).inserted else { continue }
                group.addTask { [whole] in try await self.readLog(container, whole, send) }
                if isOneTask { break }
            }
        }
    }

    private func readLog(_ id: String, _ wish: Dispatch.LogWish, _ send: @escaping SendLogs) async throws {
        do {
            let config = try await engine.containers.inspect(id)["Config"]
            let batch = Dispatch.LogBatch(
                node: "\(node)", service: config?["Labels"]?["com.docker.swarm.service.id"]?.string ?? "",
                task: config?["Labels"]?[ContainerDocument.taskLabel]?.string ?? "", lines: [])
            try await engine.containers.logs(
                id, isTerminal: config?["Tty"]?.bool == true,
                query: [
                    "stdout": wish.stdout ? "1" : "0", "stderr": wish.stderr ? "1" : "0",
                    "follow": wish.follows ? "1" : "0", "since": wish.since, "until": wish.until,
                    "tail": wish.tail.map { "\($0)" } ?? "all",
                ]
            ) { lines in
                var full = batch
                full.lines = lines.map {
                    .init(stream: $0.stream, time: $0.time, details: $0.details, text: $0.text)
                }
                try await send(full)
            }
        } catch let error as EngineError where !error.isNotFound {
            // The others go on.
            let host = state.withLock { $0.description?.hostname } ?? "\(node)"
            try await send(Dispatch.LogBatch(trouble: "container \(id.prefix(12)) on node \(host): \(error.message)"))
        } catch let error as EngineError {
            // Removed meanwhile: nothing of it is to be read any more.
            log.debug("a container's log is gone", metadata: ["container": "\(id)", "error": "\(error)"])
        }
    }
}
