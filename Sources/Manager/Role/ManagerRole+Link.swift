package import ClusterModel
import ClusterStore
import Foundation
import Logging
package import NodeLink
import Raft

// What other nodes ask of this manager over its port.
extension ManagerRole: LinkHandler {
    package func issueCertificate(
        _ request: CertificateRequest, from peer: Peer?, address: String
    ) async throws(ControlError) -> CertificateGrant {
        let store = try await snapshot()
        guard let swarm = store.swarm else { throw .unavailable("this manager does not know its swarm yet: try again") }
        let node: Cluster.ID<Cluster.Node>
        let role: Cluster.Role
        if let peer {
            // A renewal: the certificate follows what the swarm says of the node now.
            guard let known = store.node(peer.node) else {
                throw .permissionDenied("node \(peer.node) is not a member of this swarm: leave it and join again")
            }
            (node, role) = (known.id, known.role)
        } else {
            guard let granted = request.token.flatMap(swarm.joinTokens.role(of:)) else {
                throw .invalidArgument("A valid join token is necessary to join this cluster")
            }
            var random = SystemRandomNumberGenerator()
            var ids = IDSource(using: &random)
            (node, role) = (ids.next(), granted)
            let spec = Cluster.NodeSpec(role: role, availability: request.availability)
            _ = try await submit(.admitNode(node, spec, address: address))
        }
        do {
            let certificate = try CertificateAuthority.issue(
                csrPEM: request.csrPEM, node: node, role: role, cluster: swarm.id, trust: swarm.trust,
                validFor: swarm.spec.nodeCertificateExpiry, now: Date())
            return CertificateGrant(
                node: node, role: role, certificatePEM: certificate, rootPEM: swarm.trust.rootCertificate,
                managers: store.nodes.compactMap { node in
                    node.manager.map { .init(node: node.id, address: $0.address) }
                })
        } catch {
            throw .invalidArgument("the certificate request cannot be signed: \(error)")
        }
    }

    package func joinManagers(address: String, from peer: Peer) async throws(ControlError) -> ManagerSeat {
        guard office.isOpen else {
            throw .unavailable("this manager does not lead: ask \(leaderPlace?.address ?? "again in a moment")")
        }
        guard state.snapshot.node(peer.node)?.spec.role == .manager else {
            throw .permissionDenied("node \(peer.node) is not to be a manager: promote it with `docker node promote`")
        }
        let context = peer.node.description
        do {
            let known = driver.status.membership.members.first { $0.context == context }
            if let known, known.address != address { try await driver.change(.updateAddress(known.id, address)) }
            let member = known?.id ?? MemberID(.random(in: 1...UInt64(Int64.max)))
            if known == nil {
                try await driver.change(
                    .addLearner(Member(id: member, address: address, isLearner: true, context: context)))
            }
            return ManagerSeat(
                member: member.rawValue,
                peers: driver.status.membership.members.filter { $0.id != member }.map {
                    .init(member: $0.id.rawValue, address: $0.address)
                }, epoch: tls.epoch ?? "")
        } catch {
            throw .unavailable("the managers are just changing: \(error). Try again")
        }
    }

    package func submit(_ request: Control.Request, from peer: Peer) async throws(ControlError) -> Control.Reply {
        // Only the leader carries out; passing it on again could go round in circles while leadership moves.
        guard office.isOpen else { throw .unavailable("this manager does not lead") }
        // Its certificate may be older than what the swarm says of it now.
        guard state.snapshot.node(peer.node)?.role == .manager else {
            throw .permissionDenied("node \(peer.node) is no manager of this swarm any more")
        }
        do {
            return try await office.submit(request)
        } catch let error as ControlError {
            throw error
        } catch {
            throw .unavailable("this manager does not lead any more")
        }
    }

    package func raft(_ frames: [[UInt8]], from peer: Peer, member: UInt64) {
        // A member speaks for itself only: its certificate names the node that the membership knows under that number.
        let sender = MemberID(member)
        if let known = driver.status.membership[sender], known.context != peer.node.description { return }
        for frame in frames {
            let message: Message
            do {
                message = try Message(decoding: frame)
            } catch FrameError.unknownKind(let kind) where Message.isAppend(frame) {
                // To drop it would be to stand still for ever: the leader sends it again and again.
                verdictWriter.finish(throwing: UnknownEntryKind(kind: kind, node: "\(peer.node)"))
                return
            } catch {
                log.warning(
                    "a message of another manager cannot be read",
                    metadata: ["node.id": "\(peer.node)", "error": "\(error)"])
                continue
            }
            // A snapshot's offer comes behind its chunks, never among the frames.
            if case .snapshotOffer = message { continue }
            driver.deliver(message, from: sender)
        }
    }

    package func session<Words: AsyncSequence & Sendable>(
        from peer: Peer, inbound: Words, send: @escaping @Sendable (Dispatch.FromManager) async throws -> Void
    ) async throws where Words.Element == Dispatch.FromWorker {
        guard office.isOpen else { return try await send(.notLeader(leaderPlace)) }
        do {
            try await office.session(of: peer.node, address: peer.address, words: inbound, send: send)
        } catch is Office.Refusal {
            try await send(.notLeader(leaderPlace))
        }
    }
}

/// The leader sends an entry of a kind that this version of apusd does not know.
package struct UnknownEntryKind: Error, CustomStringConvertible {
    var kind: UInt8
    var node: String

    package var description: String {
        """
        manager \(node) sent a log entry of kind \(kind), which this version of apusd does not know. \
        This manager stops here, so that its state stays equal to that of the others: \
        install the version that the other managers run, and start it again.
        """
    }
}

extension Message {
    /// By its second byte: behind the version stands the kind. See `MessageFrames.swift` of Raft.
    fileprivate static func isAppend(_ frame: [UInt8]) -> Bool { frame.count > 1 && frame[1] == 5 }
}
