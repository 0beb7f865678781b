package import ClusterModel
import Foundation
import Logging
package import NodeLink
import Raft

// How a manager takes over a snapshot from the leader: chunk by chunk onto its disk, then the consensus is told.

extension ManagerRole {
    package func snapshot(
        _ head: [UInt8], from peer: Peer, member: UInt64
    ) async throws(ControlError) -> any IncomingSnapshot {
        let sender = MemberID(member)
        if let known = driver.status.membership[sender], known.context != peer.node.description {
            throw .permissionDenied("node \(peer.node) is not member \(member) of the managers")
        }
        guard let head = try? JSONDecoder().decode(SnapshotHead.self, from: Data(head)), (try? head.meta) != nil else {
            throw .unimplemented(
                "the head of the snapshot cannot be read: run the same version of apusd on both managers")
        }
        log.info(
            "receiving a snapshot",
            metadata: ["node.id": "\(peer.node)", "chunks": "\(head.chunks)", "bytes": "\(head.bytes)"])
        return Incoming(head: head, sender: sender, disk: disk, driver: driver)
    }
}

private struct Incoming: IncomingSnapshot {
    let head: SnapshotHead
    let sender: MemberID
    let disk: RaftLog
    let driver: RaftDriver

    func begin() async throws -> Int {
        do {
            return try await disk.onTransferQueue { try $0.beginReceiving(head) }
        } catch let error as UnknownSnapshotFormat {
            throw ControlError.unimplemented(error.description)
        }
    }

    func take(_ chunk: [UInt8], at place: Int) async throws {
        guard place < head.chunks else { throw ControlError.malformed("more chunks than the snapshot has") }
        try await disk.onTransferQueue { try $0.receive(chunk, at: place, of: head) }
    }

    func finish(offer: [UInt8]) async throws -> Int {
        guard case .snapshotOffer(let body)? = try? Message(decoding: offer), body.meta == (try head.meta) else {
            throw ControlError.malformed("the leader's offer is not one of this snapshot")
        }
        guard try await disk.onTransferQueue({ try $0.finishReceiving(head) }) else {
            throw ControlError.malformed("what arrived of the snapshot is not what was sent: it is to be sent again")
        }
        driver.deliver(.snapshotOffer(body), from: sender)
        return head.chunks
    }
}
