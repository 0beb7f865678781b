import Foundation
import Logging
import Manager
import Raft
import Synchronization
import Testing

/// Members of one group in this process, over a network of function calls and real logs.
final class Group: Sendable {
    final class Node: Sendable {
        let driver: RaftDriver
        let applied = Mutex<[String]>([])
        let life: Task<Void, any Error>

        init(_ driver: RaftDriver, _ life: Task<Void, any Error>) {
            self.driver = driver
            self.life = life
        }
    }

    final class Wire: RaftTransport {
        let group: Group
        let from: MemberID
        init(_ group: Group, _ from: MemberID) { (self.group, self.from) = (group, from) }

        func send(_ message: Message, to peer: MemberID) {
            group.nodes.withLock { $0[peer] }?.driver.deliver(message, from: from)
        }
        func membershipChanged(_ membership: Membership) {}
        func sendSnapshot(to peer: MemberID, atLeast index: LogIndex, term: Term) {
            Issue.record("a snapshot is asked for, but nothing was compacted")
        }
    }

    let nodes = Mutex<[MemberID: Node]>([:])
    let scratch = NSTemporaryDirectory() + "apus-tests-" + UUID().uuidString
    let ids: [MemberID]

    init(_ count: UInt64) throws {
        ids = (1...count).map(MemberID.init)
        let membership = Membership(ids.map { Member(id: $0, address: "\($0)", context: "node \($0)") })
        for id in ids {
            let log = try RaftLog(directory: directory(id))
            try log.saveNow(
                hardState: .init(term: 1), appends: [[Entry(index: 1, term: 1, payload: .membership(membership))]])
            try log.close()
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: scratch) }

    private func directory(_ id: MemberID) -> String { "\(scratch)/\(id)" }

    func start(_ id: MemberID, disk: (any DurableLog)? = nil) throws {
        let log = try RaftLog(directory: directory(id))
        let machine = RaftMachine(
            id: id, restored: try log.restore(), random: SeededGenerator(seed: .random(in: 0 ... .max)))
        let applied = Mutex<[String]>([])
        let box = Box(applied)
        let driver = RaftDriver(
            machine: machine, log: disk ?? log, transport: Wire(self, id), tick: .milliseconds(10),
            apply: { entries in
                for case .command(let bytes) in entries.map(\.payload) {
                    box.lines.withLock { $0.append(String(decoding: bytes, as: UTF8.self)) }
                }
            }, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        let life = Task { try await driver.run() }
        nodes.withLock { $0[id] = Node(driver, life) }
        boxes.withLock { $0[id] = box }
    }

    final class Box: Sendable {
        let lines: Mutex<[String]>
        init(_ lines: consuming Mutex<[String]>) { self.lines = lines }
    }

    let boxes = Mutex<[MemberID: Box]>([:])

    func applied(_ id: MemberID) -> [String] { boxes.withLock { $0[id] }?.lines.withLock { $0 } ?? [] }

    func stop(_ id: MemberID) async {
        let node = nodes.withLock { $0.removeValue(forKey: id) }
        node?.life.cancel()
        _ = await node?.life.result
    }

    func stopAll() async { for id in ids { await stop(id) } }

    func driver(_ id: MemberID) -> RaftDriver { nodes.withLock { $0[id]!.driver } }

    func leader() async throws -> MemberID {
        try await until("there is one leader that the others follow") {
            let running = self.nodes.withLock { $0 }
            let leaders = Set(running.values.map(\.driver.status.leader))
            guard leaders.count == 1, let leader = leaders.first ?? nil, running[leader] != nil else { return nil }
            return leader
        }
    }
}

struct GaveUp: Error { let what: String }

/// Waits until `probe` gives something, for ten seconds at most.
func until<Value: Sendable>(
    _ what: String, _ probe: @Sendable () async throws -> Value?
) async throws -> Value {
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline {
        if let value = try await probe() { return value }
        try await Task.sleep(for: .milliseconds(5))
    }
    throw GaveUp(what: what)
}

@Suite("Members that run")
struct RaftDriverTests {
    func write(_ text: String, to group: Group) async throws -> LogIndex {
        try await until("\(text) is taken") {
            guard let leader = try? await group.leader() else { return nil }
            return try? await group.driver(leader).propose(Array(text.utf8))
        }
    }

    @Test func `alone leads, and commits to its own disk`() async throws {
        let group = try Group(1)
        try group.start(group.ids[0])
        _ = try await write("one", to: group)
        #expect(group.applied(group.ids[0]) == ["one"])
        await group.stopAll()
    }

    @Test func `three elect one, which commits; the others refuse and name it`() async throws {
        let group = try Group(3)
        for id in group.ids { try group.start(id) }
        let index = try await write("one", to: group)
        let leader = try await group.leader()
        for id in group.ids where id != leader {
            await #expect(throws: ProposeError.notLeader(hint: leader)) { try await group.driver(id).propose([1]) }
            try await group.driver(id).waitApplied(index)
            #expect(group.applied(id) == ["one"])
        }
        await group.stopAll()
    }

    @Test func `a follower reads what was written before it asked`() async throws {
        let group = try Group(3)
        for id in group.ids { try group.start(id) }
        for n in 0..<20 {
            _ = try await write("\(n)", to: group)
            let leader = try await group.leader()
            let follower = group.ids.first { $0 != leader }!
            _ = try await group.driver(follower).read()
            #expect(group.applied(follower).last == "\(n)")
        }
        await group.stopAll()
    }

    @Test func `losing the leader costs no acknowledged write`() async throws {
        let group = try Group(3)
        for id in group.ids { try group.start(id) }
        var acknowledged: [String] = []
        for round in 0..<3 {
            for n in 0..<5 {
                _ = try await write("\(round).\(n)", to: group)
                acknowledged.append("\(round).\(n)")
            }
            let leader = try await group.leader()
            await group.stop(leader)
            _ = try await write("after \(round)", to: group)
            acknowledged.append("after \(round)")
            try group.start(leader)
        }
        let leader = try await group.leader()
        _ = try await group.driver(leader).read()
        let kept = group.applied(leader)
        #expect(acknowledged.filter { !kept.contains($0) } == [])
        await group.stopAll()
    }

    @Test func `all of them may be restarted at once`() async throws {
        let group = try Group(3)
        for id in group.ids { try group.start(id) }
        for n in 0..<5 { _ = try await write("\(n)", to: group) }
        await group.stopAll()
        for id in group.ids { try group.start(id) }
        let leader = try await group.leader()
        _ = try await until("it reads") { try? await group.driver(leader).read() }
        #expect(group.applied(leader) == (0..<5).map { "\($0)" })
        await group.stopAll()
    }

    @Test func `without a majority nothing is acknowledged, and the leader steps down`() async throws {
        let group = try Group(3)
        for id in group.ids { try group.start(id) }
        _ = try await write("one", to: group)
        let leader = try await group.leader()
        for id in group.ids where id != leader { await group.stop(id) }
        await #expect(throws: ProposeError.self) { try await group.driver(leader).propose(Array("lost".utf8)) }
        #expect(group.applied(leader) == ["one"])
        _ = try await until("it steps down") { group.driver(leader).status.role == .leader ? nil : true }
        await group.stopAll()
    }

    @Test func `a disk that fails stops the member, and nothing is acknowledged`() async throws {
        struct Broken: WithoutSnapshots {
            struct Failure: Error {}
            func save(hardState: HardState?, appends: [[Entry]]) async throws { throw Failure() }
        }
        let group = try Group(1)
        try group.start(group.ids[0], disk: Broken())
        let node = group.nodes.withLock { $0[group.ids[0]]! }
        await #expect(throws: Broken.Failure.self) { try await node.life.value }
        await #expect(throws: ProposeError.stopped) { try await node.driver.propose([1]) }
        await group.stopAll()
    }

    @Test func `a learner that is promoted votes`() async throws {
        let group = try Group(1)
        try group.start(group.ids[0])
        _ = try await write("one", to: group)
        let leader = group.driver(group.ids[0])
        try await leader.change(.addLearner(Member(id: MemberID(9), address: "9", isLearner: true, context: "nine")))
        #expect(leader.status.membership.learners == [MemberID(9)])
        try await leader.change(.remove(MemberID(9)))
        #expect(leader.status.membership.learners == [])
        await group.stopAll()
    }

    @Test func `the office is open from a term's first applied entry to its end`() async throws {
        let group = try Group(1)
        try group.start(group.ids[0])
        let driver = group.driver(group.ids[0])
        let (events, writer) = AsyncStream.makeStream(of: String.self)
        let office = Task {
            try await driver.serve { term in
                writer.yield("opens with \(group.applied(group.ids[0]).count) applied")
                do { try await Task.sleep(for: .seconds(60)) } catch { writer.yield("closes") }
            }
            writer.finish()
        }
        var iterator = events.makeAsyncIterator()
        #expect(await iterator.next() == "opens with 0 applied")
        await group.stopAll()
        #expect(await iterator.next() == "closes")
        _ = await office.result
    }
}
