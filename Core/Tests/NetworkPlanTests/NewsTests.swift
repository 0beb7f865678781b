import ClusterModel
import NetworkPlan
import Testing

@Suite("From a manager's news to a plan")
struct NewsTests {
    private func task(_ state: Cluster.Task.State) -> Dispatch.TaskOnNetwork {
        var task = Cluster.Task(
            id: .init(bits: 7), service: World.service(1), slot: 3, revision: 1,
            status: .init(state, at: .init(nanoseconds: 0), message: ""), at: .init(nanoseconds: 0))
        task.attachments = [
            .init(network: World.backend, address: World.address("10.0.1.11"), prefix: 24),
            .init(network: World.ingress, address: World.address("10.0.0.11"), prefix: 24),
        ]
        return Dispatch.TaskOnNetwork(task: task, node: World.node(2))
    }

    @Test("a task on two networks is two endpoints; one that does not serve is offered nowhere")
    func endpoints() {
        let serving = Endpoint.all(task(.running))
        #expect(serving.map(\.network) == [World.ingress, World.backend])
        #expect(serving.map { $0.addresses.map(\.description) } == [["10.0.0.11"], ["10.0.1.11"]])
        #expect(serving.allSatisfy { $0.state == .serving && $0.slot == 3 && $0.node == World.node(2) })
        #expect(Endpoint.all(task(.starting)).allSatisfy { $0.state != .serving })
    }
}
