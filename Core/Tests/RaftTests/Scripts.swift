import Testing
@testable import Raft

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Whole conversations, written down: a command, a line of dashes, what came of it. `REWRITE=1 swift test --filter
/// ScriptTests` writes anew what came; read the difference before you commit it.
///
/// - Source: the form is that of etcd's raft, `testdata/*.txt`.
@Suite("A conversation goes as written")
struct ScriptTests {
    static let names = [
        "election", "prevote", "figure_7_logs_repaired", "figure_8_old_term", "pipeline", "membership", "transfer",
        "snapshot", "reads", "single_voter",
    ]

    private static let folder = String(#filePath.dropLast(".swift".count))

    @Test("in", arguments: names) func script(name: String) throws {
        let path = Self.folder + "/\(name).txt"
        let written = try #require(File.read(path), "no script at \(path)")
        var group = Group()
        var result: [String] = []
        for block in written.split(separator: "\n\n", omittingEmptySubsequences: true) {
            let lines = block.split(separator: "\n").map(String.init)
            let commands = lines.prefix { $0 != "----" }
            guard lines.contains("----") || commands.contains(where: { !$0.hasPrefix("#") }) else {
                result.append(commands.joined(separator: "\n"))
                continue
            }
            group.listen()
            for command in commands where !command.hasPrefix("#") { try group.run(command) }
            result.append((commands + ["----"] + (group.lines.isEmpty ? ["ok"] : group.lines)).joined(separator: "\n"))
        }
        let text = result.joined(separator: "\n\n") + "\n"
        if getenv("REWRITE") != nil {
            #expect(File.write(text, to: path))
        } else {
            let (want, got) = (written.split(separator: "\n"), text.split(separator: "\n"))
            let place =
                zip(want, got).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(want.count, got.count)
            #expect(
                want == got,
                """
                \(name).txt differs at its line \(place + 1) (blank ones not counted):
                written: \(place < want.count ? want[place] : "nothing more")
                came:    \(place < got.count ? got[place] : "nothing more")
                """)
        }
    }

    @Test func `every script is in the list`() {
        // A file that nobody names would never run.
        #expect(File.names(in: Self.folder).sorted() == Self.names.map { $0 + ".txt" }.sorted())
    }
}

// MARK: - The commands

extension Group {
    struct UnknownCommand: Error { var line: String }

    mutating func run(_ line: String) throws {
        let words = line.split(separator: " ").map(String.init)
        let ids = words.dropFirst().compactMap { UInt64($0) }
        switch words[0] {
        case "settings":
            for word in words.dropFirst() {
                let pair = word.split(separator: "=")
                let value = Int(pair[1])!
                switch pair[0] {
                case "window": settings.maxInflightAppends = value
                case "appendBytes": settings.maxEntryBytesPerAppend = value
                case "kept": settings.keptEntries = LogIndex(value)
                default: throw UnknownCommand(line: line)
                }
            }
        case "voters": form(voters: ids)
        case "disk":  // disk 1 term 6 log 1 1 1 4 4
            let log = words.firstIndex(of: "log")!
            write(words[(log + 1)...].map { Term($0)! }, term: Term(words[3])!, onDiskOf: MemberID(ids[0]))
        case "start": for id in disks.keys.sorted() { start(id) }
        case "join": join(ids[0])
        case "campaign": campaign(ids[0])
        case "tick": tick(ids[0], times: ids.count > 1 ? Int(ids[1]) : 1)
        case "propose": propose(ids[0], words[2])
        case "read": step(ids[0], .read(ReadToken(ids[1])))
        case "deliver": deliver(to: ids.first)
        case "drop":
            if let id = ids.first { drop { $0.to == MemberID(id) } } else { drop() }
        case "isolate": for id in ids { isolate(id) }
        case "rejoin": for id in ids { rejoin(id) }
        case "hold": hold(ids[0], true)
        case "sync": hold(ids[0], false)
        case "crash": crash(ids[0])
        case "add": change(ids, .addLearner(Self.member(ids[1], isLearner: true)))
        case "promote": change(ids, .promote(MemberID(ids[1])))
        case "remove": change(ids, .remove(MemberID(ids[1])))
        case "transfer": step(ids[0], .transferLeadership(to: ids.count > 1 ? MemberID(ids[1]) : nil))
        case "unreachable": step(ids[0], .unreachable(MemberID(ids[1])))
        case "link-closed": step(ids[0], .linkClosed(MemberID(ids[1])))
        case "compact": compact(ids[0], upTo: ids[1])
        case "stream":  // stream 1 2: the owner of 1 streams its snapshot to 2
            let meta = disks[MemberID(ids[0])]!.snapshot!
            step(ids[1], .received(self[ids[0]].snapshotOffer(of: meta)!, from: MemberID(ids[0])))
            step(ids[0], .snapshotSent(to: MemberID(ids[1]), ok: true))
        case "installed":
            let meta = disks[MemberID(ids[1])]!.snapshot!
            step(ids[0], .snapshotInstalled(meta))
        case "show": show(ids)
        default: throw UnknownCommand(line: line)
        }
    }

    private mutating func change(_ ids: [UInt64], _ change: MembershipChange) {
        step(ids[0], .changeMembership(ProposalToken(1), change))
    }

    private mutating func show(_ ids: [UInt64]) {
        for id in ids.isEmpty ? machines.keys.sorted().map(\.rawValue) : ids {
            let machine = self[id]
            say(
                "\(id) is \(machine.role) in \(machine.term), commit \(machine.commitIndex), "
                    + "log \(machine.firstIndex): \(terms(id).map(String.init).joined(separator: " "))")
            for peer in machine.progress {
                say("  \(peer.id): match \(peer.match) next \(peer.next) \(peer.state) inflight \(peer.inflight)")
            }
        }
    }
}

/// Three calls, so that Raft's tests need no Foundation.
enum File {
    static func read(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func write(_ text: String, to path: String) -> Bool {
        guard let file = fopen(path, "w") else { return false }
        defer { fclose(file) }
        let bytes = Array(text.utf8)
        return fwrite(bytes, 1, bytes.count, file) == bytes.count
    }

    static func names(in folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(".txt") { names.append(name) }
        }
        return names
    }
}
