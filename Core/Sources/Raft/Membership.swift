/// A machine that takes part in consensus.
public struct Member: Sendable, Equatable, Codable {
    public let id: MemberID
    /// Where peers dial it, as `host:port`.
    public var address: String
    /// Receives the log, counts in no majority (§4.2.1).
    public var isLearner: Bool
    /// Opaque to Raft.
    public var context: String

    public init(id: MemberID, address: String, isLearner: Bool = false, context: String = "") {
        self.id = id
        self.address = address
        self.isLearner = isLearner
        self.context = context
    }
}

/// Who takes part, as one value: an entry of the log replaces it whole.
public struct Membership: Sendable, Equatable {
    /// Sorted by ID, each ID once.
    public let members: [Member]

    public init(_ members: some Sequence<Member>) {
        self.members = members.sorted { $0.id < $1.id }
        for (one, next) in zip(self.members, self.members.dropFirst()) {
            precondition(one.id != next.id, "member \(one.id) stands twice in one membership")
        }
    }

    public var voters: [MemberID] { members.lazy.filter { !$0.isLearner }.map(\.id) }
    public var learners: [MemberID] { members.lazy.filter(\.isLearner).map(\.id) }
    public var voterCount: Int { members.reduce(0) { $0 + ($1.isLearner ? 0 : 1) } }
    /// How many voters are a majority; 1 for an empty membership, so that nobody ever is one by default.
    public var quorum: Int { voterCount / 2 + 1 }
    public var isEmpty: Bool { members.isEmpty }

    public subscript(id: MemberID) -> Member? { members.first { $0.id == id } }
    public func contains(_ id: MemberID) -> Bool { self[id] != nil }
    public func isVoter(_ id: MemberID) -> Bool { self[id].map { !$0.isLearner } ?? false }

    /// Whether the voters for whom `holds` is true are a majority.
    func hasQuorum(where holds: (MemberID) -> Bool) -> Bool {
        var count = 0
        for member in members where !member.isLearner && holds(member.id) { count += 1 }
        return count >= quorum
    }

    /// The largest number that a majority of voters has reached.
    func reachedByQuorum(_ number: (MemberID) -> UInt64) -> UInt64 {
        var numbers: [UInt64] = []
        numbers.reserveCapacity(members.count)
        for member in members where !member.isLearner { numbers.append(number(member.id)) }
        guard numbers.count >= quorum else { return 0 }
        numbers.sort(by: >)
        return numbers[quorum - 1]
    }
}

/// One step from a membership to the next. Only such single steps exist: any majority of the old shares a member
/// with any majority of the new (§4.1).
public enum MembershipChange: Sendable, Equatable {
    case addLearner(Member)
    /// The learner becomes a voter. Whether it has caught up is the owner's judgement; see ``RaftMachine/progress``.
    case promote(MemberID)
    case remove(MemberID)
    case updateAddress(MemberID, String)
}

extension Membership {
    /// Why a change makes no sense here.
    struct InvalidChange: Error, Equatable { let reason: String }

    func applying(_ change: MembershipChange) throws(InvalidChange) -> Membership {
        switch change {
        case .addLearner(var member):
            if contains(member.id) { throw InvalidChange(reason: "member \(member.id) is in the group already") }
            member.isLearner = true
            return Membership(members + [member])

        case .promote(let id):
            var promoted = try existing(id)
            if !promoted.isLearner { throw InvalidChange(reason: "member \(id) is a voter already") }
            promoted.isLearner = false
            return replacing(promoted)

        case .remove(let id):
            _ = try existing(id)
            if voters == [id] {
                throw InvalidChange(reason: "member \(id) is the last voter: without it nobody decides")
            }
            return Membership(members.filter { $0.id != id })

        case .updateAddress(let id, let address):
            var moved = try existing(id)
            if moved.address == address { throw InvalidChange(reason: "member \(id) is at \(address) already") }
            moved.address = address
            return replacing(moved)
        }
    }

    private func existing(_ id: MemberID) throws(InvalidChange) -> Member {
        guard let member = self[id] else { throw InvalidChange(reason: "member \(id) is not in the group") }
        return member
    }

    private func replacing(_ member: Member) -> Membership {
        Membership(members.map { $0.id == member.id ? member : $0 })
    }
}
