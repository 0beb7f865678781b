import ClusterModel
import EngineAPI
import Foundation
import Orchestration
import Testing

/// `docker service create` with every option that the lab's engine has, once on dockerd 20.10.24 in swarm mode: the
/// service as it was accepted and the container that came of it lie in `Fixtures/`, as `docker inspect` shows them.
@Suite("A container of all options")
struct RecordedContainerTests {
    /// What the engine fills in by itself whoever asks it.
    private static let fromEngine: Set<String> = [
        "CgroupnsMode", "IpcMode", "ShmSize", "Runtime", "ConsoleSize", "MaskedPaths", "ReadonlyPaths", "NetworkMode",
        "RestartPolicy", "MemorySwap",
    ]
    /// What is meant to differ: swarm mode keeps the grace to itself, here the engine knows it too.
    private static let ours: Set<String> = ["StopTimeout"]

    @Test func `is asked for as dockerd's swarm mode asks for it`() throws {
        let document = try ContainerDocument.make(
            try assignment(), on: .init(hostname: "docker-1", engine: .init(1, 41)))
        let recorded = try fixture("all-flags.container.json")
        var asked = try #require(document.object)
        asked["HostConfig"] = nil
        #expect(facts(.object(asked)) == facts(recorded["Config"]))
        #expect(facts(document["HostConfig"]) == facts(recorded["HostConfig"]))
        #expect(document["StopTimeout"]?.int == 8)
    }

    @Test func `has its volumes made with driver, options and labels, templates filled in`() throws {
        let volumes = try ContainerDocument.volumes(try assignment(), on: .init(hostname: "docker-1"))
        #expect(
            volumes.map(\.text) == [
                #"{"Name":"vol-1","Driver":"local","DriverOpts":{"device":"tmpfs","type":"tmpfs"},"Labels":{"x":"all","y":"2"}}"#,
                #"{"Name":"named","Labels":{"who":"me"}}"#,
            ])
    }

    private func assignment() throws -> Dispatch.Assignment {
        let spec = try Cluster.ServiceSpec(parsing: try fixture("all-flags.service.json"))
        let start = Cluster.Timestamp(nanoseconds: 1)
        let task = Cluster.Task(
            id: Self.task, service: Self.service, slot: 1, revision: 1, node: Self.node,
            status: .init(.assigned, at: start, message: ""), at: start)
        let revision = Cluster.Revision(
            service: Self.service, number: 1, template: 1, spec: spec, createdAt: start, registryAuth: nil)
        return Dispatch.Assignment(task: task, revision: revision, node: Self.node)
    }

    private static let task = Cluster.ID<Cluster.Task>(bits: 1)
    private static let service = Cluster.ID<Cluster.Service>(bits: 2)
    private static let node = Cluster.ID<Cluster.Node>(bits: 3)

    /// With our own IDs in place of those that dockerd drew, some of which are longer than ours can be.
    private func fixture(_ name: String) throws -> JSON {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: folder.appending(path: "Fixtures/\(name)"), encoding: .utf8)
        return try JSON(
            parsing: text.replacing("1rla0rlp60lhf7y3vx3uvp1dp", with: "\(Self.task)")
                .replacing("sg64n2rpt0nitsoslhysj1x9a", with: "\(Self.service)")
                .replacing("ysm3extuczry705fw4lcfgy13", with: "\(Self.node)"))
    }

    /// What a document says, member by member; nothing, false, zero and empty say nothing.
    private func facts(_ document: JSON?) -> [String: String] {
        var facts: [String: String] = [:]
        for member in document?.object?.members ?? []
        where !Self.fromEngine.contains(member.name) && !Self.ours.contains(member.name) {
            if let value = said(member.value, in: member.name) { facts[member.name] = value.text }
        }
        return facts
    }

    private func said(_ value: JSON, in name: String) -> JSON? {
        switch value {
        case .null, .bool(false), .number("0"), .string(""), .array([]): return nil
        case .array(let elements):
            // The image's own variables come after the service's.
            return .array(
                elements.filter { $0.string?.hasPrefix("PATH=") != true }.map { said($0, in: name) ?? $0 })
        case .object(let object):
            if name == "Labels" { return value.object.map { sorted($0) } }
            var kept = JSON.Object()
            for member in object.members {
                if member.name == "DriverConfig" || ["ExposedPorts", "PortBindings"].contains(name) {
                    kept[member.name] = said(member.value, in: member.name) ?? [:]
                } else if let value = said(member.value, in: member.name) {
                    kept[member.name] = value
                }
            }
            return name == "Isolation" ? nil : sorted(kept)
        default: return value
        }
    }

    private func sorted(_ object: JSON.Object) -> JSON {
        var sorted = JSON.Object()
        for member in object.members.sorted(by: { $0.name < $1.name }) { sorted[member.name] = member.value }
        return .object(sorted)
    }
}
