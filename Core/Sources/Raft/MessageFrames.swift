// A message as bytes. No checksum: the link has its own.

extension Message {
    public func encoded() -> [UInt8] {
        var writer = FrameWriter()
        writer.put(frameVersion)
        switch self {
        case .preVoteRequest(let request): writer.put(1, request)
        case .preVoteReply(let reply): writer.put(2, reply)
        case .voteRequest(let request): writer.put(3, request)
        case .voteReply(let reply): writer.put(4, reply)
        case .append(let request):
            writer.reserve(64 + request.entries.reduce(0) { $0 + $1.weight })
            writer.put(5, request.term)
            writer.put(request.previousIndex)
            writer.put(request.previousTerm)
            writer.put(request.commit)
            writer.put(UInt32(request.entries.count))
            for entry in request.entries { writer.put(entry) }
        case .appendReply(let reply):
            writer.put(6, reply.term)
            switch reply.outcome {
            case .accepted(let match):
                writer.put(true)
                writer.put(match)
            case .rejected(let previous, let hintIndex, let hintTerm):
                writer.put(false)
                writer.put(previous)
                writer.put(hintIndex)
                writer.put(hintTerm)
            }
        case .heartbeat(let heartbeat):
            writer.put(7, heartbeat.term)
            writer.put(heartbeat.commit)
            writer.put(heartbeat.round)
        case .heartbeatReply(let reply):
            writer.put(8, reply.term)
            writer.put(reply.round)
        case .readRequest(let request):
            writer.put(9, request.term)
            writer.put(request.request)
        case .readReply(let reply):
            writer.put(10, reply.term)
            writer.put(reply.request)
            writer.put(reply.index)
        case .timeoutNow(let term): writer.put(11, term)
        case .snapshotOffer(let offer):
            writer.put(12, offer.term)
            writer.put(offer.meta)
        case .removed(let term): writer.put(13, term)
        }
        return writer.bytes
    }

    public init(decoding bytes: [UInt8]) throws(FrameError) {
        var reader = FrameReader(bytes)
        try reader.version()
        let kind = try reader.byte()
        guard (1...13).contains(kind) else { throw .unknownKind(kind) }
        let term = try reader.uint64()
        switch kind {
        case 1: self = .preVoteRequest(try reader.voteRequest(term))
        case 2: self = .preVoteReply(VoteReply(term: term, isGranted: try reader.flag()))
        case 3: self = .voteRequest(try reader.voteRequest(term))
        case 4: self = .voteReply(VoteReply(term: term, isGranted: try reader.flag()))
        case 5: self = .append(try reader.appendRequest(term))
        case 6: self = .appendReply(AppendReply(term: term, outcome: try reader.appendOutcome()))
        case 7: self = .heartbeat(Heartbeat(term: term, commit: try reader.uint64(), round: try reader.uint64()))
        case 8: self = .heartbeatReply(HeartbeatReply(term: term, round: try reader.uint64()))
        case 9: self = .readRequest(ReadRequest(term: term, request: try reader.uint64()))
        case 10: self = .readReply(ReadReply(term: term, request: try reader.uint64(), index: try reader.uint64()))
        case 11: self = .timeoutNow(term: term)
        case 12: self = .snapshotOffer(SnapshotOffer(term: term, meta: try reader.meta()))
        default: self = .removed(term: term)
        }
        try reader.end()
    }
}

extension FrameWriter {
    fileprivate mutating func put(_ kind: UInt8, _ term: Term) {
        put(kind)
        put(term)
    }
    fileprivate mutating func put(_ kind: UInt8, _ request: VoteRequest) {
        put(kind, request.term)
        put(request.lastIndex)
        put(request.lastTerm)
        put(request.isTransfer)
    }
    fileprivate mutating func put(_ kind: UInt8, _ reply: VoteReply) {
        put(kind, reply.term)
        put(reply.isGranted)
    }
}

extension FrameReader {
    fileprivate mutating func voteRequest(_ term: Term) throws(FrameError) -> VoteRequest {
        VoteRequest(term: term, lastIndex: try uint64(), lastTerm: try uint64(), isTransfer: try flag())
    }
    fileprivate mutating func appendRequest(_ term: Term) throws(FrameError) -> AppendRequest {
        let previousIndex = try uint64()
        let previousTerm = try uint64()
        let commit = try uint64()
        let count = try count(ofSize: 17)
        var entries: [Entry] = []
        entries.reserveCapacity(count)
        guard previousIndex < .max - UInt64(count) else { throw .badEntries }
        for _ in 0..<count {
            let entry = try entry()
            // What the machine holds as given: they follow each other, and no term goes back or is beyond the sender's.
            let (index, lowest) = entries.last.map { ($0.index, $0.term) } ?? (previousIndex, previousTerm)
            guard entry.index == index + 1, entry.term >= lowest, entry.term <= term else { throw .badEntries }
            entries.append(entry)
        }
        return AppendRequest(
            term: term, previousIndex: previousIndex, previousTerm: previousTerm, entries: entries, commit: commit)
    }
    fileprivate mutating func appendOutcome() throws(FrameError) -> AppendReply.Outcome {
        if try flag() { return .accepted(match: try uint64()) }
        return .rejected(previous: try uint64(), hintIndex: try uint64(), hintTerm: try uint64())
    }
}
