import ClusterModel
import EngineAPI
import Orchestration
import Testing

/// A machine and an engine in one value: effects are kept until a test answers them.
struct TestWorker {
    typealias TaskID = Cluster.ID<Cluster.Task>

    var machine = WorkerMachine()
    var effects: [WorkerMachine.Effect] = []
    var now = Cluster.Timestamp(nanoseconds: 1_700_000_000_000_000_000)
    /// All that was reported of a task, in order.
    var reported: [TaskID: [Cluster.TaskStatus]] = [:]

    mutating func tell(_ input: WorkerMachine.Input) {
        now = now.advanced(by: 1_000_000)
        var new: [WorkerMachine.Effect] = []
        machine.step(input, now: now, into: &new)
        effects = []
        for effect in new {
            guard case .report(let reports) = effect else {
                effects.append(effect)
                continue
            }
            for report in reports { reported[report.task, default: []].append(report.status) }
        }
    }

    func states(_ task: TaskID) -> [Cluster.Task.State] { reported[task, default: []].map(\.state) }

    static func assignment(
        _ number: UInt128 = 1, desired: Cluster.Task.State = .running, known: Cluster.Task.State = .assigned,
        spec: String = #"{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"nginx"}}}"#,
        grace: Int64 = 10_000_000_000
    ) throws -> Dispatch.Assignment {
        let service = Cluster.ID<Cluster.Service>(bits: 7)
        let start = Cluster.Timestamp(nanoseconds: 1)
        var parsed = try Cluster.ServiceSpec(parsing: try .init(parsing: spec))
        parsed.stopGracePeriod = grace
        let task = Cluster.Task(
            id: .init(bits: number), service: service, slot: 1, revision: 1, node: .init(bits: 9), desired: desired,
            status: .init(known, at: start, message: ""), at: start)
        let revision = Cluster.Revision(
            service: service, number: 1, template: 1, spec: parsed, createdAt: start, registryAuth: nil)
        return Dispatch.Assignment(task: task, revision: revision, node: .init(bits: 9))
    }

    /// A worker whose one task runs in container `c1`.
    static func running(spec: String? = nil) throws -> TestWorker {
        var worker = TestWorker()
        worker.tell(.containersFound([]))
        worker.tell(.assignAll([try spec.map { try assignment(spec: $0) } ?? assignment()]))
        worker.tell(.prepared(one, containerID: "c1"))
        worker.tell(.started(one, .init(id: "c1", pid: 42), ports: []))
        return worker
    }

    static let one = TaskID(bits: 1)
    static let checked = #"""
        {"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"nginx","Healthcheck":{"Test":["CMD","true"]}}}}
        """#
}

@Suite("A worker")
struct WorkerMachineTests {
    let one = TestWorker.one

    @Test func `takes a task through its states`() throws {
        let worker = try TestWorker.running()
        #expect(worker.states(one) == [.accepted, .preparing, .ready, .starting, .running])
        #expect(worker.machine.status(of: one)?.message == "started")
        #expect(worker.machine.status(of: one)?.container == .init(id: "c1", pid: 42))
    }

    @Test func `begins nothing before the engine said which containers there are`() throws {
        var worker = TestWorker()
        worker.tell(.assignAll([try TestWorker.assignment()]))
        #expect(worker.effects == [])
        #expect(worker.states(one) == [.accepted])
        worker.tell(.containersFound([]))
        #expect(worker.effects == [.prepare(try TestWorker.assignment())])
    }

    @Test func `waits at ready until the task is wanted to run`() throws {
        var worker = TestWorker()
        worker.tell(.containersFound([]))
        worker.tell(.assignAll([try TestWorker.assignment(desired: .ready)]))
        worker.tell(.prepared(one, containerID: "c1"))
        #expect(worker.effects == [])
        #expect(worker.states(one).last == .ready)
        worker.tell(.assign([try TestWorker.assignment()], remove: []))
        #expect(worker.effects == [.start(one, container: "c1")])
        #expect(worker.states(one).last == .starting)
    }

    @Test func `rejects a task that cannot be prepared, with the engine's words`() throws {
        var worker = TestWorker()
        worker.tell(.containersFound([]))
        worker.tell(.assignAll([try TestWorker.assignment()]))
        worker.tell(.prepareFailed(one, "No such image: nginx:latest"))
        #expect(worker.states(one).last == .rejected)
        #expect(worker.machine.status(of: one)?.error == "No such image: nginx:latest")
        #expect(worker.effects == [])
    }

    @Test func `says why a container did not start`() throws {
        var worker = TestWorker()
        worker.tell(.containersFound([]))
        worker.tell(.assignAll([try TestWorker.assignment()]))
        worker.tell(.prepared(one, containerID: "c1"))
        worker.tell(.startFailed(one, "no such file"))
        #expect(worker.states(one).last == .failed)
        #expect(worker.machine.status(of: one)?.error == "starting container failed: no such file")
    }

    @Test(arguments: [
        (0, "", Cluster.Task.State.complete, ""),
        (1, "", .failed, "task: non-zero exit (1)"),
        (137, "killed", .failed, "task: non-zero exit (137): killed"),
    ])
    func `tells how a task ended`(code: Int, text: String, state: Cluster.Task.State, error: String) throws {
        var worker = try TestWorker.running()
        worker.tell(.exited(one, exitCode: code, text: text))
        let status = try #require(worker.machine.status(of: one))
        #expect(status.state == state)
        #expect(status.error == error)
        #expect(status.container?.exitCode == code)
        #expect(worker.effects == [])
    }

    @Test func `takes an exit that is heard before the start is`() throws {
        var worker = TestWorker()
        worker.tell(.containersFound([]))
        worker.tell(.assignAll([try TestWorker.assignment()]))
        worker.tell(.prepared(one, containerID: "c1"))
        worker.tell(.exited(one, exitCode: 0, text: ""))
        worker.tell(.started(one, .init(id: "c1", pid: 42), ports: []))
        #expect(worker.states(one).last == .complete)
    }

    @Test func `runs with a health check only once it is healthy`() throws {
        var worker = try TestWorker.running(spec: TestWorker.checked)
        #expect(worker.states(one).last == .starting)
        worker.tell(.health(one, isHealthy: true))
        #expect(worker.states(one).last == .running)
    }

    @Test func `stops an unhealthy task, and it has failed`() throws {
        var worker = try TestWorker.running(spec: TestWorker.checked)
        worker.tell(.health(one, isHealthy: true))
        worker.tell(.health(one, isHealthy: false))
        #expect(worker.effects == [.stop(one, container: "c1", graceSeconds: 10)])
        worker.tell(.exited(one, exitCode: 143, text: ""))
        worker.tell(.stopped(one, exitCode: 143))
        #expect(worker.machine.status(of: one)?.error == "task: non-zero exit (143): dockerexec: unhealthy container")
        #expect(worker.states(one).last == .failed)
    }

    @Test func `stops a task that is told to, and keeps its container until it may go`() throws {
        var worker = try TestWorker.running()
        worker.tell(.assign([try TestWorker.assignment(desired: .shutdown)], remove: []))
        #expect(worker.effects == [.stop(one, container: "c1", graceSeconds: 10)])
        #expect(worker.states(one).last == .running)
        worker.tell(.stopped(one, exitCode: 0))
        #expect(worker.states(one).last == .shutdown)
        #expect(worker.effects == [])
        worker.tell(.assign([], remove: [one]))
        #expect(worker.effects == [.remove(one, container: "c1")])
        worker.tell(.removed(one))
        #expect(worker.machine.status(of: one) == nil)
    }

    @Test func `shuts a task that never started down at once`() throws {
        var worker = TestWorker()
        worker.tell(.containersFound([]))
        worker.tell(.assignAll([try TestWorker.assignment()]))
        worker.tell(.assign([try TestWorker.assignment(desired: .shutdown)], remove: []))
        #expect(worker.states(one).last == .shutdown)
        #expect(worker.effects == [.abandon(one)])
        worker.tell(.assign([try TestWorker.assignment(desired: .shutdown)], remove: []))
        #expect(worker.effects == [], "it is given up once")
        worker.tell(.prepared(one, containerID: "c1"))
        #expect(worker.effects == [])
        worker.tell(.assignAll([]))
        #expect(worker.effects == [.remove(one, container: "c1")])
    }

    @Test func `stops and removes what is no longer assigned`() throws {
        var worker = try TestWorker.running()
        worker.tell(.assignAll([]))
        #expect(worker.effects == [.stop(one, container: "c1", graceSeconds: 10)])
        worker.tell(.stopped(one, exitCode: 0))
        #expect(worker.effects == [.remove(one, container: "c1")])
    }

    @Test func `does nothing when it hears the same again`() throws {
        var worker = try TestWorker.running()
        let before = worker.states(one)
        worker.tell(.assignAll([try TestWorker.assignment()]))
        #expect(worker.effects == [])
        #expect(worker.states(one) == before)
    }

    @Test func `never starts a task twice`() throws {
        var worker = TestWorker()
        worker.tell(.assignAll([try TestWorker.assignment(known: .running)]))
        #expect(worker.effects == [])
        worker.tell(.containersFound([]))
        #expect(worker.effects == [])
        #expect(worker.states(one) == [.failed])
    }

    @Test(arguments: [true, false])
    func `adopts a container that runs, whichever it hears of first`(containersFirst: Bool) throws {
        var worker = TestWorker()
        let found = WorkerMachine.Found(task: one, container: "c1", state: .running, pid: 42)
        let inputs: [WorkerMachine.Input] = [
            .containersFound([found]), .assignAll([try TestWorker.assignment(known: .running)]),
        ]
        for input in containersFirst ? inputs : inputs.reversed() { worker.tell(input) }
        #expect(worker.effects == [])
        #expect(worker.machine.status(of: one)?.state == .running)
        #expect(worker.machine.status(of: one)?.container?.pid == 42)
    }

    @Test func `learns from the list what it missed`() throws {
        var worker = try TestWorker.running()
        worker.tell(.containersFound([.init(task: one, container: "c1", state: .exited, exitCode: 3)]))
        #expect(worker.states(one).last == .failed)
        #expect(worker.machine.status(of: one)?.error == "task: non-zero exit (3)")
    }

    @Test func `asks once more before it believes that a container is gone`() throws {
        var worker = try TestWorker.running()
        worker.tell(.containersFound([]))
        #expect(worker.effects == [.check(one, container: "c1")])
        #expect(worker.states(one).last == .running)
        worker.tell(.removed(one))
        #expect(worker.states(one).last == .failed)
    }

    @Test func `forgets a task whose preparation was given up`() throws {
        var worker = TestWorker()
        worker.tell(.containersFound([]))
        worker.tell(.assignAll([try TestWorker.assignment()]))
        worker.tell(.assign([], remove: [one]))
        #expect(worker.effects == [.abandon(one)])
        worker.tell(.prepareFailed(one, "given up"))
        #expect(worker.machine.status(of: one) == nil)
        #expect(worker.states(one).last == .shutdown)
    }

    @Test func `discards containers of tasks that nobody assigns, but not before it knows`() throws {
        var worker = TestWorker()
        worker.tell(.containersFound([.init(task: one, container: "c1", state: .running)]))
        #expect(worker.effects == [])
        worker.tell(.assignAll([]))
        #expect(worker.effects == [.discard(one, container: "c1")])
    }

    @Test func `says all it knows when a session opens`() throws {
        var worker = try TestWorker.running()
        let before = worker.states(one).count
        worker.tell(.sessionOpened)
        #expect(worker.states(one).count == before + 1)
        #expect(worker.states(one).last == .running)
    }
}
