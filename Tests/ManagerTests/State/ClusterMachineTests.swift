import ClusterModel
import ClusterStore
import EngineAPI
import Foundation
import Manager
import Raft
import Synchronization
import Testing

@Suite("The cluster's state")
struct ClusterMachineTests {
    let scratch = Scratch()
    let now = Cluster.Timestamp(nanoseconds: 1_000)

    func swarm(raft: JSON = [:]) throws -> Cluster.Swarm {
        Cluster.Swarm(
            id: .init(bits: 9), spec: try .init(parsing: ["Raft": raft]),
            trust: .init(rootCertificate: "r", rootKey: "k", issuerSubject: "s", issuerPublicKey: "p"),
            joinTokens: .init(worker: "w", manager: "m"), at: now)
    }

    func entry(_ index: UInt64, _ changes: [StoreChange]) throws -> Entry {
        let proposal = Proposal(changes: changes, at: now)
        return Entry(index: index, term: 1, payload: .command(try Documents.write(proposal)))
    }

    func services(_ numbers: ClosedRange<UInt64>) throws -> [StoreChange] {
        try numbers.flatMap { number -> [StoreChange] in
            let service = Cluster.Service(id: .init(bits: UInt128(number)), at: now)
            // Large enough for several chunks, and with what would break lines if lines were not escaped.
            let spec = try Cluster.ServiceSpec(
                parsing: [
                    "Name": .string("web-\(number)"),
                    "Labels": ["text": .string("a\nb\r\n\u{2028}" + String(repeating: "x", count: 5_000))],
                    "TaskTemplate": ["ContainerSpec": ["Image": "nginx"]],
                ])
            let revision = Cluster.Revision(
                service: service.id, number: 1, template: 1, spec: spec, createdAt: now, registryAuth: nil)
            return [.putRevision(revision), .putService(service)]
        }
    }

    @Test func `comes back from its snapshot as it was`() throws {
        let disk = try RaftLog(directory: scratch.path)
        let state = ClusterState()
        let machine = try ClusterMachine(state: state, disk: disk)
        let batch = [
            Entry(index: 1, term: 1, payload: .noop), try entry(2, [.putSwarm(swarm())]),
            try entry(3, services(1...100)),
        ]
        try disk.saveNow(hardState: .init(term: 1), appends: [batch])
        try machine.apply(batch)
        let frozen = try #require(machine.freeze())
        // What comes after the copy is not in it.
        try machine.apply([try entry(4, [.removeService(.init(bits: 1))])])
        let meta = SnapshotMeta(index: 3, term: 1, membership: Membership([]))
        try disk.saveSnapshotNow(meta, of: frozen, keeping: .init(oldSnapshots: 0, entries: 1))
        #expect(try #require(try disk.newestSnapshot()).head.chunks > 2)
        try disk.close()

        let again = ClusterState()
        let reopened = try RaftLog(directory: scratch.path)
        defer { try? reopened.close() }
        _ = try ClusterMachine(state: again, disk: reopened)
        let store = again.snapshot
        #expect(store.index == 3 && store.serviceCount == 100)
        #expect(store.swarm == (try swarm()).versioned(2))
        let revision = try #require(store.revision(1, of: .init(bits: 50)))
        #expect(revision.spec.labels["text"]?.hasPrefix("a\nb\r\n\u{2028}x") == true)
        #expect(store.service(named: "web-77")?.meta.version == 3)
    }

    @Test func `holds the numbers of consensus, from one entry to the next`() throws {
        let disk = try RaftLog(directory: scratch.path)
        defer { try? disk.close() }
        let machine = try ClusterMachine(state: ClusterState(), disk: disk)
        #expect(machine.consensus == nil)
        try machine.apply([try entry(1, [.putSwarm(swarm())])])
        #expect(machine.consensus == ConsensusNumbers())
        let raft: JSON = [
            "SnapshotInterval": 7, "KeepOldSnapshots": 2, "LogEntriesForSlowFollowers": 3, "ElectionTick": 40,
            "HeartbeatTick": 4,
        ]
        try machine.apply([try entry(2, [.putSwarm(swarm(raft: raft))])])
        let numbers = try #require(machine.consensus)
        #expect(numbers.snapshotInterval == 7 && numbers.retention == .init(oldSnapshots: 2, entries: 3))
        let settings = try #require(numbers.applied(to: Settings()))
        #expect(settings.electionTicks == 40 && settings.heartbeatTicks == 4 && settings.keptEntries == 3)
    }

    @Test func `keeps the old ticks where new ones would keep no leader in office`() {
        var numbers = ConsensusNumbers()
        (numbers.electionTicks, numbers.heartbeatTicks) = (3, 3)
        #expect(numbers.applied(to: Settings()) == nil)
        numbers.heartbeatTicks = 0
        #expect(numbers.applied(to: Settings()) == nil)
    }

    @Test func `that grows large is saved beside the log, whose writes wait for one chunk at most`() async throws {
        final class Large: FrozenState {
            let put = Mutex(0)
            let isSaved = Mutex(false)
            func encode(_ put: ([UInt8]) throws -> Void) throws {
                for number in 0..<160 {
                    try put([UInt8](repeating: UInt8(number), count: 256 << 10))
                    self.put.withLock { $0 += 1 }
                }
            }
        }
        let log = try RaftLog(directory: scratch.path)
        defer { try? log.close() }
        try log.saveNow(hardState: .init(term: 1), appends: [entries(1...10)])
        let large = Large()
        let meta = SnapshotMeta(index: 5, term: 1, membership: Membership([]))
        // On threads of their own: those of the pool are busy with other tests.
        let saving = Thread {
            try? log.saveSnapshotNow(meta, of: large, keeping: .init(oldSnapshots: 0, entries: 1))
            large.isSaved.withLock { $0 = true }
        }
        saving.start()
        let (waits, last): ([Int], UInt64) = try await withCheckedThrowingContinuation { continuation in
            Thread {
                continuation.resume(
                    with: Result {
                        var index: UInt64 = 10
                        /// How many chunks went by while one write was waited for.
                        var waits: [Int] = []
                        while !large.isSaved.withLock({ $0 }) {
                            index += 1
                            let before = large.put.withLock { $0 }
                            try log.saveNow(hardState: nil, appends: [entries(index...index)])
                            waits.append(large.put.withLock { $0 } - before)
                        }
                        return (waits, index)
                    })
            }.start()
        }
        #expect(try log.newestSnapshot()?.head.chunks == 160)
        #expect(waits.count > 10 && waits.sorted()[waits.count / 2] <= 5, "writes waited for \(waits) of 160 chunks")
        #expect(try log.restore().entries.last?.index == last)
    }
}

extension Cluster.Swarm {
    fileprivate func versioned(_ index: UInt64) -> Cluster.Swarm {
        var swarm = self
        swarm.meta.version = index
        return swarm
    }
}
