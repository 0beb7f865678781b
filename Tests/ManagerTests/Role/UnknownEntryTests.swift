import ClusterModel
import Foundation
import Logging
import Manager
import NodeLink
import Raft
import Testing

@Suite("A manager of an older version", .timeLimit(.minutes(1)))
struct UnknownEntryTests {
    let scratch = Scratch()
    let silence = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    func manager() throws -> ManagerRole {
        let trust = try CertificateAuthority.makeTrust()
        let (csr, key) = try CertificateAuthority.makeRequest()
        let certificate = try CertificateAuthority.issue(
            csrPEM: csr, node: .init(bits: 1), role: .manager, cluster: .init(bits: 9), trust: trust,
            validFor: 3_600_000_000_000, now: Date())
        let tls = try TLSState(
            NodeCredentials(certificatePEM: certificate, keyPEM: key, rootPEM: trust.rootCertificate))
        let disk = try RaftLog(directory: scratch.path)
        let members = [1, 2].map { Member(id: MemberID($0), address: "127.0.0.1:1", context: "\(Self.node($0))") }
        try disk.saveNow(
            hardState: .init(term: 1),
            appends: [[Entry(index: 1, term: 1, payload: .membership(Membership(members)))]])
        return try ManagerRole(
            settings: .init(
                node: Self.node(1), member: MemberID(1), listenAddress: "127.0.0.1:0",
                advertiseAddress: "127.0.0.1:1", firstPeers: []), disk: disk, tls: tls, log: silence)
    }

    static func node(_ number: UInt64) -> Cluster.ID<Cluster.Node> { .init(bits: UInt128(number)) }

    /// What a running manager says in the end to these frames of its leader.
    func ending(after frames: [[UInt8]]) async throws -> String {
        let role = try manager()
        let life = Task { try await role.run() }
        let peer = Peer(node: Self.node(2), role: .manager, cluster: .init(bits: 9), address: "127.0.0.1")
        role.raft(frames, from: peer, member: 2)
        do { try await life.value } catch { return "\(error)" }
        return "no error"
    }

    func append(_ payload: Payload) -> [UInt8] {
        Message.append(
            .init(
                term: 2, previousIndex: 1, previousTerm: 1, entries: [Entry(index: 2, term: 2, payload: payload)],
                commit: 2)
        ).encoded()
    }

    @Test func `stops with words at an entry of a kind that it does not know`() async throws {
        var frame = append(.command([1]))
        // version, kind, four numbers of 8 bytes, a count of 4: then the kind of the entry.
        #expect(frame[38] == 1)
        frame[38] = 9
        let words = try await ending(after: [frame])
        #expect(words.contains("log entry of kind 9") && words.contains("install the version"), "\(words)")
    }

    @Test func `stops with words at a change that it does not know`() async throws {
        let command = Array(#"{"at":1,"changes":[{"putHologram":{"_0":{}}}]}"#.utf8)
        let words = try await ending(after: [append(.command(command))])
        #expect(words.contains("log entry 2 holds a change") && words.contains("install the version"), "\(words)")
    }
}
