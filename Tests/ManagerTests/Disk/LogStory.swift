import Foundation
import Manager
import Raft
import Testing

/// What is done to a log, one durable step after another; the same story is told to a real log and to a model of it.
enum LogStep: Codable, Equatable {
    /// In place of all from `first` on.
    case append(first: UInt64, last: UInt64, term: UInt64)
    case vote(term: UInt64, member: UInt64)
    case snapshot(index: UInt64)
    case install(index: UInt64, term: UInt64)
    case rotateKey

    /// One that may come after all that `model` has been through.
    static func next(after model: LogModel, using random: inout SeededGenerator) -> LogStep {
        let (last, base) = (model.lastIndex, model.snapshot?.index ?? 0)
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<12:
            return .vote(term: model.hardState.term + 1, member: .random(in: 1...3, using: &random))
        case 12..<22 where last > base + 4:
            return .snapshot(index: .random(in: base + 1...last, using: &random))
        case 22..<25: return .install(index: last + .random(in: 1...20, using: &random), term: model.hardState.term)
        case 25..<27: return .rotateKey
        case 27..<37 where last > base:  // a new leader replaces the end
            let first = UInt64.random(in: base + 1...last, using: &random)
            return .append(
                first: first, last: first + .random(in: 0...6, using: &random), term: model.hardState.term + 1)
        default:
            return .append(
                first: last + 1, last: last + .random(in: 1...8, using: &random), term: max(1, model.hardState.term))
        }
    }

    static func entry(_ index: UInt64, _ term: UInt64) -> Entry {
        // Small and large ones, so that steps take one page or many.
        let count = 10 + Int(index % 7) * 500
        return Entry(
            index: index, term: term,
            payload: .command(
                Array("\(index)@\(term)".utf8) + [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: count)))
    }

    static func meta(_ index: UInt64, _ term: UInt64) -> SnapshotMeta {
        SnapshotMeta(
            index: index, term: term, membership: Membership([Member(id: MemberID(1), address: "a:1", context: "n")]))
    }

    static func chunks(_ index: UInt64) -> [String] { (0...index % 3).map { "state at \(index), part \($0)" } }

    /// - Parameter model: before this step.
    func perform(on log: RaftLog, _ model: LogModel) async throws {
        switch self {
        case .append(let first, let last, let term):
            let hardState = term > model.hardState.term ? HardState(term: term) : nil
            try await log.save(hardState: hardState, appends: [(first...last).map { Self.entry($0, term) }])
        case .vote(let term, let member):
            try await log.save(hardState: HardState(term: term, votedFor: MemberID(member)), appends: [])
        case .snapshot(let index):
            try await log.saveSnapshot(
                Self.meta(index, model.term(at: index)), of: Chunks(Self.chunks(index)),
                keeping: .init(oldSnapshots: 1, entries: 3))
        case .install(let index, let term):
            let texts = Self.chunks(index)
            var digest = TestDigest()
            for text in texts { digest.add(Array(text.utf8)) }
            let head = SnapshotHead(
                name: Data("received \(index) \(term)".utf8), meta: Self.meta(index, term), chunks: texts.count,
                bytes: texts.reduce(0) { $0 + $1.utf8.count }, digest: digest.finish())
            for place in try log.beginReceiving(head)..<texts.count {
                try log.receive(Array(texts[place].utf8), at: place, of: head)
            }
            guard try log.finishReceiving(head) else { throw Unfinished() }
            try await log.installSnapshot(Self.meta(index, term))
        case .rotateKey: try log.rotateKey()
        }
    }

    struct Unfinished: Error {}
}

/// A log as it must be after some steps.
struct LogModel: Equatable {
    var hardState = HardState()
    var snapshot: SnapshotMeta?
    /// Behind the snapshot.
    var entries: [Entry] = []

    var lastIndex: UInt64 { entries.last?.index ?? snapshot?.index ?? 0 }

    func term(at index: UInt64) -> UInt64 { entries.first { $0.index == index }?.term ?? snapshot?.term ?? 0 }

    func after(_ step: LogStep) -> LogModel {
        var next = self
        switch step {
        case .append(let first, let last, let term):
            if term > hardState.term { next.hardState = HardState(term: term) }
            next.entries.removeAll { $0.index >= first }
            next.entries += (first...last).map { LogStep.entry($0, term) }
        case .vote(let term, let member): next.hardState = HardState(term: term, votedFor: MemberID(member))
        case .snapshot(let index):
            next.snapshot = LogStep.meta(index, term(at: index))
            next.entries.removeAll { $0.index <= index }
        case .install(let index, let term):
            next.snapshot = LogStep.meta(index, term)
            next.entries = []
        case .rotateKey: break
        }
        return next
    }

    /// What a log holds on the disk, read as a start reads it, its snapshot too.
    init(reading log: RaftLog) throws {
        let restored = try log.restore()
        hardState = restored.hardState
        snapshot = restored.snapshot
        entries = restored.entries.filter { $0.index > restored.snapshot?.index ?? 0 }
        if let snapshot = try log.newestSnapshot() {
            var texts: [String] = []
            try log.readChunks(of: snapshot) { texts.append(String(decoding: $0, as: UTF8.self)) }
            #expect(texts == LogStep.chunks(snapshot.meta.index))
        }
    }

    init() {}

    var summary: String {
        "term \(hardState.term), vote \(hardState.votedFor?.description ?? "none"), snapshot \(snapshot?.index ?? 0), entries to \(lastIndex) of term \(term(at: lastIndex))"
    }
}
