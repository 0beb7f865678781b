import ClusterModel
import ClusterStore
import EngineAPI

// Networks are the one kind of object that the engine and the cluster both have. Ours are shown beside the engine's, and
// the bridges that carry ours on this node are hidden: nobody may take them away.

extension Router {
    /// The label on the engine's own networks that carry ours. Its value is our network's ID.
    package static let carrierLabel = "apus.network"

    func listNetworks(_ call: Call) async throws -> Response {
        let filters = try call.filters(["dangling", "driver", "id", "label", "name", "scope", "type"])
        let answer = try await relay(call)
        guard answer.status == 200, let local = try? JSON(parsing: answer.body).array else { return answer }
        let ours = (await clusterStore()?.networks ?? []).filter { network in
            filters.allows("driver") { network.spec.driver == $0 }
                && filters.allows("id") { network.id.description.hasPrefix($0) }
                && filters.allows("name") { network.spec.name.contains($0) }
                && filters.allows("scope") { $0 == "swarm" } && filters.allows("type") { $0 == "custom" }
                && filters.allows("dangling") { ["0", "false"].contains($0) }
                && filters.allowsLabels("label", network.spec.labels)
        }
        return .json(.array(ours.map(ClusterWords.network) + local.filter { $0["Labels"]?[Self.carrierLabel] == nil }))
    }

    func inspectNetwork(_ call: Call) async throws -> Response {
        if call.query["scope"].map({ $0 == "swarm" || $0.isEmpty }) ?? true, let store = await clusterStore(),
            let network = try store.findNetwork(call.reference)
        {
            let node = await life.local().nodeID
            return .json(
                ClusterWords.network(network, on: node, verbose: try call.query.strictFlag("verbose"), in: store))
        }
        return try await relayUnlessCarrier(call)
    }

    /// Others than those that span nodes are the engine's: they never come here.
    func createNetwork(_ call: Call) async throws -> Response {
        let spec = try Cluster.NetworkSpec(parsing: try call.document())
        // The engine's own name would hide ours from half of the commands.
        if (try? await engine.get("/networks/\(Percent.encode(spec.name))"))?.status == 200 {
            throw Refusal(409, "network with name \(spec.name) already exists")
        }
        let reply = try await life.cluster().submit(.createNetwork(spec))
        return .json(["Id": .string(reply.created ?? ""), "Warning": ""], status: 201)
    }

    func removeNetwork(_ call: Call) async throws -> Response {
        guard let network = try await clusterStore()?.findNetwork(call.reference) else {
            return try await relayUnlessCarrier(call)
        }
        _ = try await life.cluster().submit(.removeNetwork(network.id))
        return Response(status: 204)
    }

    /// The engine's, but for the bridges that carry ours; then those of ours on which nobody is.
    func pruneNetworks(_ call: Call) async throws -> Response {
        let filters = try call.filters(["label", "label!", "until"])
        var kept = filters
        kept["label!"].append(Self.carrierLabel)
        var request = call.request
        request.query["filters"] = kept.text
        let answer = try await relay(Call(request: request, reference: call.reference))
        guard answer.status == 200, var words = try? JSON(parsing: answer.body) else { return answer }
        var deleted = words["NetworksDeleted"]?.array ?? []
        if filters["until"].isEmpty, filters["label!"].isEmpty, let cluster = try? await life.cluster(),
            let store = try? await cluster.snapshot()
        {
            for network in store.networks
            where !network.spec.isIngress && filters.allowsLabels("label", network.spec.labels) {
                // In use: it stays, and that is no failure.
                guard (try? await cluster.submit(.removeNetwork(network.id))) != nil else { continue }
                deleted.append(.string(network.spec.name))
            }
        }
        words["NetworksDeleted"] = deleted.isEmpty ? .null : .array(deleted)
        return .json(words)
    }

    /// `connect` and `disconnect`.
    func changeNetworkMembers(_ call: Call) async throws -> Response {
        if let network = try await clusterStore()?.findNetwork(call.reference) {
            guard network.spec.isAttachable else {
                throw Refusal(
                    403,
                    "Could not attach to network \(network.spec.name): rpc error: code = PermissionDenied desc = network \(network.id) not manually attachable"
                )
            }
            throw Refusal(
                501,
                "containers that are no tasks cannot join networks of the swarm yet: run it as a service, with --network \(network.spec.name)"
            )
        }
        return try await relayUnlessCarrier(call)
    }

    /// A network that would have to span nodes.
    static func isForCluster(_ network: JSON) -> Bool {
        network["Driver"]?.string?.lowercased() == "overlay" || network["Scope"]?.string?.lowercased() == "swarm"
            || network["Ingress"]?.bool == true
    }

    // MARK: The engine's part

    /// What the cluster holds, where this node can say: a worker shows the engine's networks alone.
    private func clusterStore() async -> ClusterStore? {
        guard await life.local().controlAvailable else { return nil }
        return try? await within(.seconds(3)) { [life] in try await life.cluster().snapshot() }
    }

    /// The bridge beneath one of ours does not exist for clients.
    private func relayUnlessCarrier(_ call: Call) async throws -> Response {
        let answer = try await engine.get("/networks/\(Percent.encode(call.reference))")
        if answer.status == 200, let network = try? JSON(parsing: answer.body),
            network["Labels"]?[Self.carrierLabel] != nil
        {
            throw Refusal(404, "network \(call.reference) not found")
        }
        return try await relay(call)
    }

    private func relay(_ call: Call) async throws -> Response {
        let request = call.request
        var path = "/" + request.path.map(Percent.encode).joined(separator: "/")
        if let version = request.version, version <= (await spokenVersion()) { path = "/v\(version)" + path }
        if !request.query.text.isEmpty { path += "?" + request.query.text }
        return relay(try await engine.ask(request.method, path, body: request.body))
    }
}
