import ClusterModel
import ClusterStore
import Logging
import Manager
import NodeLink
import Raft

/// One manager of a swarm whose majority is lost for good, which goes on alone: `docker swarm init --force-new-cluster`.
///
/// Everything that its log holds counts from then on: services, tasks, nodes and their IDs, tokens, the root certificate. What only the others
/// had agreed on is gone. They are managers no more, and a new epoch keeps those of them that come back from being heard:
/// they leave and join again, as with dockerd, or are demoted and promoted.
struct Survivor {
    let files: NodeFiles
    var listenAddress: String
    var advertiseAddress: String
    let log: Logger

    /// All in one write of the log, but for this node's own record of its addresses.
    ///
    /// - Throws: where this node is no manager, or its log cannot be read; then nothing has changed.
    func goOnAlone() throws {
        var record = try files.readRecord()
        let credentials = try NodeCredentials.load(from: files.certificates)
        guard let number = record.member else { throw NotAManager() }
        let disk = try RaftLog(directory: files.raft, keyFile: files.raftKeys)
        defer { try? disk.close() }
        try disk.identify(as: LogIdentity(credentials, member: number).words)

        let member = Member(id: MemberID(number), address: advertiseAddress, context: credentials.node.description)
        var forced = try disk.restore().forcingNewGroup(of: member)
        let state = ClusterState()
        let machine = try ClusterMachine(state: state, disk: disk)
        let applied = state.snapshot.index
        try machine.apply(forced.entries.filter { $0.index > applied })
        guard state.snapshot.swarm != nil else { throw NotAManager() }

        let proposal = Proposal(changes: changes(of: state.snapshot, credentials.node, number), at: .now())
        let last = forced.entries[forced.entries.count - 1]
        forced.entries.append(
            Entry(index: last.index + 1, term: last.term, payload: .command(try Documents.write(proposal))))
        try disk.beginEpoch(Self.newEpoch(), forced)

        record.listenAddress = listenAddress
        record.advertiseAddress = advertiseAddress
        record.managers = [.init(node: credentials.node, address: advertiseAddress)]
        record.firstPeers = nil
        try files.write(record)
        log.warning(
            "the swarm begins anew with this manager alone",
            metadata: ["raft.index": "\(last.index)", "raft.term": "\(last.term)"])
    }

    /// The others keep their role, so that one can see which they were; among the managers is this one alone.
    private func changes(
        of store: ClusterStore, _ own: Cluster.ID<Cluster.Node>, _ member: UInt64
    ) -> [StoreChange] {
        store.nodes.compactMap { node in
            var node = node
            let manager = node.id == own ? Cluster.ManagerStatus(member: member, address: advertiseAddress) : nil
            guard node.manager != manager else { return nil }
            node.manager = manager
            return .putNode(node)
        }
    }

    struct NotAManager: Error {}

    /// The name of a beginning; see `Epoch`.
    static func newEpoch() -> String {
        var random = SystemRandomNumberGenerator()
        var ids = IDSource(using: &random)
        let id: Cluster.ID<Cluster.Swarm> = ids.next()
        return id.description
    }
}

/// Whose a log is: another cluster's or node's is refused.
struct LogIdentity {
    var words: [String: String]

    init(_ credentials: NodeCredentials, member: UInt64) {
        words = [
            "cluster": credentials.cluster.description, "node": credentials.node.description, "member": "\(member)",
        ]
    }
}
