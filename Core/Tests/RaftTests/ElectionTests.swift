import Testing
@testable import Raft

@Suite("A member without a leader")
struct ElectionTests {
    @Test func `waits between one and two election timeouts`() {
        for seed: UInt64 in 1...200 {
            var machine = RaftMachine(
                id: MemberID(1), restored: Restored(initialMembership: Membership([1, 2].map { Group.member($0) })),
                random: SeededGenerator(seed: seed))
            var effects: [Effect] = []
            var ticks = 0
            while machine.role == .follower, ticks < 100 {
                machine.step(.tick, into: &effects)
                ticks += 1
            }
            #expect((10..<20).contains(ticks))
        }
    }

    @Test func `asks before it stands, and its term stays until a majority would vote (§9.6)`() {
        var group = Group(voters: 1...3)
        group.isolate(1)
        for _ in 0..<5 { group.campaign(1) }
        #expect(group[1].term == 0)
        #expect(group[1].role == .preCandidate)
        #expect(!group.said(1).contains { if case .persist = $0 { true } else { false } })
    }

    @Test func `says its vote for itself to the disk before it asks for others (§3.4)`() {
        var group = Group(voters: 1...3)
        group.campaign(1)
        group.listen()
        group.deliver(to: 2)
        group.hold(1, true)
        group.deliver(to: 1)
        #expect(group.said(1).first == .persist(HardState(term: 1, votedFor: MemberID(1))))
        group.drop { $0.from == MemberID(1) && !$0.message.mustFollowDisk }
        #expect(group.packets.allSatisfy { $0.from != MemberID(1) }, "nothing leaves while the disk is busy")
    }

    @Test func `never campaigns as a learner, or with an empty log`() {
        var group = Group(voters: 1...2, learners: [3])
        group.join(4)
        group.tick(3, times: 100)
        group.tick(4, times: 100)
        #expect(group.sent(3).isEmpty && group.sent(4).isEmpty)
    }

    @Test func `alone, leads at once and commits when its disk is done`() throws {
        var effects: [Effect] = []
        var machine = RaftMachine(
            id: MemberID(1), restored: .bootstrap(Group.member(1)), random: SeededGenerator(seed: 1))
        machine.step(.tick, into: &effects)
        #expect(machine.role == .leader && machine.term == 2 && machine.commitIndex == 0)
        effects = []
        machine.step(.persisted(upTo: 2, term: 2), into: &effects)
        #expect(machine.commitIndex == 2)
        #expect(machine.committedMembership.voters == [MemberID(1)])
    }

    @Test func `keeps the group that is forced upon it`() {
        var disk = Restored(
            hardState: HardState(term: 4), initialMembership: Membership((1...3).map { Group.member($0) }))
        disk = disk.forcingNewGroup(of: Group.member(2))
        var machine = RaftMachine(id: MemberID(2), restored: disk, random: SeededGenerator(seed: 1))
        var effects: [Effect] = []
        machine.step(.tick, into: &effects)
        #expect(machine.role == .leader && machine.term == 6 && machine.membership.voters == [MemberID(2)])
    }
}

@Suite("A voter")
struct VoterTests {
    private func machine(votedFor: MemberID? = nil) -> RaftMachine {
        var group = Group()
        group.form(voters: [1, 2, 3])
        group.write([1, 2], term: 2, votedFor: votedFor, onDiskOf: MemberID(1))
        group.start(MemberID(1))
        return group[1]
    }

    private func answer(_ machine: inout RaftMachine, _ message: Message, from: UInt64 = 2) -> [Message] {
        var effects: [Effect] = []
        machine.step(.received(message, from: MemberID(from)), into: &effects)
        return effects.compactMap { if case .send(let message, to: _) = $0 { message } else { nil } }
    }

    private func request(_ term: Term, _ last: LogIndex, _ lastTerm: Term, isTransfer: Bool = false) -> VoteRequest {
        VoteRequest(term: term, lastIndex: last, lastTerm: lastTerm, isTransfer: isTransfer)
    }

    @Test(
        "votes only for a log that has all that its own has (§3.6.1)",
        arguments: [(2, 2, true), (3, 2, true), (1, 3, true), (1, 2, false), (9, 1, false), (0, 0, false)]
            as [(LogIndex, Term, Bool)])
    func logs(last: LogIndex, lastTerm: Term, isGranted: Bool) {
        var voter = machine()
        let reply = answer(&voter, .voteRequest(request(3, last, lastTerm)))
        #expect(reply == [.voteReply(VoteReply(term: 3, isGranted: isGranted))])
    }

    @Test func `votes once in a term, and again for the same`() {
        var voter = machine()
        let request = Message.voteRequest(request(3, 2, 2))
        let yes = [Message.voteReply(VoteReply(term: 3, isGranted: true))]
        #expect(answer(&voter, request, from: 2) == yes)
        #expect(answer(&voter, request, from: 3) == [.voteReply(VoteReply(term: 3, isGranted: false))])
        #expect(answer(&voter, request, from: 2) == yes)
    }

    @Test func `remembers its vote across a restart`() {
        var voter = machine(votedFor: MemberID(3))
        #expect(
            answer(&voter, .voteRequest(request(2, 9, 9))) == [.voteReply(VoteReply(term: 2, isGranted: false))])
    }

    @Test func `ignores elections while it hears a leader, but for a transfer (§4.2.3)`() {
        var voter = machine()
        _ = answer(&voter, .heartbeat(Heartbeat(term: 2, commit: 0, round: 1)), from: 3)
        #expect(answer(&voter, .preVoteRequest(request(3, 9, 9))) == [])
        #expect(answer(&voter, .voteRequest(request(3, 9, 9))) == [])
        #expect(voter.term == 2)
        #expect(
            answer(&voter, .voteRequest(request(3, 9, 9, isTransfer: true)))
                == [.voteReply(VoteReply(term: 3, isGranted: true))])
    }

    @Test func `tells leaders and candidates of the past which term it is`() {
        var voter = machine()
        #expect(
            answer(&voter, .heartbeat(Heartbeat(term: 1, commit: 0, round: 1)))
                == [.heartbeatReply(HeartbeatReply(term: 2, round: 0))])
        #expect(
            answer(&voter, .voteRequest(request(1, 9, 9))) == [.voteReply(VoteReply(term: 2, isGranted: false))])
    }

    @Test func `takes the hint of a closed link once in an election timeout`() {
        var group = Group(voters: 1...3)
        group.elect(1)
        group.isolate(1)
        group.listen()
        group.step(2, .linkClosed(MemberID(1)))
        group.tick(2, times: 1)
        #expect(group.sent(2).count == 2, "asks both others a tick later")
        group.deliver()  // 3 still hears its leader, and says nothing
        group.rejoin(1)
        group.tick(1, times: 1)
        group.deliver()
        group.listen()
        group.step(2, .linkClosed(MemberID(1)))
        group.tick(2, times: 3)
        #expect(group.sent(2).isEmpty)
    }
}
