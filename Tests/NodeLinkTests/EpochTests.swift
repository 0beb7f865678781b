import ClusterModel
import NodeLink
import Synchronization
import Testing

@Suite("Two beginnings of a swarm", .timeLimit(.minutes(1)))
struct EpochTests {
    @Test func `do not talk as managers, and say so at both ends`() async throws {
        let realm = try Realm()
        let here = try TLSState(try realm.credentials(1, .manager))
        here.epoch = "new"
        let handler = Handler(realm)
        try await LinkServer(tls: here, handler: handler, log: silence).serving { address in
            func link(ofEpoch epoch: String?, member: UInt64? = nil) throws -> LinkClient {
                let tls = try TLSState(try realm.credentials(2, .manager))
                tls.epoch = epoch
                return LinkClient(address: address, tls: tls, member: member, log: silence)
            }
            let stranded = try link(ofEpoch: "old", member: 2)
            try await beside {
                await stranded.run()
            } _: {
                for work: @Sendable () async throws -> Void in [
                    { _ = try await stranded.submit(LinkTests.harmless) },
                    { _ = try await stranded.joinManagers(address: "a:1") },
                    { try await stranded.leaveManagers() },
                ] {
                    let error = await #expect(throws: ControlError.self) { try await work() }
                    #expect(error?.description.contains("belong to two beginnings of this swarm") == true)
                    #expect(error?.description.contains("docker swarm leave --force") == true)
                }
                while stranded.lastRefusal == nil { try await Task.sleep(for: .milliseconds(10)) }
                #expect(stranded.lastRefusal?.contains("belong to two beginnings") == true)
                #expect(!stranded.sendRaft([1]))
                // Its certificate is still that of a node of this swarm.
                _ = try? await stranded.renewCertificate(csrPEM: "")
            }
            #expect(handler.calls.withLock { !$0.contains("joinManagers") && !$0.contains("leaveManagers") })

            // Of the same, or of none yet: welcome.
            for epoch in ["new", nil] {
                let peer = try link(ofEpoch: epoch)
                try await beside {
                    await peer.run()
                } _: {
                    let seat = try await peer.joinManagers(address: "a:1")
                    #expect(seat.epoch == "e1")
                }
            }
        }
    }
}
