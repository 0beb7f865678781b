import Agent
import ClusterModel
import ClusterStore
import EngineAPI
import EngineClient
import EngineServer
import Logging
import Manager
import NodeLink
import Raft
import Foundation

/// One stay in one swarm: the agent for all of it, the manager for as long as this node is one, and the certificate
/// kept fresh.
actor SwarmStay {
    private let files: NodeFiles
    private let engine: EngineClient
    private let log: Logger
    private var record: NodeRecord
    private var credentials: NodeCredentials
    private let tls: TLSState
    private let agent: Agent.Worker
    private let dialer: LinkDialer
    private var manager: ManagerRole?
    private(set) var wasRemoved = false
    /// The role that the swarm gave this node; its certificate may not say so yet.
    private var wantedRole: Cluster.Role
    private let (roles, roleWriter) = AsyncThrowingStream.makeStream(
        of: Cluster.Role.self, bufferingPolicy: .bufferingNewest(1))

    init(files: NodeFiles, engine: EngineClient, engineSocket: String, log: Logger) throws {
        self.files = files
        self.engine = engine
        record = try files.readRecord()
        credentials = try NodeCredentials.load(from: files.certificates)
        var log = log
        log[metadataKey: "node.id"] = "\(credentials.node)"
        self.log = log
        tls = try TLSState(credentials)
        dialer = LinkDialer(tls: tls, log: log)
        wantedRole = credentials.role
        agent = Agent.Worker(
            node: credentials.node, engine: engine, dialer: dialer, managers: record.managers, log: log)
        roleWriter.yield(credentials.role)
    }

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { [agent] in try await agent.run() }
            group.addTask { [self, agent] in
                for await event in agent.events {
                    switch event {
                    case .roleChanged(let role): await note(role)
                    case .managersChanged(let managers): await note(managers)
                    case .removed:
                        await noteRemoved()
                        return
                    }
                }
            }
            group.addTask { [self] in try await followRole() }
            group.addTask { [self] in try await keepCertificateFresh() }
            try await group.next()
        }
    }

    // MARK: Role

    private func note(_ role: Cluster.Role) {
        guard role != wantedRole else { return }
        wantedRole = role
        roleWriter.yield(role)
    }

    private func note(_ managers: [Dispatch.ManagerAddress]) {
        guard !managers.isEmpty, managers != record.managers else { return }
        record.managers = managers
        do {
            try files.write(record)
        } catch {
            log.warning("the list of managers could not be saved", metadata: ["error": "\(error)"])
        }
    }

    private func noteRemoved() {
        wasRemoved = true
        log.warning("this node was removed from the swarm")
    }

    /// Being a manager is a scope: a promotion enters it, a demotion leaves it and waits for its end.
    private func followRole() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            var office: Task<Void, Never>?
            for try await role in roles {
                if role == .worker, let running = office {
                    office = nil
                    running.cancel()
                    await running.value
                    manager = nil
                    try await renew(until: .worker)
                    // Its promises as a member ended with its membership: a next one gets a new number.
                    record.member = nil
                    try files.write(record)
                    removeLog()
                } else if role == .manager, office == nil {
                    if credentials.role != .manager { try await renew(until: .manager) }
                    // Unstructured, so that a demotion can end it alone; the group passes cancellation on, and what
                    // ends it otherwise ends this loop.
                    let running = Task { [roleWriter] in
                        do { try await self.beManager() } catch is CancellationError {} catch {
                            roleWriter.finish(throwing: error)
                        }
                    }
                    office = running
                    group.addTask {
                        await withTaskCancellationHandler {
                            await running.value
                        } onCancel: {
                            running.cancel()
                        }
                    }
                }
            }
        }
    }

    private func beManager() async throws {
        // Of a seat that was given up, or never taken: nothing in it was promised under the number that comes.
        if record.member == nil { removeLog() }
        let disk = try RaftLog(directory: files.raft, keyFile: files.raftKeys)
        defer {
            try? disk.close()
            tls.epoch = nil
        }
        try renewAddress()
        let member = try await seat(on: disk)
        let role = try ManagerRole(
            settings: .init(
                node: credentials.node, member: MemberID(member), listenAddress: record.listenAddress,
                advertiseAddress: record.advertiseAddress, firstPeers: record.firstPeers ?? []),
            disk: disk, tls: tls, log: log)
        manager = role
        defer { manager = nil }
        try await role.run()
    }

    /// This node's number among the managers, and with it its epoch.
    ///
    /// A number is used with one log for ever: a manager that forgot what it promised must not be believed to remember.
    private func seat(on disk: RaftLog) async throws -> UInt64 {
        if let known = record.member {
            guard let epoch = try disk.identity()[RaftLog.epochKey] else { throw LostLog(directory: files.raft) }
            try disk.identify(as: LogIdentity(credentials, member: known).words)
            tls.epoch = epoch
            return known
        }
        let seat = try await takeSeat()
        // First the log, then the record: cut off between the two, the same seat is taken again, with an empty log.
        var identity = LogIdentity(credentials, member: seat.member).words
        identity[RaftLog.epochKey] = seat.epoch
        try disk.identify(as: identity)
        record.member = seat.member
        record.firstPeers = seat.peers
        try files.write(record)
        tls.epoch = seat.epoch
        return seat.member
    }

    private func renewAddress() throws {
        let address = AddressResolver(interfaces: InterfaceAddress.all())
            .renewed(record.advertiseAddress, wish: record.advertiseWish)
        guard address != record.advertiseAddress else { return }
        log.info(
            "this machine has another address now",
            metadata: ["address": "\(address)", "before": "\(record.advertiseAddress)"])
        record.advertiseAddress = address
        try files.write(record)
    }

    private func removeLog() {
        try? FileManager.default.removeItem(atPath: files.raft)
        try? FileManager.default.removeItem(atPath: files.raftKeys)
    }

    /// Asks the managers in turn until the leader has made this node one of them.
    private func takeSeat() async throws -> ManagerSeat {
        while true {
            for place in record.managers where place.node != credentials.node {
                do {
                    return try await dialer.once(place.address) { [record] link in
                        try await link.joinManagers(address: record.advertiseAddress)
                    }
                } catch is CancellationError {
                    throw CancellationError()
                } catch {
                    log.info(
                        "not yet among the managers; trying again",
                        metadata: ["manager": "\(place.address)", "reason": "\(error)"])
                }
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    // MARK: Certificates

    /// Renews at a moment between 50 and 80 per cent of the certificate's life.
    private func keepCertificateFresh() async throws {
        while true {
            let life = credentials.notAfter.timeIntervalSince(credentials.notBefore)
            let moment = credentials.notBefore.addingTimeInterval(life * .random(in: 0.5...0.8))
            try await Task.sleep(for: .seconds(max(1, moment.timeIntervalSinceNow)))
            do {
                try await renewOnce()
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                log.warning("the certificate could not be renewed yet", metadata: ["error": "\(error)"])
                try await Task.sleep(for: .seconds(30))
            }
        }
    }

    private func renew(until role: Cluster.Role) async throws {
        while credentials.role != role {
            try Task.checkCancellation()
            do {
                try await renewOnce()
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                log.info("the certificate for the new role is not there yet", metadata: ["reason": "\(error)"])
            }
            if credentials.role != role { try await Task.sleep(for: .milliseconds(200)) }
        }
    }

    private func renewOnce() async throws {
        let (csr, key) = try CertificateAuthority.makeRequest()
        var last: any Error = LifeError.managerStarting
        for place in record.managers {
            do {
                let grant = try await dialer.once(place.address) { try await $0.renewCertificate(csrPEM: csr) }
                let fresh = try NodeCredentials(
                    certificatePEM: grant.certificatePEM, keyPEM: key, rootPEM: grant.rootPEM)
                try fresh.write(to: files.certificates)
                try tls.replace(fresh)
                credentials = fresh
                return
            } catch {
                last = error
            }
        }
        throw last
    }

    // MARK: Looking

    /// The way to the cluster's state, once this manager works.
    var access: (any ClusterAccess)? {
        guard let manager, manager.isSettled() || manager.knownState.swarm != nil else { return nil }
        return manager
    }

    /// The cluster's events, where this manager works.
    var events: ClusterEventFeed? { access == nil ? nil : manager?.events() }

    var isToBeManager: Bool { wantedRole == .manager }

    /// It has a place among the managers, whether they are there or not.
    var hasSeat: Bool { record.member != nil }

    var rootCertificate: String? { credentials.rootPEM }

    /// A worker that was welcomed, or a manager that votes and knows its leader.
    var isSettled: Bool {
        guard agent.isConnected else { return false }
        guard wantedRole == .manager else { return true }
        return manager?.isSettled() ?? false && manager?.knownState.node(credentials.node)?.manager != nil
    }

    func local(state: LocalSwarm.State) -> LocalSwarm {
        var local = LocalSwarm(state: state)
        local.nodeID = credentials.node
        local.nodeAddress = AddressResolver.split(record.advertiseAddress, defaultPort: 0)?.host ?? ""
        local.controlAvailable = access != nil
        local.remoteManagers = record.managers
        return local
    }

    func handOver() async { await manager?.handOver() }

    /// What speaks against leaving without force; nil where nothing does.
    func leaveWarning() async -> LifeError.ManagerLeaves? {
        guard let manager else { return nil }
        let voters = manager.raftStatus.membership.voterCount
        guard voters > 1 else { return .asTheLast }
        let remaining = await manager.managers().reachable.count - 1
        return remaining < voters / 2 + 1 ? .withoutQuorum(remaining: remaining, managers: voters) : .withQuorum
    }

    func debugDump(phase: String) -> JSON {
        var dump: JSON = [
            "Phase": .string(phase), "Node": .string(credentials.node.description),
            "Role": .string(wantedRole.rawValue), "CertificateRole": .string(credentials.role.rawValue),
            "AgentConnected": .bool(agent.isConnected),
        ]
        guard let manager else { return dump }
        let raft = manager.raftStatus
        dump["Raft"] = [
            "Member": JSON(manager.settings.member.rawValue), "Role": .string("\(raft.role)"), "Term": JSON(raft.term),
            "Leader": raft.leader.map { JSON($0.rawValue) } ?? .null, "Commit": JSON(raft.commitIndex),
            "Applied": JSON(raft.appliedIndex), "Last": JSON(raft.lastIndex), "First": JSON(raft.firstIndex),
            "Persisted": JSON(raft.persistedIndex), "Snapshot": JSON(raft.snapshotIndex),
            "Inbox": JSON(raft.inboxDepth),
            "Members": .array(
                raft.membership.members.map {
                    [
                        "ID": JSON($0.id.rawValue), "Address": .string($0.address), "Learner": .bool($0.isLearner),
                        "Node": .string($0.context),
                        "Reachable": .bool(manager.isReachable($0.id)),
                        "Refuses": manager.refusals[$0.id].map { .string($0) } ?? .null,
                    ]
                }),
            "Progress": .array(
                raft.progress.map {
                    [
                        "ID": JSON($0.id.rawValue), "Match": JSON($0.match), "Next": JSON($0.next),
                        "State": .string("\($0.state)"), "Active": .bool($0.recentActive),
                    ]
                }),
            "DiskWrites": JSON(raft.diskWrites),
            "SlowestDiskWriteMs": JSON(Int(raft.slowestDiskWrite / .milliseconds(1))),
            "Epoch": tls.epoch.map { .string($0) } ?? .null,
        ]
        dump["Office"] = .string(manager.officeText)
        let store = manager.knownState
        dump["Store"] = [
            "Index": JSON(store.index), "Nodes": JSON(store.nodeCount), "Services": JSON(store.serviceCount),
            "Tasks": JSON(store.taskCount),
        ]
        return dump
    }
}

/// A manager without the log of what it promised.
struct LostLog: Error, CustomStringConvertible {
    var directory: String
    var description: String {
        """
        the log of this manager, which was in \(directory), is gone, and with it what it promised to the others. \
        Put the directory back, or let this node leave (`docker swarm leave --force`) and join again.
        """
    }
}
