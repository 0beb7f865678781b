import ClusterModel
import ClusterStore

/// What becomes of requests about services.
///
/// - Source: swarmkit manager/controlapi/service.go.
enum ServiceRequests {
    /// How many versions of a service are kept to go back to.
    static let keptRevisions = 10

    static func create(
        _ spec: Cluster.ServiceSpec, registryAuth: String?, book: inout AddressBook, in draft: inout Draft
    ) throws(ControlError) -> Control.Reply {
        let spec = try NetworkRequests.resolve(spec, in: draft.store)
        try DependencyRequests.check(spec, in: draft.store)
        guard draft.store.service(named: spec.name) == nil else {
            throw .alreadyExists("name conflicts with an existing object: service \(spec.name) already exists")
        }
        var service = Cluster.Service(id: draft.ids.next(), at: draft.now)
        service.endpoint = try book.endpoint(of: service, spec, in: draft.store)
        draft.make(
            .putRevision(
                Cluster.Revision(
                    service: service.id, number: 1, template: 1, spec: spec, createdAt: draft.now,
                    registryAuth: registryAuth)))
        draft.make(.putService(service))
        return Control.Reply(created: service.id.description)
    }

    static func update(
        _ id: Cluster.ID<Cluster.Service>, version: UInt64, _ change: Control.ServiceChange,
        registryAuth: Control.RegistryAuth, book: inout AddressBook, in draft: inout Draft
    ) throws(ControlError) -> Control.Reply {
        var service = try find(id, in: draft.store)
        guard service.meta.version == version else { throw .outOfSequence }
        let current = draft.store.currentRevision(of: service)!

        switch change {
        case .rollback:
            guard let previous = service.previous, let revision = draft.store.revision(previous, of: id) else {
                throw .failedPrecondition("service \(id) does not have a previous spec")
            }
            service.endpoint = try book.endpoint(of: service, revision.spec, in: draft.store)
            service.previous = service.current
            service.current = previous
            service.update = Cluster.UpdateStatus(
                state: .rollbackStarted, startedAt: draft.now, message: "manually requested rollback")

        case .spec(let spec):
            let spec = try NetworkRequests.resolve(spec, in: draft.store)
            try DependencyRequests.check(spec, in: draft.store)
            guard spec.name == current.spec.name else { throw .unimplemented("renaming services is not supported") }
            switch (spec.mode, current.spec.mode) {
            case (.replicated, .replicated), (.global, .global): break
            default: throw .unimplemented("service mode change is not allowed")
            }
            service.endpoint = try book.endpoint(of: service, spec, in: draft.store)
            let auth: String? =
                switch registryAuth {
                case .new(let auth): auth
                case .fromCurrent: current.registryAuth
                case .fromPrevious:
                    service.previous.flatMap { draft.store.revision($0, of: id)?.registryAuth }
                }
            service.newest += 1
            let known = draft.store.revisions(of: id).last { $0.spec.template == spec.template }
            draft.make(
                .putRevision(
                    Cluster.Revision(
                        service: id, number: service.newest, template: known?.template ?? service.newest, spec: spec,
                        createdAt: draft.now, registryAuth: auth)))
            service.previous = service.current
            service.current = service.newest
            // A new update begins with a clean sheet.
            service.update = nil
        }
        draft.make(.putService(service))
        releaseOldTasks(of: service, in: &draft)
        forgetOldRevisions(of: service, in: &draft)
        return Control.Reply()
    }

    static func remove(_ id: Cluster.ID<Cluster.Service>, in draft: inout Draft) throws(ControlError) -> Control.Reply {
        let service = try find(id, in: draft.store)
        draft.make(.removeService(service.id))
        return Control.Reply()
    }

    private static func find(
        _ id: Cluster.ID<Cluster.Service>, in store: ClusterStore
    ) throws(ControlError) -> Cluster.Service {
        guard let service = store.service(id) else { throw .notFound(kind: "service", reference: id.description) }
        return service
    }

    /// A slot that had come to its end is looked at anew after an update, as swarmkit does.
    private static func releaseOldTasks(of service: Cluster.Service, in draft: inout Draft) {
        for task in draft.store.tasks(of: service.id) where task.isFinal {
            draft.change(task) { $0.isFinal = false }
        }
    }

    /// Keeps what is current, what a rollback goes to, what tasks still run, and the newest ten.
    private static func forgetOldRevisions(of service: Cluster.Service, in draft: inout Draft) {
        let revisions = draft.store.revisions(of: service.id)
        guard revisions.count > keptRevisions else { return }
        let used = Set(draft.store.tasks(of: service.id).map(\.revision))
        for revision in revisions.dropLast(keptRevisions)
        where revision.number != service.current && revision.number != service.previous
            && !used.contains(revision.number)
        {
            draft.make(.removeRevision(service.id, revision.number))
        }
    }
}
