import Raft

/// A group of one to seven members, a bad network, disks that forget what was not synced, clients, an operator who adds
/// and removes members, and a clock that only moves when told to.
///
/// Everything that happens is drawn from one seed, so a failure is replayed by its seed alone.
public struct RaftWorld {
    struct Node {
        let id: MemberID
        var machine: RaftMachine?
        var disk: SimulatedDisk
        /// The log as the machine's effects tell it, on disk or not; ours, not the machine's.
        var mirror: [Entry] = []
        var mirrorBase: (index: LogIndex, term: Term) = (0, 0)

        var commands: [UInt64] = []
        var appliedIndex: LogIndex = 0
        var proposed: [LogIndex: (command: UInt64, term: Term)] = [:]
        var readFloors: [ReadToken: LogIndex] = [:]
        var readsDue: [(token: ReadToken, index: LogIndex)] = []
        var received: [LogIndex: SimulatedDisk.Snapshot] = [:]
        var restartTick = 0
        var isRetired = false
        var side = 0
    }

    struct Packet {
        enum Content {
            case message(Message)
            case snapshot(SimulatedDisk.Snapshot, offer: Message)
        }
        var due: Int
        var from: Int
        var to: MemberID
        var content: Content
    }

    public let seed: UInt64
    public var weather: Weather
    public var sabotage: Sabotage?
    public private(set) var now = 0
    /// One line per thing worth telling.
    public private(set) var story: [String] = []
    /// A fingerprint of every single step: two runs that differ anywhere differ here.
    public private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325

    private var random: SeededGenerator
    private var settings = Settings()
    private var snapshotDistance: LogIndex
    var nodes: [Node] = []
    private var packets: [Packet] = []
    var checkers = Checkers()
    private var nextCommand: UInt64 = 1
    private var nextToken: UInt64 = 1
    private var effects: [Effect] = []
    /// What owners will be told about the snapshots that they send.
    private var endedStreams: [(due: Int, node: Int, input: Input)] = []

    public init(seed: UInt64, sabotage: Sabotage? = nil) {
        self.seed = seed
        self.sabotage = sabotage
        random = SeededGenerator(seed: seed)
        weather = .drawn(using: &random)
        settings.keptEntries = .random(in: 0...20, using: &random)
        settings.maxEntryBytesPerAppend = .random(in: 40...1_000, using: &random)
        settings.maxInflightAppends = .random(in: 1...8, using: &random)
        settings.maxUncommittedEntries = .random(in: 10...100, using: &random)
        snapshotDistance = .random(in: 5...40, using: &random)
        let count = UInt64.random(in: 1...7, using: &random)
        let first = Membership((1...count).map { RaftWorld.member($0) })
        for id in 1...count {
            var disk = SimulatedDisk(initialMembership: first)
            if count == 1 {
                let alone = Restored.bootstrap(RaftWorld.member(1))
                disk = SimulatedDisk(
                    hardState: alone.hardState, entries: alone.entries, initialMembership: alone.initialMembership)
            }
            nodes.append(Node(id: MemberID(id), disk: disk))
            boot(nodes.count - 1)
        }
    }

    private static func member(_ id: UInt64, isLearner: Bool = false) -> Member {
        Member(id: MemberID(id), address: "host\(id):2377", isLearner: isLearner, context: "node\(id)")
    }

    private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
    private mutating func rarely(_ permille: Int) -> Bool { Int.random(in: 0..<1_000, using: &random) < permille }
    private mutating func note(_ line: String) { story.append("\(now): \(line)") }
    private mutating func mix(_ number: UInt64) { digest = (digest ^ number) &* 0x0000_0100_0000_01B3 }
    func position(of id: MemberID) -> Int? { nodes.firstIndex { $0.id == id } }
}

// MARK: - Time

extension RaftWorld {
    /// Moves time on by one tick: weather, disks, deliveries, clients, then every member's own tick.
    public mutating func tick() throws(Violation) {
        now += 1
        try changeWeather()
        for node in nodes.indices { try finishWrites(node) }
        for ended in endedStreams where ended.due <= now { try step(ended.node, ended.input) }
        endedStreams.removeAll { $0.due <= now }
        try deliver()
        try actAsClient()
        try actAsOperator()
        for node in nodes.indices where nodes[node].machine != nil {
            try step(node, .tick)
            try takeSnapshot(node)
        }
    }

    /// Good weather from here on, and everybody up.
    public mutating func clearUp() throws(Violation) {
        weather = .calm
        note("the weather clears")
        for node in nodes.indices {
            nodes[node].side = 0
            if nodes[node].machine == nil, !nodes[node].isRetired { boot(node) }
        }
    }

    private mutating func changeWeather() throws(Violation) {
        for node in nodes.indices where !nodes[node].isRetired {
            if nodes[node].machine == nil {
                if nodes[node].restartTick <= now { boot(node) }
            } else if rarely(weather.crashPermille) {
                try crash(node)
            }
        }
        if rarely(weather.partitionPermille) {
            for node in nodes.indices { nodes[node].side = Int.random(in: 0...1, using: &random) }
            note("partition: " + nodes.map { "\($0.id)|\($0.side)" }.joined(separator: " "))
        } else if chance(weather.healPercent), nodes.contains(where: { $0.side != 0 }) {
            for node in nodes.indices { nodes[node].side = 0 }
            note("partition heals")
        }
    }

    private mutating func crash(_ node: Int) throws(Violation) {
        let id = nodes[node].id
        nodes[node].machine = nil
        nodes[node].restartTick = now + Int.random(in: weather.downTicks, using: &random)
        // Of what was on its way to the disk a beginning may have arrived.
        let arrived = Int.random(in: 0...nodes[node].disk.queue.count, using: &random)
        for batch in nodes[node].disk.queue.prefix(arrived) {
            for write in batch.writes { try perform(write, on: node) }
        }
        nodes[node].disk.queue = []
        note("\(id) crashes, \(nodes[node].disk.lastIndex) entries on disk")
        endedStreams.removeAll { $0.node == node }
        guard chance(50) else { return }
        for peer in nodes.indices where nodes[peer].machine != nil { try step(peer, .linkClosed(id)) }
    }

    private mutating func boot(_ node: Int) {
        if sabotage == .forgetsHardState { nodes[node].disk.hardState = HardState(term: nodes[node].disk.lastTerm) }
        let disk = nodes[node].disk
        let id = nodes[node].id
        nodes[node].mirror = disk.entries
        nodes[node].mirrorBase = (disk.snapshot?.meta.index ?? 0, disk.snapshot?.meta.term ?? 0)
        nodes[node].commands = disk.snapshot?.commands ?? []
        nodes[node].appliedIndex = disk.snapshot?.meta.index ?? 0
        nodes[node].proposed = [:]
        nodes[node].readFloors = [:]
        nodes[node].readsDue = []
        nodes[node].received = [:]
        nodes[node].machine = RaftMachine(
            id: id, restored: disk.restored, settings: settings, random: SeededGenerator(seed: random.next()))
    }
}

// MARK: - Clients and the operator

extension RaftWorld {
    private mutating func anyRunning() -> Int? {
        nodes.indices.filter { nodes[$0].machine != nil }.randomElement(using: &random)
    }

    private mutating func actAsClient() throws(Violation) {
        if chance(weather.writePercent), let node = anyRunning() { try write(at: node) }
        if chance(weather.readPercent), let node = anyRunning() { try read(at: node) }
    }

    @discardableResult
    private mutating func write(at node: Int) throws(Violation) -> UInt64 {
        let command = nextCommand
        nextCommand += 1
        try step(node, .propose(ProposalToken(command), RaftWorld.bytes(of: command)))
        return command
    }

    private mutating func read(at node: Int) throws(Violation) {
        let token = ReadToken(nextToken)
        nextToken += 1
        nodes[node].readFloors[token] = checkers.shownIndex
        try step(node, .read(token))
    }

    private mutating func actAsOperator() throws(Violation) {
        guard chance(weather.operatorPercent),
            let node = nodes.indices.last(where: { nodes[$0].machine?.role == .leader })
        else { return }
        let machine = nodes[node].machine!
        let membership = machine.membership
        let change: MembershipChange
        switch Int.random(in: 0..<6, using: &random) {
        case 0 where membership.members.count < 7:
            let id = UInt64(nodes.count + 1)
            nodes.append(Node(id: MemberID(id), disk: SimulatedDisk(initialMembership: Membership([]))))
            boot(nodes.count - 1)
            change = .addLearner(RaftWorld.member(id, isLearner: true))
        case 1 where membership.voterCount > 1:
            change = .remove(membership.members.randomElement(using: &random)!.id)
        case 2:
            change = .updateAddress(membership.members.randomElement(using: &random)!.id, "moved\(now):2377")
        case 3:
            let target = chance(50) ? nil : membership.voters.randomElement(using: &random)
            note("\(nodes[node].id) is asked to hand over to \(target.map(\.description) ?? "anyone")")
            return try step(node, .transferLeadership(to: target))
        default:
            guard let learner = machine.progress.first(where: { $0.isLearner && $0.match + 10 >= machine.commitIndex })
            else { return }
            change = .promote(learner.id)
        }
        note("\(nodes[node].id) is asked for \(change)")
        try step(node, .changeMembership(ProposalToken(0), change))
    }

    static func bytes(of command: UInt64) -> [UInt8] { withUnsafeBytes(of: command.littleEndian) { Array($0) } }
    static func command(of bytes: [UInt8]) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

// MARK: - The owner of a machine

extension RaftWorld {
    private mutating func step(_ node: Int, _ input: Input) throws(Violation) {
        guard nodes[node].machine != nil else { return }
        var effects = effects
        self.effects = []
        effects.removeAll(keepingCapacity: true)
        nodes[node].machine!.step(input, into: &effects)
        mix(UInt64(now) << 32 | UInt64(node) << 16 | UInt64(effects.count))
        mix(nodes[node].machine!.term << 32 | nodes[node].machine!.commitIndex)
        try perform(effects, on: node)
        self.effects = effects
    }

    private mutating func perform(_ effects: [Effect], on node: Int) throws(Violation) {
        var batch = SimulatedDisk.Batch(due: 0, writes: [], messages: [])
        for effect in effects {
            switch effect {
            case .persist(let state):
                if sabotage != .forgetsHardState { batch.writes.append(.hardState(state)) }
            case .append(let entries):
                batch.writes.append(.entries(entries))
                nodes[node].mirror.removeAll { $0.index >= entries[0].index }
                nodes[node].mirror += entries
            case .send(let message, to: let peer):
                if message.mustFollowDisk, sabotage != .answersBeforeDisk {
                    batch.messages.append((message, peer))
                } else {
                    try transmit(message, from: node, to: peer)
                }
            case .committed(let entries): try committed(entries, at: node)
            case .proposed(let token, let index, let term):
                guard token.rawValue != 0 else { break }
                if sabotage == .acknowledgesAtOnce { checkers.acknowledges(token.rawValue, at: index) }
                nodes[node].proposed[index] = (token.rawValue, term)
            case .readReady(let token, let index): nodes[node].readsDue.append((token, index))
            case .readFailed(let token, _): nodes[node].readFloors[token] = nil
            case .refused(_, let refusal): if case .invalid(let reason) = refusal { note("refused: \(reason)") }
            case .becameLeader(let term):
                note("\(nodes[node].id) leads term \(term), \(nodes[node].machine!.membership.voters) vote")
                let holder = nodes[node]
                try check { (checkers: inout Checkers) throws(Checkers.Broken) in
                    try checkers.leads(holder.id, term: term) { holder.mirrorHolds($0) }
                }
            case .steppedDown(let term, let leader):
                note("\(nodes[node].id) steps down from term \(term), leader \(leader.map(\.description) ?? "unknown")")
            case .leaderChanged: break
            case .sendSnapshot(to: let peer, atLeast: let atLeast): sendSnapshot(to: peer, atLeast: atLeast, from: node)
            case .installSnapshot(let meta, from: _):
                batch.writes.append(.install(nodes[node].received[meta.index]!))
            case .removed:
                note("\(nodes[node].id) knows that it is out")
                nodes[node].isRetired = true
            }
        }
        try enqueue(batch, on: node)
        try answerReads(node)
        if nodes[node].isRetired { nodes[node].machine = nil }
    }

    private mutating func enqueue(_ batch: SimulatedDisk.Batch, on node: Int) throws(Violation) {
        if batch.writes.isEmpty {
            if let last = nodes[node].disk.queue.indices.last {
                nodes[node].disk.queue[last].messages += batch.messages
            } else {
                for (message, peer) in batch.messages { try transmit(message, from: node, to: peer) }
            }
            return
        }
        var batch = batch
        let delay = Int.random(in: weather.diskDelayTicks, using: &random)
        batch.due = max(now + delay, nodes[node].disk.queue.last?.due ?? 0)
        nodes[node].disk.queue.append(batch)
        if delay == 0, nodes[node].disk.queue.count == 1 { try finishWrites(node) }
    }

    private mutating func finishWrites(_ node: Int) throws(Violation) {
        while let batch = nodes[node].disk.queue.first, batch.due <= now {
            nodes[node].disk.queue.removeFirst()
            for write in batch.writes { try perform(write, on: node) }
            for (message, peer) in batch.messages { try transmit(message, from: node, to: peer) }
            for write in batch.writes {
                guard case .install(let snapshot) = write else { continue }
                nodes[node].commands = snapshot.commands
                nodes[node].appliedIndex = snapshot.meta.index
                nodes[node].mirror = []
                nodes[node].mirrorBase = (snapshot.meta.index, snapshot.meta.term)
                note("\(nodes[node].id) installs snapshot \(snapshot.meta.index)")
                try step(node, .snapshotInstalled(snapshot.meta))
            }
            let disk = nodes[node].disk
            let lastWritten: (LogIndex, Term) =
                batch.writes.reversed().lazy.compactMap {
                    if case .entries(let entries) = $0 { (entries.last!.index, entries.last!.term) } else { nil }
                }.first ?? (disk.lastIndex, disk.lastTerm)
            try step(node, .persisted(upTo: lastWritten.0, term: lastWritten.1))
        }
    }

    private mutating func perform(_ write: SimulatedDisk.Write, on node: Int) throws(Violation) {
        nodes[node].disk.perform(write)
        guard case .entries(let entries) = write else { return }
        let disk = nodes[node].disk
        let before = disk.entries.dropLast(entries.count).last?.term ?? disk.snapshot?.meta.term ?? 0
        try check { (checkers: inout Checkers) throws(Checkers.Broken) in try checkers.sees(entries, after: before) }
    }

    private mutating func committed(_ entries: [Entry], at node: Int) throws(Violation) {
        let membership = nodes[node].machine!.membership
        let voters = nodes.filter { membership.isVoter($0.id) }.map(\.disk)
        let id = nodes[node].id
        var applied = entries
        if sabotage == .appliesSomethingElse, id.rawValue == 2, case .command = entries[0].payload {
            applied[0] = Entry(index: entries[0].index, term: entries[0].term, payload: .command([0]))
        }
        try check { (checkers: inout Checkers) throws(Checkers.Broken) in
            try checkers.commits(applied, at: id) { entry in
                (voters.count { $0.holds(entry) }, membership.quorum)
            }
        }
        for entry in applied {
            precondition(entry.index == nodes[node].appliedIndex + 1, "\(id) skips to \(entry.index)")
            nodes[node].appliedIndex = entry.index
            if case .command(let bytes) = entry.payload { nodes[node].commands.append(RaftWorld.command(of: bytes)) }
            guard let (command, term) = nodes[node].proposed.removeValue(forKey: entry.index) else { continue }
            if term == entry.term, sabotage != .acknowledgesAtOnce {
                checkers.acknowledges(command, at: entry.index)
            }
        }
        mix(nodes[node].appliedIndex)
    }

    private mutating func answerReads(_ node: Int) throws(Violation) {
        if sabotage == .answersReadsAtOnce {
            nodes[node].readsDue = nodes[node].readFloors.keys.map { ($0, 0) }
        }
        guard !nodes[node].readsDue.isEmpty else { return }
        let (id, applied) = (nodes[node].id, nodes[node].appliedIndex)
        for read in nodes[node].readsDue where read.index <= applied {
            guard let floor = nodes[node].readFloors.removeValue(forKey: read.token) else { continue }
            try check { (checkers: inout Checkers) throws(Checkers.Broken) in
                try checkers.answersRead(at: id, from: applied, notBefore: floor)
            }
        }
        nodes[node].readsDue.removeAll { $0.index <= applied }
    }

    private mutating func takeSnapshot(_ node: Int) throws(Violation) {
        let (applied, onDisk) = (nodes[node].appliedIndex, nodes[node].disk.snapshot?.meta.index ?? 0)
        if nodes[node].machine != nil { try step(node, .applied(upTo: applied)) }
        // Entries on their way would arrive on a disk that no longer expects them: the owner waits for them.
        guard applied >= onDisk + snapshotDistance, nodes[node].disk.queue.isEmpty,
            let meta = nodes[node].machine?.snapshotMeta(at: applied)
        else { return }
        nodes[node].disk.compact(to: .init(meta: meta, commands: nodes[node].commands))
        try step(node, .compacted(meta))
    }

    private mutating func check(
        _ body: (inout Checkers) throws(Checkers.Broken) -> Void
    ) throws(Violation) {
        do {
            try body(&checkers)
        } catch {
            throw Violation(rule: error.rule, seed: seed, tick: now, what: error.what, story: story)
        }
    }
}

extension RaftWorld.Node {
    func mirrorHolds(_ entry: Entry) -> Bool {
        if entry.index <= mirrorBase.index { return true }
        return mirror.contains { $0.index == entry.index && $0.term == entry.term }
    }
}

// MARK: - The network

extension RaftWorld {
    private mutating func transmit(_ message: Message, from node: Int, to peer: MemberID) throws(Violation) {
        var message = message
        switch message {
        case .append(var request):
            try check { (checkers: inout Checkers) throws(Checkers.Broken) in
                try checkers.sees(request.entries, after: request.previousTerm)
            }
            if sabotage == .altersAppends, let last = request.entries.last, case .command = last.payload, rarely(50) {
                request.entries[request.entries.count - 1] = Entry(
                    index: last.index, term: last.term, payload: .command([7]))
                message = .append(request)
            }
        case .voteRequest(var request) where sabotage == .boastsOfLog:
            request.lastTerm = .max
            message = .voteRequest(request)
        case .preVoteRequest(var request) where sabotage == .boastsOfLog:
            request.lastTerm = .max
            message = .preVoteRequest(request)
        case .voteReply where sabotage == .losesVotes: return
        default: break
        }
        // What crosses the network crosses as bytes.
        if rarely(20) {
            guard let decoded = try? Message(decoding: message.encoded()), decoded == message else {
                preconditionFailure("does not survive its own encoding: \(message)")
            }
        }
        enqueue(.message(message), from: node, to: peer)
    }

    private mutating func enqueue(_ content: Packet.Content, from node: Int, to peer: MemberID) {
        if chance(weather.lossPercent) { return }
        for _ in 0..<(chance(weather.duplicatePercent) ? 2 : 1) {
            let due = now + Int.random(in: weather.delayTicks, using: &random)
            packets.append(Packet(due: due, from: node, to: peer, content: content))
        }
    }

    /// In good weather a message and its answer take no tick; a round takes a few, lest members talk for ever.
    private mutating func deliver() throws(Violation) {
        for _ in 0..<4 {
            let due = packets.filter { $0.due <= now }
            guard !due.isEmpty else { return }
            packets.removeAll { $0.due <= now }
            for packet in due {
                guard let to = position(of: packet.to), nodes[to].machine != nil else { continue }
                guard nodes[packet.from].side == nodes[to].side else { continue }
                switch packet.content {
                case .message(let message): try step(to, .received(message, from: nodes[packet.from].id))
                case .snapshot(let snapshot, offer: let offer):
                    nodes[to].received[snapshot.meta.index] = snapshot
                    try step(to, .received(offer, from: nodes[packet.from].id))
                }
            }
        }
    }

    /// The stream arrives whole or not at all; the sender hears which, or believes wrongly that it did.
    private mutating func sendSnapshot(to peer: MemberID, atLeast: LogIndex, from node: Int) {
        guard let snapshot = nodes[node].disk.snapshot else { preconditionFailure("compacted without a snapshot") }
        precondition(snapshot.meta.index >= atLeast, "newest snapshot \(snapshot.meta.index), \(atLeast) asked for")
        note("\(nodes[node].id) sends snapshot \(snapshot.meta.index) to \(peer)")
        guard let offer = nodes[node].machine!.snapshotOffer(of: snapshot.meta) else { return }
        enqueue(.snapshot(snapshot, offer: offer), from: node, to: peer)
        endedStreams.append((now + 2, node, .snapshotSent(to: peer, ok: !chance(20))))
    }
}

// MARK: - Coming alive again

extension RaftWorld {
    public var acknowledgedWrites: Int { checkers.acknowledged.count }
    public var committedEntries: Int { checkers.committed.count }

    /// Runs a storm, then good weather, and checks what must hold at the end.
    public mutating func live(stormTicks: Int, calmTicks: Int) throws(Violation) {
        for _ in 0..<stormTicks { try tick() }
        try clearUp()
        for _ in 0..<calmTicks { try tick() }
        try checkLiveness()
    }

    private func broken(_ rule: Rule, _ what: String) -> Violation {
        Violation(rule: rule, seed: seed, tick: now, what: what, story: story)
    }

    private mutating func checkLiveness() throws(Violation) {
        guard let leader = nodes.firstIndex(where: { $0.machine?.role == .leader }) else {
            throw broken(.liveness, "no leader in good weather: " + nodes.map(\.summary).joined(separator: "; "))
        }
        let written = try write(at: leader)
        let membership = nodes[leader].machine!.membership
        let members = nodes.indices.filter { membership.contains(nodes[$0].id) }
        for node in members {
            nodes[node].readFloors = [:]
            try read(at: node)
        }
        for _ in 0..<5 { try tick() }
        for node in members {
            guard nodes[node].commands.last == written, nodes[node].readFloors.isEmpty,
                nodes[node].machine?.leader == nodes[leader].id
            else {
                throw broken(
                    .liveness, "\(nodes[node].id) is not in step: " + nodes.map(\.summary).joined(separator: "; "))
            }
            let (id, commands) = (nodes[node].id, nodes[node].commands)
            try check { (checkers: inout Checkers) throws(Checkers.Broken) in
                try checkers.checkAcknowledged(stateOf: id, commands)
            }
        }
    }
}

extension RaftWorld.Node {
    var summary: String {
        guard let machine else { return isRetired ? "\(id) gone" : "\(id) down" }
        return "\(id) \(machine.role) term \(machine.term) leader \(machine.leader.map(\.description) ?? "-") "
            + "commit \(machine.commitIndex) last \(machine.lastIndex) applied \(appliedIndex) "
            + "voters \(machine.membership.voters) learners \(machine.membership.learners)"
    }
}
