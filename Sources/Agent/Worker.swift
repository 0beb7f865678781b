package import ClusterModel
package import EngineClient
internal import EngineAPI
internal import Foundation
package import Logging
internal import Orchestration
internal import Synchronization

/// One node's worker: does with the engine what `WorkerMachine` decides, and keeps a session with the leader.
///
/// Three loops under one roof: the machine's (it alone steps the machine), the engine's (what happens to containers),
/// and the session's (what the leader wants, and what we say of it). When it is cancelled, containers stay.
package final class Worker: Sendable {
    let node: Cluster.ID<Cluster.Node>
    let engine: EngineClient
    let dialer: any ManagerDialer
    let log: Logger
    let images: ImageSource
    /// Creating and starting: more at once than this would not be done sooner, and the first container would come last.
    let heavyCalls = Turnstile(max(4, 2 * ProcessInfo.processInfo.activeProcessorCount))
    let preparations = Preparations()
    let networks: NetworkKeeper
    let inbox = Inbox<WorkerMachine.Input>(limit: 256)
    let outbox = Outbox()
    let state: Mutex<State>
    /// Where the secrets and configs of tasks lie while they run.
    let memory: MemoryFiles

    package let events: AsyncStream<WorkerEvent>
    let tell: AsyncStream<WorkerEvent>.Continuation

    struct State {
        var managers: [Dispatch.ManagerAddress]
        var isConnected = false
        var role: Cluster.Role?
        /// As the engine last described it.
        var description: Cluster.NodeDescription?
        /// The secrets and configs that this node's tasks use, as the manager sent them. In memory alone.
        var dependencies: [Cluster.ID<Cluster.Dependency>: Cluster.Dependency] = [:]
    }

    package init(
        node: Cluster.ID<Cluster.Node>, engine: EngineClient, dialer: any ManagerDialer,
        managers: [Dispatch.ManagerAddress], memoryRoot: String? = nil, log: Logger
    ) {
        memory = MemoryFiles(root: memoryRoot ?? MemoryFiles.usualRoot, node: node)
        self.node = node
        self.engine = engine
        self.dialer = dialer
        self.log = log
        networks = NetworkKeeper(node: node, engine: engine, log: log)
        images = ImageSource(engine: engine, log: log)
        state = Mutex(State(managers: managers))
        (events, tell) = AsyncStream.makeStream()
    }

    /// A session was welcomed and is open.
    package var isConnected: Bool { state.withLock { $0.isConnected } }

    /// Runs until it is cancelled.
    package func run() async throws {
        defer { tell.finish() }
        await withDiscardingTaskGroup { group in
            group.addTask { await self.decide() }
            group.addTask { await self.watchEngine() }
            group.addTask { await self.keepSession() }
            group.addTask { await self.networks.run() }
        }
        try Task.checkCancellation()
    }

    /// Takes the swarm's networks off a node that has left it. Its containers are gone by then.
    package static func forgetNetworks(engine: EngineClient, log: Logger) async {
        await NetworkKeeper.forget(engine: engine, log: log)
    }

    /// Takes all that waits, steps it, and lets the effects run beside each other: one task never has two under way.
    private func decide() async {
        var machine = WorkerMachine()
        var effects: [WorkerMachine.Effect] = []
        var withFiles = memory.tasks()
        await withDiscardingTaskGroup { group in
            while true {
                let inputs = await inbox.take()
                if inputs.isEmpty { return }
                for input in inputs { machine.step(input, now: .current(), into: &effects) }
                for effect in effects {
                    switch effect {
                    case .report(let reports): outbox.put(reports)
                    case .abandon(let task): preparations.abandon(task)
                    case .prepare(let assignment):
                        if !assignment.dependencies.isEmpty { withFiles.insert(assignment.task) }
                        preparations.begin(assignment.task)
                        group.addTask {
                            await self.perform(effect)
                            self.preparations.end(assignment.task)
                        }
                    default: group.addTask { await self.perform(effect) }
                    }
                }
                effects.removeAll(keepingCapacity: true)
                // Whose process has ended, or was never known here, needs no secrets.
                for task in withFiles where machine.isDone(with: task) {
                    do {
                        try memory.clear(task)
                        withFiles.remove(task)
                    } catch {
                        log.warning(
                            "the files of a task that ended cannot be removed",
                            metadata: ["task.id": "\(task)", "error": "\(error)"])
                    }
                }
            }
        }
    }
}

extension Cluster.Timestamp {
    static func current() -> Self {
        Self(nanoseconds: Int64(Date().timeIntervalSince1970 * 1e9))
    }
}

/// Waits between attempts: a little longer each time, up to a limit.
struct Backoff {
    let first: Duration
    let limit: Duration
    private var next: Duration

    init(_ first: Duration, limit: Duration) {
        self.first = first
        self.limit = limit
        next = first
    }

    mutating func wait() async throws {
        let now = next
        next = min(next * 2, limit)
        // Up to a tenth less, so that nodes which lost one leader do not all come back in the same instant.
        try await Task.sleep(for: now * Double.random(in: 0.9...1))
    }

    mutating func reset() { next = first }
}
