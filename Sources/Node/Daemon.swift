import EngineServer
package import Logging

/// `apusd`: this node's life, and the sockets through which clients reach it and the engine.
package struct Daemon: Sendable {
    package struct Settings: Sendable {
        package var life: NodeLife.Settings
        /// `unix:///path`, once or more.
        package var hosts: [String]

        package init(life: NodeLife.Settings, hosts: [String]) {
            self.life = life
            self.hosts = hosts
        }
    }

    private let settings: Settings
    private let log: Logger

    package init(settings: Settings, log: Logger) {
        self.settings = settings
        self.log = log
    }

    /// Runs until cancelled. Containers go on running.
    package func run() async throws {
        let life = NodeLife(settings: settings.life, log: log)
        let front = EngineFront(
            listen: settings.hosts, engine: settings.life.engineSocket, life: life, log: log)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await life.run() }
            group.addTask { try await front.run() }
            try await group.next()
        }
    }
}
