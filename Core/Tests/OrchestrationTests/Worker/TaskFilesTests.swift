import ClusterModel
import EngineAPI
import Orchestration
import Testing

@Suite("A task's files")
struct TaskFilesTests {
    private let node = ContainerDocument.Node(hostname: "host1")

    private func dependency(
        _ number: UInt128, _ kind: Cluster.DependencyKind, _ name: String, _ base64: String, templating: String? = nil
    ) -> Cluster.Dependency {
        .init(
            id: .init(bits: number), spec: .init(kind: kind, name: name, data: base64, templating: templating),
            at: .init(nanoseconds: 1))
    }

    private func assignment(_ references: [Cluster.DependencyReference], environment: String = "[]") throws
        -> Dispatch.Assignment
    {
        var assignment = try TestWorker.assignment(
            spec: #"{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"nginx","Env":\#(environment)}}}"#)
        assignment.dependencies = references
        return assignment
    }

    private func reference(
        _ number: UInt128, _ kind: Cluster.DependencyKind, _ name: String, _ file: Cluster.DependencyReference.File?
    ) -> Cluster.DependencyReference {
        .init(kind: kind, id: "\(Cluster.ID<Cluster.Dependency>(bits: number))", name: name, file: file)
    }

    private func known(_ all: Cluster.Dependency...) -> [Cluster.ID<Cluster.Dependency>: Cluster.Dependency] {
        Dictionary(uniqueKeysWithValues: all.map { ($0.id, $0) })
    }

    @Test func `lie where and belong to whom the service says`() throws {
        let task = try assignment([
            reference(1, .secret, "key", .init(name: "key", uid: "33", gid: "44", mode: 0o400)),
            reference(1, .secret, "key", .init(name: "/etc/key")),
            reference(2, .config, "site", .init(name: "site.conf")),
        ])
        let files = try TaskFiles.make(
            task, known: known(dependency(1, .secret, "key", "aGVsbG8="), dependency(2, .config, "site", "eA==")),
            on: node)
        #expect(files.map(\.target) == ["/run/secrets/key", "/etc/key", "/site.conf"])
        #expect(files.map(\.mode) == [0o400, 0o444, 0o444])
        #expect(files[0].uid == 33 && files[0].gid == 44)
        #expect(String(decoding: files[1].bytes, as: UTF8.self) == "hello")
        #expect(!"\(files)".contains("hello"), "no description shows what a secret holds")
    }

    @Test func `are filled in where they are templates, and only there`() throws {
        let task = try assignment(
            [
                reference(1, .secret, "key", .init(name: "key")), reference(2, .config, "plain", .init(name: "/p")),
                reference(3, .config, "site", .init(name: "/c")),
            ], environment: #"["MODE={{.Task.Slot}}x"]"#)
        // {{.Node.Hostname}}:{{.Task.Slot}}:{{secret "key"}}:{{config "/p"}}:{{env "MODE"}}
        let template =
            "e3suTm9kZS5Ib3N0bmFtZX19Ont7LlRhc2suU2xvdH19Ont7c2VjcmV0ICJrZXkifX06e3tjb25maWcgIi9wIn19Ont7ZW52ICJNT0RFIn19"
        let all = known(
            dependency(1, .secret, "key", "aGVsbG8="), dependency(2, .config, "plain", "e3sufX0="),
            dependency(3, .config, "site", template, templating: "golang"))
        let files = try TaskFiles.make(task, known: all, on: node)
        #expect(String(decoding: files[1].bytes, as: UTF8.self) == "{{.}}")
        #expect(
            String(decoding: files[2].bytes, as: UTF8.self) == "host1:1:hello:{{.}}:1xx".replacing("1xx", with: "1x"))
    }

    @Test func `that are not here yet are named`() throws {
        let task = try assignment([reference(1, .secret, "key", .init(name: "key"))])
        let error = #expect(throws: ContainerDocument.Unfit.self) { try TaskFiles.make(task, known: [:], on: node) }
        #expect(error?.description == "secret key is not here: the manager has not sent it to this node")
    }

    @Test func `whose template asks for a stranger's secret are refused`() throws {
        let task = try assignment([reference(3, .config, "site", .init(name: "/c"))])
        let all = known(
            dependency(1, .secret, "key", "aGVsbG8="),
            dependency(3, .config, "site", "e3tzZWNyZXQgImtleSJ9fQ==", templating: "golang"))
        let error = #expect(throws: ContainerDocument.Unfit.self) { try TaskFiles.make(task, known: all, on: node) }
        #expect(error?.description.hasSuffix("error calling secret: secret target key not found") == true)
    }

    @Test func `are mounted to be read only`() throws {
        let document = try ContainerDocument.make(
            try assignment([]), on: node, files: [.init(source: "/run/x/0", target: "/run/secrets/key")])
        #expect(
            document["HostConfig"]?["Mounts"]?.text
                == #"[{"Type":"bind","Source":"/run/x/0","Target":"/run/secrets/key","ReadOnly":true,"BindOptions":{"Propagation":"rprivate"}}]"#
        )
    }
}
