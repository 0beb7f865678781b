internal import ClusterModel
internal import Foundation
internal import Orchestration

#if canImport(Glibc)
    private import Glibc
#endif

/// Keeps the secrets and configs of tasks in memory, where containers can be given them: never on a disk.
///
/// One directory for each task, which only root may enter; a container sees its own files through mounts, to read only.
/// They outlive `apusd`, as containers do, and are cleared once the task's process has ended.
struct MemoryFiles: Sendable {
    /// Not the unit's own runtime directory: that goes when `apusd` stops, and containers stay.
    static let usualRoot = "/run/apus-tasks"

    struct Failure: Error, Sendable, CustomStringConvertible {
        var description: String
    }

    private let root: String

    /// - Parameter root: a directory in memory; where it is not in memory, memory is mounted there.
    init(root: String, node: Cluster.ID<Cluster.Node>) { self.root = "\(root)/\(node)" }

    /// Writes a task's files anew.
    ///
    /// - Returns: where each of them lies, in their order.
    func write(_ files: [TaskFile], of task: Cluster.ID<Cluster.Task>) throws -> [ContainerDocument.MountedFile] {
        guard !files.isEmpty else { return [] }
        try prepareRoot()
        try clear(task)
        let folder = "\(root)/\(task)"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        var places: [ContainerDocument.MountedFile] = []
        for (number, file) in files.enumerated() {
            let path = "\(folder)/\(number)"
            guard
                FileManager.default.createFile(
                    atPath: path, contents: Data(file.bytes), attributes: [.posixPermissions: 0o600])
            else { throw Failure(description: "\(path) cannot be written") }
            // The owner first: a change of owner takes the set-uid bits away.
            guard chown(path, file.uid, file.gid) == 0, chmod(path, mode_t(file.mode)) == 0 else {
                throw Failure(description: "\(path) cannot be given to \(file.uid):\(file.gid)")
            }
            places.append(.init(source: path, target: file.target))
        }
        return places
    }

    /// The tasks of which files are kept, from earlier lives too.
    func tasks() -> Set<Cluster.ID<Cluster.Task>> {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        return Set(names.compactMap { Cluster.ID<Cluster.Task>($0) })
    }

    func clear(_ task: Cluster.ID<Cluster.Task>) throws {
        let folder = "\(root)/\(task)"
        guard FileManager.default.fileExists(atPath: folder) else { return }
        try FileManager.default.removeItem(atPath: folder)
    }

    private func prepareRoot() throws {
        try FileManager.default.createDirectory(
            atPath: root, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        if try isInMemory() { return }
        guard mount("tmpfs", root, "tmpfs", UInt(MS_NOSUID | MS_NODEV), "mode=0700") == 0, try isInMemory() else {
            throw Failure(
                description: """
                    secrets and configs are kept in memory only, and no memory can be mounted at \(root): \
                    \(String(cString: strerror(errno)))
                    """)
        }
    }

    private func isInMemory() throws -> Bool {
        let mounts = try String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)
        return ["tmpfs", "ramfs"].contains(Self.fileSystem(of: root, in: mounts))
    }

    /// The type of the file system on which a path lies, by the text of `/proc/self/mounts`: the deepest mount above it,
    /// and of those the last.
    static func fileSystem(of path: String, in mounts: String) -> String? {
        var best: (depth: Int, type: String)?
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 2 else { continue }
            let place = fields[1].replacing("\\040", with: " ")
            guard path == place || place == "/" || path.hasPrefix(place + "/") else { continue }
            if place.utf8.count >= best?.depth ?? 0 { best = (place.utf8.count, String(fields[2])) }
        }
        return best?.type
    }
}
