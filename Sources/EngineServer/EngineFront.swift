package import Logging
import NIOCore
import NIOPosix

/// The room `EngineServer`: the daemon's Docker Engine API.
///
/// Requests about the swarm are answered from the cluster (`Router`, whose table is the list of them); every other one
/// is handed, with its connection, to the container engine of this node, byte for byte (`Reception`, `Splice`).
///
/// It never decides anything about the cluster, and never talks to another node. `Node` runs it.
package struct EngineFront: Sendable {
    private let listen: [String]
    private let engine: String
    private let life: any SwarmLife
    private let log: Logger
    var limits = Reception.Limits()

    /// - Parameters:
    ///   - listen: `unix:///path`, one or several.
    ///   - engine: the path of the container engine's own socket.
    package init(listen: [String], engine: String, life: any SwarmLife, log: Logger) {
        self.listen = listen
        self.engine = engine
        self.life = life
        self.log = log
    }

    /// Serves until cancelled; then closes every connection and removes its sockets.
    ///
    /// - Throws: `ListenError`, when a socket cannot be had.
    package func run() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: min(System.coreCount, 4))
        let result: Result<Void, any Error>
        do {
            try await run(on: group)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        try await group.shutdownGracefully()
        try result.get()
    }

    private func run(on group: any EventLoopGroup) async throws {
        let sockets = try listen.map { address throws(ListenError) in try ListeningSocket(address) }
        let router = Router(life: life, engine: EngineSocket(path: engine, group: group), log: log)
        try await withThrowingDiscardingTaskGroup { tasks in
            for socket in sockets {
                tasks.addTask { try await serve(socket, router, on: group) }
            }
        }
    }

    private func serve(_ socket: ListeningSocket, _ router: Router, on group: any EventLoopGroup) async throws {
        try await socket.prepare(on: group)
        let server = try await bind(socket, router, on: group)
        try await server.executeThenClose { connections in
            let file = try socket.grant()
            defer { socket.remove(file) }
            log.info("The Docker Engine API is served", metadata: ["socket": "\(socket.path)", "engine": "\(engine)"])
            try await withThrowingDiscardingTaskGroup { tasks in
                for try await connection in connections {
                    tasks.addTask { await serve(connection, router) }
                }
                tasks.cancelAll()
            }
        }
    }

    private typealias Connection = NIOAsyncChannel<Request, Response>

    private func bind(
        _ socket: ListeningSocket, _ router: Router, on group: any EventLoopGroup
    ) async throws -> NIOAsyncChannel<Connection, Never> {
        try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .bind(unixDomainSocketPath: socket.path) { [engine, limits, log] channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        Reception(router: router, engine: engine, limits: limits, log: log))
                    return try Connection(wrappingChannelSynchronously: channel)
                }
            }
    }

    /// One connection, until it is closed: by the client, by us, or at the end of what the engine made of it.
    private func serve(_ connection: Connection, _ router: Router) async {
        do {
            try await connection.executeThenClose { requests, responses in
                for try await request in requests {
                    try await responses.write(await router.respond(to: request))
                }
            }
        } catch {
            log.debug("A connection ended early", metadata: ["reason": "\(error)"])
        }
    }
}
