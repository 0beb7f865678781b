import ClusterModel
import ClusterStore
import EngineAPI

/// Tasks in the words of the Engine API. Remembers what tasks of one revision share, so that a long list stays cheap.
struct TaskWords {
    private let store: ClusterStore
    private var shared: [Key: Shared] = [:]

    private struct Key: Hashable {
        var service: Cluster.ID<Cluster.Service>
        var revision: Cluster.Revision.Number
    }

    private struct Shared {
        var serviceName: String
        var labels: [String: String]
        var template: JSON
        /// Tasks of this revision run what the service wants now.
        var isUpToDate: Bool
    }

    init(_ store: ClusterStore) { self.store = store }

    mutating func task(_ task: Cluster.Task) -> JSON {
        let shared = shared(task)
        var words = ClusterWords.head(task.id, task.meta)
        words["Labels"] = [:]
        var template = shared.template
        template["Runtime"] = nil  // what runs a task is said of its service
        words["Spec"] = template
        words["ServiceID"] = .string("\(task.service)")
        if task.slot > 0 { words["Slot"] = JSON(task.slot) }
        if let node = task.node { words["NodeID"] = .string("\(node)") }
        words["Status"] = status(task.status)
        words["DesiredState"] = .string(task.desired.rawValue)
        let attachments = task.attachments.compactMap { ClusterWords.attachment($0, in: store) }
        if !attachments.isEmpty { words["NetworksAttachments"] = .array(attachments) }
        return words
    }

    private func status(_ status: Cluster.TaskStatus) -> JSON {
        var words: JSON = [
            "Timestamp": .string("\(status.timestamp)"), "State": .string(status.state.rawValue),
        ]
        if !status.message.isEmpty { words["Message"] = .string(status.message) }
        if !status.error.isEmpty { words["Err"] = .string(status.error) }
        if let container = status.container {
            words["ContainerStatus"] = [
                "ContainerID": .string(container.id), "PID": JSON(container.pid), "ExitCode": JSON(container.exitCode),
            ]
        }
        words["PortStatus"] = status.ports.isEmpty ? [:] : ["Ports": .array(status.ports.map(ClusterWords.port))]
        return words
    }

    /// `web.1.<id>`, or with the node's ID where slots mean nothing.
    mutating func name(of task: Cluster.Task) -> String {
        let place = task.slot > 0 ? String(task.slot) : task.node?.description ?? ""
        return "\(shared(task).serviceName).\(place).\(task.id)"
    }

    mutating func labels(of task: Cluster.Task) -> [String: String] { shared(task).labels }

    mutating func isUpToDate(_ task: Cluster.Task) -> Bool { shared(task).isUpToDate }

    private mutating func shared(_ task: Cluster.Task) -> Shared {
        let key = Key(service: task.service, revision: task.revision)
        if let known = shared[key] { return known }
        let service = store.service(task.service)
        let current = service.flatMap { store.currentRevision(of: $0) }
        let own = store.revision(task.revision, of: task.service)
        let spec = own?.spec ?? current?.spec
        let new = Shared(
            serviceName: current?.spec.name ?? spec?.name ?? "", labels: current?.spec.labels ?? spec?.labels ?? [:],
            template: spec.flatMap { ClusterWords.document($0.document)["TaskTemplate"] } ?? [:],
            isUpToDate: own != nil && own?.template == current?.template)
        shared[key] = new
        return new
    }
}
