import Raft
import Simulation
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

@Suite("Raft in bad weather")
struct RaftSimulation {
    /// `SEED=1234 swift test --filter RaftSimulation` replays one run and prints its story, `SEEDS=5000-9000` runs many;
    /// without them, a fixed set for every commit.
    static let seeds: [UInt64] = {
        if let seed = number(of: "SEED", at: 0) { return [seed] }
        if let first = number(of: "SEEDS", at: 0), let last = number(of: "SEEDS", at: 1) { return Array(first...last) }
        return Array(1...200)
    }()

    private static func number(of name: String, at place: Int) -> UInt64? {
        guard let text = getenv(name) else { return nil }
        let parts = String(cString: text).split(separator: "-")
        return place < parts.count ? UInt64(parts[place]) : nil
    }

    @Test("is safe in a storm and comes alive after it", arguments: seeds)
    func safetyThenLiveness(seed: UInt64) throws {
        var world = RaftWorld(seed: seed)
        try world.live(stormTicks: 250, calmTicks: 100)
        if Self.seeds.count == 1 {
            print(world.story.joined(separator: "\n"), "digest \(world.digest)", separator: "\n")
        }
    }

    @Test func `the same seed tells the same story`() throws {
        for seed: UInt64 in [7, 8, 9] {
            var first = RaftWorld(seed: seed)
            var second = RaftWorld(seed: seed)
            for _ in 0..<200 {
                try first.tick()
                try second.tick()
            }
            #expect(first.digest == second.digest)
            #expect(first.story == second.story)
        }
    }

    @Test func `it is a world in which things happen`() throws {
        var (writes, leaders, snapshots, removals) = (0, 0, 0, 0)
        for seed: UInt64 in 1...30 {
            var world = RaftWorld(seed: seed)
            try world.live(stormTicks: 250, calmTicks: 100)
            writes += world.acknowledgedWrites
            leaders += world.story.count { $0.contains("leads term") }
            snapshots += world.story.count { $0.contains("installs snapshot") }
            removals += world.story.count { $0.contains("knows that it is out") }
        }
        #expect(writes > 500)
        #expect(leaders > 50)
        #expect(snapshots > 5)
        #expect(removals > 5)
    }

    /// A checker that has never fired is not yet a checker.
    @Test(
        "finds what is planted",
        arguments: [
            (Sabotage.forgetsHardState, [Rule.electionSafety]),
            (.answersBeforeDisk, [.commitOnDisk]),
            (.boastsOfLog, [.leaderCompleteness]),
            (.altersAppends, [.logMatching]),
            (.appliesSomethingElse, [.stateMachineSafety]),
            (.acknowledgesAtOnce, [.acknowledgedWrites, .linearizableReads]),
            (.answersReadsAtOnce, [.linearizableReads]),
            (.losesVotes, [.liveness]),
        ])
    func findsSabotage(sabotage: Sabotage, rules: [Rule]) throws {
        var found: [Rule] = []
        for seed: UInt64 in 1...300 where !rules.allSatisfy(found.contains) {
            var world = RaftWorld(seed: seed, sabotage: sabotage)
            if sabotage == .forgetsHardState {
                // With PreVote two candidates in a term are rare; a voter must fall and rise between them.
                world.weather.crashPermille = 60
                world.weather.downTicks = 0...1
                world.weather.delayTicks = 0...8
                world.weather.operatorPercent = 0
            }
            do {
                try world.live(stormTicks: 250, calmTicks: 100)
            } catch {
                found.append(error.rule)
            }
        }
        for rule in rules {
            #expect(
                found.contains(rule),
                "300 seeds of \(sabotage) never broke \(rule), only \(Set(found.map { "\($0)" }).sorted())")
        }
    }
}
