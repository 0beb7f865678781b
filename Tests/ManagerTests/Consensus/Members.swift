import Foundation
import Logging
import Manager
import Raft
import Synchronization
import Testing

/// Members of one group in this process whose disk, state machine and links can be held up or broken.
final class Members: Sendable {
    let scratch = NSTemporaryDirectory() + "apus-tests-" + UUID().uuidString
    let ids: [MemberID]
    let disks: [MemberID: HeldDisk]
    private let running = Mutex<[MemberID: (driver: RaftDriver, life: Task<Void, any Error>)]>([:])
    private let lines: Mutex<[MemberID: [String]]> = Mutex([:])
    /// What the state says of consensus; nil for a state of which no snapshots are made.
    let numbers = Mutex<ConsensusNumbers?>(nil)
    /// Chunks that were sent in snapshots, to whom.
    let sentChunks = Mutex<[MemberID: Int]>([:])
    let applyHook: Mutex<@Sendable (MemberID, [Entry]) throws -> Void> = Mutex({ _, _ in })

    init(_ count: UInt64) throws {
        ids = (1...count).map(MemberID.init)
        let membership = Membership(ids.map { Member(id: $0, address: "host-\($0):2377", context: "node \($0)") })
        var disks: [MemberID: HeldDisk] = [:]
        for id in ids {
            let log = try RaftLog(directory: "\(scratch)/\(id)")
            try log.saveNow(
                hardState: .init(term: 1), appends: [[Entry(index: 1, term: 1, payload: .membership(membership))]])
            disks[id] = HeldDisk(log)
        }
        self.disks = disks
        for id in ids { try start(id) }
    }

    deinit { try? FileManager.default.removeItem(atPath: scratch) }

    func start(_ id: MemberID) throws {
        let machine = RaftMachine(
            id: id, restored: try disks[id]!.log.restore(), random: SeededGenerator(seed: .random(in: 0 ... .max)))
        let kept = try disks[id]!.log.newestSnapshot().map { try text(of: $0, on: id) }
        lines.withLock { $0[id] = kept ?? [] }
        let driver = RaftDriver(
            machine: machine, log: disks[id]!, transport: Wire(self, id), tick: .milliseconds(20),
            state: Lines(members: self, id: id),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        let life = Task { try await driver.run() }
        running.withLock { $0[id] = (driver, life) }
    }

    fileprivate func text(of snapshot: StoredSnapshot, on id: MemberID) throws -> [String] {
        var text: [String] = []
        try disks[id]!.log.readChunks(of: snapshot) { text.append(String(decoding: $0, as: UTF8.self)) }
        return text
    }

    /// The lines that were written, as a state of which there are snapshots: a line a chunk.
    struct Lines: StateMachine {
        weak let members: Members?
        let id: MemberID
        struct Frozen: FrozenState {
            let lines: [String]
            func encode(_ put: ([UInt8]) throws -> Void) throws { for line in lines { try put(Array(line.utf8)) } }
        }
        func apply(_ entries: [Entry]) throws { try members?.apply(entries, on: id) }
        func freeze() -> (any FrozenState)? {
            guard let members, consensus != nil else { return nil }
            return Frozen(lines: members.applied(id))
        }
        func install(_ meta: SnapshotMeta) throws {
            guard let members, let snapshot = try members.disks[id]!.log.newestSnapshot() else { return }
            #expect(snapshot.meta == meta)
            let text = try members.text(of: snapshot, on: id)
            members.lines.withLock { $0[id] = text }
        }
        var consensus: ConsensusNumbers? { members?.numbers.withLock { $0 } }
    }

    private func apply(_ entries: [Entry], on id: MemberID) throws {
        let hook = applyHook.withLock { $0 }
        try hook(id, entries)
        for case .command(let bytes) in entries.map(\.payload) {
            lines.withLock { $0[id]!.append(String(decoding: bytes, as: UTF8.self)) }
        }
    }

    /// How its run ended.
    @discardableResult
    func stop(_ id: MemberID) async -> Result<Void, any Error> {
        disks[id]!.release()
        guard let member = running.withLock({ $0.removeValue(forKey: id) }) else { return .success(()) }
        member.life.cancel()
        return await member.life.result
    }

    func stopAll() async { for id in ids { await stop(id) } }

    func ending(of id: MemberID) async throws { try await running.withLock { $0[id]!.life }.value }

    func driver(_ id: MemberID) -> RaftDriver { running.withLock { $0[id]!.driver } }
    func applied(_ id: MemberID) -> [String] { lines.withLock { $0[id] ?? [] } }
    func others(than id: MemberID) -> [MemberID] { ids.filter { $0 != id } }

    func leader() async throws -> MemberID {
        try await until("there is one leader that the others follow") { [self] in
            let drivers = running.withLock { $0.mapValues(\.driver) }
            let leaders = Set(drivers.values.map(\.status.leader))
            guard leaders.count == 1, let leader = leaders.first ?? nil, drivers[leader] != nil else { return nil }
            return leader
        }
    }

    func write(_ text: String) async throws -> LogIndex {
        try await until("\(text) is taken") { [self] in
            guard let leader = try? await leader() else { return nil }
            return try? await driver(leader).propose(Array(text.utf8))
        }
    }

    struct Wire: RaftTransport {
        weak let members: Members?
        let from: MemberID
        init(_ members: Members, _ from: MemberID) { (self.members, self.from) = (members, from) }
        func send(_ message: Message, to peer: MemberID) {
            // As bytes, as on a real link.
            guard let message = try? Message(decoding: message.encoded()) else { return }
            members?.running.withLock { $0[peer]?.driver }?.deliver(message, from: from)
        }
        func membershipChanged(_ membership: Membership) {}
        func sendSnapshot(to peer: MemberID, atLeast index: LogIndex, term: Term) {
            Task {
                let isDelivered = (try? await deliverSnapshot(to: peer, term: term)) ?? false
                members?.running.withLock { $0[from]?.driver }?.snapshotSent(to: peer, ok: isDelivered)
            }
        }

        /// From disk to disk, as a stream would.
        private func deliverSnapshot(to peer: MemberID, term: Term) async throws -> Bool {
            guard let members, let there = members.running.withLock({ $0[peer]?.driver }),
                let snapshot = try members.disks[from]!.log.newestSnapshot()
            else { return false }
            let (mine, its) = (members.disks[from]!.log, members.disks[peer]!.log)
            for place in try its.beginReceiving(snapshot.head)..<snapshot.head.chunks {
                try its.receive(try mine.chunk(place, of: snapshot), at: place, of: snapshot.head)
                members.sentChunks.withLock { $0[peer, default: 0] += 1 }
            }
            guard try its.finishReceiving(snapshot.head) else { return false }
            there.deliver(.snapshotOffer(SnapshotOffer(term: term, meta: snapshot.meta)), from: from)
            return true
        }
    }
}

/// A disk that can be told to wait, or to break.
final class HeldDisk: DurableLog {
    struct Broken: Error {}
    private struct State {
        var isHeld = false
        var isBroken = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    let log: RaftLog
    private let state = Mutex(State())

    init(_ log: RaftLog) { self.log = log }

    func hold() { state.withLock { $0.isHeld = true } }
    func breakDown() { state.withLock { $0.isBroken = true } }
    var isWaiting: Bool { state.withLock { !$0.waiting.isEmpty } }
    func release() {
        let waiting = state.withLock { state in
            state.isHeld = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for one in waiting { one.resume() }
    }

    func save(hardState: HardState?, appends: [[Entry]]) async throws {
        await withCheckedContinuation { continuation in
            let mayGo = state.withLock { state in
                guard state.isHeld else { return true }
                state.waiting.append(continuation)
                return false
            }
            if mayGo { continuation.resume() }
        }
        if state.withLock({ $0.isBroken }) { throw Broken() }
        try await log.save(hardState: hardState, appends: appends)
    }

    func saveSnapshot(
        _ meta: SnapshotMeta, of state: any FrozenState, keeping retention: SnapshotRetention
    ) async throws {
        try await log.saveSnapshot(meta, of: state, keeping: retention)
    }

    func installSnapshot(_ meta: SnapshotMeta) async throws { try await log.installSnapshot(meta) }
}

/// Time that passes when told to.
final class ManualClock: Clock {
    struct Instant: InstantProtocol {
        var offset: Duration
        func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
        func duration(to other: Instant) -> Duration { other.offset - offset }
        static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
    }
    private struct State {
        var now = Instant(offset: .zero)
        var sleepers: [Int: (until: Instant, waiter: CheckedContinuation<Bool, Never>)] = [:]
        var number = 0
    }
    private let state = Mutex(State())

    var now: Instant { state.withLock { $0.now } }
    var minimumResolution: Duration { .nanoseconds(1) }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let number = state.withLock { state in
            state.number += 1
            return state.number
        }
        let isOver = await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: CheckedContinuation<Bool, Never>) in
                let now: Bool? = state.withLock { state in
                    if Task.isCancelled { return false }
                    if state.now >= deadline { return true }
                    state.sleepers[number] = (deadline, waiter)
                    return nil
                }
                if let now { waiter.resume(returning: now) }
            }
        } onCancel: {
            state.withLock { $0.sleepers.removeValue(forKey: number) }?.waiter.resume(returning: false)
        }
        if !isOver { throw CancellationError() }
    }

    /// Waits until somebody sleeps, then moves time on.
    func advance(by duration: Duration) async throws {
        _ = try await until("somebody sleeps") { self.state.withLock { $0.sleepers.isEmpty } ? nil : true }
        let due = state.withLock { state in
            state.now = state.now.advanced(by: duration)
            let due = state.sleepers.filter { $0.value.until <= state.now }
            for key in due.keys { state.sleepers[key] = nil }
            return due.values.map(\.waiter)
        }
        for waiter in due { waiter.resume(returning: true) }
    }
}

/// A disk of which no test asks a snapshot.
protocol WithoutSnapshots: DurableLog {}

extension WithoutSnapshots {
    func saveSnapshot(
        _ meta: SnapshotMeta, of state: any FrozenState, keeping retention: SnapshotRetention
    ) async throws { Issue.record("a snapshot is made") }
    func installSnapshot(_ meta: SnapshotMeta) async throws { Issue.record("a snapshot is installed") }
}
