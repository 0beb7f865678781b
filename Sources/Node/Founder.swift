import ClusterModel
import EngineServer
import Foundation
import Manager
import NodeLink
import Raft

/// Makes a swarm of one: its root certificate, its tokens, this node's certificate, and a log whose first entries say so.
struct Founder {
    var listenAddress: String
    var advertiseAddress: String
    var advertiseWish: String
    var dataPathAddress: String
    var request: SwarmInit

    /// All of it is on disk, or nothing.
    ///
    /// - Returns: the ID of this node.
    func found(in files: NodeFiles) throws -> Cluster.ID<Cluster.Node> {
        var random = SystemRandomNumberGenerator()
        var ids = IDSource(using: &random)
        let node: Cluster.ID<Cluster.Node> = ids.next()
        let swarm: Cluster.ID<Cluster.Swarm> = ids.next()
        let member = MemberID(.random(in: 1...UInt64(Int64.max), using: &random))
        let trust = try CertificateAuthority.makeTrust()
        let now = Cluster.Timestamp.now()

        let (csr, key) = try CertificateAuthority.makeRequest()
        let certificate = try CertificateAuthority.issue(
            csrPEM: csr, node: node, role: .manager, cluster: swarm, trust: trust,
            validFor: request.spec.nodeCertificateExpiry, now: Date())
        let credentials = try NodeCredentials(
            certificatePEM: certificate, keyPEM: key, rootPEM: trust.rootCertificate)

        let tokens = Cluster.JoinTokens(
            worker: try JoinToken.text(rootPEM: trust.rootCertificate, secret: .random(in: 0 ... .max, using: &random)),
            manager: try JoinToken.text(rootPEM: trust.rootCertificate, secret: .random(in: 0 ... .max, using: &random))
        )
        let swarmObject = Cluster.Swarm(
            id: swarm, spec: request.spec, trust: trust, joinTokens: tokens, at: now,
            defaultAddressPools: request.defaultAddressPools.isEmpty ? ["10.0.0.0/8"] : request.defaultAddressPools,
            subnetSize: request.subnetSize == 0 ? 24 : request.subnetSize,
            dataPathPort: request.dataPathPort == 0 ? 4789 : request.dataPathPort)
        var nodeObject = Cluster.Node(
            id: node, spec: .init(role: .manager, availability: request.availability),
            status: .init(state: .unknown, address: AddressResolver.split(advertiseAddress, defaultPort: 0)!.host),
            at: now)
        nodeObject.manager = .init(member: member.rawValue, address: advertiseAddress)

        try files.create { files in
            try credentials.write(to: files.certificates)
            var start = Restored.bootstrap(
                Member(id: member, address: advertiseAddress, context: node.description))
            let ingress = Self.ingress(ids.next(), of: swarmObject)
            let first = Proposal(
                changes: [.putSwarm(swarmObject), .putNode(nodeObject)] + ingress.map { .putNetwork($0) }, at: now)
            start.entries.append(
                Entry(index: 2, term: start.hardState.term, payload: .command(try Documents.write(first))))
            let log = try RaftLog(directory: files.raft, keyFile: files.raftKeys)
            var identity = LogIdentity(credentials, member: member.rawValue).words
            identity[RaftLog.epochKey] = Survivor.newEpoch()
            try log.identify(as: identity)
            try log.saveNow(hardState: start.hardState, appends: [start.entries])
            try log.close()
            return NodeRecord(
                listenAddress: listenAddress, advertiseAddress: advertiseAddress,
                advertiseWish: advertiseWish, dataPathAddress: dataPathAddress,
                managers: [.init(node: node, address: advertiseAddress)], member: member.rawValue)
        }
        return node
    }

    /// The first network cut from the swarm's pools, as `NetworkRequests` would; none if they hold no subnet.
    private static func ingress(_ id: Cluster.ID<Cluster.Network>, of swarm: Cluster.Swarm) -> [Cluster.Network] {
        for pool in swarm.defaultAddressPools {
            guard let pool = IPSubnet(pool), pool.prefix <= swarm.subnetSize,
                let subnet = IPSubnet(pool.base, prefix: swarm.subnetSize), let gateway = subnet.base.advanced(by: 1)
            else { continue }
            return [
                Cluster.Network(
                    id: id, spec: .ingress, vni: 4_096, subnets: [.init(subnet: subnet, gateway: gateway)],
                    at: swarm.meta.createdAt)
            ]
        }
        return []
    }
}
