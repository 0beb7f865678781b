import ClusterModel
import Foundation
import Logging
import NodeLink
import Raft
import Synchronization

/// The links from this manager to the others: kept as the membership says, for Raft's messages and for forwarding.
final class PeerLinks: RaftTransport {
    private struct Peer {
        var address: String
        var link: LinkClient
        var isUp = false
    }

    private struct State {
        var peers: [MemberID: Peer] = [:]
        /// Snapshots on their way; a newer order takes an older one's place.
        var deliveries: [MemberID: UInt64] = [:]
        var lastDelivery: UInt64 = 0
        weak var driver: RaftDriver?
    }

    private let member: MemberID
    /// Held from the start and for as long as this runs: the membership that a log in the making shows may be an old one.
    private let firstPeers: [Member]
    private let disk: RaftLog
    private let tls: TLSState
    private let log: Logger
    private let state = Mutex(State())
    private let (memberships, membershipWriter) = AsyncStream.makeStream(
        of: Membership.self, bufferingPolicy: .bufferingNewest(1))
    /// At most one a member waits: the consensus asks for the next when the last has ended.
    private let (orders, orderWriter) = AsyncStream.makeStream(of: SnapshotDelivery.self)

    private struct SnapshotDelivery: Sendable {
        var peer: MemberID
        var index: LogIndex
        var term: Term
        var number: UInt64
    }

    init(member: MemberID, firstPeers: [ManagerSeat.Place], disk: RaftLog, tls: TLSState, log: Logger) {
        self.disk = disk
        self.member = member
        self.firstPeers = firstPeers.map { Member(id: MemberID($0.member), address: $0.address) }
        self.tls = tls
        self.log = log
    }

    func attach(_ driver: RaftDriver) { state.withLock { $0.driver = driver } }

    func isUp(_ member: MemberID) -> Bool { state.withLock { $0.peers[member]?.isUp ?? false } }

    var refusals: [MemberID: String] { state.withLock { $0.peers.compactMapValues(\.link.lastRefusal) } }

    /// The link to whoever is at `address`.
    func link(to address: String) throws(ControlError) -> LinkClient {
        let link = state.withLock { state in state.peers.values.first { $0.address == address }?.link }
        guard let link else { throw .unavailable("there is no link to the manager at \(address) yet") }
        return link
    }

    // MARK: RaftTransport

    func send(_ message: Message, to peer: MemberID) {
        _ = state.withLock { $0.peers[peer]?.link }?.sendRaft(message.encoded())
    }

    func membershipChanged(_ membership: Membership) { membershipWriter.yield(membership) }

    func sendSnapshot(to peer: MemberID, atLeast index: LogIndex, term: Term) {
        let number = state.withLock { state in
            state.lastDelivery += 1
            state.deliveries[peer] = state.lastDelivery
            return state.lastDelivery
        }
        orderWriter.yield(SnapshotDelivery(peer: peer, index: index, term: term, number: number))
    }

    // MARK: Snapshots

    private func deliverSnapshots() async {
        await withDiscardingTaskGroup { group in
            for await order in orders { group.addTask { await self.deliver(order) } }
        }
    }

    private func deliver(_ order: SnapshotDelivery) async {
        let began = ContinuousClock.now
        var isDelivered = false
        do {
            let sent = try await sendNewestSnapshot(order)
            isDelivered = true
            log.info(
                "sent a snapshot to a manager",
                metadata: [
                    "raft.member": "\(order.peer)", "chunks": "\(sent)", "duration": "\(ContinuousClock.now - began)",
                ])
        } catch {
            log.info(
                "a snapshot did not reach a manager; it goes on when that answers",
                metadata: ["raft.member": "\(order.peer)", "reason": "\(error)"])
        }
        // Whoever still installs the last one asks again with each heartbeat: not at that pace.
        try? await Task.sleep(for: .milliseconds(500))
        let driver = state.withLock { state -> RaftDriver? in
            guard state.deliveries[order.peer] == order.number else { return nil }
            state.deliveries[order.peer] = nil
            return state.driver
        }
        driver?.snapshotSent(to: order.peer, ok: isDelivered)
    }

    /// On a connection of its own, so that heartbeats do not wait behind its bytes.
    private func sendNewestSnapshot(_ order: SnapshotDelivery) async throws -> Int {
        guard let address = state.withLock({ $0.peers[order.peer]?.address }),
            let snapshot = try await disk.onTransferQueue({ try $0.newestSnapshot() }),
            snapshot.meta.index >= order.index
        else { throw ControlError.unavailable("the snapshot, or the member, is not there any more") }
        disk.hold(snapshot)
        defer { disk.release(snapshot) }
        let outgoing = OutgoingSnapshot(
            head: Array(try JSONEncoder().encode(snapshot.head)), chunkCount: snapshot.head.chunks,
            chunk: { [disk] place in try await disk.onTransferQueue { try $0.chunk(place, of: snapshot) } },
            offer: Message.snapshotOffer(SnapshotOffer(term: order.term, meta: snapshot.meta)).encoded())
        return try await LinkClient.once(to: address, tls: tls, as: member.rawValue, log: log) { link in
            try await link.send(outgoing)
        }
    }

    // MARK: Life

    /// Holds the links until cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.deliverSnapshots() }
            var running: [MemberID: Task<Void, Never>] = [:]
            for await membership in memberships {
                let wanted = membership.members + firstPeers.filter { !membership.contains($0.id) }
                for member in wanted where member.id != self.member {
                    if state.withLock({ $0.peers[member.id]?.address }) == member.address { continue }
                    running.removeValue(forKey: member.id)?.cancel()
                    let link = makeLink(to: member)
                    state.withLock { $0.peers[member.id] = Peer(address: member.address, link: link) }
                    // Unstructured, because one link ends when its member leaves and the rest go on; the group below
                    // waits for it and passes cancellation on.
                    let life = Task { await link.run() }
                    running[member.id] = life
                    group.addTask {
                        await withTaskCancellationHandler {
                            await life.value
                        } onCancel: {
                            life.cancel()
                        }
                    }
                }
                for gone in running.keys where !wanted.contains(where: { $0.id == gone }) {
                    running.removeValue(forKey: gone)?.cancel()
                    state.withLock { $0.peers[gone] = nil }
                }
            }
            for life in running.values { life.cancel() }
        }
    }

    private func makeLink(to peer: Member) -> LinkClient {
        LinkClient(
            address: peer.address, tls: tls, member: member.rawValue, log: log,
            onUp: { [weak self] in self?.note(peer.id, isUp: true) },
            onDown: { [weak self] in self?.note(peer.id, isUp: false) })
    }

    private func note(_ peer: MemberID, isUp: Bool) {
        let driver = state.withLock { state in
            state.peers[peer]?.isUp = isUp
            return state.driver
        }
        if !isUp { driver?.linkClosed(peer) }
    }
}
