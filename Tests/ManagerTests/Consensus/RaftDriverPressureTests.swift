import Dispatch
import Foundation
import Logging
import Manager
import Raft
import Synchronization
import Testing

@Suite("A member under pressure")
struct RaftDriverPressureTests {
    @Test func `leads on while its own disk hangs, and promises nothing of it`() async throws {
        let members = try Members(3)
        _ = try await members.write("one")
        let leader = try await members.leader()
        let driver = members.driver(leader)
        let term = driver.status.term
        members.disks[leader]!.hold()
        // The other two are a majority.
        _ = try await driver.propose(Array("two".utf8))
        _ = try await until("the disk is asked") { members.disks[leader]!.isWaiting ? true : nil }
        let written = driver.status.diskWrites
        for n in 0..<20 { _ = try await driver.propose(Array("\(n)".utf8)) }
        #expect(driver.status.diskWrites == written)
        #expect(driver.status.persistedIndex < driver.status.commitIndex)

        members.disks[leader]!.release()
        _ = try await until("its disk has caught up") {
            driver.status.persistedIndex == driver.status.lastIndex ? true : nil
        }
        // What gathered meanwhile became one write.
        #expect(driver.status.diskWrites <= written + 3)
        #expect(driver.status.term == term)
        await members.stopAll()
    }

    @Test func `answers its leader only for what is on its disk, and is heard all the same`() async throws {
        let members = try Members(3)
        _ = try await members.write("one")
        let leader = try await members.leader()
        let driver = members.driver(leader)
        let (index, term) = (driver.status.lastIndex, driver.status.term)
        for id in members.others(than: leader) { members.disks[id]!.hold() }
        let write = Task { try await driver.propose(Array("two".utf8)) }
        _ = try await until("both disks are asked") {
            members.others(than: leader).allSatisfy { members.disks[$0]!.isWaiting } ? true : nil
        }
        // Reads need a majority that is heard: heartbeats go on.
        for _ in 0..<20 { #expect(try await driver.read() == index) }
        #expect(driver.status.commitIndex == index)
        #expect(driver.status.term == term)
        for id in members.others(than: leader) { members.disks[id]!.release() }
        #expect(try await write.value == index + 1)
        await members.stopAll()
    }

    @Test func `alone acknowledges nothing before its disk has it`() async throws {
        let members = try Members(1)
        _ = try await members.write("one")
        let driver = members.driver(members.ids[0])
        members.disks[members.ids[0]]!.hold()
        let write = Task { try await driver.propose(Array("two".utf8)) }
        _ = try await until("the disk is asked") { members.disks[members.ids[0]]!.isWaiting ? true : nil }
        #expect(driver.status.commitIndex < driver.status.lastIndex)
        #expect(members.applied(members.ids[0]) == ["one"])
        members.disks[members.ids[0]]!.release()
        _ = try await write.value
        #expect(members.applied(members.ids[0]) == ["one", "two"])
        await members.stopAll()
    }

    @Test func `stops with the error of a disk that breaks, and leaves the outcome open`() async throws {
        let members = try Members(1)
        _ = try await members.write("one")
        let id = members.ids[0]
        let driver = members.driver(id)
        members.disks[id]!.breakDown()
        await #expect(throws: ProposeError.outcomeUnknown) { try await driver.propose(Array("two".utf8)) }
        await #expect(throws: HeldDisk.Broken.self) { try await members.ending(of: id) }
        await #expect(throws: ProposeError.stopped) { try await driver.propose([3]) }
        await #expect(throws: ProposeError.stopped) { try await driver.read() }
        await #expect(throws: ProposeError.stopped) { try await driver.waitApplied(1_000) }
        #expect(members.applied(id) == ["one"])
    }

    @Test func `stops when an entry cannot be applied`() async throws {
        struct Unreadable: Error {}
        let members = try Members(1)
        _ = try await members.write("one")
        let id = members.ids[0]
        let driver = members.driver(id)
        members.applyHook.withLock {
            $0 = { _, entries in if entries.contains(where: { $0.payload == .command([1]) }) { throw Unreadable() } }
        }
        await #expect(throws: ProposeError.outcomeUnknown) { try await driver.propose([1]) }
        await #expect(throws: Unreadable.self) { try await members.ending(of: id) }
    }

    @Test func `stays in office while its state machine is slow`() async throws {
        let members = try Members(3)
        _ = try await members.write("one")
        let leader = try await members.leader()
        let driver = members.driver(leader)
        let term = driver.status.term
        let gate = DispatchSemaphore(value: 0)
        members.applyHook.withLock { $0 = { id, _ in if id == leader { _ = gate.wait(timeout: .now() + 20) } } }
        let write = Task { try await driver.propose(Array("two".utf8)) }
        // Committed everywhere, by heartbeats too, while the leader applies nothing; then a long time in ticks.
        _ = try await until("the others have applied it") {
            members.others(than: leader).allSatisfy { members.applied($0) == ["one", "two"] } ? true : nil
        }
        let clock = ContinuousClock()
        let long = clock.now + .milliseconds(20 * 25)
        _ = try await until("an election would have come") { clock.now > long ? true : nil }
        #expect(members.applied(leader) == ["one"])
        #expect(driver.status.appliedIndex < driver.status.commitIndex)
        #expect(driver.status.role == .leader)
        #expect(driver.status.term == term)
        members.applyHook.withLock { $0 = { _, _ in } }
        for _ in 0..<10 { gate.signal() }
        _ = try await write.value
        #expect(members.applied(leader) == ["one", "two"])
        await members.stopAll()
    }

    @Test(.enabled(if: ProcessInfo.processInfo.activeProcessorCount > 1, "it holds up one thread of the pool"))
    func `is not driven into an election by ticks that gathered while it was held up`() async throws {
        final class Stuck: RaftTransport {
            let gate = DispatchSemaphore(value: 0)
            let isStuck = Atomic<Bool>(false)
            let wasStuck = Atomic<Bool>(false)
            func send(_ message: Message, to peer: MemberID) {
                guard case .heartbeatReply = message, !wasStuck.exchange(true, ordering: .relaxed) else { return }
                isStuck.store(true, ordering: .relaxed)
                _ = gate.wait(timeout: .now() + 20)
            }
            func membershipChanged(_ membership: Membership) {}
            func sendSnapshot(to peer: MemberID, atLeast index: LogIndex, term: Term) {}
        }
        struct NoDisk: WithoutSnapshots { func save(hardState: HardState?, appends: [[Entry]]) async throws {} }

        let membership = Membership((1...3).map { Member(id: MemberID($0), address: "\($0)") })
        let restored = Restored(
            hardState: .init(term: 1), entries: [Entry(index: 1, term: 1, payload: .membership(membership))])
        let (clock, transport) = (ManualClock(), Stuck())
        let driver = RaftDriver(
            machine: RaftMachine(id: MemberID(1), restored: restored, random: SeededGenerator(seed: 1)),
            log: NoDisk(), transport: transport, clock: clock, apply: { _ in },
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        let life = Task { try await driver.run() }

        driver.deliver(.heartbeat(Heartbeat(term: 1, commit: 0, round: 1)), from: MemberID(2))
        _ = try await until("the loop is held up") { transport.isStuck.load(ordering: .relaxed) ? true : nil }
        for _ in 0..<60 { try await clock.advance(by: .milliseconds(50)) }
        transport.gate.signal()
        _ = try await until("it goes on") { driver.status.leader == MemberID(2) ? true : nil }
        // The sixty ticks count as two: six more reach no election timeout (10 to 19), thirty do.
        for _ in 0..<6 { try await clock.advance(by: .milliseconds(50)) }
        #expect(driver.status.role == .follower)
        #expect(driver.status.leader == MemberID(2))
        _ = try await until("it asks for votes in the end") {
            try await clock.advance(by: .milliseconds(50))
            return driver.status.role == .preCandidate ? true : nil
        }
        life.cancel()
        _ = await life.result
    }

    @Test func `hands over its office when asked`() async throws {
        let members = try Members(3)
        _ = try await members.write("one")
        let leader = try await members.leader()
        await members.driver(leader).transferLeadership()
        #expect(members.driver(leader).status.role != .leader)
        _ = try await members.write("two")
        #expect(try await members.leader() != leader)
        await members.stopAll()
    }

    @Test func `keeps its office, and says so in time, when nobody can take it`() async throws {
        let members = try Members(1)
        _ = try await members.write("one")
        await members.driver(members.ids[0]).transferLeadership()
        _ = try await members.driver(members.ids[0]).propose([2])
        await members.stopAll()
    }

    @Test func `lets an asker go that does not want to wait any more`() async throws {
        let members = try Members(1)
        _ = try await members.write("one")
        let driver = members.driver(members.ids[0])
        members.disks[members.ids[0]]!.hold()
        let write = Task { try await driver.propose([2]) }
        let watch = Task { try await driver.waitApplied(1_000) }
        _ = try await until("the disk is asked") { members.disks[members.ids[0]]!.isWaiting ? true : nil }
        write.cancel()
        watch.cancel()
        await #expect(throws: ProposeError.outcomeUnknown) { try await write.value }
        await #expect(throws: ProposeError.stopped) { try await watch.value }
        await members.stopAll()
    }

    @Test func `begins the leader's work anew when it returns before the office is over`() async throws {
        let members = try Members(1)
        let driver = members.driver(members.ids[0])
        let times = Atomic<Int>(0)
        let office = Task { try await driver.serve { _ in times.add(1, ordering: .relaxed) } }
        _ = try await until("it was begun three times") { times.load(ordering: .relaxed) >= 3 ? true : nil }
        await members.stopAll()
        try await office.value
    }

    @Test func `applies many commands in their order, each once`() async throws {
        let members = try Members(3)
        _ = try await members.write("first")
        let leader = members.driver(try await members.leader())
        try await withThrowingTaskGroup(of: LogIndex.self) { group in
            for n in 0..<3_000 { group.addTask { try await leader.propose(Array("\(n)".utf8)) } }
            var indexes: Set<LogIndex> = []
            for try await index in group { indexes.insert(index) }
            #expect(indexes.count == 3_000)
        }
        for id in members.ids {
            _ = try await members.driver(id).read()
            #expect(members.applied(id).count == 3_001)
            #expect(Set(members.applied(id)).count == 3_001)
            #expect(members.applied(id) == members.applied(members.ids[0]))
        }
        #expect(leader.status.diskWrites < 1_000)
        await members.stopAll()
        for id in members.ids { try members.start(id) }
        let again = try await members.leader()
        _ = try await until("it reads") { try? await members.driver(again).read() }
        #expect(members.applied(again).count == 3_001)
        await members.stopAll()
    }
}

@Suite("An inbox")
struct InboxTests {
    @Test func `refuses what is too much, by number and by weight`() {
        let inbox = Inbox<Int>(limit: 4, weightLimit: 10)
        #expect(inbox.put(1, weight: 50))  // alone, whatever it weighs
        #expect(!inbox.put(2, weight: 1))
        #expect(inbox.put(3))
        #expect(!inbox.put(4, leaving: 2))
        #expect(inbox.put(5))
        #expect(inbox.put(6))
        #expect(!inbox.put(7))
        inbox.putAlways(8)
        var read: [Int] = []
        inbox.drain(into: &read)
        #expect(read == [1, 3, 5, 6, 8])
        #expect(inbox.put(9, weight: 10))
    }
}
