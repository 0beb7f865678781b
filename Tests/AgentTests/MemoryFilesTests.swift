import ClusterModel
import Foundation
import Orchestration
import Testing

@testable import Agent

@Suite("Files in memory")
struct MemoryFilesTests {
    @Test func `lie on the deepest and last mount above them`() {
        let mounts = """
            /dev/sda1 / ext4 rw 0 0
            tmpfs /run tmpfs rw 0 0
            /dev/sdb1 /run/apus\\040x ext4 rw 0 0
            tmpfs /run/over ext4 rw 0 0
            tmpfs /run/over tmpfs rw 0 0
            """
        #expect(MemoryFiles.fileSystem(of: "/run/apus-tasks/n", in: mounts) == "tmpfs")
        #expect(MemoryFiles.fileSystem(of: "/run/apus x/n", in: mounts) == "ext4")
        #expect(MemoryFiles.fileSystem(of: "/run/over/a", in: mounts) == "tmpfs")
        #expect(MemoryFiles.fileSystem(of: "/running", in: mounts) == "ext4")
        #expect(MemoryFiles.fileSystem(of: "/a", in: "") == nil)
    }

    /// `/dev/shm` is memory on every Linux.
    @Test(.enabled(if: getuid() == 0, "needs root, to give files away"))
    func `are written with owner and mode, found again and cleared`() throws {
        let root = "/dev/shm/apus-test-\(UInt64.random(in: 0...(.max)))"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let node = Cluster.ID<Cluster.Node>(bits: 1)
        let task = Cluster.ID<Cluster.Task>(bits: 2)
        let files = MemoryFiles(root: root, node: node)
        let file = TaskFile(target: "/run/secrets/a", uid: 33, gid: 44, mode: 0o440, bytes: Array("hello".utf8))
        for _ in 0..<2 {
            let places = try files.write([file], of: task)
            #expect(places.map(\.target) == ["/run/secrets/a"])
            let attributes = try FileManager.default.attributesOfItem(atPath: places[0].source)
            #expect(attributes[.posixPermissions] as? Int == 0o440)
            #expect(attributes[.ownerAccountID] as? Int == 33)
            #expect(attributes[.groupOwnerAccountID] as? Int == 44)
            #expect(try String(contentsOfFile: places[0].source, encoding: .utf8) == "hello")
        }
        #expect(MemoryFiles(root: root, node: node).tasks() == [task])
        try files.clear(task)
        #expect(files.tasks().isEmpty)
        try files.clear(task)
    }
}
