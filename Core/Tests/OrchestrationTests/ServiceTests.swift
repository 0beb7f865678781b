import ClusterModel
import ClusterStore
import Orchestration
import Testing

@Suite("A replicated service")
struct ReplicatedServiceTests {
    @Test func `runs as many tasks as asked, spread over the nodes`() throws {
        var cluster = TestCluster()
        try cluster.create()
        #expect(cluster.spread() == "a:1 b:1 c:1")
        #expect(cluster.running().map(\.slot).sorted() == [1, 2, 3])
    }

    @Test func `may have more replicas than there are nodes`() throws {
        var cluster = TestCluster()
        try cluster.create("web", #"{"Mode":{"Replicated":{"Replicas":7}}}"#)
        #expect(cluster.running().count == 7)
        for name in ["a", "b", "c"] {
            #expect((2...3).contains(cluster.running().count { $0.node == cluster.nodes[name] }))
        }
    }

    @Test func `keeps its tasks when it is scaled, and fills the lowest free slots`() throws {
        var cluster = TestCluster()
        try cluster.create()
        let before = Set(cluster.running().map(\.id))
        try cluster.update("web", #"{"Mode":{"Replicated":{"Replicas":5}}}"#)
        #expect(before.isSubset(of: cluster.running().map(\.id)))
        #expect(cluster.running().map(\.slot).sorted() == [1, 2, 3, 4, 5])
        #expect(cluster.store.service(named: "web")!.update == nil)
    }

    @Test func `stays spread and forgets what it no longer needs when it shrinks`() throws {
        var cluster = TestCluster()
        try cluster.create("web", #"{"Mode":{"Replicated":{"Replicas":6}}}"#)
        try cluster.update("web", #"{"Mode":{"Replicated":{"Replicas":3}}}"#)
        #expect(cluster.spread() == "a:1 b:1 c:1")
        #expect(cluster.tasks().count == 3)
    }

    @Test func `leaves nothing behind when it is removed`() throws {
        var cluster = TestCluster()
        let id = try cluster.create()
        _ = try cluster.ask(.removeService(id)).get()
        #expect(cluster.store.taskCount == 0)
        #expect(cluster.store.revisions(of: id) == [])
        #expect(cluster.store.service(named: "web") == nil)
    }

    @Test func `refuses a name that is taken, and changes nothing`() throws {
        var cluster = TestCluster()
        try cluster.create()
        let index = cluster.store.index
        #expect(
            cluster.ask(.createService(try TestCluster.spec("web", "{}"), registryAuth: nil))
                == .failure(.alreadyExists("name conflicts with an existing object: service web already exists")))
        #expect(cluster.store.index == index)
    }

    @Test func `refuses a version that is not the newest`() throws {
        var cluster = TestCluster()
        let id = try cluster.create()
        #expect(
            cluster.ask(
                .updateService(id, version: 1, .spec(try TestCluster.spec("web", "{}")), registryAuth: .fromCurrent))
                == .failure(.outOfSequence))
    }

    @Test func `takes only the first of two updates of the same version`() throws {
        var cluster = TestCluster()
        let id = try cluster.create()
        let version = cluster.store.service(id)!.meta.version
        let spec = try TestCluster.spec("web", #"{"Labels":{"a":"b"},"Mode":{"Replicated":{"Replicas":3}}}"#)
        _ = try cluster.ask(.updateService(id, version: version, .spec(spec), registryAuth: .fromCurrent)).get()
        #expect(
            cluster.ask(.updateService(id, version: version, .spec(spec), registryAuth: .fromCurrent))
                == .failure(.outOfSequence))
    }
}

@Suite("A task that ends")
struct RestartTests {
    @Test func `is replaced in its slot after the delay, not before`() throws {
        var cluster = TestCluster()
        cluster.outcome = { $0.slot == 2 && $0.attempt == 0 ? .failed : .running }
        try cluster.create()
        #expect(cluster.running().map(\.slot).sorted() == [1, 3])
        cluster.pass(seconds: 4)
        #expect(cluster.running().map(\.slot).sorted() == [1, 3])
        cluster.pass(seconds: 1)
        #expect(cluster.running().map(\.slot).sorted() == [1, 2, 3])
        #expect(cluster.tasks().count == 4)
    }

    @Test func `that cannot even be prepared is tried once each delay, not as fast as it fails`() throws {
        var cluster = TestCluster()
        cluster.rejectsWhilePreparing = true
        try cluster.create("ghost", #"{"Mode":{"Replicated":{"Replicas":1}}}"#)
        cluster.pass(seconds: 12)
        #expect(cluster.tasks("ghost").count == 4)
    }

    @Test func `stays where the policy wants no restart`() throws {
        var cluster = TestCluster()
        cluster.outcome = { _ in .complete }
        try cluster.create(
            "job",
            #"{"TaskTemplate":{"RestartPolicy":{"Condition":"on-failure"}},"Mode":{"Replicated":{"Replicas":2}}}"#)
        cluster.pass(seconds: 20)
        #expect(cluster.tasks("job").map(\.status.state) == [.complete, .complete])
        #expect(cluster.tasks("job").map(\.desired) == [.shutdown, .shutdown])
    }

    @Test func `is tried no more often than the policy allows`() throws {
        var cluster = TestCluster()
        cluster.outcome = { _ in .failed }
        try cluster.create(
            "job",
            #"{"TaskTemplate":{"RestartPolicy":{"Delay":0,"MaxAttempts":2}},"Mode":{"Replicated":{"Replicas":1}}}"#)
        cluster.pass(seconds: 20)
        #expect(cluster.tasks("job").count == 3)
    }

    @Test func `leaves as much history as the swarm wants`() throws {
        var cluster = TestCluster(historyLimit: 2)
        cluster.outcome = { _ in .failed }
        try cluster.create(
            "job", #"{"TaskTemplate":{"RestartPolicy":{"Delay":1000000000}},"Mode":{"Replicated":{"Replicas":1}}}"#)
        cluster.pass(seconds: 20)
        #expect(cluster.tasks("job").filter { $0.desired == .shutdown }.count == 1)
        #expect(cluster.tasks("job").count == 2)
    }
}

@Suite("An update")
struct UpdateTests {
    static let newImage =
        #"{"TaskTemplate":{"ContainerSpec":{"Image":"nginx:1.26"}},"Mode":{"Replicated":{"Replicas":3}}}"#

    @Test func `replaces every task, one at a time, and says when it is complete`() throws {
        var cluster = TestCluster()
        try cluster.create()
        try cluster.update("web", Self.newImage)
        #expect(cluster.images() == ["nginx:1.26", "nginx:1.26", "nginx:1.26"])
        #expect(cluster.store.service(named: "web")!.update?.state == .updating)
        cluster.pass(seconds: 5)
        #expect(cluster.store.service(named: "web")!.update?.state == .completed)
        #expect(cluster.store.service(named: "web")!.update?.message == "update completed")
    }

    @Test func `waits its delay between two tasks`() throws {
        var cluster = TestCluster()
        let config = #","UpdateConfig":{"Parallelism":1,"Delay":3000000000}}"#
        try cluster.create("web", Self.newImage.dropLast() + config)
        try cluster.update(
            "web",
            #"{"TaskTemplate":{"ContainerSpec":{"Image":"nginx:1.25"}},"Mode":{"Replicated":{"Replicas":3}}"# + config)
        #expect(cluster.images().count { $0 == "nginx:1.25" } == 1)
        cluster.pass(seconds: 3)
        #expect(cluster.images().count { $0 == "nginx:1.25" } == 2)
        cluster.pass(seconds: 3)
        #expect(cluster.images().count { $0 == "nginx:1.25" } == 3)
    }

    @Test func `pauses when a new task fails, and leaves the others as they were`() throws {
        var cluster = TestCluster()
        try cluster.create()
        cluster.outcome = { $0.revision == 2 ? .rejected : .running }
        try cluster.update("web", Self.newImage)
        cluster.pass(seconds: 30)
        let update = cluster.store.service(named: "web")!.update
        #expect(update?.state == .paused)
        #expect(update?.message.hasPrefix("update paused due to failure or early termination of task ") == true)
        #expect(cluster.images() == ["nginx:stable-alpine", "nginx:stable-alpine"])
    }

    @Test func `goes back by itself where that is asked for`() throws {
        var cluster = TestCluster()
        try cluster.create()
        cluster.outcome = { $0.revision == 2 ? .failed : .running }
        try cluster.update(
            "web", Self.newImage.dropLast() + #","UpdateConfig":{"Parallelism":1,"FailureAction":"rollback"}}"#)
        cluster.pass(seconds: 30)
        #expect(cluster.store.service(named: "web")!.update?.state == .rollbackCompleted)
        #expect(cluster.images() == Array(repeating: "nginx:stable-alpine", count: 3))
    }

    @Test func `starts the new task first where that is asked for, and never has fewer than wanted`() throws {
        var cluster = TestCluster()
        let order = #","UpdateConfig":{"Parallelism":1,"Order":"start-first"}}"#
        try cluster.create("web", #"{"Mode":{"Replicated":{"Replicas":3}}"# + order)
        cluster.silent = ["a", "b", "c"]
        try cluster.update("web", Self.newImage.dropLast() + order)
        #expect(cluster.tasks().count { $0.desired == .running } == 4)
        #expect(cluster.running().count == 3)
        cluster.silent = []
        cluster.pass(seconds: 1)
        #expect(cluster.images() == Array(repeating: "nginx:1.26", count: 3))
    }

    @Test func `is taken back by a rollback, and the rollback by another`() throws {
        var cluster = TestCluster()
        try cluster.create()
        try cluster.update("web", Self.newImage)
        cluster.pass(seconds: 6)
        try cluster.rollback()
        cluster.pass(seconds: 6)
        #expect(cluster.images() == Array(repeating: "nginx:stable-alpine", count: 3))
        #expect(cluster.store.service(named: "web")!.update?.state == .rollbackCompleted)
        try cluster.rollback()
        cluster.pass(seconds: 6)
        #expect(cluster.images() == Array(repeating: "nginx:1.26", count: 3))
    }

    @Test func `has nothing to go back to before the first update`() throws {
        var cluster = TestCluster()
        let id = try cluster.create()
        #expect(throws: ControlError.failedPrecondition("service \(id) does not have a previous spec")) {
            try cluster.rollback()
        }
    }

    @Test func `restarts nothing when only labels of the service change`() throws {
        var cluster = TestCluster()
        try cluster.create()
        let before = Set(cluster.running().map(\.id))
        try cluster.update("web", #"{"Labels":{"foo":"bar"},"Mode":{"Replicated":{"Replicas":3}}}"#)
        #expect(Set(cluster.running().map(\.id)) == before)
    }
}

@Suite("Constraints that change")
struct ConstraintChangeTests {
    static let onA =
        #"{"TaskTemplate":{"Placement":{"Constraints":["node.labels.edge == yes"]}},"Mode":{"Replicated":{"Replicas":3}}}"#

    @Test func `leave a task where it is as long as it may stay there`() throws {
        var cluster = TestCluster(nodes: [])
        for name in ["a", "b"] { cluster.join(name, labels: ["edge": "yes"]) }
        try cluster.create()
        let before = Set(cluster.running().map(\.id))
        try cluster.update("web", Self.onA)
        cluster.pass(seconds: 10)
        #expect(Set(cluster.running().map(\.id)) == before)
    }

    @Test func `move the others one at a time`() throws {
        var cluster = TestCluster(nodes: ["a", "b"])
        cluster.join("c", labels: ["edge": "yes"])
        try cluster.create()
        let kept = cluster.running().filter { $0.node == cluster.nodes["c"] }.map(\.id)
        cluster.silent = ["a", "b", "c"]
        try cluster.update("web", Self.onA)
        #expect(cluster.tasks().count { $0.desired == .shutdown } == 1)
        cluster.silent = []
        cluster.pass(seconds: 10)
        #expect(cluster.spread() == "a:0 b:0 c:3")
        #expect(cluster.running().map(\.id).contains(kept[0]))
    }
}

@Suite("A node")
struct NodeTests {
    @Test func `that is silent for three periods is down, and its tasks start elsewhere`() throws {
        var cluster = TestCluster()
        try cluster.create()
        cluster.silent = ["b"]
        cluster.pass(seconds: 14)
        #expect(cluster.spread() == "a:1 b:1 c:1")
        cluster.pass(seconds: 2)
        #expect(cluster.store.node(cluster.nodes["b"]!)!.status.state == .down)
        #expect(cluster.running().count == 3)
        #expect(cluster.running().allSatisfy { $0.node != cluster.nodes["b"] })
    }

    @Test func `that returns is told to stop what was replaced, and nothing runs twice`() throws {
        var cluster = TestCluster()
        try cluster.create()
        cluster.silent = ["b"]
        cluster.pass(seconds: 20)
        cluster.silent = []
        cluster.connect("b")
        cluster.pass(seconds: 1)
        #expect(cluster.running().count == 3)
        #expect(cluster.tasks().filter { $0.node == cluster.nodes["b"] }.allSatisfy { $0.status.state == .shutdown })
    }

    @Test func `that is drained is emptied, and filled again only by new tasks`() throws {
        var cluster = TestCluster()
        try cluster.create()
        try cluster.setAvailability("a", .drain)
        cluster.pass(seconds: 1)
        #expect(cluster.running().count == 3)
        #expect(cluster.running().allSatisfy { $0.node != cluster.nodes["a"] })
        try cluster.setAvailability("a", .active)
        cluster.pass(seconds: 1)
        #expect(cluster.running().allSatisfy { $0.node != cluster.nodes["a"] })
        try cluster.update("web", #"{"Mode":{"Replicated":{"Replicas":5}}}"#)
        #expect(cluster.running().count { $0.node == cluster.nodes["a"] } == 2)
    }

    @Test func `cannot be removed while it is up, unless forced`() throws {
        var cluster = TestCluster()
        let id = cluster.nodes["a"]!
        #expect(
            cluster.ask(.removeNode(id, force: false))
                == .failure(.failedPrecondition("node \(id) is not down and can't be removed")))
        try cluster.create()
        _ = try cluster.ask(.removeNode(id, force: true)).get()
        cluster.pass(seconds: 1)
        #expect(cluster.store.node(id) == nil)
        #expect(cluster.running().count == 3)
        #expect(cluster.sent.contains(.removed))
    }

    @Test func `that was a manager before the swarm began anew can be removed, or made a worker`() throws {
        var cluster = TestCluster()
        func make(_ name: String, _ role: Cluster.Role, in cluster: inout TestCluster) -> Control.Outcome {
            let node = cluster.store.node(cluster.nodes[name]!)!
            var spec = node.spec
            spec.role = role
            return cluster.ask(.updateNode(node.id, version: node.meta.version, spec))
        }
        for name in ["a", "b", "c"] { _ = try make(name, .manager, in: &cluster).get() }
        // Only one has a place in the consensus: the others were left behind.
        let (a, b, c) = (cluster.nodes["a"]!, cluster.nodes["b"]!, cluster.nodes["c"]!)
        _ = try cluster.ask(.setManager(a, .init(member: 7, address: "10.0.0.1:2377"))).get()

        let last = make("a", .worker, in: &cluster)
        #expect(last == .failure(.failedPrecondition("attempting to demote the last manager of the swarm")))
        guard case .failure(.failedPrecondition(let words)) = cluster.ask(.removeNode(a, force: true)) else {
            Issue.record("the manager was removed")
            return
        }
        #expect(words.contains("It must be demoted to worker before removal"))
        _ = try cluster.ask(.removeNode(b, force: true)).get()
        #expect(cluster.store.node(b) == nil)
        _ = try make("c", .worker, in: &cluster).get()
        #expect(cluster.store.node(c)?.role == .worker)
    }

    @Test func `is not given up by a new leader before it had time to come`() throws {
        var cluster = TestCluster()
        try cluster.create()
        let machine = ManagerMachine(
            store: cluster.store, ids: cluster.freshIDs(), now: cluster.now)
        var newLeader = machine
        var effects: [ManagerMachine.Effect] = []
        newLeader.step([], store: cluster.store, now: cluster.now.advanced(by: 14_000_000_000), effects: &effects)
        #expect(!effects.contains { if case .propose = $0 { true } else { false } })
    }
}

@Suite("The scheduler")
struct SchedulerTests {
    @Test func `says why no node will do`() throws {
        var cluster = TestCluster()
        try cluster.setAvailability("a", .pause)
        try cluster.create(
            "web",
            #"{"TaskTemplate":{"Placement":{"Constraints":["node.hostname == b"]},"Resources":{"Reservations":{"NanoCPUs":4000000000}}},"Mode":{"Replicated":{"Replicas":1}}}"#
        )
        #expect(
            cluster.tasks().map(\.status.error)
                == ["no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)"])
    }

    @Test func `places what waited as soon as a node fits`() throws {
        var cluster = TestCluster()
        try cluster.create(
            "web",
            #"{"TaskTemplate":{"Placement":{"Constraints":["node.labels.disk == ssd"]}},"Mode":{"Replicated":{"Replicas":2}}}"#
        )
        #expect(
            cluster.tasks().map(\.status.error).first
                == "no suitable node (scheduling constraints not satisfied on 3 nodes)")
        cluster.join("d", labels: ["disk": "ssd"])
        #expect(cluster.running().map { cluster.name(of: $0.node) } == ["d", "d"])
        #expect(cluster.running().allSatisfy { $0.status.error.isEmpty })
    }

    @Test func `gives each host port of a node away once`() throws {
        var cluster = TestCluster()
        try cluster.create(
            "web",
            #"{"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":8080,"PublishMode":"host"}]},"Mode":{"Replicated":{"Replicas":4}}}"#
        )
        #expect(cluster.spread() == "a:1 b:1 c:1")
        #expect(
            cluster.tasks().filter { $0.node == nil }.map(\.status.error)
                == ["no suitable node (host-mode port already in use on 3 nodes)"])
    }
}

@Suite("A global service")
struct GlobalServiceTests {
    @Test func `runs once on every node, also on those that come later`() throws {
        var cluster = TestCluster()
        try cluster.create("agent", #"{"Mode":{"Global":{}}}"#)
        #expect(cluster.spread("agent") == "a:1 b:1 c:1")
        cluster.join("d")
        #expect(cluster.spread("agent") == "a:1 b:1 c:1 d:1")
        try cluster.setAvailability("b", .drain)
        #expect(cluster.spread("agent") == "a:1 b:0 c:1 d:1")
    }

    @Test func `is updated in place on every node`() throws {
        var cluster = TestCluster()
        try cluster.create("agent", #"{"Mode":{"Global":{}}}"#)
        try cluster.update("agent", #"{"Mode":{"Global":{}},"TaskTemplate":{"ContainerSpec":{"Image":"nginx:1.26"}}}"#)
        #expect(cluster.images("agent") == Array(repeating: "nginx:1.26", count: 3))
        #expect(cluster.spread("agent") == "a:1 b:1 c:1")
    }
}

@Suite("A step of the manager")
struct StepTests {
    @Test func `holds no more changes than an entry may, and the rest follows`() throws {
        var cluster = TestCluster()
        cluster.silent = ["a", "b", "c"]
        try cluster.create("web", #"{"Mode":{"Replicated":{"Replicas":5000}}}"#)
        #expect(cluster.tasks().count == 5_000)
        #expect(cluster.tasks().allSatisfy { $0.node != nil })
    }

    @Test func `that finds nothing to do proposes nothing`() throws {
        var cluster = TestCluster()
        try cluster.create()
        let index = cluster.store.index
        cluster.pass(seconds: 60)
        #expect(cluster.store.index == index)
    }

    @Test func `gives equal stores from equal inputs`() throws {
        func story() throws -> [String] {
            var cluster = TestCluster()
            try cluster.create("web", #"{"Mode":{"Replicated":{"Replicas":7}}}"#)
            cluster.silent = ["b"]
            cluster.pass(seconds: 20)
            return cluster.tasks().map { "\($0.id) \($0.slot) \(cluster.name(of: $0.node)) \($0.status.state)" }
        }
        #expect(try story() == story())
    }
}
