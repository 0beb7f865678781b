import Agent
package import ClusterModel
package import ClusterStore
package import EngineAPI
import EngineClient
package import EngineServer
package import Logging
import Manager
import NodeLink
import Raft
import Synchronization

/// This machine's life in the swarm: in none, on its way in, in one, or in trouble.
///
/// Being in a swarm is a scope (`SwarmStay`): entering it runs the agent and, for a manager, the manager; leaving it
/// ends both. A crash at any moment leaves either no swarm directory or a whole one.
package actor NodeLife {
    package struct Settings: Sendable {
        package var dataDirectory: String
        package var engineSocket: String
        package var defaultAdvertiseAddress: String?

        package init(dataDirectory: String, engineSocket: String, defaultAdvertiseAddress: String?) {
            self.dataDirectory = dataDirectory
            self.engineSocket = engineSocket
            self.defaultAdvertiseAddress = defaultAdvertiseAddress
        }
    }

    private enum Phase {
        case inactive
        /// Init or join is under way, or the swarm of an earlier life is being entered.
        case pending(Stay?)
        case active(Stay)
        /// It was in a swarm and cannot go on; `leave --force` ends that.
        case failed(String)
    }

    /// One stay in one swarm.
    private struct Stay {
        let swarm: SwarmStay
        let task: Task<Void, Never>
    }

    private static let engineIsInSwarm = """
        The container engine of this node is a member of Docker's own swarm, and one engine cannot be in two. \
        Let it leave that one first, with the engine's own socket: \
        `docker -H unix:///var/run/docker.sock swarm leave` (with --force on its last manager). Then try again.
        """

    /// How long `join` waits for the node to be a working member.
    private static let joinPatience: Duration = .seconds(20)

    private let settings: Settings
    private let files: NodeFiles
    private let engine: EngineClient
    private let log: Logger
    private var phase = Phase.inactive

    package init(settings: Settings, log: Logger) {
        self.settings = settings
        self.log = log
        files = NodeFiles(root: settings.dataDirectory)
        engine = EngineClient(socketPath: settings.engineSocket, log: log)
    }

    /// Goes back into the swarm of an earlier life, if there is one, and stays until cancelled.
    package func run() async throws {
        try files.prepare()
        if files.hasSwarm { enter() }
        // Until cancelled: what happens, happens in answer to requests.
        let (forever, _) = AsyncStream.makeStream(of: Never.self)
        for await _ in forever {}
        await stop(handingOver: true)
        await engine.shutdown()
    }

    // MARK: Entering and leaving

    /// Goes into the swarm that the files name.
    private func enter() {
        do {
            let swarm = try SwarmStay(
                files: files, engine: engine, engineSocket: settings.engineSocket, log: log)
            let task = Task { [log] in
                do {
                    try await swarm.run()
                    if await swarm.wasRemoved {
                        self.noteEnd(
                            "this node was removed from the swarm: leave it (`docker swarm leave --force`) to join another"
                        )
                    }
                } catch is CancellationError {
                } catch {
                    log.error("this node cannot go on as a member of the swarm", metadata: ["error": "\(error)"])
                    self.noteEnd("\(error)")
                }
            }
            phase = .active(Stay(swarm: swarm, task: task))
        } catch {
            log.error("the swarm of this node cannot be entered", metadata: ["error": "\(error)"])
            phase = .failed("\(error)")
        }
    }

    private func noteEnd(_ reason: String) {
        if case .active = phase { phase = .failed(reason) }
        if case .pending = phase { phase = .failed(reason) }
    }

    private func stop(handingOver: Bool) async {
        let stay: Stay? =
            switch phase {
            case .active(let stay), .pending(let stay?): stay
            default: nil
            }
        guard let stay else { return }
        // In a task of its own: this one may be cancelled already, and the others should not have to wait for an election.
        if handingOver { await Task { await stay.swarm.handOver() }.value }
        stay.task.cancel()
        await stay.task.value
    }

    private func checkIsOutside() async throws(LifeError) {
        switch phase {
        case .inactive: break
        case .failed, .pending, .active: throw .alreadyInSwarm
        }
        do {
            let info = try await engine.info()
            if let state = info["Swarm"]?["LocalNodeState"]?.string, state != "inactive", !state.isEmpty {
                throw LifeError.unavailable(Self.engineIsInSwarm)
            }
        } catch let error as LifeError {
            throw error
        } catch {
            throw .unavailable("\(error)")
        }
    }

    private func wish(_ advertise: String) -> String {
        advertise.isEmpty ? settings.defaultAdvertiseAddress ?? "" : advertise
    }

    /// Where this node listens and where others find it.
    private func addresses(
        listen: String, advertise: String
    ) throws(LifeError) -> (listen: String, advertise: String, host: String) {
        let resolver = AddressResolver(interfaces: InterfaceAddress.all())
        do {
            let listening = try resolver.listenAddress(listen)
            let advertised = try resolver.advertiseAddress(
                advertise, otherwise: settings.defaultAdvertiseAddress, listening: listening)
            return (
                AddressResolver.join(listening.host, listening.port),
                AddressResolver.join(advertised.host, advertised.port), advertised.host
            )
        } catch {
            throw .invalid(error.message)
        }
    }
}

// MARK: - What clients ask

extension NodeLife: SwarmLife {
    package func local() async -> LocalSwarm {
        switch phase {
        case .inactive: return LocalSwarm(state: .inactive)
        case .pending(nil): return LocalSwarm(state: .pending)
        case .failed(let reason): return LocalSwarm(state: .error, error: reason)
        case .pending(let stay?): return await stay.swarm.local(state: .pending)
        case .active(let stay): return await stay.swarm.local(state: .active)
        }
    }

    package func cluster() async throws(LifeError) -> any ClusterAccess {
        switch phase {
        case .inactive: throw .notInSwarm
        case .failed, .pending(nil): throw .managerStarting
        case .pending(let stay?), .active(let stay):
            guard let access = await stay.swarm.access else {
                throw await stay.swarm.isToBeManager ? .managerStarting : .isWorker
            }
            return access
        }
    }

    package func events() async -> ClusterEventFeed? {
        guard case .active(let stay) = phase else { return nil }
        return await stay.swarm.events
    }

    package func initialize(_ request: SwarmInit) async throws(LifeError) -> String {
        if request.forceNewCluster, files.hasSwarm { return try await goOnAlone(request) }
        try await checkIsOutside()
        let (listen, advertise, host) = try addresses(
            listen: request.listenAddress, advertise: request.advertiseAddress)
        phase = .pending(nil)
        do {
            let founder = Founder(
                listenAddress: listen, advertiseAddress: advertise, advertiseWish: wish(request.advertiseAddress),
                dataPathAddress: request.dataPathAddress.isEmpty ? host : request.dataPathAddress, request: request)
            let node = try founder.found(in: files)
            enter()
            try await waitUntilMember()
            return node.description
        } catch {
            await abandon()
            throw error as? LifeError ?? .failed("the swarm could not be made: \(error)")
        }
    }

    /// As dockerd does it: who is a manager already stops, and starts again with nobody else in its log.
    private func goOnAlone(_ request: SwarmInit) async throws(LifeError) -> String {
        let record: NodeRecord
        do { record = try files.readRecord() } catch { throw .failed("\(error)") }
        switch phase {
        case .inactive, .pending(nil): throw .alreadyInSwarm
        case .failed, .pending, .active: break
        }
        guard record.member != nil else { throw .isWorker }
        let (listen, advertise, _) = try addresses(
            listen: request.listenAddress,
            advertise: request.advertiseAddress.isEmpty ? record.advertiseAddress : request.advertiseAddress)
        await stop(handingOver: false)
        phase = .pending(nil)
        do {
            try Survivor(files: files, listenAddress: listen, advertiseAddress: advertise, log: log).goOnAlone()
        } catch {
            enter()  // as it was
            throw error is Survivor.NotAManager ? .isWorker : .failed("the swarm could not be begun anew: \(error)")
        }
        enter()
        do { try await waitUntilMember() } catch {
            throw error as? LifeError ?? .failed("the swarm was begun anew, but this node cannot enter it: \(error)")
        }
        return await local().nodeID?.description ?? ""
    }

    package func join(_ request: SwarmJoin) async throws(LifeError) {
        try await checkIsOutside()
        let (listen, advertise, host) = try addresses(
            listen: request.listenAddress, advertise: request.advertiseAddress)
        guard !request.remoteAddresses.isEmpty else { throw .noRemoteAddress }
        guard !request.joinToken.isEmpty else { throw .wrongJoinToken }
        guard JoinToken(parsing: request.joinToken) != nil else { throw .malformedJoinToken }
        phase = .pending(nil)
        do {
            let (credentials, managers) = try await joinAny(request)
            try files.create { files in
                try credentials.write(to: files.certificates)
                return NodeRecord(
                    listenAddress: listen, advertiseAddress: advertise, advertiseWish: wish(request.advertiseAddress),
                    dataPathAddress: request.dataPathAddress.isEmpty ? host : request.dataPathAddress,
                    managers: managers, member: nil)
            }
            enter()
        } catch {
            await abandon()
            throw error as? LifeError ?? .failed("the node's files could not be written: \(error)")
        }
        do {
            try await waitUntilMember()
        } catch {
            throw .joinTimedOut
        }
    }

    /// The first of the given managers that answers decides.
    private func joinAny(
        _ request: SwarmJoin
    ) async throws(LifeError) -> (NodeCredentials, [Dispatch.ManagerAddress]) {
        var last = LifeError.noRemoteAddress
        for remote in request.remoteAddresses {
            guard let (host, port) = AddressResolver.split(remote, defaultPort: AddressResolver.defaultPort) else {
                last = .invalid("\"\(remote)\" is not the address of a manager: give HOST:PORT")
                continue
            }
            do {
                return try await Joining.join(
                    remote: AddressResolver.join(host, port), token: request.joinToken,
                    availability: request.availability)
            } catch {
                switch error {
                case .malformed(let text): throw .invalid(text)
                case .invalidArgument: throw .wrongJoinToken
                default: last = .failed("\(error)")
                }
            }
        }
        throw last
    }

    package func leave(force: Bool) async throws(LifeError) {
        switch phase {
        case .inactive, .pending(nil): throw .notPartOfSwarm
        case .failed: break
        case .pending(let stay?), .active(let stay):
            if !force, let warning = await stay.swarm.leaveWarning() { throw .managerLeaves(warning) }
        }
        let node = await local().nodeID
        await stop(handingOver: true)
        phase = .pending(nil)
        await removeContainers(of: node)
        if node != nil { await Worker.forgetNetworks(engine: engine, log: log) }
        do {
            try files.removeSwarm()
        } catch {
            phase = .failed("\(error)")
            throw .failed("the swarm's files could not be removed: \(error)")
        }
        phase = .inactive
    }

    package func newTokens(worker: Bool, manager: Bool) async throws(LifeError) -> Control.TokenRotation {
        guard case .active(let stay) = phase, let root = await stay.swarm.rootCertificate else {
            throw .managerStarting
        }
        var random = SystemRandomNumberGenerator()
        func fresh() throws(LifeError) -> String {
            do {
                return try JoinToken.text(rootPEM: root, secret: UInt128.random(in: 0 ... .max, using: &random))
            } catch {
                throw .failed("\(error)")
            }
        }
        return Control.TokenRotation(worker: worker ? try fresh() : nil, manager: manager ? try fresh() : nil)
    }

    package func debugDump() async -> JSON {
        switch phase {
        case .inactive: ["Phase": "inactive"]
        case .pending(nil): ["Phase": "pending"]
        case .failed(let reason): ["Phase": "error", "Error": .string(reason)]
        case .pending(let stay?): await stay.swarm.debugDump(phase: "pending")
        case .active(let stay): await stay.swarm.debugDump(phase: "active")
        }
    }

    /// An init or join that came to nothing leaves nothing.
    private func abandon() async {
        await stop(handingOver: false)
        try? files.removeSwarm()
        phase = .inactive
    }

    private func waitUntilMember() async throws {
        guard case .active(let stay) = phase else { throw LifeError.managerStarting }
        let deadline = ContinuousClock.now + Self.joinPatience
        while await !stay.swarm.isSettled {
            if case .failed(let reason) = phase { throw LifeError.failed(reason) }
            guard ContinuousClock.now < deadline else { throw LifeError.joinTimedOut }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// A node that left runs nothing of its old swarm any more, as with dockerd.
    private func removeContainers(of node: Cluster.ID<Cluster.Node>?) async {
        guard let node else { return }
        let found = (try? await engine.containers.list(labels: ["com.docker.swarm.node.id=\(node)"])) ?? []
        await withDiscardingTaskGroup { group in
            for container in found {
                guard let id = container["Id"]?.string else { continue }
                group.addTask { [engine, log] in
                    do {
                        try await engine.containers.remove(id, force: true)
                    } catch {
                        log.warning(
                            "a container of the old swarm could not be removed: remove it with `docker rm -f`",
                            metadata: ["container.id": "\(id)", "error": "\(error)"])
                    }
                }
            }
        }
    }
}
