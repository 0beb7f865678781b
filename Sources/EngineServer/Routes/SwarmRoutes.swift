import ClusterModel
import ClusterStore
import EngineAPI

extension Router {
    func inspectSwarm(_ call: Call) async throws -> Response {
        let store = try await life.cluster().snapshot()
        guard let swarm = store.swarm else { throw LifeError.managerStarting }
        return .json(ClusterWords.swarm(swarm))
    }

    func initializeSwarm(_ call: Call) async throws -> Response {
        let wish = try SwarmInitRequest(parsing: call.document())
        try refuseEmpty(listenAddress: wish.listenAddress)
        guard !wish.autoLockManagers else { throw Refusal(501, Self.autolockWords) }
        guard wish.dataPathPort == 0 || (1024...49_151).contains(wish.dataPathPort) else {
            throw LifeError.invalid("Datapath port number is not in valid range (1024-49151) : \(wish.dataPathPort)")
        }
        guard wish.subnetSize == 0 || (8...29).contains(wish.subnetSize) else {
            throw LifeError.invalid("invalid subnet size \(wish.subnetSize): it is a number of bits from 8 to 29")
        }
        for pool in wish.defaultAddressPools where !isNetwork(pool) {
            throw LifeError.invalid("invalid CIDR address: \(pool)")
        }
        let id = try await life.initialize(
            SwarmInit(
                listenAddress: wish.listenAddress, advertiseAddress: wish.advertiseAddress,
                dataPathAddress: wish.dataPathAddress, dataPathPort: wish.dataPathPort == 0 ? 4789 : wish.dataPathPort,
                defaultAddressPools: wish.defaultAddressPools, subnetSize: wish.subnetSize == 0 ? 24 : wish.subnetSize,
                forceNewCluster: wish.forceNewCluster, autoLock: false,
                availability: try availability(wish.availability),
                spec: try plainly { () throws(ControlError) in try Cluster.SwarmSpec(parsing: wish.spec) }))
        return .json(.string(id))
    }

    func joinSwarm(_ call: Call) async throws -> Response {
        let wish = try SwarmJoinRequest(parsing: call.document())
        try refuseEmpty(listenAddress: wish.listenAddress)
        guard !wish.remoteAddresses.isEmpty else { throw LifeError.noRemoteAddress }
        try await life.join(
            SwarmJoin(
                listenAddress: wish.listenAddress, advertiseAddress: wish.advertiseAddress,
                dataPathAddress: wish.dataPathAddress, remoteAddresses: wish.remoteAddresses, joinToken: wish.joinToken,
                availability: try availability(wish.availability)))
        return .empty
    }

    func leaveSwarm(_ call: Call) async throws -> Response {
        try await life.leave(force: call.query.flag("force"))
        return .empty
    }

    func updateSwarm(_ call: Call) async throws -> Response {
        let document = try call.document()
        let version = try call.query.objectVersion(of: "swarm")
        let worker = try rotation("rotateWorkerToken", call)
        let manager = try rotation("rotateManagerToken", call)
        guard try !rotation("rotateManagerUnlockKey", call) else { throw Refusal(501, Self.autolockWords) }
        if let name = document["Name"]?.string, !name.isEmpty, name != "default" {
            throw Refusal(400, #"swarm spec must be named "default""#)
        }
        let spec = try Cluster.SwarmSpec(parsing: document)
        let cluster = try await life.cluster()
        let tokens =
            worker || manager ? try await life.newTokens(worker: worker, manager: manager) : Control.TokenRotation()
        _ = try await cluster.submit(.updateSwarm(version: version, spec, rotate: tokens))
        return .empty
    }

    func showUnlockKey(_ call: Call) async throws -> Response {
        _ = try await life.cluster()
        return .json(["UnlockKey": ""])
    }

    func unlockSwarm(_ call: Call) async throws -> Response {
        _ = try call.document()
        switch await life.local().state {
        case .inactive: throw LifeError.notInSwarm
        case .locked: throw Refusal(501, Self.autolockWords)
        default: throw LifeError.notLocked
        }
    }
}

// MARK: - Reading what was asked for

extension Router {
    private static let autolockWords =
        "autolock is not supported yet: keep the state directory of the managers on an encrypted disk instead"

    private func refuseEmpty(listenAddress: String) throws {
        if listenAddress.isEmpty { throw LifeError.invalid(#"invalid ListenAddr "": invalid empty address"#) }
    }

    private func availability(_ text: String) throws -> Cluster.Availability {
        guard !text.isEmpty else { return .active }
        guard let availability = Cluster.Availability(rawValue: text.lowercased()) else {
            throw LifeError.invalid("invalid Availability: \"\(text)\"")
        }
        return availability
    }

    private func rotation(_ name: String, _ call: Call) throws -> Bool {
        do { return try call.query.strictFlag(name) } catch {
            throw Refusal(400, "invalid value for \(name): \(call.query[name] ?? "")")
        }
    }

    /// `10.0.0.0/8`.
    private func isNetwork(_ text: String) -> Bool {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, let bits = Int(halves[1]), (0...32).contains(bits) else { return false }
        let bytes = halves[0].split(separator: ".", omittingEmptySubsequences: false)
        return bytes.count == 4 && bytes.allSatisfy { UInt8($0) != nil }
    }

    /// Runs a reading whose errors are this node's: dockerd does not put a code before them.
    func plainly<Value>(_ read: () throws(ControlError) -> Value) throws -> Value {
        do { return try read() } catch { throw Refusal(error.status, error.description) }
    }
}
