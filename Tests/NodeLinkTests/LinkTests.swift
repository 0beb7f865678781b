import ClusterModel
import Foundation
import SwiftProtobuf
import Testing

@testable import NodeLink

@Suite("A link to a manager", .timeLimit(.minutes(1)))
struct LinkTests {
    static let harmless = Control.Request.removeNode(.init(bits: 5), force: false)
    static let neverAnswered = Control.Request.removeNode(.init(bits: 5), force: true)

    // MARK: Calls

    @Test func `carries a request there and the reply back`() async throws {
        let realm = try Realm()
        try await withServer(realm) { address in
            try await withLink(address, try realm.credentials(2, .manager)) { link, _ in
                let reply = try await link.submit(Self.harmless)
                #expect(reply.created == Cluster.ID<Cluster.Node>(bits: 5).description && reply.index == 42)
                #expect(reply.warnings == [Cluster.ID<Cluster.Node>(bits: 2).description, "127.0.0.1"])
                let seat = try await link.joinManagers(address: "a:1")
                #expect(
                    seat
                        == ManagerSeat(
                            member: 2, peers: [.init(member: 1, address: "10.0.0.1:2377")], epoch: "e1"))
                try await link.leaveManagers()
            }
        }
    }

    @Test func `carries a refusal as what it is`() async throws {
        let realm = try Realm()
        try await withServer(realm) { address in
            try await withLink(address, try realm.credentials(2, .manager)) { link, _ in
                await #expect(throws: ControlError.outOfSequence) {
                    try await link.submit(.setManager(.init(bits: 1), nil))
                }
                let service = Cluster.ID<Cluster.Service>(bits: 1)
                await #expect(throws: ControlError.notFound(kind: "service", reference: service.description)) {
                    try await link.submit(.removeService(service))
                }
            }
        }
    }

    @Test func `keeps the words of a refusal that it does not know`() {
        let refusal = Apus_V1_Refusal.with {
            $0.json = Data(#"{"haunted":{"_0":"the attic"}}"#.utf8)
            $0.text = "the attic is haunted"
        }
        #expect(Wire.error(refusal) == .unknown("the attic is haunted"))
        #expect(Wire.error(Wire.refusal(.noLeader)) == .noLeader)
    }

    @Test func `says that nobody is there, and that nothing was asked`() async throws {
        let realm = try Realm()
        let address = try await withServer(realm) { $0 }
        try await withLink(address, try realm.credentials(2, .manager)) { link, _ in
            let error = await #expect(throws: ControlError.self) { try await link.submit(Self.harmless) }
            #expect(
                error
                    == .unavailable(
                        "could not reach the manager at \(address): connection refused: check that apusd runs there and that the node is a manager"
                    ))
        }
    }

    @Test func `does not know the outcome of a request whose answer was lost`() async throws {
        let realm = try Realm(), handler = Handler(realm), cable = Cable()
        try await withServer(realm, handler) { far in
            let address = try await cable.lay(to: far)
            try await withLink(address, try realm.credentials(2, .manager)) { link, _ in
                let lost = Task { try await link.submit(Self.neverAnswered) }
                _ = await handler.arrivals.first { _ in true }
                await cable.cut()
                let error = await #expect(throws: ControlError.self) { try await lost.value }
                #expect(error?.code == "DeadlineExceeded")
                let reply = try await link.submit(Self.harmless)
                #expect(reply.index == 42)
            }
        }
    }

    @Test func `does not know the outcome of a request that took too long`() async throws {
        let realm = try Realm()
        try await withServer(realm) { address in
            try await withLink(address, try realm.credentials(2, .manager)) { link, _ in
                _ = try await link.submit(Self.harmless)
                let error = await #expect(throws: ControlError.self) {
                    try await link.submit(Self.neverAnswered, timeout: .milliseconds(300))
                }
                guard case .outcomeUnknown(let text) = error else { return #expect(error == nil) }
                #expect(text.contains("no answer in time"))
            }
        }
    }

    // MARK: Frames

    @Test func `carries frames in order, several at a time`() async throws {
        let realm = try Realm(), handler = Handler(realm)
        let frames = (0..<2_000).map { [UInt8($0 & 255), UInt8($0 >> 8)] }
        let large = [UInt8](repeating: 7, count: 10 << 20)
        try await withServer(realm, handler) { address in
            try await withLink(address, try realm.credentials(2, .manager), member: 2) { link, turns in
                #expect(await turns.next() == .up)
                for frame in frames { #expect(link.sendRaft(frame)) }
                #expect(link.sendRaft(large))
                var (got, batches) = ([[UInt8]](), 0)
                for await batch in handler.frames {
                    got += batch
                    batches += 1
                    if got.count == frames.count + 1 { break }
                }
                #expect(got == frames + [large])
                #expect(batches < frames.count)
            }
        }
    }

    @Test func `says at once that the other end was killed, and comes back`() async throws {
        let realm = try Realm(), handler = Handler(realm), cable = Cable()
        try await withServer(realm, handler) { far in
            let address = try await cable.lay(to: far)
            try await withLink(address, try realm.credentials(2, .manager), member: 2) { link, turns in
                #expect(await turns.next() == .up)
                let start = ContinuousClock.now
                await cable.cut()
                #expect(await turns.next() == .down)
                #expect(start.duration(to: .now) < .seconds(1))
                #expect(await turns.next() == .up)
                #expect(link.sendRaft([1]))
                #expect(await handler.frames.first { _ in true } == [[1]])
            }
        }
    }

    @Test func `finds a server that was stopped and started again`() async throws {
        let realm = try Realm()
        let manager = try realm.credentials(2, .manager)
        let (addresses, addressWriter) = AsyncStream.makeStream(of: String.self)
        let (stops, stop) = AsyncStream.makeStream(of: Void.self)
        let first = Task {
            try await withServer(realm) { address in
                addressWriter.yield(address)
                for await _ in stops {}
            }
        }
        let address = await addresses.first { _ in true }!
        try await withLink(address, manager, member: 2) { link, turns in
            #expect(await turns.next() == .up)
            stop.finish()
            #expect(await turns.next() == .down)
            #expect(!link.sendRaft([1]))
            try await first.value
            try await withServer(realm, on: address) { _ in
                #expect(await turns.next() == .up)
                let reply = try await link.submit(Self.harmless)
                #expect(reply.index == 42)
            }
        }
    }

    @Test func `does not mind a server that stops while it connects`() async throws {
        let realm = try Realm()
        let manager = try realm.credentials(2, .manager)
        for _ in 0..<20 {
            let tasks = try await withServer(realm) { address in
                let (ups, up) = AsyncStream.makeStream(of: Void.self)
                let tasks = (0..<8).map { _ in
                    Task {
                        try await withLink(address, manager, member: 2) { link, turns in
                            if await turns.next() == .up { up.yield() }
                            for _ in 0..<20 { _ = try? await link.submit(Self.harmless) }
                        }
                    }
                }
                _ = await ups.first { _ in true }
                return tasks
            }
            for task in tasks { task.cancel() }
            for task in tasks { _ = await task.result }
        }
    }

    @Test func `notices a silent end within seconds`() async throws {
        let realm = try Realm(), cable = Cable()
        try await withServer(realm) { far in
            let address = try await cable.lay(to: far)
            try await withLink(address, try realm.credentials(2, .manager), member: 2) { _, turns in
                #expect(await turns.next() == .up)
                let start = ContinuousClock.now
                cable.goDead()
                #expect(await turns.next() == .down)
                #expect(start.duration(to: .now) < .seconds(8))
            }
        }
    }

    @Test func `drops frames rather than hold them for a peer that is not there`() throws {
        let link = LinkClient(
            address: "127.0.0.1:1", tls: try TLSState(try Realm().credentials(2, .manager)), member: 2, log: silence)
        #expect(!link.sendRaft([1]))
    }

    // MARK: Session

    @Test func `carries a session both ways`() async throws {
        let realm = try Realm()
        try await withServer(realm) { address in
            try await withLink(address, try realm.credentials(3, .worker)) { link, _ in
                let got = try await link.session { orders, send in
                    var got: [Dispatch.FromManager] = []
                    try await send(.heartbeat)
                    for try await order in orders {
                        got.append(order)
                        if got.count < 3 { try await send(.heartbeat) } else { try await send(.status([])) }
                    }
                    return got
                }
                // What the manager said last arrives, although it closed right behind it.
                #expect(got == [.notLeader(nil), .notLeader(nil), .notLeader(nil), .removed])
            }
        }
    }

    @Test func `delivers the last words of a session`() async throws {
        let realm = try Realm(), handler = Handler(realm)
        let words = (0..<200).map { number in
            Dispatch.FromWorker.hello(.init(hostname: "host \(number)"))
        }
        try await withServer(realm, handler) { address in
            try await withLink(address, try realm.credentials(3, .worker)) { link, _ in
                try await link.session { _, send in for word in words { try await send(word) } }
                var got: [Dispatch.FromWorker] = []
                for await word in handler.words { got.append(word) }
                #expect(got == words)
            }
        }
    }

    @Test func `ends a session with words when the manager is gone`() async throws {
        let realm = try Realm(), cable = Cable()
        try await withServer(realm) { far in
            let address = try await cable.lay(to: far)
            try await withLink(address, try realm.credentials(3, .worker)) { link, _ in
                let error = await #expect(throws: ControlError.self) {
                    try await link.session { orders, send in
                        try await send(.heartbeat)
                        for try await _ in orders { await cable.cut() }
                    }
                }
                #expect(error?.description.hasPrefix("the session with the manager at \(address) ended: ") == true)
            }
        }
    }
}

@Suite("Frames that wait")
struct FrameQueueTests {
    @Test func `are taken in order, as many as a message holds`() {
        let queue = FrameQueue()
        queue.open()
        let half = [UInt8](repeating: 1, count: FrameQueue.batchBytes / 2)
        let whole = [UInt8](repeating: 2, count: FrameQueue.batchBytes * 2)
        for frame in [half, half, half, whole, [3]] { #expect(queue.put(frame)) }
        #expect(queue.takeBatch() == [half, half])
        #expect(queue.takeBatch() == [half])
        #expect(queue.takeBatch() == [whole])
        #expect(queue.takeBatch() == [[3]])
        #expect(queue.takeBatch() == [])
    }

    @Test func `are not too many, too heavy or too large`() {
        let many = FrameQueue()
        many.open()
        for _ in 0..<FrameQueue.mostFrames { #expect(many.put([])) }
        #expect(!many.put([]))

        let heavy = FrameQueue()
        heavy.open()
        let frame = [UInt8](repeating: 0, count: 16 << 20)
        #expect((0..<5).map { _ in heavy.put(frame) } == [true, true, true, true, false])
        #expect(!heavy.put([UInt8](repeating: 0, count: FrameQueue.largestFrame + 1)))
    }

    @Test func `are none while there is no stream`() {
        let queue = FrameQueue()
        #expect(!queue.put([1]))
        queue.open()
        #expect(queue.put([1]))
        queue.close()
        #expect(!queue.put([1]) && queue.takeBatch().isEmpty)
    }
}
