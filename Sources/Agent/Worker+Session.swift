internal import ClusterModel
internal import EngineClient
internal import Logging
internal import Orchestration
internal import Synchronization

extension Worker {
    /// How a session ended.
    private enum Ending: Sendable {
        case closed
        case redirected(Dispatch.ManagerAddress?)
        case removed
    }

    /// Keeps a session with the leader, whoever that is, until cancelled or removed from the swarm.
    func keepSession() async {
        var backoff = Backoff(.milliseconds(100), limit: .seconds(1))
        var turn = 0
        var next: Dispatch.ManagerAddress?
        var redirections = 0
        while !Task.isCancelled {
            do {
                if state.withLock({ $0.description == nil }) {
                    // The engine's own loop says why it is not there.
                    try await Task.sleep(for: .milliseconds(50))
                    continue
                }
                let managers = state.withLock { $0.managers }
                guard let manager = next ?? (managers.isEmpty ? nil : managers[turn % managers.count]) else {
                    try await backoff.wait()
                    continue
                }
                next = nil
                turn += 1
                switch try await session(with: manager) {
                case .closed:
                    redirections = 0
                    backoff.reset()
                    try await backoff.wait()
                case .redirected(let leader?) where redirections < 4:
                    redirections += 1
                    next = leader
                case .redirected:
                    redirections = 0
                    try await Task.sleep(for: .milliseconds(100))
                case .removed:
                    tell.yield(.removed)
                    return
                }
            } catch {
                if Task.isCancelled { return }
                log.debug("no session", metadata: ["error": "\(error)"])
                redirections = 0
                try? await backoff.wait()
            }
        }
    }

    private func session(with manager: Dispatch.ManagerAddress) async throws -> Ending {
        let result = SessionResult()
        defer {
            state.withLock { $0.isConnected = false }
        }
        let description = state.withLock { $0.description } ?? Cluster.NodeDescription(hostname: "")
        try await dialer.withSession(at: manager) { messages, send in
            try await send(.hello(description))
            let (welcome, welcomed) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
            // Whichever ends first, listening or talking, ends the session.
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                group.addTask {
                    try await self.listen(to: messages, of: manager, result, welcomed)
                }
                group.addTask {
                    for await _ in welcome { break }
                    try Task.checkCancellation()
                    try await self.talk(result, send)
                }
                try await group.next()
            }
        }
        return result.ending.withLock { $0 }
    }

    private func listen(
        to messages: AsyncThrowingStream<Dispatch.FromManager, any Error>, of manager: Dispatch.ManagerAddress,
        _ session: SessionResult, _ welcomed: AsyncStream<Void>.Continuation
    ) async throws {
        let logs = LogOrders()
        defer { logs.endAll() }
        for try await message in messages {
            switch message {
            case .welcome(let period, let role, let managers):
                session.period.withLock { $0 = period }
                state.withLock { $0.isConnected = true }
                learn(role, managers)
                log.info("session opened", metadata: ["manager": "\(manager.address)"])
                await inbox.send(.sessionOpened)
                welcomed.yield()
            case .cluster(let period, let role, let managers):
                session.period.withLock { $0 = period }
                learn(role, managers)
            case .network(let news): networks.hear(news)
            case .dependencies(let news): learn(news)
            case .assignAll(let assignments): await inbox.send(.assignAll(assignments))
            case .assign(let assignments, let remove): await inbox.send(.assign(assignments, remove: remove))
            case .logs(let order): publish(order, to: manager, logs)
            case .endLogs(let number): logs.end(number)
            case .notLeader(let leader):
                session.ending.withLock { $0 = .redirected(leader) }
                return
            case .removed:
                session.ending.withLock { $0 = .removed }
                return
            }
        }
    }

    private func talk(
        _ session: SessionResult, _ send: @escaping @Sendable (Dispatch.FromWorker) async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await self.speak(send) }
            group.addTask { try await self.beat(session) }
            try await group.next()
        }
    }

    private final class SessionResult: Sendable {
        let ending = Mutex<Ending>(.closed)
        /// Between heartbeats, in nanoseconds.
        let period = Mutex<Int64>(5_000_000_000)
    }

    /// The one voice of a session, so that messages never mix.
    private func speak(_ send: @escaping @Sendable (Dispatch.FromWorker) async throws -> Void) async throws {
        for await _ in outbox.bell() {
            for message in outbox.take() { try await send(message) }
        }
    }

    private func beat(_ session: SessionResult) async throws {
        while true {
            let period = Double(max(session.period.withLock { $0 }, 1_000_000))
            try await Task.sleep(for: .nanoseconds(Int64(period * Double.random(in: 0.9...1))))
            outbox.putHeartbeat()
        }
    }

    private func learn(_ news: Dispatch.DependencyNews) {
        state.withLock { state in
            if news.isWhole { state.dependencies = [:] }
            for id in news.gone { state.dependencies[id] = nil }
            for dependency in news.put { state.dependencies[dependency.id] = dependency }
        }
    }

    private func learn(_ role: Cluster.Role, _ managers: [Dispatch.ManagerAddress]) {
        let (hasNewRole, hasNewManagers) = state.withLock { state in
            let news = (state.role != role, !managers.isEmpty && state.managers != managers)
            state.role = role
            if news.1 { state.managers = managers }
            return news
        }
        if hasNewRole { tell.yield(.roleChanged(role)) }
        if hasNewManagers { tell.yield(.managersChanged(managers)) }
    }
}
