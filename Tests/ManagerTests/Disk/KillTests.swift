import Foundation
import Glibc
import Manager
import Raft
import Testing

/// A log whose program is killed with SIGKILL at random moments, again and again, and goes on with what it finds.
///
/// The program is this one, run once more with a test of its own: it tells the log a story and notes, before and after
/// each step, how far it has come.
@Suite("A program that is killed", .serialized, .timeLimit(.minutes(60)))
struct KillTests {
    /// `KILLS=2000` for more of them.
    static let kills = ProcessInfo.processInfo.environment["KILLS"].flatMap(Int.init) ?? 200
    private static let directoryName = "APUS_KILLED_WRITER"
    private static let seedName = "APUS_KILLED_WRITER_SEED"
    private static let writersPlace = ProcessInfo.processInfo.environment[directoryName]

    struct Note: Codable {
        var step: LogStep
        var isDone: Bool
    }

    @Test("loses nothing that was acknowledged", .enabled(if: writersPlace == nil))
    func kills() async throws {
        try await withThrowingTaskGroup(of: (Int, Int).self) { group in
            // Two at a time: a start takes longer than what is between it and the kill.
            for lane in 0..<2 { group.addTask { try await Self.run(kills: Self.kills / 2, lane: UInt64(lane)) } }
            var steps = 0, underWay = 0
            for try await lane in group { (steps, underWay) = (steps + lane.0, underWay + lane.1) }
            // Most kills must have hit a step: or it is no test.
            #expect(steps > Self.kills && underWay > Self.kills / 4, "\(steps) steps, \(underWay) kills within one")
        }
    }

    /// - Returns: steps that were done, and kills that fell into one.
    private static func run(kills: Int, lane: UInt64) async throws -> (Int, Int) {
        let scratch = Scratch()
        try FileManager.default.createDirectory(atPath: scratch.path, withIntermediateDirectories: true)
        var random = SeededGenerator(seed: 40 + lane)
        var model = LogModel()
        var steps = 0, underWay = 0
        for number in 0..<kills {
            let notes = try await killedWriter(
                in: scratch.path, seed: random.next(), after: .random(in: 0...60, using: &random))
            for note in notes.filter(\.isDone) {
                model = model.after(note.step)
                steps += 1
            }
            let log = try RaftLog(directory: scratch.path + "/raft", keyFile: scratch.path + "/keys")
            let found = try LogModel(reading: log)
            try log.close()
            var possible = [model]
            if let last = notes.last, !last.isDone {
                underWay += 1
                possible.append(model.after(last.step))
            }
            try #require(
                possible.contains(found),
                "kill \(number) of lane \(lane): found \(found.summary), acknowledged \(model.summary), last note \(notes.last.map { "\($0)" } ?? "none")"
            )
            model = found
            try? FileManager.default.removeItem(atPath: scratch.path + "/notes")
        }
        return (steps, underWay)
    }

    /// - Parameter delay: milliseconds from the writer's first step to its end.
    private static func killedWriter(in directory: String, seed: UInt64, after delay: Int) async throws -> [Note] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments = ["--testing-library", "swift-testing", "--filter", "KillTests/writer"]
        process.environment = ProcessInfo.processInfo.environment.merging(
            [directoryName: directory, seedName: "\(seed)"]) { $1 }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        let notes = URL(fileURLWithPath: directory + "/notes")
        _ = try await until("the writer works") {
            process.isRunning && !FileManager.default.fileExists(atPath: notes.path) ? nil : true
        }
        try await Task.sleep(for: .milliseconds(delay))
        try #require(process.isRunning, "the writer ended by itself")
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        #expect(process.terminationReason == .uncaughtSignal && process.terminationStatus == SIGKILL)
        // The last line may be cut short.
        return try String(decoding: Data(contentsOf: notes), as: UTF8.self).split(separator: "\n")
            .compactMap { try? JSONDecoder().decode(Note.self, from: Data($0.utf8)) }
    }

    @Test("writes until it is killed", .enabled(if: writersPlace != nil))
    func writer() async throws {
        let place = try #require(Self.writersPlace)
        let seed = ProcessInfo.processInfo.environment[Self.seedName].flatMap(UInt64.init) ?? 0
        let log = try RaftLog(directory: place + "/raft", keyFile: place + "/keys")
        var model = try LogModel(reading: log)
        var random = SeededGenerator(seed: seed)
        let file = open(place + "/notes", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        func note(_ step: LogStep, isDone: Bool) throws {
            let line = try JSONEncoder().encode(Note(step: step, isDone: isDone)) + Data("\n".utf8)
            _ = line.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        }
        while true {
            let step = LogStep.next(after: model, using: &random)
            try note(step, isDone: false)
            try await step.perform(on: log, model)
            try note(step, isDone: true)
            model = model.after(step)
        }
    }
}
