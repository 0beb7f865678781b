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
    }

    private struct Collection: Sendable {
        let asked: Set<NodeID>
        let receive: Receive
        let news: AsyncStream<News>.Continuation
    }

    private let collections = Mutex<[UInt64: Collection]>([:])
    private let numbers = Atomic<UInt64>(0)

    init(patience: Duration = .seconds(5)) { self.patience = patience }

    /// Collects until all nodes have said everything, or, following, until cancelled.
    ///
    /// - Parameters:
    ///   - nodes: those that may have something, by their names.
    ///   - tell: says something in a node's session; false where it has none.
    func collect(
        _ wish: Dispatch.LogWish, from nodes: [NodeID: String],
        tell: @escaping @Sendable (NodeID, Dispatch.FromManager) -> Bool, to receive: @escaping Receive
    ) async throws {
        let number = numbers.wrappingAdd(1, ordering: .relaxed).newValue
        let (news, writer) = AsyncStream.makeStream(of: News.self)
        let gate = Gate()
        let asked = Set(nodes.keys)
        collections.withLock {
            $0[number] = Collection(
                asked: asked, receive: { batch in try await gate.pass { try await receive(batch) } }, news: writer)
        }
        defer {
            collections.withLock { $0[number] = nil }
            for node in asked { _ = tell(node, .endLogs(number)) }
        }

        var troubles: [String] = []
        var waiting: Set<NodeID> = []
        for (node, name) in nodes.sorted(by: { $0.key < $1.key }) {
            if tell(node, .logs(.init(number: number, wish: wish))) {
                waiting.insert(node)
            } else {
                troubles.append("node \(name) is not available")
            }
        }
        if wish.follows, !troubles.isEmpty {
            // Whoever follows would never read the end.
            try await gate.pass { [troubles] in try await receive(Self.incomplete(troubles)) }
            troubles = []
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            for node in waiting {
                group.addTask { [patience] in
                    try await Task.sleep(for: patience)
                    writer.yield(.patienceIsOver(node))
                }
            }
            var begun: Set<NodeID> = []
            if waiting.isEmpty { return }
            for await event in news {
                switch event {
                case .began(let node): begun.insert(node)
                case .ended(let node, let trouble):
                    guard waiting.remove(node) != nil else { continue }
                    if let trouble { troubles.append("node \(nodes[node] ?? "\(node)") \(trouble)") }
                case .patienceIsOver(let node):
                    guard !begun.contains(node), waiting.remove(node) != nil else { continue }
                    troubles.append("node \(nodes[node] ?? "\(node)") does not answer")
                }
                if waiting.isEmpty { break }
            }
            try Task.checkCancellation()
        }
        if !troubles.isEmpty {
            try await gate.pass { [troubles] in try await receive(Self.incomplete(troubles)) }
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
                guard let collection, collection.asked.contains(node), collections.withLock({ $0[number] }) != nil
                else { throw ControlError.failedPrecondition("nobody asks for these logs") }
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
