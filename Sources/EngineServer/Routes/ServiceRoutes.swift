import ClusterModel
import ClusterStore
import EngineAPI

extension Router {
    func listServices(_ call: Call) async throws -> Response {
        let filters = try call.filters(["id", "label", "mode", "name", "runtime"])
        let withStatus = try call.query.strictFlag("status")
        let store = try await life.cluster().snapshot()
        var list: [JSON] = []
        for service in store.services {
            guard let spec = store.currentRevision(of: service)?.spec,
                filters.allows("id", where: { service.id.description.hasPrefix($0) }),
                filters.allows("name", where: { spec.name.hasPrefix($0) }),
                filters.allows("mode", where: { spec.mode.word == $0 }),
                filters.allows("runtime", where: { $0 == "container" }),
                filters.allowsLabels("label", spec.labels)
            else { continue }
            list.append(ClusterWords.service(service, in: store, withStatus: withStatus))
        }
        return .json(.array(list))
    }

    func createService(_ call: Call) async throws -> Response {
        let cluster = try await life.cluster()
        let spec = try newServiceSpec(call)
        let reply = try await cluster.submit(.createService(spec, registryAuth: registryAuth(call)))
        var answer: JSON = ["ID": .string(reply.created ?? "")]
        if !reply.warnings.isEmpty { answer["Warnings"] = JSON(reply.warnings) }
        return .json(answer, status: 201)
    }

    func inspectService(_ call: Call) async throws -> Response {
        let withDefaults = try call.query.strictFlag("insertDefaults")
        let store = try await life.cluster().snapshot()
        let service = try store.findService(call.reference)
        return .json(ClusterWords.service(service, in: store, withDefaults: withDefaults))
    }

    func removeService(_ call: Call) async throws -> Response {
        let cluster = try await life.cluster()
        let service = try await cluster.snapshot().findService(call.reference)
        _ = try await cluster.submit(.removeService(service.id))
        return .empty
    }

    func updateService(_ call: Call) async throws -> Response {
        let version = try call.query.objectVersion(of: "service")
        let change: Control.ServiceChange
        switch call.query["rollback"] ?? "" {
        case "", "none": change = .spec(try serviceSpec(call))
        // What is sent along is the present spec: dockerd reads it and does not use it.
        case "previous": change = .rollback
        case let other: throw Refusal(400, "unrecognized rollback option \(other)")
        }
        let auth: Control.RegistryAuth
        switch (registryAuth(call), call.query["registryAuthFrom"] ?? "") {
        case (let text?, _): auth = .new(text)
        case (nil, "spec"), (nil, ""): auth = .fromCurrent
        case (nil, "previous-spec"): auth = .fromPrevious
        case (nil, _): throw Refusal(400, "unsupported registryAuthFrom value")
        }
        let cluster = try await life.cluster()
        let service = try await cluster.snapshot().findService(call.reference)
        let reply = try await cluster.submit(.updateService(service.id, version: version, change, registryAuth: auth))
        return .json(["Warnings": reply.warnings.isEmpty ? .null : JSON(reply.warnings)])
    }

    // MARK: Reading what was asked for

    private func serviceSpec(_ call: Call) throws -> Cluster.ServiceSpec {
        try Cluster.ServiceSpec(parsing: ServiceDocument.filled(try call.document()))
    }

    /// A service may come without a name; then it is given one, as dockerd does.
    private func newServiceSpec(_ call: Call) throws -> Cluster.ServiceSpec {
        var document = ServiceDocument.filled(try call.document())
        if case .object = document, document["Name"] == nil || document["Name"] == "" {
            document["Name"] = .string(ServiceNames.random())
        }
        return try Cluster.ServiceSpec(parsing: document)
    }

    /// Credentials as the client sent them; nil for none. `{}` in base64 is what a CLI without a login sends.
    private func registryAuth(_ call: Call) -> String? {
        guard let text = call.request[header: "X-Registry-Auth"], !text.isEmpty else { return nil }
        return text
    }
}
