import ClusterModel
import ClusterStore
import EngineAPI

// What happens: the engine's own events as they come, and on a manager the cluster's among them.
extension Router {
    func showEvents(_ call: Call) async throws -> Response {
        // A filter that we do not know but the engine does concerns what only the engine has.
        let filters = try? Filters(parsing: call.query["filters"] ?? "", allowed: EventFilter.names)
        let (since, until) = (moment("since", call), moment("until", call))
        // What is wrong with the question is the engine's to say.
        var prefix = ""
        if let version = call.request.version, version <= (await spokenVersion()) { prefix = "/v\(version)" }
        let query = call.query.text
        let answer = try await engine.open(prefix + "/events" + (query.isEmpty ? "" : "?\(query)"))
        guard answer.head.status == 200 else {
            var whole = answer.head
            for try await bytes in answer.body { whole.body += bytes }
            return relay(whole)
        }
        let filter = EventFilter(filters: filters ?? Filters(), since: since, until: until)
        let feed = filters == nil ? nil : await life.events()
        var response = relay(answer.head)
        response.stream = BodyStream { write in
            try await EventMerge(filter: filter, feed: feed, engine: answer.body).run(write)
        }
        return response
    }

    /// Seconds since 1970, with a fraction.
    private func moment(_ name: String, _ call: Call) -> Cluster.Timestamp? {
        guard let text = call.query[name], !text.isEmpty else { return nil }
        let parts = text.split(separator: ".", maxSplits: 1)
        guard let seconds = parts.first.flatMap({ Int64($0) }), seconds < Int64.max / 1_000_000_000 else { return nil }
        let fraction = parts.count > 1 ? Int64((parts[1] + "000000000").prefix(9)) ?? 0 : 0
        return Cluster.Timestamp(nanoseconds: seconds * 1_000_000_000 + fraction)
    }
}

/// Which events a client wants.
///
/// - Source: moby daemon/events/filter.go, `Include`.
struct EventFilter: Sendable {
    static let names: Set<String> = [
        "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret",
        "service", "type", "volume",
    ]
    private static let objects = [
        "config", "container", "daemon", "image", "network", "node", "plugin", "secret", "service", "volume",
    ]

    var filters: Filters
    var since: Cluster.Timestamp?
    var until: Cluster.Timestamp?

    func allows(_ event: ClusterEvent) -> Bool {
        if let until, event.time > until { return false }
        // Clients do not know events of tasks: only who asks for them is told.
        if event.kind == .task, filters["type"].isEmpty { return false }
        let name = event.attributes["name"] ?? ""
        return filters.allows("event") { $0 == event.action.rawValue }
            && filters.allows("type") { $0 == event.kind.rawValue }
            && filters.allows("scope") { $0 == "swarm" }
            && filters.allowsLabels("label", event.attributes)
            && Self.objects.allSatisfy { kind in
                filters.allows(kind) {
                    kind == event.kind.rawValue && (event.id.hasPrefix($0) || name.hasPrefix($0))
                }
            }
    }

    /// Of what was: only who names a moment is told of it.
    func allowsPast(_ event: ClusterEvent) -> Bool {
        guard let since else { return false }
        return event.time >= since && allows(event)
    }
}

/// Two streams of events into one: the engine's lines whole and in their order, the cluster's between them.
private struct EventMerge: Sendable {
    let filter: EventFilter
    let feed: ClusterEventFeed?
    let engine: AsyncThrowingStream<[UInt8], any Error>

    /// Ends with the engine's stream: by `until`, or when the engine goes.
    func run(_ write: @escaping BodyStream.Write) async throws {
        for event in feed?.past ?? [] where filter.allowsPast(event) { try await write(Self.line(event)) }
        try await withThrowingTaskGroup(of: Bool.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                var rest: [UInt8] = []
                for try await bytes in engine {
                    rest += bytes
                    guard let end = rest.lastIndex(of: UInt8(ascii: "\n")) else { continue }
                    try await write(Array(rest[...end]))
                    rest.removeSubrange(...end)
                }
                if !rest.isEmpty { try await write(rest) }
                return true
            }
            if let feed {
                group.addTask {
                    for try await event in feed.future where filter.allows(event) { try await write(Self.line(event)) }
                    return false
                }
            }
            while let isOver = try await group.next(), !isOver {}
        }
    }

    private static func line(_ event: ClusterEvent) -> [UInt8] {
        let words: JSON = [
            "Type": .string(event.kind.rawValue), "Action": .string(event.action.rawValue),
            "Actor": ["ID": .string(event.id), "Attributes": JSON(event.attributes)], "scope": "swarm",
            "time": JSON(event.time.nanoseconds / 1_000_000_000), "timeNano": JSON(event.time.nanoseconds),
        ]
        return words.utf8 + [UInt8(ascii: "\n")]
    }
}
