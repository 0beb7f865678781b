import ClusterModel
import Logging
import Synchronization

/// The logs that are being collected from the nodes, while this node leads: asked for through their sessions, sent by
/// each node on a stream of its own.
///
/// Nothing is kept: a line is taken from a node when the one before has been taken by whoever asked. A node that does not
/// answer, or breaks off, costs a word at the end.
final class LogDesk: Sendable {
    typealias NodeID = Cluster.ID<Cluster.Node>
    typealias Receive = @Sendable (Dispatch.LogBatch) async throws -> Void

    /// How long a node may take to begin.
    private let patience: Duration

    private enum News: Sendable {
        case began(NodeID)
        case ended(NodeID, trouble: String?)
        case patienceIsOver(NodeID)
        case askAgain
    }

    private struct Collection: Sendable {
        var asked: Set<NodeID> = []
        let receive: Receive
        let news: AsyncStream<News>.Continuation
    }

    private let collections = Mutex<[UInt64: Collection]>([:])
    private let numbers = Atomic<UInt64>(0)

    init(patience: Duration = .seconds(5)) { self.patience = patience }

    /// Collects until all nodes have said everything, or, following, until cancelled.
    ///
    /// - Parameters:
    ///   - nodes: those that may have something, by their names; asked again and again while a service is followed.
    ///   - tell: says something in a node's session; false where it has none.
    func collect(
        _ wish: Dispatch.LogWish, from nodes: @escaping @Sendable () -> [NodeID: String],
        tell: @escaping @Sendable (NodeID, Dispatch.FromManager) -> Bool, to receive: @escaping Receive
    ) async throws {
        let number = numbers.wrappingAdd(1, ordering: .relaxed).newValue
        let (news, writer) = AsyncStream.makeStream(of: News.self)
        let gate = Gate()
        collections.withLock {
            $0[number] = Collection(
                receive: { batch in try await gate.pass { try await receive(batch) } }, news: writer)
        }
        var asking = Asking(wish: wish, number: number, names: nodes())
        defer {
            let asked = collections.withLock { $0.removeValue(forKey: number)?.asked } ?? []
            for node in asked { _ = tell(node, .endLogs(number)) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            func ask() {
                for (node, order) in asking.next() {
                    collections.withLock { _ = $0[number]?.asked.insert(node) }
                    guard tell(node, .logs(order)) else {
                        asking.note(node, "is not available")
                        continue
                    }
                    group.addTask { [patience] in
                        try await Task.sleep(for: patience)
                        writer.yield(.patienceIsOver(node))
                    }
                }
            }
            ask()
            if asking.isEndless {
                group.addTask {
                    while true {
                        try await Task.sleep(for: .seconds(1))
                        writer.yield(.askAgain)
                    }
                }
            }
            if asking.isOver { return }
            for await event in news {
                switch event {
                case .began(let node): asking.begun.insert(node)
                case .ended(let node, let trouble): asking.note(node, trouble)
                case .patienceIsOver(let node):
                    if !asking.begun.contains(node) { asking.note(node, "does not answer") }
                case .askAgain:
                    asking.names = nodes()
                    ask()
                }
                if asking.isOver { break }
            }
            try Task.checkCancellation()
        }
        if !asking.troubles.isEmpty {
            try await gate.pass { [troubles = asking.troubles] in try await receive(Self.incomplete(troubles)) }
        }
    }

    /// Whom to ask, and who owes an answer.
    private struct Asking {
        let wish: Dispatch.LogWish
        let number: UInt64
        var names: [NodeID: String]
        var begun: Set<NodeID> = []
        var troubles: [String] = []
        private var waiting: Set<NodeID> = []
        /// When a node's part broke off: from there it is asked again.
        private var lostAt: [NodeID: String] = [:]
        private var hasAsked = false

        init(wish: Dispatch.LogWish, number: UInt64, names: [NodeID: String]) {
            self.wish = wish
            self.number = number
            self.names = names
        }

        /// A service that is followed has no end: tasks may start anywhere, and nodes come back.
        var isEndless: Bool {
            if case .service = wish.subject { return wish.follows }
            return false
        }
        var isOver: Bool { hasAsked && waiting.isEmpty && !isEndless }

        /// The nodes that are to be asked now, with what.
        mutating func next() -> [(NodeID, Dispatch.LogOrder)] {
            hasAsked = true
            return names.keys.sorted().filter { !waiting.contains($0) }.map { node in
                waiting.insert(node)
                begun.remove(node)
                var wish = wish
                if let moment = lostAt[node] {
                    wish.since = moment
                    wish.tail = nil
                }
                return (node, .init(number: number, wish: wish))
            }
        }

        /// A node's part is over, whole or not.
        mutating func note(_ node: NodeID, _ trouble: String?) {
            guard waiting.remove(node) != nil else { return }
            if isEndless {
                // Whoever follows would take a word of trouble for the end; the node is asked again.
                if begun.contains(node) { lostAt[node] = "\(Cluster.Timestamp.now().nanoseconds / 1_000_000_000)" }
            } else if let trouble {
                troubles.append("node \(names[node] ?? "\(node)") \(trouble)")
            }
        }
    }

    /// Takes one node's part of what was asked for.
    ///
    /// - Throws: when nobody asks for it any more; the node stops then.
    func take<Batches: AsyncSequence & Sendable>(
        _ batches: Batches, from node: NodeID
    ) async throws where Batches.Element == (order: UInt64, batch: Dispatch.LogBatch) {
        var collection: Collection?
        var missing: [String] = []
        do {
            for try await (number, batch) in batches {
                if collection == nil {
                    collection = collections.withLock { $0[number] }
                    collection?.news.yield(.began(node))
                }
                guard let collection, collections.withLock({ $0[number]?.asked.contains(node) }) == true else {
                    throw ControlError.failedPrecondition("nobody asks for these logs")
                }
                if let trouble = batch.trouble { missing.append(trouble) }
                if !batch.lines.isEmpty { try await collection.receive(batch) }
            }
        } catch {
            collection?.news.yield(.ended(node, trouble: "broke off"))
            throw error
        }
        let trouble = missing.isEmpty ? nil : "has more that cannot be read: " + missing.joined(separator: ", ")
        collection?.news.yield(.ended(node, trouble: trouble))
    }

    /// - Source: swarmkit manager/logbroker/broker.go, `SubscribeLogs`; its words.
    private static func incomplete(_ troubles: [String]) -> Dispatch.LogBatch {
        .init(
            trouble: """
                warning: incomplete log stream. some logs could not be retrieved for the following reasons: \
                \(troubles.joined(separator: ", "))
                """)
    }
}

/// One at a time, in the order in which they came.
private actor Gate {
    private var isBusy = false
    private var queue: [CheckedContinuation<Void, Never>] = []

    func pass(_ body: @Sendable () async throws -> Void) async throws {
        if isBusy {
            await withCheckedContinuation { queue.append($0) }
        } else {
            isBusy = true
        }
        defer { if queue.isEmpty { isBusy = false } else { queue.removeFirst().resume() } }
        try await body()
    }
}
