import Testing
@testable import Raft

@Suite("A leader")
struct LeaderTests {
    @Test func `commits what a majority has on disk, itself counted only when its own is done (§10.2.1)`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.hold(1, true)
        group.propose(1, "a")
        group.listen()
        group.isolate(3)
        group.deliver()
        #expect(group.committed(1).isEmpty, "2 has it, but 1's own disk is not done")
        group.hold(1, false)
        #expect(group.committed(1) == ["a"])
    }

    @Test func `commits without its own disk when the others suffice`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.hold(1, true)
        group.propose(1, "a")
        group.listen()
        group.deliver()
        #expect(group.committed(1) == ["a"])
    }

    @Test func `is not deceived by word of entries that were truncated meanwhile`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.isolate(1)
        group.hold(1, true)
        group.propose(1, "lost")
        group.elect(2)
        group.propose(2, "kept")
        group.deliver()
        group.rejoin(1)
        group.tick(2, times: 1)
        group.deliver()
        let persisted = group[1].persistedIndex
        group.step(1, .persisted(upTo: 2, term: 1))
        #expect(group[1].persistedIndex == persisted)
        #expect(group.terms(1) == [1, 2, 2])
    }

    @Test func `refuses what exceeds its limits and takes it when there is room again`() {
        var settings = Settings()
        settings.maxUncommittedEntries = 2
        settings.maxCommandBytes = 4
        var group = Group(voters: 1...3, settings: settings)
        group.elect(1)
        group.listen()
        group.propose(1, "a")
        group.propose(1, "b")
        group.propose(1, "c")
        #expect(group.said(1).last == .refused(ProposalToken(1), .busy))
        group.deliver()
        group.propose(1, "c")
        #expect(group.said(1).contains(.proposed(ProposalToken(1), 4, 1)))
        group.deliver()
        group.propose(1, "five!")
        #expect(
            group.said(1).last
                == .refused(ProposalToken(1), .invalid("a command of 5 bytes; at most 4 are taken")))
    }

    @Test func `turns proposals that come together into one write and one message each`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        var machine = group[1]
        var effects: [Effect] = []
        machine.step(all: (1...5).map { .propose(ProposalToken($0), [UInt8($0)]) }, into: &effects)
        let writes = effects.compactMap { if case .append(let entries) = $0 { entries.count } else { nil } }
        let sends = effects.filter { if case .send = $0 { true } else { false } }
        #expect(writes == [5])
        #expect(sends.count == 2)
    }

    @Test func `refuses proposals as a follower, and says who leads`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.listen()
        group.propose(2, "a")
        #expect(group.said(2) == [.refused(ProposalToken(1), .notLeader(hint: MemberID(1)))])
    }

    @Test func `steps down when no majority was heard within an election timeout (§6.2)`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.isolate(1)
        group.tick(1, times: 20)
        #expect(group[1].role != .leader && group[1].term == 1)
    }

    @Test func `is not kept in office by a learner`() {
        var group = Group(voters: 1...3, learners: [4])
        group.elect(1)
        group.isolate(2)
        group.isolate(3)
        for _ in 0..<20 {
            group.tick(1, times: 1)
            group.deliver()
        }
        #expect(group[1].role != .leader)
    }

    @Test func `gives up a transfer that takes longer than an election timeout`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.isolate(3)
        group.propose(1, "a")
        group.deliver()
        group.step(1, .transferLeadership(to: MemberID(3)))
        group.propose(1, "b")
        #expect(group.said(1).last == .refused(ProposalToken(1), .transferring))
        for _ in 0..<11 {
            group.tick(1, times: 1)
            group.deliver()
        }
        group.listen()
        group.propose(1, "b")
        #expect(group.said(1).first == .proposed(ProposalToken(1), 3, 1))
    }
}

@Suite("A follower")
struct FollowerTests {
    @Test func `never truncates for an old append that holds less than it has`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.propose(1, "a")
        group.propose(1, "b")
        let old = group.packets
        group.deliver()
        for packet in old { group.step(packet.to, .received(packet.message, from: packet.from)) }
        #expect(group.terms(2) == [1, 1, 1])
        #expect(group[2].commitIndex == 3)
    }

    @Test func `commits at most what the append has shown to be the leader's`() {
        var group = Group()
        group.form(voters: [1, 2, 3])
        group.write([1, 1, 1], term: 1, onDiskOf: MemberID(2))
        group.start(MemberID(2))
        let request = AppendRequest(term: 2, previousIndex: 1, previousTerm: 1, entries: [], commit: 3)
        group.step(2, .received(.append(request), from: MemberID(1)))
        #expect(group[2].commitIndex == 1)
    }

    @Test func `commits anew after a restart, from behind its snapshot`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.propose(1, "a")
        group.deliver()
        group.crash(2)
        group.listen()
        group.tick(1, times: 1)
        group.deliver()
        #expect(group.committed(2) == ["noop", "a"])
    }

    @Test func `only commits when a snapshot tells it what it has`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.propose(1, "a")
        group.deliver(to: 2)
        let offer = SnapshotOffer(term: 1, meta: SnapshotMeta(index: 2, term: 1, membership: group[1].membership))
        group.listen()
        group.step(2, .received(.snapshotOffer(offer), from: MemberID(1)))
        #expect(group.committed(2) == ["a"])
        #expect(!group.said(2).contains { if case .installSnapshot = $0 { true } else { false } })
    }
}

@Suite("A membership")
struct MembershipTests {
    private let three = Membership((1...3).map { Group.member($0) } + [Group.member(4, isLearner: true)])

    @Test func `counts voters, not learners`() {
        #expect(three.quorum == 2)
        #expect(three.reachedByQuorum { [1: 5, 2: 9, 3: 7, 4: 100][$0.rawValue]! } == 7)
        #expect(!Membership([]).hasQuorum { _ in true })
    }

    @Test(
        "refuses changes that make no sense",
        arguments: [
            (MembershipChange.addLearner(Group.member(2)), "member 2 is in the group already"),
            (.promote(MemberID(1)), "member 1 is a voter already"),
            (.promote(MemberID(9)), "member 9 is not in the group"),
            (.remove(MemberID(9)), "member 9 is not in the group"),
            (.updateAddress(MemberID(1), "host1:2377"), "member 1 is at host1:2377 already"),
        ])
    func refusals(change: MembershipChange, reason: String) {
        #expect(throws: Membership.InvalidChange(reason: reason)) { try three.applying(change) }
    }

    @Test func `keeps its last voter`() {
        let one = Membership([Group.member(1), Group.member(2, isLearner: true)])
        #expect(throws: Membership.InvalidChange.self) { try one.applying(.remove(MemberID(1))) }
    }

    @Test func `goes back to the one before when its entry is truncated (§4.1)`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.isolate(1)
        group.step(1, .changeMembership(ProposalToken(1), .remove(MemberID(3))))
        #expect(group[1].membership.voters.count == 2)
        group.elect(2)
        group.rejoin(1)
        group.tick(2, times: 1)
        group.deliver()
        #expect(group[1].membership.voters.count == 3)
    }

    @Test func `is not changed before the leader has committed in its term`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.isolate(1)
        group.forgetLeader()
        group.campaign(2)
        group.deliver(to: 3)
        group.deliver(to: 2)
        group.deliver(to: 3)
        group.deliver(to: 2)
        #expect(group[2].role == .leader)
        group.drop()
        group.listen()
        group.step(2, .changeMembership(ProposalToken(1), .remove(MemberID(1))))
        #expect(group.said(2) == [.refused(ProposalToken(1), .changeInProgress)])
    }

    @Test func `still lets one stand whose removal may be on no other disk (§4.2.2)`() {
        // Found by the simulation, seed 1001: 1 alone has its own removal; 2 cannot win with the shorter log.
        var group = Group(voters: 1...2)
        group.elect(1)
        group.step(1, .changeMembership(ProposalToken(1), .remove(MemberID(1))))
        group.drop()
        group.crash(1)
        group.forgetLeader()
        group.campaign(1)
        group.deliver()
        #expect(group[2].membership.voters == [MemberID(2)])
        #expect(group[2].role == .leader)
    }
}

@Suite("A read")
struct ReadTests {
    @Test func `waits for the first commit of the term (§6.4)`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.isolate(1)
        group.forgetLeader()
        group.campaign(2)
        group.deliver(to: 3)
        group.deliver(to: 2)
        group.deliver(to: 3)
        group.deliver(to: 2)
        group.listen()
        group.step(2, .read(ReadToken(7)))
        #expect(group.said(2).isEmpty)
        group.deliver()
        #expect(group.said(2).contains(.readReady(ReadToken(7), 2)))
    }

    @Test func `is not confirmed by an answer to a round that began before it`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.tick(1, times: 1)
        group.deliver(to: 2)
        group.deliver(to: 3)
        group.listen()
        group.isolate(2)
        group.isolate(3)
        let answers = group.packets
        group.step(1, .read(ReadToken(7)))
        for answer in answers { group.step(1, .received(answer.message, from: answer.from)) }
        #expect(!group.said(1).contains { if case .readReady = $0 { true } else { false } })
    }

    @Test func `outlives its leader`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.isolate(1)
        group.step(3, .read(ReadToken(7)))
        group.deliver()
        group.listen()
        group.elect(2)
        #expect(group.said(3).contains(.readReady(ReadToken(7), 2)))
    }

    @Test func `gets no answer that was meant for an earlier life`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.step(2, .read(ReadToken(7)))
        group.deliver(to: 1)
        group.crash(2)
        group.listen()
        group.deliver()
        #expect(!group.said(2).contains { if case .readReady = $0 { true } else { false } })
    }
}
