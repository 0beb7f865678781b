@testable import Raft

/// Machines with a network and disks that do only what they are told, and say everything they do.
struct Group {
    struct Packet {
        var from: MemberID
        var to: MemberID
        var message: Message
    }

    struct Disk {
        var restored: Restored
        var snapshot: SnapshotMeta?
        var isHeld = false
        var waiting: [Effect] = []
    }

    private(set) var machines: [MemberID: RaftMachine] = [:]
    private(set) var disks: [MemberID: Disk] = [:]
    private(set) var packets: [Packet] = []
    /// Everything that came out, in order, and each as words.
    private(set) var effects: [(id: MemberID, effect: Effect)] = []
    private(set) var lines: [String] = []
    private var cut: Set<MemberID> = []
    private var starts: UInt64 = 0
    var settings = Settings()
    private var membership = Membership([])

    init() {}

    init(voters: ClosedRange<UInt64>, learners: [UInt64] = [], settings: Settings = Settings()) {
        self.settings = settings
        form(voters: Array(voters), learners: learners)
        for id in disks.keys.sorted() { start(id) }
    }

    mutating func form(voters: [UInt64], learners: [UInt64] = []) {
        membership = Membership(
            voters.map { Self.member($0) } + learners.map { Self.member($0, isLearner: true) })
        for member in membership.members {
            disks[member.id] = Disk(restored: Restored(initialMembership: membership))
        }
    }

    static func member(_ id: UInt64, isLearner: Bool = false) -> Member {
        Member(id: MemberID(id), address: "host\(id):2377", isLearner: isLearner)
    }

    /// What a member's disk holds before it starts: noops of these terms.
    mutating func write(_ terms: [Term], term: Term, votedFor: MemberID? = nil, onDiskOf id: MemberID) {
        let entries = terms.enumerated().map { place, term in
            Entry(index: LogIndex(place + 1), term: term, payload: .command(Array("t\(term)".utf8)))
        }
        disks[id]!.restored = Restored(
            hardState: HardState(term: term, votedFor: votedFor), entries: entries, initialMembership: membership)
    }

    mutating func join(_ id: UInt64) {
        disks[MemberID(id)] = Disk(restored: Restored())
        start(MemberID(id))
    }

    mutating func start(_ id: MemberID) {
        starts += 1
        disks[id]!.waiting = []
        machines[id] = RaftMachine(
            id: id, restored: disks[id]!.restored, settings: settings, random: SeededGenerator(seed: starts))
    }

    subscript(id: UInt64) -> RaftMachine { machines[MemberID(id)]! }
    func terms(_ id: UInt64) -> [Term] {
        let machine = self[id]
        guard machine.firstIndex <= machine.lastIndex else { return [] }
        return (machine.firstIndex...machine.lastIndex).map { machine.log.term(at: $0)! }
    }
}

// MARK: - Steps

extension Group {
    mutating func step(_ id: UInt64, _ input: Input) { step(MemberID(id), input) }

    mutating func step(_ id: MemberID, _ input: Input) {
        var new: [Effect] = []
        machines[id]!.step(input, into: &new)
        for effect in new {
            effects.append((id, effect))
            lines.append("\(id): \(effect.words)")
            if case .send(let message, to: let peer) = effect, !message.mustFollowDisk {
                packets.append(Packet(from: id, to: peer, message: message))
            } else {
                disks[id]!.waiting.append(effect)
            }
        }
        if !disks[id]!.isHeld { sync(id) }
    }

    /// The disk does what waits, then what had to wait for it leaves.
    mutating func sync(_ id: MemberID) {
        let waiting = disks[id]!.waiting
        disks[id]!.waiting = []
        var wrote = false
        for effect in waiting {
            switch effect {
            case .persist(let state):
                disks[id]!.restored.hardState = state
                wrote = true
            case .append(let entries):
                disks[id]!.restored.entries.removeAll { $0.index >= entries[0].index }
                disks[id]!.restored.entries += entries
                wrote = true
            case .send(let message, to: let peer): packets.append(Packet(from: id, to: peer, message: message))
            default: break
            }
        }
        guard wrote else { return }
        let last = disks[id]!.restored.entries.last
        step(id, .persisted(upTo: last?.index ?? 0, term: last?.term ?? 0))
    }

    mutating func hold(_ id: UInt64, _ isHeld: Bool) {
        disks[MemberID(id)]!.isHeld = isHeld
        if !isHeld { sync(MemberID(id)) }
    }

    mutating func crash(_ id: UInt64) {
        packets.removeAll { $0.from == MemberID(id) && disks[$0.from]!.isHeld }
        disks[MemberID(id)]!.isHeld = false
        start(MemberID(id))
    }

    mutating func compact(_ id: UInt64, upTo index: LogIndex) {
        let meta = machines[MemberID(id)]!.snapshotMeta(at: index)!
        disks[MemberID(id)]!.snapshot = meta
        step(id, .compacted(meta))
    }

    /// Ticks one member until its patience ends.
    mutating func campaign(_ id: UInt64) {
        let before = (self[id].term, lines.count)
        for _ in 0..<3 * settings.electionTicks where self[id].term == before.0 && !hasAsked(id, since: before.1) {
            step(id, .tick)
        }
    }

    private func hasAsked(_ id: UInt64, since line: Int) -> Bool {
        lines[line...].contains { $0.hasPrefix("\(id): ->") }
    }

    mutating func tick(_ id: UInt64, times: Int) { for _ in 0..<times { step(id, .tick) } }

    mutating func isolate(_ id: UInt64) { cut.insert(MemberID(id)) }
    mutating func rejoin(_ id: UInt64) { cut.remove(MemberID(id)) }
    mutating func drop() { packets = [] }
    mutating func drop(where isLost: (Packet) -> Bool) { packets.removeAll(where: isLost) }

    /// Delivers what is on its way and what that leads to, until all is quiet.
    mutating func deliver(to receiver: UInt64? = nil, limit: Int = 10_000) {
        var left = limit
        while left > 0, let place = packets.firstIndex(where: { receiver == nil || $0.to == MemberID(receiver!) }) {
            left -= 1
            let packet = packets.remove(at: place)
            guard !cut.contains(packet.from), !cut.contains(packet.to), machines[packet.to] != nil else { continue }
            step(packet.to, .received(packet.message, from: packet.from))
        }
        precondition(left > 0, "they never stop talking: \(packets.prefix(3))")
    }

    /// Nobody waits for a leader any more, though no tick has passed.
    mutating func forgetLeader() {
        for (id, machine) in machines.sorted(by: { $0.key < $1.key }) where machine.role == .follower {
            if let leader = machine.leader { step(id, .linkClosed(leader)) }
        }
    }

    /// This one leads, and all that it reaches know.
    mutating func elect(_ id: UInt64) {
        forgetLeader()
        campaign(id)
        deliver()
        tick(id, times: settings.heartbeatTicks)
        deliver()
        precondition(self[id].role == .leader, "\(id) was to lead, but is \(self[id].role)")
    }

    mutating func propose(_ id: UInt64, _ text: String) {
        step(id, .propose(ProposalToken(1), Array(text.utf8)))
    }

    mutating func say(_ line: String) { lines.append(line) }

    /// Forgets what was said so far, so that a test sees only what follows.
    mutating func listen() {
        effects = []
        lines = []
    }

    /// What came out of one member since `listen`.
    func said(_ id: UInt64) -> [Effect] { effects.filter { $0.id == MemberID(id) }.map(\.effect) }
    func sent(_ id: UInt64) -> [Message] {
        said(id).compactMap { if case .send(let message, to: _) = $0 { message } else { nil } }
    }
    func committed(_ id: UInt64) -> [String] {
        said(id).flatMap { effect -> [String] in
            if case .committed(let entries) = effect { entries.map(\.payload.words) } else { [] }
        }
    }
}

// MARK: - Words

extension Payload {
    var words: String {
        switch self {
        case .command(let bytes): String(decoding: bytes, as: UTF8.self)
        case .membership(let membership):
            "members " + membership.members.map { "\($0.id)\($0.isLearner ? "?" : "")" }.joined(separator: ",")
        case .noop: "noop"
        }
    }
}

extension Entry {
    var words: String { "\(index)/\(term) \(payload.words)" }
}

extension Message {
    var words: String {
        switch self {
        case .preVoteRequest(let request): "would you vote in \(request.term)? \(request.words)"
        case .preVoteReply(let reply): "\(reply.isGranted ? "I would in" : "no, I am in") \(reply.term)"
        case .voteRequest(let request):
            "vote in \(request.term)! \(request.words)\(request.isTransfer ? ", by transfer" : "")"
        case .voteReply(let reply): "\(reply.isGranted ? "my vote in" : "not my vote in") \(reply.term)"
        case .append(let request):
            "append in \(request.term) after \(request.previousIndex)/\(request.previousTerm) "
                + "[\(request.entries.map(\.words).joined(separator: ", "))] commit \(request.commit)"
        case .appendReply(let reply):
            switch reply.outcome {
            case .accepted(let match): "have \(match) in \(reply.term)"
            case .rejected(let previous, let hint, let hintTerm):
                "lack \(previous) in \(reply.term), perhaps \(hint)/\(hintTerm)"
            }
        case .heartbeat(let heartbeat):
            "heartbeat \(heartbeat.round) in \(heartbeat.term) commit \(heartbeat.commit)"
        case .heartbeatReply(let reply): "heard \(reply.round) in \(reply.term)"
        case .readRequest: "how far may I read?"
        case .readReply(let reply): "read up to \(reply.index)"
        case .timeoutNow(let term): "stand now, after \(term)"
        case .snapshotOffer(let offer): "snapshot \(offer.meta.index)/\(offer.meta.term)"
        case .removed(let term): "you are out, says \(term)"
        }
    }
}

extension VoteRequest {
    fileprivate var words: String { "log ends \(lastIndex)/\(lastTerm)" }
}

extension Effect {
    var words: String {
        func name(_ id: MemberID?) -> String { id.map(\.description) ?? "nobody" }
        return switch self {
        case .persist(let state): "disk: term \(state.term), vote \(name(state.votedFor))"
        case .append(let entries): "disk: \(entries.map(\.words).joined(separator: ", "))"
        case .send(let message, to: let peer): "-> \(peer) \(message.words)"
        case .committed(let entries): "commits \(entries.map(\.words).joined(separator: ", "))"
        case .proposed(_, let index, let term): "proposed as \(index)/\(term)"
        case .refused(_, let refusal): "refused: \(refusal)"
        case .readReady(let token, let index): "read \(token.rawValue) from \(index)"
        case .readFailed(let token, let refusal): "read \(token.rawValue) failed: \(refusal)"
        case .becameLeader(let term): "leads \(term)"
        case .steppedDown(let term, leader: let leader): "led \(term), now \(name(leader)) does"
        case .leaderChanged(let leader, let term): "leader of \(term) is \(name(leader))"
        case .sendSnapshot(to: let peer, atLeast: let index): "send \(peer) a snapshot of \(index) or later"
        case .installSnapshot(let meta, from: let peer): "install snapshot \(meta.index)/\(meta.term) of \(peer)"
        case .removed: "is out"
        }
    }
}
