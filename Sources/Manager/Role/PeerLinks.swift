import ClusterModel
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
        weak var driver: RaftDriver?
    }

    private let member: MemberID
    /// Held from the start and for as long as this runs: the membership that a log in the making shows may be an old one.
    private let firstPeers: [Member]
    private let tls: TLSState
    private let log: Logger
    private let state = Mutex(State())
    private let (memberships, membershipWriter) = AsyncStream.makeStream(
        of: Membership.self, bufferingPolicy: .bufferingNewest(1))

    init(member: MemberID, firstPeers: [ManagerSeat.Place], tls: TLSState, log: Logger) {
        self.member = member
        self.firstPeers = firstPeers.map { Member(id: MemberID($0.member), address: $0.address) }
        self.tls = tls
        self.log = log
    }

    func attach(_ driver: RaftDriver) { state.withLock { $0.driver = driver } }

    func isUp(_ member: MemberID) -> Bool { state.withLock { $0.peers[member]?.isUp ?? false } }

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

    // MARK: Life

    /// Holds the links until cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
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
