import ClusterModel
import ClusterStore
import EngineAPI
import Synchronization
import Testing

@testable import EngineServer

@Suite("Events")
struct EventRoutesTests {
    private let fixture = Fixture()
    private static let own = #"{"Type":"container","Action":"start","Actor":{"ID":"c1"},"timeNano":5}"#

    private func event(
        _ kind: ClusterEvent.Kind, _ action: ClusterEvent.Action = .create, _ name: String = "web", at time: Int64 = 1
    ) -> ClusterEvent {
        .init(
            kind: kind, action: action, id: "id-\(name)", attributes: ["name": name],
            time: .init(nanoseconds: time * 1_000_000_000))
    }

    private func setUp(past: [ClusterEvent] = [], future: [ClusterEvent] = [], path: String) {
        fixture.answer(path, Self.own + "\n" + Self.own + "\n")
        let (stream, writer) = AsyncThrowingStream.makeStream(of: ClusterEvent.self, throwing: (any Error).self)
        for event in future { writer.yield(event) }
        writer.finish()
        fixture.state.withLock { $0.events = .init(past: past, future: stream) }
    }

    private func lines(_ target: String) async throws -> [String] {
        let answer = await fixture.send("GET", target)
        #expect(answer.status == 200)
        let written = Mutex<[UInt8]>([])
        try await answer.response.stream?.run { bytes in
            // Pieces of lines would be torn by what the other writes between.
            #expect(bytes.last == UInt8(ascii: "\n"))
            written.withLock { $0 += bytes }
        }
        return String(decoding: written.withLock { $0 }, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test func `of the engine and of the cluster come in one stream, line by line`() async throws {
        setUp(past: [event(.node)], future: [event(.service)], path: "/events")
        let all = try await lines("/events")
        #expect(all.count { $0 == Self.own } == 2)
        // What was is for who asks since when; what is to come may be cut off by the engine's end.
        #expect(!all.contains { $0.contains(#""Type":"node""#) })
    }

    @Test func `of the past are told since the moment that is asked for`() async throws {
        setUp(
            past: [event(.node, at: 1), event(.service, at: 5), event(.secret, at: 9)],
            path: "/events?since=4.5&until=8")
        let told = try await lines("/events?since=4.5&until=8").filter { !$0.contains("container") }
        #expect(
            told == [
                #"{"Type":"service","Action":"create","Actor":{"ID":"id-web","Attributes":{"name":"web"}},"scope":"swarm","time":5,"timeNano":5000000000}"#
            ])
    }

    @Test(arguments: [
        (#"{}"#, true, false), (#"{"type":["service"]}"#, true, false), (#"{"type":["node"]}"#, false, false),
        (#"{"event":["update"]}"#, false, false), (#"{"service":["we"]}"#, true, false),
        (#"{"service":["db"]}"#, false, false), (#"{"container":["c1"]}"#, false, false),
        (#"{"scope":["local"]}"#, false, false), (#"{"label":["name=web"]}"#, true, false),
        (#"{"type":["task"]}"#, false, true),
    ])
    func `are filtered as the engine filters its own`(text: String, service: Bool, task: Bool) throws {
        let filter = EventFilter(
            filters: try Filters(parsing: text, allowed: EventFilter.names), since: nil, until: nil)
        #expect(filter.allows(event(.service)) == service)
        #expect(filter.allows(event(.task)) == task)
    }

    @Test func `that the engine refuses are refused in its words`() async {
        fixture.answer(
            "/events?filters=%7B%22x%22%3A%5B%22y%22%5D%7D", #"{"message":"invalid filter 'x'"}"#, status: 400)
        let answer = await fixture.send("GET", "/events?filters=%7B%22x%22%3A%5B%22y%22%5D%7D")
        #expect(answer.status == 400)
        #expect(answer.message == "invalid filter 'x'")
    }
}
