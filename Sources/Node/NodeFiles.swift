import ClusterModel
import Foundation
import NodeLink

/// What a node remembers of its swarm beside its certificates: where it listens and whom it can turn to.
struct NodeRecord: Codable, Sendable, Equatable {
    var listenAddress: String
    var advertiseAddress: String
    /// What the user gave for it: an address, the name of an interface, or nothing; nil where that was not kept.
    var advertiseWish: String?
    var dataPathAddress: String
    /// Those that were last known; the first to answer is asked.
    var managers: [Dispatch.ManagerAddress]
    /// Its number among the managers; kept even while it is a worker, never used again after it left.
    var member: UInt64?
    /// The managers at the time when it became one.
    var firstPeers: [ManagerSeat.Place]?
}

/// The files under the data directory. A file is there whole or not at all: written aside, synced, renamed.
struct NodeFiles: Sendable {
    let root: String

    var swarm: String { root + "/swarm" }
    var certificates: String { swarm + "/certificates" }
    var raft: String { swarm + "/raft" }
    /// What the log is encrypted with: apart from it, so that a copy of the log alone tells nothing.
    var raftKeys: String { certificates + "/swarm-raft.key" }
    private var record: String { swarm + "/node.json" }

    /// This node is in a swarm, or was when it last ran.
    var hasSwarm: Bool { FileManager.default.fileExists(atPath: record) }

    func prepare() throws {
        try makeDirectory(root)
        // An init or join that was cut off before it was whole.
        try? FileManager.default.removeItem(atPath: root + "/swarm.new")
        if !hasSwarm { try? FileManager.default.removeItem(atPath: swarm) }
    }

    /// Builds the swarm's directory aside and puts it in place in one step.
    func create(_ build: (NodeFiles) throws -> NodeRecord) throws {
        try? FileManager.default.removeItem(atPath: root + "/swarm.new")
        let aside = NodeFiles(root: root + "/swarm.new")
        try makeDirectory(aside.root)
        try makeDirectory(aside.swarm)
        let record = try build(aside)
        try aside.write(record)
        try? FileManager.default.removeItem(atPath: swarm)
        try FileManager.default.moveItem(atPath: aside.swarm, toPath: swarm)
        try? FileManager.default.removeItem(atPath: aside.root)
        sync(directory: root)
    }

    func readRecord() throws -> NodeRecord {
        do {
            return try JSONDecoder().decode(NodeRecord.self, from: Data(contentsOf: URL(fileURLWithPath: record)))
        } catch {
            throw UnreadableFile(path: record, reason: "\(error)")
        }
    }

    func write(_ value: NodeRecord) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try encoder.encode(value).write(to: URL(fileURLWithPath: record + ".new"))
        let file = open(record + ".new", O_RDONLY)
        fsync(file)
        close(file)
        guard rename(record + ".new", record) == 0 else {
            throw UnreadableFile(path: record, reason: String(cString: strerror(errno)))
        }
        sync(directory: swarm)
    }

    /// Forgets the swarm.
    func removeSwarm() throws {
        // The record goes first: without it the rest is rubbish, whatever happens now.
        unlink(record)
        sync(directory: swarm)
        try? FileManager.default.removeItem(atPath: swarm)
    }

    private func makeDirectory(_ path: String) throws {
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    private func sync(directory: String) {
        let file = open(directory, O_RDONLY)
        fsync(file)
        close(file)
    }
}

struct UnreadableFile: Error, CustomStringConvertible {
    var path: String
    var reason: String
    var description: String {
        "\(path) cannot be used: \(reason). Restore it, or let the node leave (`docker swarm leave --force`) and join again."
    }
}
