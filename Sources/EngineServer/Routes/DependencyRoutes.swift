import ClusterModel
import ClusterStore
import EngineAPI

// Secrets and configs: the same five routes for both.

extension Router {
    func listDependencies(_ call: Call) async throws -> Response {
        let filters = try call.filters(["id", "label", "name", "names"])
        let kind = kind(call)
        let found = try await life.cluster().snapshot().dependencies.filter { dependency in
            dependency.spec.kind == kind && filters.allows("id") { dependency.id.description.hasPrefix($0) }
                && filters.allows("name") { dependency.spec.name.hasPrefix($0) }
                && filters.allows("names") { dependency.spec.name == $0 }
                && filters.allowsLabels("label", dependency.spec.labels)
        }
        return .json(.array(found.map(ClusterWords.dependency)))
    }

    func createDependency(_ call: Call) async throws -> Response {
        let cluster = try await life.cluster()
        let spec = try Cluster.DependencySpec(kind(call), parsing: try call.document())
        let reply = try await cluster.submit(.createDependency(spec))
        return .json(["ID": .string(reply.created ?? "")], status: 201)
    }

    func inspectDependency(_ call: Call) async throws -> Response {
        let store = try await life.cluster().snapshot()
        return .json(ClusterWords.dependency(try store.findDependency(kind(call), call.reference)))
    }

    func updateDependency(_ call: Call) async throws -> Response {
        let kind = kind(call)
        guard let version = try? call.query.objectVersion(of: kind.rawValue) else {
            throw Refusal(400, "invalid \(kind) version")
        }
        let document = try call.document()
        let cluster = try await life.cluster()
        let dependency = try await cluster.snapshot().findDependency(kind, call.reference)
        var labels: [String: String] = [:]
        for member in document["Labels"]?.object?.members ?? [] { labels[member.name] = member.value.string ?? "" }
        // What a client shows again of a secret has no data; all else must be as it is.
        let data = document["Data"]?.string ?? ""
        guard document["Name"]?.string ?? "" == dependency.spec.name, data.isEmpty || data == dependency.spec.data
        else {
            throw ControlError.invalidArgument("only updates to Labels are allowed")
        }
        _ = try await cluster.submit(.relabelDependency(dependency.id, kind, version: version, labels: labels))
        return .empty
    }

    func removeDependency(_ call: Call) async throws -> Response {
        let kind = kind(call)
        let cluster = try await life.cluster()
        let dependency = try await cluster.snapshot().findDependency(kind, call.reference)
        _ = try await cluster.submit(.removeDependency(dependency.id, kind))
        return Response(status: 204)
    }

    private func kind(_ call: Call) -> Cluster.DependencyKind {
        call.request.path.first == "secrets" ? .secret : .config
    }
}

extension ClusterStore {
    func findDependency(_ kind: Cluster.DependencyKind, _ reference: String) throws -> Cluster.Dependency {
        if let exact = Cluster.ID<Cluster.Dependency>(reference).flatMap({ dependency($0) }), exact.spec.kind == kind {
            return exact
        }
        if let named = dependency(kind, named: reference) { return named }
        return try only(
            kind.rawValue, reference,
            dependencies.filter { $0.spec.kind == kind && $0.id.description.hasPrefix(reference) })
    }
}

extension ClusterWords {
    /// A secret without what it holds; a config with it.
    static func dependency(_ dependency: Cluster.Dependency) -> JSON {
        var words = head(dependency.id, dependency.meta)
        var spec: JSON = ["Name": .string(dependency.spec.name), "Labels": JSON(dependency.spec.labels)]
        if dependency.spec.kind == .config { spec["Data"] = .string(dependency.spec.data) }
        if let templating = dependency.spec.templating { spec["Templating"] = ["Name": .string(templating)] }
        words["Spec"] = spec
        return words
    }
}
