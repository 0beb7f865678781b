package import ClusterModel
package import ClusterStore
import Foundation
package import Logging
package import NodeLink
package import Raft
import Synchronization

/// This node among the managers: its place in the consensus, the port where others reach it, and, while it leads, the
/// office. A scope: `run` is all of its life.
package final class ManagerRole: Sendable {
    package struct Settings: Sendable {
        package var node: Cluster.ID<Cluster.Node>
        package var member: MemberID
        /// Where the port opens, `host:port`.
        package var listenAddress: String
        /// Where others dial it, `host:port`.
        package var advertiseAddress: String
        /// Those whom a new member answers before its log tells it who they are.
        package var firstPeers: [ManagerSeat.Place]

        package init(
            node: Cluster.ID<Cluster.Node>, member: MemberID, listenAddress: String, advertiseAddress: String,
            firstPeers: [ManagerSeat.Place]
        ) {
            self.firstPeers = firstPeers
            self.node = node
            self.member = member
            self.listenAddress = listenAddress
            self.advertiseAddress = advertiseAddress
        }
    }

    /// How long a request waits for a leader to be found before it is told that there is none.
    static let leaderPatience: Duration = .seconds(5)
    /// The same where too few managers answer for there to be one.
    static let lonelyPatience: Duration = .seconds(1)
    private static let farewell: Duration = .milliseconds(500)

    package let settings: Settings
    let state = ClusterState()
    let office: Office
    let logDesk = LogDesk()
    let driver: RaftDriver
    let peers: PeerLinks
    let disk: RaftLog
    /// Whose connections are to be closed.
    private let expulsions: AsyncStream<Cluster.ID<Cluster.Node>>
    /// A message that this version does not understand and must not pass over.
    let (verdicts, verdictWriter) = AsyncThrowingStream.makeStream(of: Never.self, throwing: (any Error).self)
    let tls: TLSState
    let log: Logger

    /// - Parameter log: the log on disk, whose identity is this member's.
    package init(settings: Settings, disk: RaftLog, tls: TLSState, log: Logger) throws {
        self.settings = settings
        self.tls = tls
        self.log = log
        self.disk = disk
        office = Office(log: log)
        let peers = PeerLinks(
            member: settings.member, firstPeers: settings.firstPeers, disk: disk, tls: tls, log: log)
        self.peers = peers
        var random = SystemRandomNumberGenerator()
        let machine = RaftMachine(
            id: settings.member, restored: try disk.restore(), random: SeededGenerator(seed: random.next()))
        let (expulsions, expulsionWriter) = AsyncStream.makeStream(of: Cluster.ID<Cluster.Node>.self)
        self.expulsions = expulsions
        let cluster = try ClusterMachine(state: state, disk: disk) { nodes in
            for node in nodes { expulsionWriter.yield(node) }
        }
        driver = RaftDriver(machine: machine, log: disk, transport: peers, state: cluster, logger: log)
        peers.attach(driver)
    }

    /// Runs until cancelled, or until this node can keep no promises any more.
    ///
    /// - Parameter isListening: called once with the port that is open.
    package func run(isListening: @escaping @Sendable (Int) -> Void = { _ in }) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            let server = LinkServer(tls: tls, handler: self, log: log)
            group.addTask { [self] in try await server.run(on: settings.listenAddress, isListening: isListening) }
            group.addTask { [self] in try await closeConnections(of: expulsions, at: server) }
            group.addTask { [self] in for try await _ in verdicts {} }
            group.addTask { [self] in try await announceAddress() }
            group.addTask { [self] in try await driver.run() }
            group.addTask { [self] in await peers.run() }
            group.addTask { [self] in
                try await driver.serve { [self] term in try await lead(term) }
            }
            // None of these ends by itself: whichever does, ends all.
            try await group.next()
        }
    }

    private func closeConnections(
        of nodes: AsyncStream<Cluster.ID<Cluster.Node>>, at server: LinkServer
    ) async throws {
        for await node in nodes {
            // Its session is told first what has become of it.
            try await Task.sleep(for: Self.farewell)
            server.disconnect(node)
        }
    }

    /// Tells the leader when this manager is to be found elsewhere than the others believe.
    private func announceAddress() async throws {
        while true {
            try await Task.sleep(for: .seconds(1))
            let membership = driver.status.membership
            guard let known = membership[settings.member], known.address != settings.advertiseAddress else { continue }
            if office.isOpen {
                try? await driver.change(.updateAddress(settings.member, settings.advertiseAddress))
                continue
            }
            // While nobody reaches this one it cannot know who leads: whoever does takes it.
            for member in membership.members where member.id != settings.member {
                guard let link = try? peers.link(to: member.address) else { continue }
                do {
                    _ = try await link.joinManagers(address: settings.advertiseAddress, timeout: .seconds(3))
                    log.info(
                        "told the leader this manager's new address",
                        metadata: ["address": "\(settings.advertiseAddress)"])
                    break
                } catch {
                    log.debug("not the leader", metadata: ["peer": "\(member.address)", "reason": "\(error)"])
                }
            }
        }
    }

    /// What happens to the cluster, as this manager learns of it.
    package func events() -> ClusterEventFeed { state.feed.subscribe() }

    /// The newest state that this manager knows, which may be old. For its own use, not for answers.
    package var knownState: ClusterStore { state.snapshot }

    /// For `docker info` and the debug dump.
    package var raftStatus: RaftStatus { driver.status }
    package var officeText: String { office.depthsText }
    /// What other managers say who refuse this one.
    package var refusals: [MemberID: String] { peers.refusals }
    package func isReachable(_ member: MemberID) -> Bool { member == settings.member || peers.isUp(member) }

    /// True once it is a voter that knows its leader.
    package func isSettled() -> Bool {
        let status = driver.status
        return status.leader != nil && status.membership.isVoter(settings.member)
    }

    /// Hands the office to another before this manager stops.
    package func handOver() async { await driver.transferLeadership() }
}

// MARK: - In office

extension ManagerRole {
    private func lead(_ term: Term) async throws {
        log.info("this node leads the swarm", metadata: ["raft.term": "\(term)"])
        let hands = Office.Hands(
            propose: { [driver] proposal in
                try await driver.propose(Documents.write(proposal))
            },
            snapshot: { [state] in state.snapshot },
            removeMember: { [driver, settings] member in
                guard driver.status.membership.contains(MemberID(member)) else { return }
                if MemberID(member) == settings.member {
                    // A leader that is demoted hands over first, so that nobody waits for an election; the next one goes
                    // on with the demotion.
                    await driver.transferLeadership()
                    if driver.status.role != .leader { throw ProposeError.notLeader(hint: driver.status.leader) }
                }
                try await driver.change(.remove(MemberID(member)))
            })
        while !Task.isCancelled {
            do {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    defer { group.cancelAll() }
                    group.addTask { [office] in try await office.serve(hands) }
                    group.addTask { [self] in try await seatMembers() }
                    try await group.next()
                }
            } catch is CancellationError {
                return
            } catch let error as ProposeError {
                // Mostly the term is over and this is cancelled in a moment. If it is not, the office opens anew.
                log.info("the leader's work begins anew", metadata: ["raft.term": "\(term)", "reason": "\(error)"])
                try? await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    /// Lets learners vote once they have caught up, and keeps the nodes' objects true to the membership.
    private func seatMembers() async throws {
        while true {
            try await Task.sleep(for: .milliseconds(100))
            let status = driver.status
            for member in status.membership.members where member.isLearner {
                guard let progress = status.progress.first(where: { $0.id == member.id }), progress.recentActive,
                    progress.match + 16 >= status.commitIndex
                else { continue }
                try await driver.change(.promote(member.id))
            }
            let store = state.snapshot
            for member in status.membership.members where !member.isLearner {
                guard let id = Cluster.ID<Cluster.Node>(member.context), let node = store.node(id),
                    node.spec.role == .manager
                else { continue }
                let wanted = Cluster.ManagerStatus(member: member.id.rawValue, address: member.address)
                guard node.manager != wanted else { continue }
                _ = try? await office.submit(.setManager(id, wanted))
            }
        }
    }
}

// MARK: - Answering clients

extension ManagerRole: ClusterAccess {
    package func submit(_ request: Control.Request) async throws(ControlError) -> Control.Reply {
        let began = ContinuousClock.now
        while true {
            if office.isOpen {
                do {
                    return try await office.submit(request)
                } catch let error as ControlError {
                    throw error
                } catch {
                    // The office closed before it took the request.
                }
            } else if let leader = leaderAddress {
                do {
                    let reply = try await peers.link(to: leader).submit(request)
                    try await driver.waitApplied(reply.index)
                    return reply
                } catch let error as ControlError {
                    guard case .unavailable = error else { throw error }
                } catch {
                    throw .outcomeUnknown("The leader carried the request out, but this manager is stopping.")
                }
            }
            guard mayWait(since: began), (try? await Task.sleep(for: .milliseconds(50))) != nil else {
                throw .noLeader
            }
        }
    }

    /// Whether a leader may yet be found for a request that came at that moment.
    func mayWait(since began: ContinuousClock.Instant) -> Bool {
        let waited = ContinuousClock.now - began
        return waited < (isLonely ? Self.lonelyPatience : Self.leaderPatience)
    }

    /// There is no leader, and too few managers answer to elect one.
    private var isLonely: Bool {
        let status = driver.status
        guard status.leader == nil else { return false }
        let answering = status.membership.voters.count { $0 == settings.member || peers.isUp($0) }
        return answering < status.membership.quorum
    }

    package func snapshot() async throws(ControlError) -> ClusterStore {
        let began = ContinuousClock.now
        while true {
            do {
                _ = try await within(.milliseconds(1_500)) { [driver] in try await driver.read() }
                return state.snapshot
            } catch {
                guard mayWait(since: began), (try? await Task.sleep(for: .milliseconds(50))) != nil else {
                    throw .noLeader
                }
            }
        }
    }

    package func managers() async -> ManagersView {
        let status = driver.status
        var view = ManagersView()
        for member in status.membership.members {
            guard let node = Cluster.ID<Cluster.Node>(member.context) else { continue }
            if member.id == status.leader { view.leader = node }
            if member.id == settings.member || peers.isUp(member.id) { view.reachable.insert(node) }
        }
        return view
    }

    /// Where the leader is, if another node leads.
    var leaderAddress: String? {
        let status = driver.status
        guard let leader = status.leader, leader != settings.member else { return nil }
        return status.membership[leader]?.address
    }

    var leaderPlace: Dispatch.ManagerAddress? {
        let status = driver.status
        guard let member = status.leader.flatMap({ status.membership[$0] }),
            let node = Cluster.ID<Cluster.Node>(member.context)
        else { return nil }
        return Dispatch.ManagerAddress(node: node, address: member.address)
    }
}

/// Runs `work`, but no longer than `limit`.
func within<Result: Sendable>(
    _ limit: Duration, _ work: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Result.self) { group in
        defer { group.cancelAll() }
        group.addTask { try await work() }
        group.addTask {
            try await Task.sleep(for: limit)
            throw TookTooLong(limit: limit)
        }
        return try await group.next()!
    }
}

struct TookTooLong: Error, CustomStringConvertible {
    var limit: Duration
    var description: String { "no answer within \(limit)" }
}
