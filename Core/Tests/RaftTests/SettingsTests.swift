import Raft
import Testing

@Suite("Settings that change")
struct SettingsTests {
    @Test func `are followed from then on`() {
        let members = (1...3).map { Member(id: MemberID($0), address: "\($0)") }
        var machine = RaftMachine(
            id: MemberID(1), restored: Restored(initialMembership: Membership(members)),
            random: SeededGenerator(seed: 1))
        var settings = machine.settings
        (settings.electionTicks, settings.heartbeatTicks) = (40, 4)
        machine.adopt(settings)
        var effects: [Effect] = []
        // The timer that was running ends by the old numbers.
        for _ in 0..<20 { machine.step(.tick, into: &effects) }
        #expect(machine.role == .preCandidate)
        effects = []
        // The next by the new ones.
        for _ in 0..<39 { machine.step(.tick, into: &effects) }
        #expect(effects.isEmpty)
        for _ in 0..<41 { machine.step(.tick, into: &effects) }
        #expect(!effects.isEmpty)
    }

    @Test func `change how often a leader speaks`() {
        var machine = RaftMachine(
            id: MemberID(1), restored: .bootstrap(Member(id: MemberID(1), address: "1")),
            random: SeededGenerator(seed: 1))
        var effects: [Effect] = []
        machine.step(.tick, into: &effects)
        machine.step(.persisted(upTo: machine.lastIndex, term: machine.term), into: &effects)
        machine.step(
            .changeMembership(ProposalToken(1), .addLearner(Member(id: MemberID(2), address: "2"))), into: &effects)
        func heartbeats(in ticks: Int) -> Int {
            effects = []
            for _ in 0..<ticks { machine.step(.tick, into: &effects) }
            return effects.count { if case .send(.heartbeat, to: _) = $0 { true } else { false } }
        }
        #expect(heartbeats(in: 12) == 12)
        var settings = machine.settings
        settings.heartbeatTicks = 3
        machine.adopt(settings)
        _ = heartbeats(in: 3)
        #expect(heartbeats(in: 12) == 4)
    }
}
