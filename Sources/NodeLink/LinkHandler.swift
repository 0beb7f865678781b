package import ClusterModel

/// Who calls, by its certificate.
package struct Peer: Sendable, Equatable {
    package var node: Cluster.ID<Cluster.Node>
    package var role: Cluster.Role
    package var cluster: Cluster.ID<Cluster.Swarm>
    /// The IP address from which it called.
    package var address: String

    package init(
        node: Cluster.ID<Cluster.Node>, role: Cluster.Role, cluster: Cluster.ID<Cluster.Swarm>, address: String
    ) {
        (self.node, self.role, self.cluster, self.address) = (node, role, cluster, address)
    }
}

package struct CertificateRequest: Sendable {
    package var csrPEM: String
    /// Nil for a renewal.
    package var token: String?
    package var availability: Cluster.Availability
}

package struct CertificateGrant: Sendable {
    package var node: Cluster.ID<Cluster.Node>
    package var role: Cluster.Role
    package var certificatePEM: String
    package var rootPEM: String
    package var managers: [Dispatch.ManagerAddress]

    package init(
        node: Cluster.ID<Cluster.Node>, role: Cluster.Role, certificatePEM: String, rootPEM: String,
        managers: [Dispatch.ManagerAddress]
    ) {
        self.node = node
        self.role = role
        self.certificatePEM = certificatePEM
        self.rootPEM = rootPEM
        self.managers = managers
    }
}

/// A place among the managers.
package struct ManagerSeat: Sendable, Equatable {
    /// The number under which the node takes part in the consensus.
    package var member: UInt64
    /// The managers now: the new one must be able to answer them before its log tells it who they are.
    package var peers: [Place]
    /// Which beginning of the swarm it is: managers of two do not talk about the log.
    package var epoch: String

    package struct Place: Sendable, Equatable, Codable {
        package var member: UInt64
        /// `host:port`.
        package var address: String

        package init(member: UInt64, address: String) {
            self.member = member
            self.address = address
        }
    }

    package init(member: UInt64, peers: [Place], epoch: String) {
        self.member = member
        self.peers = peers
        self.epoch = epoch
    }
}

/// What a manager answers with. Callers are who their certificates say; a nil peer has none.
package protocol LinkHandler: Sendable {
    /// - Parameters:
    ///   - peer: who asks for a renewal; nil for a machine that joins with the token of `request`.
    ///   - address: the IP address from which it called.
    func issueCertificate(
        _ request: CertificateRequest, from peer: Peer?, address: String
    ) async throws(ControlError) -> CertificateGrant

    /// - Parameter address: where the caller will listen, `host:port`.
    func joinManagers(address: String, from peer: Peer) async throws(ControlError) -> ManagerSeat

    /// The caller does not want to be a member any more.
    func leaveManagers(from peer: Peer) async throws(ControlError)

    func submit(_ request: Control.Request, from peer: Peer) async throws(ControlError) -> Control.Reply

    /// Frames of the consensus. Must not wait.
    func raft(_ frames: [[UInt8]], from peer: Peer, member: UInt64)

    /// A leader wants to send a snapshot.
    ///
    /// - Parameter head: as its owner wrote it.
    func snapshot(_ head: [UInt8], from peer: Peer, member: UInt64) async throws(ControlError) -> any IncomingSnapshot

    /// A worker's session; it ends when this returns.
    func session<Words: AsyncSequence & Sendable>(
        from peer: Peer, inbound: Words, send: @escaping @Sendable (Dispatch.FromManager) async throws -> Void
    ) async throws where Words.Element == Dispatch.FromWorker

    /// Logs from all nodes, for another manager.
    func logs(
        _ wish: Dispatch.LogWish, from peer: Peer,
        send: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void
    ) async throws

    /// One node's part of logs that were asked for in its session.
    func publishLogs<Batches: AsyncSequence & Sendable>(
        _ batches: Batches, from peer: Peer
    ) async throws where Batches.Element == (order: UInt64, batch: Dispatch.LogBatch)
}

extension LinkHandler {
    package func logs(
        _ wish: Dispatch.LogWish, from peer: Peer,
        send: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void
    ) async throws {
        throw ControlError.unimplemented("this manager collects no logs")
    }

    package func publishLogs<Batches: AsyncSequence & Sendable>(
        _ batches: Batches, from peer: Peer
    ) async throws where Batches.Element == (order: UInt64, batch: Dispatch.LogBatch) {
        throw ControlError.unimplemented("this manager collects no logs")
    }

    package func snapshot(
        _ head: [UInt8], from peer: Peer, member: UInt64
    ) async throws(ControlError) -> any IncomingSnapshot {
        throw .unimplemented("this manager takes no snapshots")
    }

    package func leaveManagers(from peer: Peer) async throws(ControlError) {
        throw .unimplemented("this manager lets nobody go on request: demote the node with `docker node demote`")
    }
}
