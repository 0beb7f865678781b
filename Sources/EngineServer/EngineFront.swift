package import Logging
package import NIOCore
import NIOPosix
import Synchronization

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
    private let group: any EventLoopGroup
    var limits = Reception.Limits()

    /// - Parameters:
    ///   - listen: `unix:///path`, one or several.
    ///   - engine: the path of the container engine's own socket.
    ///   - group: must outlive `run()`: a connection that was accepted in the last moment is still closed on it.
    package init(
        listen: [String], engine: String, life: any SwarmLife, log: Logger,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        self.listen = listen
        self.engine = engine
        self.life = life
        self.log = log
        self.group = group
    }

    /// Serves until cancelled; then closes every connection and removes its sockets.
    ///
    /// - Throws: `ListenError`, when a socket cannot be had.
    package func run() async throws {
        let sockets = try listen.map { address throws(ListenError) in try ListeningSocket(address) }
        let router = Router(life: life, engine: EngineSocket(path: engine, group: group), log: log)
        // Holds at most one request of each connection: a client's next one is not read before the last is answered.
        let (requests, inbox) = AsyncStream.makeStream(of: Reception.Work.self)
        let connections = OpenConnections()
        var listeners: [Listener] = []
        let result: Result<Void, any Error>
        do {
            for socket in sockets {
                try await socket.prepare(on: group)
                let channel = try await bind(socket, router, connections, inbox)
                channel.closeFuture.whenComplete { _ in inbox.finish() }
                listeners.append(Listener(socket: socket, channel: channel, file: try? socket.file()))
                try socket.grant()
                log.info(
                    "The Docker Engine API is served", metadata: ["socket": "\(socket.path)", "engine": "\(engine)"])
            }
            await withDiscardingTaskGroup { tasks in
                for await work in requests {
                    tasks.addTask { await work.perform(await router.respond(to: work.request)) }
                }
                tasks.cancelAll()
            }
            result = Task.isCancelled ? .success(()) : .failure(ListenError.noLongerListening)
        } catch {
            result = .failure(error)
        }
        for listener in listeners { await listener.close() }
        await connections.closeAll()
        try result.get()
    }

    private struct Listener {
        let socket: ListeningSocket
        let channel: any Channel
        let file: ListeningSocket.File?

        func close() async {
            try? await channel.close().get()
            if let file { socket.remove(file) }
        }
    }

    private func bind(
        _ socket: ListeningSocket, _ router: Router, _ connections: OpenConnections,
        _ inbox: AsyncStream<Reception.Work>.Continuation
    ) async throws -> any Channel {
        try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { [engine, limits, log] channel in
                channel.eventLoop.makeCompletedFuture {
                    try connections.add(channel)
                    try channel.pipeline.syncOperations.addHandler(
                        Reception(router: router, engine: engine, limits: limits, log: log) { inbox.yield($0) })
                }
            }
            .bind(unixDomainSocketPath: socket.path).get()
    }
}

/// The connections of clients, so that the end of the front is the end of each of them.
private final class OpenConnections: Sendable {
    private let state = Mutex(State())

    private struct State {
        var isClosing = false
        var channels: [ObjectIdentifier: any Channel] = [:]
    }

    /// - Throws: for a connection that came too late; it is closed then.
    func add(_ channel: any Channel) throws {
        try state.withLock {
            if $0.isClosing { throw CancellationError() }
            $0.channels[ObjectIdentifier(channel)] = channel
        }
        channel.closeFuture.whenComplete { _ in
            self.state.withLock { $0.channels[ObjectIdentifier(channel)] = nil }
        }
    }

    func closeAll() async {
        let open = state.withLock {
            $0.isClosing = true
            return Array($0.channels.values)
        }
        for channel in open { channel.close(promise: nil) }
        for channel in open { try? await channel.closeFuture.get() }
    }
}
