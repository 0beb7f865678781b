import ClusterModel
import ClusterStore
import EngineAPI

extension Router {
    func listTasks(_ call: Call) async throws -> Response {
        let filters = try call.filters([
            "desired-state", "id", "label", "name", "node", "service", "_up-to-date", "runtime",
        ])
        for state in filters["desired-state"] where Cluster.Task.State(rawValue: state.lowercased()) == nil {
            throw Refusal(400, "Invalid desired-state filter: '\(state)'")
        }
        let store = try await life.cluster().snapshot()
        var services: Set<Cluster.ID<Cluster.Service>> = []
        for reference in filters["service"] { services.insert(try store.findService(reference).id) }
        var nodes: Set<Cluster.ID<Cluster.Node>> = []
        for reference in filters["node"] { nodes.insert(try store.findNode(reference).id) }

        // The smallest table that holds all that was asked for.
        let candidates =
            !services.isEmpty
            ? services.flatMap { store.tasks(of: $0) }
            : !nodes.isEmpty ? nodes.flatMap { store.tasks(on: $0) } : store.tasks
        var words = TaskWords(store)
        let tasks = candidates.sorted { $0.id < $1.id }.filter { task in
            (nodes.isEmpty || task.node.map(nodes.contains) == true)
                && filters.allows("id") { task.id.description.hasPrefix($0) }
                && filters.allows("name") { words.name(of: task).hasPrefix($0) }
                && filters.allows("desired-state") { task.desired.rawValue == $0.lowercased() }
                && filters.allows("runtime") { $0 == "container" }
                // Whatever its value: so dockerd reads it.
                && (filters["_up-to-date"].isEmpty || words.isUpToDate(task))
                && filters.allowsLabels("label", words.labels(of: task))
        }
        return .json(.array(tasks.map { words.task($0) }))
    }

    func inspectTask(_ call: Call) async throws -> Response {
        let store = try await life.cluster().snapshot()
        var words = TaskWords(store)
        return .json(words.task(try store.findTask(call.reference)))
    }
}
