import ClusterModel
import ClusterStore

/// What a client means by a text: an ID, a name, or the beginning of an ID that only one object has. In this order.
///
/// - Source: moby daemon/cluster/helpers.go.
extension ClusterStore {
    func findService(_ reference: String) throws -> Cluster.Service {
        if let exact = Cluster.ID<Cluster.Service>(reference).flatMap({ service($0) }) { return exact }
        if let named = service(named: reference) { return named }
        return try only("service", reference, services.filter { $0.id.description.hasPrefix(reference) })
    }

    /// A node's name is its host's, which several may share.
    func findNode(_ reference: String) throws -> Cluster.Node {
        if let exact = Cluster.ID<Cluster.Node>(reference).flatMap({ node($0) }) { return exact }
        let named = nodes.filter { $0.description?.hostname == reference || $0.spec.name == reference }
        if !named.isEmpty { return try only("node", reference, named) }
        return try only("node", reference, nodes.filter { $0.id.description.hasPrefix(reference) })
    }

    func findTask(_ reference: String) throws -> Cluster.Task {
        if let exact = Cluster.ID<Cluster.Task>(reference).flatMap({ task($0) }) { return exact }
        let tasks = self.tasks
        var words = TaskWords(self)
        let named = tasks.filter { words.name(of: $0) == reference }
        if !named.isEmpty { return try only("task", reference, named) }
        return try only("task", reference, tasks.filter { $0.id.description.hasPrefix(reference) })
    }

    /// Unlike the others: nil when it is none of ours, because the engine has networks too.
    func findNetwork(_ reference: String) throws -> Cluster.Network? {
        if let exact = Cluster.ID<Cluster.Network>(reference).flatMap({ network($0) }) { return exact }
        let networks = networks
        if let named = networks.first(where: { $0.spec.name == reference }) { return named }
        let found = networks.filter { $0.id.description.hasPrefix(reference) }
        return found.isEmpty ? nil : try only("network", reference, found)
    }

    func only<Object>(_ kind: String, _ reference: String, _ found: [Object]) throws -> Object {
        guard let first = found.first, !reference.isEmpty else { throw Refusal(404, "\(kind) \(reference) not found") }
        guard found.count == 1 else {
            throw Refusal(400, "\(kind) \(reference) is ambiguous (\(found.count) matches found)")
        }
        return first
    }
}
