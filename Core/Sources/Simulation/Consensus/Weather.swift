import Raft

/// How bad a world is. Drawn per seed, so that each explores another kind of weather.
public struct Weather: Sendable {
    public var lossPercent = 0
    public var duplicatePercent = 0
    /// Each message draws its own, so a wide range means reordering.
    public var delayTicks = 0...0
    public var diskDelayTicks = 0...0
    public var crashPermille = 0
    public var downTicks = 0...40
    public var partitionPermille = 0
    public var healPercent = 100
    public var writePercent = 0
    public var readPercent = 0
    public var operatorPercent = 0

    public static let calm = Weather()

    static func drawn(using random: inout SeededGenerator) -> Weather {
        var weather = Weather()
        weather.lossPercent = .random(in: 0...25, using: &random)
        weather.duplicatePercent = .random(in: 0...15, using: &random)
        weather.delayTicks = 0...(.random(in: 0...6, using: &random))
        weather.diskDelayTicks = 0...(.random(in: 0...4, using: &random))
        weather.crashPermille = .random(in: 0...15, using: &random)
        weather.partitionPermille = .random(in: 0...30, using: &random)
        weather.healPercent = .random(in: 2...10, using: &random)
        weather.writePercent = .random(in: 20...90, using: &random)
        weather.readPercent = .random(in: 10...50, using: &random)
        weather.operatorPercent = .random(in: 0...8, using: &random)
        return weather
    }
}

/// A fault of the owner, planted to see that a checker finds it. None is in the machine.
public enum Sabotage: Sendable, CaseIterable {
    /// Terms and votes never reach the disk.
    case forgetsHardState
    /// Replies leave before the disk is done.
    case answersBeforeDisk
    /// Candidates claim a longer log than they have.
    case boastsOfLog
    /// One command becomes another on its way.
    case altersAppends
    /// One member applies another command than was committed.
    case appliesSomethingElse
    /// A write is acknowledged when it is proposed.
    case acknowledgesAtOnce
    /// Reads are answered from what is applied, without asking.
    case answersReadsAtOnce
    /// No vote ever arrives.
    case losesVotes
}

/// What must hold, whatever the weather.
public enum Rule: Sendable, Equatable {
    /// §3.4: at most one leader in a term.
    case electionSafety
    /// §3.5: entries of one index and term are the same, and so are those before them.
    case logMatching
    /// §3.6: a leader has all that was ever committed.
    case leaderCompleteness
    /// §3.6: no two members apply different entries at an index.
    case stateMachineSafety
    /// A commit rests on the disks of a majority.
    case commitOnDisk
    /// What was acknowledged stays.
    case acknowledgedWrites
    /// A read sees all that was acknowledged, or seen by a read, before it began (§6.4).
    case linearizableReads
    /// In good weather all agree, and a write and reads come through.
    case liveness
}

/// A promise the system broke, with the story that led there.
public struct Violation: Error, CustomStringConvertible {
    public let rule: Rule
    public let seed: UInt64
    public let tick: Int
    public let what: String
    public let story: [String]

    public var description: String {
        "\(rule) broken at tick \(tick): \(what). Replay with SEED=\(seed)\n" + story.suffix(40).joined(separator: "\n")
    }
}
