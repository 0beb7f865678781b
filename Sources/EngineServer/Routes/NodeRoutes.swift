import ClusterModel
import ClusterStore
import EngineAPI

extension Router {
    func listNodes(_ call: Call) async throws -> Response {
        let filters = try call.filters(["id", "label", "membership", "name", "node.label", "role"])
        for role in filters["role"] where Cluster.Role(rawValue: role) == nil {
            throw Refusal(400, "Invalid role filter: '\(role)'")
        }
        for membership in filters["membership"] where !["accepted", "pending"].contains(membership) {
            throw Refusal(400, "Invalid membership filter: '\(membership)'")
        }
        let cluster = try await life.cluster()
        let store = try await cluster.snapshot()
        let managers = await cluster.managers()
        let nodes = store.nodes.filter { node in
            filters.allows("id") { node.id.description.hasPrefix($0) }
                && filters.allows("name") { (node.description?.hostname ?? "").hasPrefix($0) }
                && filters.allows("role") { node.spec.role.rawValue == $0 }
                // Who is in the store was accepted: there are no others.
                && filters.allows("membership") { $0 == "accepted" }
                && filters.allowsLabels("label", node.description?.engineLabels ?? [:])
                && filters.allowsLabels("node.label", node.spec.labels)
        }
        return .json(.array(nodes.map { ClusterWords.node($0, in: store.swarm, managers) }))
    }

    func inspectNode(_ call: Call) async throws -> Response {
        let cluster = try await life.cluster()
        let store = try await cluster.snapshot()
        let node = try store.findNode(call.reference)
        return .json(ClusterWords.node(node, in: store.swarm, await cluster.managers()))
    }

    func removeNode(_ call: Call) async throws -> Response {
        let cluster = try await life.cluster()
        let node = try await cluster.snapshot().findNode(call.reference)
        _ = try await cluster.submit(.removeNode(node.id, force: call.query.flag("force")))
        return .empty
    }

    func updateNode(_ call: Call) async throws -> Response {
        let document = try call.document()
        let version = try call.query.objectVersion(of: "node")
        let spec = try plainly { () throws(ControlError) in try Cluster.NodeSpec(parsing: document) }
        let cluster = try await life.cluster()
        let node = try await cluster.snapshot().findNode(call.reference)
        _ = try await cluster.submit(.updateNode(node.id, version: version, spec))
        return .empty
    }
}
