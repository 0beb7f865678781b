public import ClusterModel
import EngineAPI

/// A secret or a config as one container is to find it. What it holds is in no description, so that no log shows it.
public struct TaskFile: Sendable, Equatable, CustomStringConvertible {
    /// Absolute, inside the container.
    public var target: String
    public var uid: UInt32
    public var gid: UInt32
    public var mode: UInt32
    public var bytes: [UInt8]

    public init(target: String, uid: UInt32, gid: UInt32, mode: UInt32, bytes: [UInt8]) {
        self.target = target
        self.uid = uid
        self.gid = gid
        self.mode = mode
        self.bytes = bytes
    }

    public var description: String { "\(target) (\(bytes.count) bytes)" }
}

/// The files that a task's container finds: its secrets and configs, templates filled in.
///
/// - Source: moby daemon/container_operations_unix.go, `setupSecretDir`; swarmkit template/context.go, `PayloadContext`.
public enum TaskFiles {
    /// - Parameter known: what the secrets and configs of this node hold.
    /// - Throws: for one that the manager has not sent, and for a template without a result.
    public static func make(
        _ assignment: Dispatch.Assignment, known: [Cluster.ID<Cluster.Dependency>: Cluster.Dependency],
        on node: ContainerDocument.Node
    ) throws(ContainerDocument.Unfit) -> [TaskFile] {
        let payloads = try Payloads(assignment, known: known, on: node)
        var files: [TaskFile] = []
        for reference in assignment.dependencies {
            guard let file = reference.file else { continue }
            files.append(
                TaskFile(
                    target: target(file.name, reference.kind), uid: try number(file.uid, "UID", reference),
                    gid: try number(file.gid, "GID", reference), mode: file.mode & 0o7777,
                    bytes: try payloads.bytes(of: reference)))
        }
        return files
    }

    /// A relative name of a secret is below /run/secrets, one of a config below the root.
    static func target(_ name: String, _ kind: Cluster.DependencyKind) -> String {
        if name.hasPrefix("/") { return name }
        return (kind == .secret ? "/run/secrets/" : "/") + name
    }

    private static func number(
        _ text: String, _ word: String, _ reference: Cluster.DependencyReference
    ) throws(ContainerDocument.Unfit) -> UInt32 {
        guard let number = UInt32(text) else {
            throw .init(description: "\(reference.kind) \(reference.name): \(word) \"\(text)\" is not a number")
        }
        return number
    }
}

/// What the secrets and configs of one task hold, for each other's templates too.
private struct Payloads: Sendable {
    private let references: [Cluster.DependencyReference]
    private let known: [Cluster.ID<Cluster.Dependency>: Cluster.Dependency]
    private let root: GoTemplate.Value
    private let environment: [String: String]

    init(
        _ assignment: Dispatch.Assignment, known: [Cluster.ID<Cluster.Dependency>: Cluster.Dependency],
        on node: ContainerDocument.Node
    ) throws(ContainerDocument.Unfit) {
        references = assignment.dependencies
        self.known = known
        root = TemplateContext(assignment, on: node).root
        var environment: [String: String] = [:]
        for entry in try ContainerDocument.environment(assignment, on: node) {
            let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            environment[String(parts[0])] = parts.count > 1 ? String(parts[1]) : ""
        }
        self.environment = environment
    }

    func bytes(of reference: Cluster.DependencyReference) throws(ContainerDocument.Unfit) -> [UInt8] {
        let dependency = try find(reference)
        let raw = Base64.decode(dependency.spec.data) ?? []
        guard dependency.spec.templating != nil else { return raw }
        do {
            let template = try GoTemplate(
                parsing: String(decoding: raw, as: UTF8.self), functions: ["secret", "config", "env"])
            return Array(try template.expand(root, functions: functions).utf8)
        } catch {
            throw .init(description: "expanding \(reference.kind) \(reference.name) failed: \(error)")
        }
    }

    private func find(
        _ reference: Cluster.DependencyReference
    ) throws(ContainerDocument.Unfit) -> Cluster.Dependency {
        guard let id = Cluster.ID<Cluster.Dependency>(reference.id), let dependency = known[id] else {
            throw .init(
                description: "\(reference.kind) \(reference.name) is not here: the manager has not sent it to this node"
            )
        }
        return dependency
    }

    /// `secret` and `config` take the target under which this task has them, as it was written.
    private var functions: [String: GoTemplate.Function] {
        [
            "secret": { arguments throws(GoTemplate.Trouble) in try self.payload(.secret, arguments) },
            "config": { arguments throws(GoTemplate.Trouble) in try self.payload(.config, arguments) },
            "env": { arguments throws(GoTemplate.Trouble) in
                .string(self.environment[try Self.name(arguments)] ?? "")
            },
        ]
    }

    private func payload(
        _ kind: Cluster.DependencyKind, _ arguments: [GoTemplate.Value]
    ) throws(GoTemplate.Trouble) -> GoTemplate.Value {
        let target = try Self.name(arguments)
        guard let reference = references.first(where: { $0.kind == kind && $0.file?.name == target }) else {
            throw GoTemplate.Trouble("\(kind) target \(target) not found")
        }
        let dependency: Cluster.Dependency
        do { dependency = try find(reference) } catch { throw GoTemplate.Trouble("\(error)") }
        return .string(String(decoding: Base64.decode(dependency.spec.data) ?? [], as: UTF8.self))
    }

    private static func name(_ arguments: [GoTemplate.Value]) throws(GoTemplate.Trouble) -> String {
        guard arguments.count == 1, case .string(let name) = arguments[0] else {
            throw GoTemplate.Trouble("want one string, got \(arguments.count) values")
        }
        return name
    }
}
