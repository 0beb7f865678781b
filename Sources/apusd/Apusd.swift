import ArgumentParser
import Foundation
import Logging
import Node

/// Sits beside a container engine, makes its node part of a swarm, and serves the Docker Engine API.
@main
struct Apusd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apusd",
        abstract: "Swarm mode for the container engine of this machine.",
        discussion: """
            Everything about the cluster goes through the socket that it serves: set DOCKER_HOST to it and use \
            `docker swarm init`, `docker service create` and the rest. What is not about the cluster is passed on to \
            the engine as it is. Each option can also be given by its environment variable, APUS_DATA_DIR for \
            --data-dir and so on.
            """,
        version: "0.1.0")

    @Option(help: "Where this node keeps its identity and its state.")
    var dataDir: String = environment("APUS_DATA_DIR") ?? "/var/lib/apus"

    @Option(name: [.customShort("H"), .long], help: "The socket to serve, unix:///PATH; repeat for more.")
    var host: [String] = (environment("APUS_HOST") ?? "unix:///run/apus/apus.sock").split(separator: ",").map(
        String.init)

    @Option(help: "The engine's socket.")
    var engine: String = environment("APUS_ENGINE") ?? "unix:///var/run/docker.sock"

    @Option(help: "The address or interface under which others find this node, where init or join name none.")
    var defaultAdvertiseAddr: String?

    @Option(help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel: LevelOption = LevelOption(argument: environment("APUS_LOG_LEVEL") ?? "info") ?? .init(level: .info)

    @Option(help: "text or json.")
    var logFormat: LogFormat = LogFormat(rawValue: environment("APUS_LOG_FORMAT") ?? "text") ?? .text

    func validate() throws {
        guard engine.hasPrefix("unix://"), engine.count > "unix://".count else {
            throw ValidationError("--engine is the path of a socket, unix:///var/run/docker.sock: not \"\(engine)\".")
        }
    }

    func run() async throws {
        let (level, format) = (logLevel.level, logFormat)
        LoggingSystem.bootstrap { label in
            var handler: any LogHandler =
                switch format {
                case .text: StreamLogHandler.standardError(label: label)
                case .json: JSONLogHandler(label: label)
                }
            handler.logLevel = level
            return handler
        }
        let log = Logger(label: "apusd")
        let daemon = Daemon(
            settings: .init(
                life: .init(
                    dataDirectory: dataDir, engineSocket: String(engine.dropFirst("unix://".count)),
                    defaultAdvertiseAddress: defaultAdvertiseAddr ?? environment("APUS_DEFAULT_ADVERTISE_ADDR")),
                hosts: host),
            log: log)
        log.info("apusd starts", metadata: ["data": "\(dataDir)", "engine": "\(engine)"])
        try await untilSignalled { try await daemon.run() }
        log.info("apusd has stopped; containers go on running")
        // What is left are threads of libraries that wait for work: the process ends without them.
        Foundation.exit(0)
    }
}

func environment(_ name: String) -> String? {
    ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
}

struct LevelOption: ExpressibleByArgument {
    var level: Logger.Level

    init(level: Logger.Level) { self.level = level }

    init?(argument: String) {
        guard let level = Logger.Level(rawValue: argument.lowercased()) else { return nil }
        self.level = level
    }
}

enum LogFormat: String, ExpressibleByArgument { case text, json }
