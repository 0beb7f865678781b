import ClusterModel
import ClusterStore

/// What becomes of requests about secrets and configs.
///
/// - Source: swarmkit manager/controlapi/secret.go, config.go.
enum DependencyRequests {
    typealias ID = Cluster.ID<Cluster.Dependency>

    static func create(_ spec: Cluster.DependencySpec, in draft: inout Draft) throws(ControlError) -> Control.Reply {
        guard draft.store.dependency(spec.kind, named: spec.name) == nil else {
            throw .alreadyExists("\(spec.kind) \(spec.name) already exists")
        }
        let dependency = Cluster.Dependency(id: draft.ids.next(), spec: spec, at: draft.now)
        draft.make(.putDependency(dependency))
        return Control.Reply(created: dependency.id.description)
    }

    static func relabel(
        _ id: ID, _ kind: Cluster.DependencyKind, version: UInt64, _ labels: [String: String], in draft: inout Draft
    ) throws(ControlError) -> Control.Reply {
        var dependency = try find(id, kind, in: draft.store)
        guard dependency.meta.version == version else { throw .outOfSequence }
        dependency.spec.labels = labels
        draft.make(.putDependency(dependency))
        return Control.Reply()
    }

    static func remove(
        _ id: ID, _ kind: Cluster.DependencyKind, in draft: inout Draft
    ) throws(ControlError) -> Control.Reply {
        let dependency = try find(id, kind, in: draft.store)
        let users = draft.store.services.compactMap { service -> String? in
            let spec = draft.store.currentRevision(of: service)?.spec
            return spec?.dependencies.contains { $0.kind == kind && $0.id == id.description } == true ? spec?.name : nil
        }
        guard users.isEmpty else {
            let services = users.count == 1 ? "service" : "services"
            throw .invalidArgument(
                "\(kind) '\(dependency.spec.name)' is in use by the following \(services): \(users.sorted().joined(separator: ", "))"
            )
        }
        draft.make(.removeDependency(id))
        return Control.Reply()
    }

    /// - Throws: when a service's spec names one that is not there.
    static func check(_ spec: Cluster.ServiceSpec, in store: ClusterStore) throws(ControlError) {
        for kind in Cluster.DependencyKind.allCases {
            let missing = spec.dependencies.filter { reference in
                guard reference.kind == kind else { return false }
                let spec = ID(reference.id).flatMap(store.dependency)?.spec
                return spec?.kind != kind || spec?.name != reference.name
            }
            guard !missing.isEmpty else { continue }
            let words = missing.count == 1 ? "\(kind)" : "\(kind)s"
            throw .invalidArgument("\(words) not found: \(missing.map(\.name).joined(separator: ", "))")
        }
    }

    private static func find(
        _ id: ID, _ kind: Cluster.DependencyKind, in store: ClusterStore
    ) throws(ControlError) -> Cluster.Dependency {
        guard let found = store.dependency(id), found.spec.kind == kind else {
            throw .notFound(kind: kind.rawValue, reference: id.description)
        }
        return found
    }
}
