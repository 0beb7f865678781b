import ClusterModel
import Foundation
import NodeLink
import Synchronization
import Testing

@Suite("A snapshot's stream", .timeLimit(.minutes(1)))
struct SnapshotStreamTests {
    /// Keeps what has come, as a disk would.
    final class Store: IncomingSnapshot {
        let chunks = Mutex<[[UInt8]]>([])
        let offer = Mutex<[UInt8]>([])
        /// Breaks off when so many are there.
        let breaksAt = Mutex<Int?>(nil)
        /// Waits before it takes one.
        let delay = Mutex(Duration.zero)

        func begin() async throws -> Int { chunks.withLock { $0.count } }

        func take(_ chunk: [UInt8], at place: Int) async throws {
            try await Task.sleep(for: delay.withLock { $0 })
            if breaksAt.withLock({ $0 == place }) { throw ControlError.unavailable("this disk is gone") }
            chunks.withLock { chunks in
                #expect(place == chunks.count)
                chunks.append(chunk)
            }
        }

        func finish(offer: [UInt8]) async throws -> Int {
            self.offer.withLock { $0 = offer }
            return chunks.withLock { $0.count }
        }
    }

    func snapshot(of count: Int, bytes: Int = 1_000, asked: @escaping @Sendable (Int) -> Void = { _ in })
        -> OutgoingSnapshot
    {
        OutgoingSnapshot(
            head: Array("head".utf8), chunkCount: count,
            chunk: { place in
                asked(place)
                return [UInt8](repeating: UInt8(truncatingIfNeeded: place), count: bytes)
            }, offer: Array("offer".utf8))
    }

    @Test func `goes on where it broke off`() async throws {
        let realm = try Realm()
        let store = Store()
        store.breaksAt.withLock { $0 = 6 }
        try await withServer(realm, Handler(realm, snapshots: store)) { address in
            try await withLink(address, try realm.credentials(2, .manager), member: 7) { link, _ in
                await #expect(throws: ControlError.unavailable("this disk is gone")) {
                    try await link.send(self.snapshot(of: 10))
                }
                #expect(store.chunks.withLock { $0.count } == 6)
                store.breaksAt.withLock { $0 = nil }
                let sent = try await link.send(self.snapshot(of: 10))
                #expect(sent == 4)
                #expect(store.chunks.withLock { $0.map { $0[0] } } == (0..<10).map { UInt8($0) })
                #expect(store.offer.withLock { $0 } == Array("offer".utf8))
                // All is there: only the offer goes.
                #expect(try await link.send(self.snapshot(of: 10)) == 0)
            }
        }
    }

    @Test func `holds no more in memory than the wire takes, while the other disk is slow`() async throws {
        let realm = try Realm()
        let store = Store()
        store.delay.withLock { $0 = .milliseconds(5) }
        let asked = Mutex(0), mostAhead = Mutex(0)
        try await withServer(realm, Handler(realm, snapshots: store)) { address in
            try await withLink(address, try realm.credentials(2, .manager), member: 7) { link, _ in
                // 100 MiB in chunks of 256 KiB.
                try await link.send(
                    self.snapshot(of: 400, bytes: 256 << 10) { place in
                        let ahead = place - store.chunks.withLock { $0.count }
                        mostAhead.withLock { $0 = max($0, ahead) }
                        asked.withLock { $0 += 1 }
                    })
            }
        }
        #expect(asked.withLock { $0 } == 400)
        #expect(mostAhead.withLock { $0 } <= 16, "chunks were read ahead of the other disk")
    }

    @Test func `ends when nothing moves any more`() async throws {
        let realm = try Realm()
        let store = Store()
        store.delay.withLock { $0 = .seconds(50) }
        try await withServer(realm, Handler(realm, snapshots: store)) { address in
            try await withLink(address, try realm.credentials(2, .manager), member: 7) { link, _ in
                let error = await #expect(throws: (any Error).self) {
                    try await link.send(self.snapshot(of: 3), patience: .milliseconds(300))
                }
                #expect("\(error, default: "no error")".contains("standstill"))
            }
        }
    }

    @Test func `is not for workers`() async throws {
        let realm = try Realm()
        try await withServer(realm, Handler(realm, snapshots: Store())) { address in
            try await withLink(address, try realm.credentials(2, .worker), member: 7) { link, _ in
                let error = await #expect(throws: (any Error).self) { try await link.send(self.snapshot(of: 3)) }
                #expect("\(error, default: "no error")".contains("is for managers"))
            }
        }
    }
}
