import CRecordingVFS
import Crypto
import Foundation
import Manager
import Raft
import Testing

/// The digest of chunks as `SnapshotHead` has it, made here a second time.
struct TestDigest {
    private var hash = SHA256()
    mutating func add(_ chunk: [UInt8]) {
        withUnsafeBytes(of: UInt64(chunk.count).littleEndian) { hash.update(bufferPointer: $0) }
        hash.update(data: chunk)
    }
    func finish() -> Data { Data(hash.finalize()) }
}

/// Files as a disk holds them, and what was written since each was last synced.
struct RecordedDisk {
    enum Pending { case write(offset: Int, bytes: [UInt8]), truncate(Int) }
    struct File {
        /// Nil for one whose name is not on the disk yet.
        var durable: [UInt8]?
        var pending: [Pending] = []
        /// Made since the directory was last synced.
        var isNew = false
        /// Deleted since then: its name may come back.
        var isDeleted = false
    }

    private(set) var files: [String: File] = [:]

    mutating func take(_ event: recorded_event) {
        let name = String(cString: recording_name(event.file))
        var file = files[name] ?? File()
        switch UInt32(event.kind) {
        case recorded_create.rawValue:
            file = File(durable: file.isDeleted ? nil : file.durable, isNew: true)
        case recorded_write.rawValue:
            let bytes = Array(UnsafeBufferPointer(start: event.bytes, count: Int(event.size)))
            file.pending.append(.write(offset: Int(event.offset), bytes: bytes))
        case recorded_truncate.rawValue: file.pending.append(.truncate(Int(event.size)))
        case recorded_sync.rawValue:
            var content = file.durable ?? []
            for change in file.pending { Self.apply(change, to: &content) }
            file.durable = content
            file.pending = []
            if file.isNew {
                // SQLite's first sync of a journal that it made syncs the directory too (os_unix.c, UNIXFILE_DIRSYNC).
                file.isNew = false
                files = files.filter { !$0.value.isDeleted }
            }
        default: file.isDeleted = true
        }
        files[name] = file
    }

    /// What a power cut now would leave: of what was not synced each write by itself is there, lost, or there in part,
    /// in sectors of 512 bytes, whatever the order in which it was written.
    func afterPowerLoss(using random: inout SeededGenerator) -> [String: [UInt8]] {
        var left: [String: [UInt8]] = [:]
        // Now and then all is lost, or all but the last is there: the plain cases.
        let mood = Int.random(in: 0..<4, using: &random)
        for (name, file) in files.sorted(by: { $0.key < $1.key }) {
            if file.isDeleted, Bool.random(using: &random) { continue }
            if file.durable == nil, mood == 0 { continue }
            var content = file.durable ?? []
            for change in file.pending {
                switch (mood, change) {
                case (0, _): continue
                case (1, _): Self.apply(change, to: &content)
                case (_, .truncate): if Bool.random(using: &random) { Self.apply(change, to: &content) }
                case (_, .write(let offset, let bytes)):
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0: continue
                    case 1: Self.apply(change, to: &content)
                    default:
                        for start in stride(from: 0, to: bytes.count, by: 512) where Bool.random(using: &random) {
                            let sector = Array(bytes[start..<min(start + 512, bytes.count)])
                            Self.apply(.write(offset: offset + start, bytes: sector), to: &content)
                        }
                    }
                }
            }
            left[name] = content
        }
        return left
    }

    private static func apply(_ change: Pending, to content: inout [UInt8]) {
        switch change {
        case .truncate(let size): if content.count > size { content.removeSubrange(size...) }
        case .write(let offset, let bytes):
            if content.count < offset + bytes.count {
                content += [UInt8](repeating: 0, count: offset + bytes.count - content.count)
            }
            content.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
    }
}

@Suite("A power cut", .serialized, .timeLimit(.minutes(30)))
struct PowerLossTests {
    let scratch = Scratch()
    /// `POWER_LOSSES=all` looks at each write and sync, several times; otherwise at some.
    static let isThorough = ProcessInfo.processInfo.environment["POWER_LOSSES"] == "all"

    /// What was done, and how far the record had come when each step had returned.
    struct Telling {
        var steps: [LogStep] = []
        var models = [LogModel()]
        var ends: [Int] = [0]
        /// Where all keys are that were ever used: the record is of the log alone, and an early state of it may need a
        /// key that went later.
        var keys = AllKeys()
    }

    struct AllKeys {
        private var byNumber: [Int: Any] = [:]

        mutating func note(_ file: String) throws {
            let found = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: file)))
            for case let key as [String: Any] in (found as! [String: Any])["keys"] as! [Any] {
                byNumber[key["id"] as! Int] = key
            }
        }

        func write(to file: String) throws -> String {
            let all: [String: Any] = [
                "version": 1, "protection": "none", "current": byNumber.keys.max()!, "keys": Array(byNumber.values),
            ]
            try JSONSerialization.data(withJSONObject: all).write(to: URL(fileURLWithPath: file))
            return file
        }
    }

    private func tell(_ count: Int, seed: UInt64) async throws -> Telling {
        #expect(recording_install() == 0)
        let place = scratch.path + "/live"
        recording_begin(place)
        defer { recording_end() }
        var random = SeededGenerator(seed: seed)
        var telling = Telling()
        var log = try RaftLog(directory: place, keyFile: scratch.path + "/keys")
        // A new log is nothing that was promised: the record counts from here.
        telling.ends[0] = recording_count()
        for number in 1...count {
            let model = telling.models[telling.models.count - 1]
            let step = LogStep.next(after: model, using: &random)
            try await step.perform(on: log, model)
            telling.steps.append(step)
            telling.models.append(model.after(step))
            telling.ends.append(recording_count())
            try telling.keys.note(scratch.path + "/keys")
            if number % 60 == 0 {  // closed in peace, and opened again
                try log.close()
                log = try RaftLog(directory: place, keyFile: scratch.path + "/keys")
            }
        }
        #expect(try LogModel(reading: log) == telling.models[telling.models.count - 1])
        try log.close()
        return telling
    }

    private func put(_ files: [String: [UInt8]], at place: String) throws {
        try? FileManager.default.removeItem(atPath: place)
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        for (name, bytes) in files {
            try Data(bytes).write(to: URL(fileURLWithPath: place + "/" + name))
        }
    }

    @Test("loses nothing that was acknowledged", arguments: [1, 2] as [UInt64])
    func powerLoss(seed: UInt64) async throws {
        let telling = try await tell(Self.isThorough ? 400 : 120, seed: seed)
        let keys = try telling.keys.write(to: scratch.path + "/all-keys")
        var random = SeededGenerator(seed: seed &+ 100)
        var disk = RecordedDisk()
        var step = 0
        var cuts = 0, inFlight = 0
        let count = recording_count()
        let gap = Self.isThorough ? 1 : max(1, count / 250)
        for position in 0..<count {
            disk.take(recording_event(position))
            while step + 1 < telling.ends.count, telling.ends[step + 1] <= position + 1 { step += 1 }
            guard position + 1 >= telling.ends[0], position % gap == 0 else { continue }
            for _ in 0..<(Self.isThorough ? 3 : 1) {
                cuts += 1
                let place = scratch.path + "/cut"
                try put(disk.afterPowerLoss(using: &random), at: place)
                let log = try RaftLog(directory: place, keyFile: keys)
                let found = try LogModel(reading: log)
                try log.close()
                let acknowledged = telling.models[step]
                let next = step < telling.steps.count ? telling.models[step + 1] : acknowledged
                if found != acknowledged { inFlight += 1 }
                #expect(
                    found == acknowledged || found == next,
                    """
                    cut after event \(position) of seed \(seed), in step \(step + 1): found \(found.summary); \
                    acknowledged \(acknowledged.summary); under way \(next.summary)
                    """)
            }
        }
        // It is no test unless cuts fell into steps, and some of those had come whole onto the disk.
        #expect(cuts > 200 && inFlight > 10, "\(cuts) cuts, \(inFlight) of them found the step that was under way")
    }

    /// The alarm rings: with a disk that says that it has synced and has not, acknowledged steps are missed.
    @Test func `on a disk that lies about syncs is found out`() async throws {
        let telling = try await tell(30, seed: 3)
        let keys = try telling.keys.write(to: scratch.path + "/all-keys")
        var random = SeededGenerator(seed: 4)
        var disk = RecordedDisk()
        var step = 0, lost = 0
        for position in 0..<recording_count() {
            let event = recording_event(position)
            while step + 1 < telling.ends.count, telling.ends[step + 1] <= position + 1 { step += 1 }
            guard position >= telling.ends[0], UInt32(event.kind) == recorded_sync.rawValue else {
                disk.take(event)
                continue
            }
            guard lost == 0 else { continue }
            try put(disk.afterPowerLoss(using: &random), at: scratch.path + "/cut")
            do {
                let log = try RaftLog(directory: scratch.path + "/cut", keyFile: keys)
                defer { try? log.close() }
                if try LogModel(reading: log) != telling.models[step] { lost += 1 }
            } catch is RaftLogError { lost += 1 }
        }
        #expect(lost > 0)
    }

    @Test func `and a broken disk leave no damage unnoticed`() async throws {
        let telling = try await tell(Self.isThorough ? 200 : 80, seed: 7)
        let keys = try telling.keys.write(to: scratch.path + "/all-keys")
        var disk = RecordedDisk()
        for position in 0..<telling.ends[telling.ends.count - 1] { disk.take(recording_event(position)) }
        let last = telling.models[telling.models.count - 1], before = telling.models[telling.models.count - 2]
        let whole = disk.files.filter { !$0.value.isDeleted }.mapValues { $0.durable ?? [] }
        var random = SeededGenerator(seed: 8)
        var noticed = 0
        for _ in 0..<(Self.isThorough ? 5_000 : 300) {
            var files = whole
            let name = files.keys.sorted().randomElement(using: &random)!
            guard !files[name]!.isEmpty else { continue }
            let at = Int.random(in: 0..<files[name]!.count, using: &random)
            for offset in at..<min(at + 16, files[name]!.count) { files[name]![offset] ^= 0xA5 }
            let place = scratch.path + "/damaged"
            try put(files, at: place)
            do {
                let log = try RaftLog(directory: place, keyFile: keys)
                defer { try? log.close() }
                let found = try LogModel(reading: log)
                // Where nothing was, or what the write-ahead file has once more. Of the end of that file nothing can be
                // known: a write that was cut short looks the same.
                #expect(
                    found == last || (name.hasSuffix("-wal") && found == before),
                    "16 bytes at \(at) of \(name): found \(found.summary) instead of \(last.summary)")
            } catch is RaftLogError {
                noticed += 1
            }
        }
        #expect(noticed > 20)
    }
}
