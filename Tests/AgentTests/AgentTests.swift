import ClusterModel
import EngineAPI
import EngineClient
import Foundation
import Logging
import Synchronization
import Testing

@testable import Agent

/// A leader that wants what a test wants, in the same process.
final class TestLeader: ManagerDialer {
    private let state = Mutex<(statuses: [Cluster.ID<Cluster.Task>: Cluster.TaskStatus], heartbeats: Int)>(([:], 0))
    private let session = Mutex<AsyncThrowingStream<Dispatch.FromManager, any Error>.Continuation?>(nil)
    let first: [Dispatch.FromManager]

    init(_ first: [Dispatch.FromManager]) { self.first = first }

    func withSession(
        at manager: Dispatch.ManagerAddress,
        _ body:
            @Sendable @escaping (
                AsyncThrowingStream<Dispatch.FromManager, any Error>,
                _ send: @escaping @Sendable (Dispatch.FromWorker) async throws -> Void
            ) async throws -> Void
    ) async throws {
        let (messages, continuation) = AsyncThrowingStream.makeStream(of: Dispatch.FromManager.self)
        session.withLock { $0 = continuation }
        try await body(messages) { message in
            switch message {
            case .hello: for message in self.first { continuation.yield(message) }
            case .heartbeat: self.state.withLock { $0.heartbeats += 1 }
            case .status(let reports):
                self.state.withLock { for report in reports { $0.statuses[report.task] = report.status } }
            }
        }
    }

    func publishLogs(
        _ order: UInt64, to manager: Dispatch.ManagerAddress,
        _ body:
            @escaping @Sendable (_ send: @escaping @Sendable (Dispatch.LogBatch) async throws -> Void) async throws
            -> Void
    ) async throws {
        try await body { _ in }
    }

    func say(_ message: Dispatch.FromManager) { session.withLock { _ = $0?.yield(message) } }
    func hangUp() { session.withLock { $0?.finish() } }
    func status(_ task: Cluster.ID<Cluster.Task>) -> Cluster.TaskStatus? { state.withLock { $0.statuses[task] } }
    var heartbeats: Int { state.withLock { $0.heartbeats } }
    func forgetStatuses() { state.withLock { $0.statuses = [:] } }
}

@Suite("A worker's engine")
struct WorkerTests {
    @Test func `is described as it describes itself`() throws {
        let info = try JSON(
            parsing: #"""
                {"Name":"host1","NCPU":4,"MemTotal":1024,"OSType":"linux","Architecture":"x86_64","ServerVersion":"20.10",
                "Labels":["a=b=c","d"],"Plugins":{"Volume":["local"],"Network":["overlay","bridge"],"Log":["syslog"]}}
                """#)
        let node = Worker.describe(info)
        #expect(node.hostname == "host1")
        #expect(node.nanoCPUs == 4_000_000_000)
        #expect(node.engineLabels == ["a": "b=c", "d": ""])
        #expect(
            node.plugins.map { "\($0.type)/\($0.name)" } == [
                "Log/syslog", "Network/bridge", "Network/overlay", "Volume/local",
            ])
    }

    /// Against a real engine, where there is one: `APUS_TEST_ENGINE=/path/docker.sock`, with an image `bb:latest` that
    /// has `sleep`.
    @Test(.enabled(if: engineSocket != nil), .timeLimit(.minutes(1)))
    func `runs, reports, adopts, stops and removes tasks`() async throws {
        let engine = EngineClient(socketPath: Self.engineSocket!, log: Logger(label: "test"))
        let node = Cluster.ID<Cluster.Node>(bits: .random(in: 1...(.max)))
        let manager = Dispatch.ManagerAddress(node: node, address: "here")
        let long = try assignment(node, #"["sleep","100"]"#)
        let short = try assignment(node, #"["sh","-c","exit 3"]"#)
        let absent = try assignment(node, #"["true"]"#, image: "localhost:1/none:1")
        let leader = TestLeader([
            .welcome(heartbeatPeriod: 50_000_000, role: .worker, managers: [manager]),
            .assignAll([long, short, absent]),
        ])

        var worker = Worker(
            node: node, engine: engine, dialer: leader, managers: [manager], log: Logger(label: "test"))
        var life = Task { [worker] in try await worker.run() }
        try await until { leader.status(long.task)?.state == .running && leader.status(short.task)?.state == .failed }
        #expect(worker.isConnected)
        #expect(leader.status(long.task)?.container?.pid ?? 0 > 0)
        #expect(leader.status(short.task)?.error == "task: non-zero exit (3)")
        try await until { leader.status(absent.task)?.state == .rejected }
        print("rejected:", leader.status(absent.task)?.error ?? "")
        try await until { leader.heartbeats > 2 }

        leader.forgetStatuses()
        leader.hangUp()
        try await until { leader.status(long.task)?.state == .running }

        // Another life of the worker finds what the first one left.
        let started = ContinuousClock.now
        life.cancel()
        _ = await life.result
        #expect(ContinuousClock.now - started < .seconds(1))
        #expect(!worker.isConnected)
        leader.forgetStatuses()
        worker = Worker(node: node, engine: engine, dialer: leader, managers: [manager], log: Logger(label: "test"))
        life = Task { [worker] in try await worker.run() }
        try await until { leader.status(long.task)?.state == .running && leader.status(short.task)?.state == .failed }

        var stopped = long
        stopped.desired = .shutdown
        stopped.stopGracePeriod = 0
        leader.say(.assign([stopped], remove: []))
        try await until { leader.status(long.task)?.state == .shutdown }
        leader.say(.assign([], remove: [long.task, short.task, absent.task]))
        try await until { try await engine.containers.list(labels: ["com.docker.swarm.task"]).isEmpty }
        life.cancel()
        _ = await life.result
        await engine.shutdown()
    }

    static let engineSocket = ProcessInfo.processInfo.environment["APUS_TEST_ENGINE"]

    private func assignment(
        _ node: Cluster.ID<Cluster.Node>, _ command: String, image: String = "bb:latest"
    ) throws -> Dispatch.Assignment {
        let service = Cluster.ID<Cluster.Service>(bits: 7)
        let start = Cluster.Timestamp(nanoseconds: 1)
        let spec = try Cluster.ServiceSpec(
            parsing: try JSON(
                parsing: #"{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"\#(image)","Command":\#(command)}}}"#
            ))
        let task = Cluster.Task(
            id: .init(bits: .random(in: 1...(.max))), service: service, slot: 1, revision: 1, node: node,
            status: .init(.assigned, at: start, message: ""), at: start)
        let revision = Cluster.Revision(
            service: service, number: 1, template: 1, spec: spec, createdAt: start, registryAuth: nil)
        return Dispatch.Assignment(task: task, revision: revision, node: node)
    }

    private func until(
        _ what: () async throws -> Bool, _ place: SourceLocation = #_sourceLocation
    ) async throws {
        for _ in 0..<1500 {
            if try await what() { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("it did not come", sourceLocation: place)
        throw CancellationError()
    }
}
