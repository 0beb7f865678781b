import Testing
@testable import Raft

@Suite("A frame")
struct FrameTests {
    static let membership = Membership([
        Group.member(1), Member(id: MemberID(.max), address: "[::1]:2377", isLearner: true, context: "gewöhnlich"),
    ])
    static let meta = SnapshotMeta(index: 9, term: 4, membership: membership)
    static let entries = [
        Entry(index: 4, term: 2, payload: .noop),
        Entry(index: 5, term: 2, payload: .command(Array(0...255))),
        Entry(index: 6, term: 3, payload: .membership(membership)),
        Entry(index: 7, term: 3, payload: .command([])),
    ]
    static let vote = VoteRequest(term: 7, lastIndex: 3, lastTerm: 2, isTransfer: true)
    static let messages: [Message] = [
        .preVoteRequest(vote), .preVoteReply(VoteReply(term: 1, isGranted: true)), .voteRequest(vote),
        .voteReply(VoteReply(term: .max, isGranted: false)),
        .append(AppendRequest(term: 3, previousIndex: 3, previousTerm: 1, entries: entries, commit: 2)),
        .append(AppendRequest(term: 3, previousIndex: 3, previousTerm: 1, entries: [], commit: 2)),
        .appendReply(AppendReply(term: 3, outcome: .accepted(match: 5))),
        .appendReply(AppendReply(term: 3, outcome: .rejected(previous: 5, hintIndex: 4, hintTerm: 2))),
        .heartbeat(Heartbeat(term: 1, commit: 2, round: 3)), .heartbeatReply(HeartbeatReply(term: 1, round: 3)),
        .readRequest(ReadRequest(term: 1, request: 77)), .readReply(ReadReply(term: 1, request: 77, index: 5)),
        .timeoutNow(term: 6), .snapshotOffer(SnapshotOffer(term: 6, meta: meta)), .removed(term: 6),
    ]

    @Test("gives back the message", arguments: messages)
    func message(_ message: Message) throws {
        #expect(try Message(decoding: message.encoded()) == message)
    }

    @Test func `gives back entries, one by one and as a batch`() throws {
        for entry in Self.entries { #expect(try Entry(decoding: entry.encoded()) == entry) }
        #expect(try Entry.decodeAll(Entry.encoded(Self.entries)) == Self.entries)
        #expect(try SnapshotMeta(decoding: Self.meta.encoded()) == Self.meta)
    }

    @Test func `has the checksums of the RFC (3720, B.4)`() {
        #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
        #expect(CRC32C.checksum(Array(0..<32)) == 0x46DD_794E)
        #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
    }

    @Test func `is written the same for ever`() {
        let entry = Entry(index: 5, term: 2, payload: .command([0xAB]))
        let bytes = entry.encoded()
        #expect(bytes.dropLast(4) == [1, 1, 5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xAB])
        #expect(
            Message.heartbeatReply(HeartbeatReply(term: 1, round: 258)).encoded()
                == [1, 8, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0])
    }

    @Test func `of a newer program is known as such`() {
        #expect(throws: FrameError.unknownKind(200)) { try Message(decoding: [1, 200, 0, 0]) }
        #expect(throws: FrameError.unknownVersion(9)) { try Message(decoding: [9, 1]) }
        #expect(throws: FrameError.truncated(needed: 1, left: 0)) { try Message(decoding: []) }
        #expect(throws: FrameError.trailingBytes(1)) { try Message(decoding: Self.messages[0].encoded() + [0]) }
    }

    @Test func `does not believe how long things are`() {
        // An append that claims four thousand million entries, and a command of as many bytes.
        var bytes = Message.append(
            AppendRequest(term: 3, previousIndex: 3, previousTerm: 1, entries: [], commit: 2)
        ).encoded()
        bytes.replaceSubrange(bytes.count - 4..<bytes.count, with: [0xFF, 0xFF, 0xFF, 0xFF])
        #expect(throws: FrameError.truncated(needed: 17 * 0xFFFF_FFFF, left: 0)) { try Message(decoding: bytes) }
    }

    @Test func `refuses entries that do not follow each other`() {
        for wrong in [
            AppendRequest(term: 3, previousIndex: 4, previousTerm: 1, entries: Self.entries, commit: 2),
            AppendRequest(term: 2, previousIndex: 3, previousTerm: 1, entries: Self.entries, commit: 2),
            AppendRequest(term: 3, previousIndex: 3, previousTerm: 3, entries: Self.entries, commit: 2),
            AppendRequest(term: 3, previousIndex: .max, previousTerm: 1, entries: Self.entries, commit: 2),
        ] {
            #expect(throws: FrameError.badEntries) { try Message(decoding: Message.append(wrong).encoded()) }
        }
    }

    @Test func `with a flipped bit is not an entry`() {
        let bytes = Self.entries[2].encoded()
        for bit in 0..<bytes.count * 8 {
            var broken = bytes
            broken[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: FrameError.self) { try Entry(decoding: broken) }
        }
    }

    @Test func `of random or mutated bytes never traps, and what it yields is written the same`() {
        var random = SeededGenerator(seed: 1)
        let samples = Self.messages.map { $0.encoded() } + Self.entries.map { $0.encoded() } + [Self.meta.encoded()]
        for _ in 0..<20_000 {
            var bytes = samples.randomElement(using: &random)!
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                bytes = (0..<Int.random(in: 0...64, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
            case 1: bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
            case 2: bytes.insert(.random(in: 0...255, using: &random), at: .random(in: 0...bytes.count, using: &random))
            default:
                for _ in 0..<3 {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
                }
            }
            if let message = try? Message(decoding: bytes) { #expect(message.encoded() == bytes) }
            if let entry = try? Entry(decoding: bytes) { #expect(entry.encoded() == bytes) }
            _ = try? Entry.decodeAll(bytes)
            _ = try? SnapshotMeta(decoding: bytes)
        }
    }
}
