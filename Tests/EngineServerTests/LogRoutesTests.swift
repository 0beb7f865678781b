import ClusterModel
import EngineAPI
import Synchronization
import Testing

@testable import EngineServer

@Suite("Logs")
struct LogRoutesTests {
    private let fixture = Fixture()

    private func setUp(tty: Bool = false) throws {
        var document = Fixture.web()
        if tty {
            document["TaskTemplate"] = ["ContainerSpec": ["Image": "nginx", "TTY": true]]
        }
        try fixture.addService(1, document)
        fixture.addTask(1, of: 1, on: 1)
        fixture.state.withLock {
            $0.logs = [
                .init(
                    node: "n1", service: "s1", task: "t1",
                    lines: [
                        .init(stream: 1, time: "2026-01-01T00:00:00.000000001Z", text: Array("hello\n".utf8)),
                        .init(
                            stream: 2, time: "2026-01-01T00:00:00.000000002Z", details: "tag=x",
                            text: Array("no\n".utf8)),
                    ])
            ]
        }
    }

    /// Everything that is written after the head.
    private func body(_ answer: Fixture.Answer) async throws -> [UInt8] {
        let written = Mutex<[UInt8]>([])
        try await answer.response.stream?.run { bytes in written.withLock { $0 += bytes } }
        return written.withLock { $0 }
    }

    private func frame(_ stream: UInt8, _ text: String) -> [UInt8] {
        [stream, 0, 0, 0, 0, 0, 0, UInt8(text.utf8.count)] + Array(text.utf8)
    }

    @Test func `come framed by their stream, with time and with whose they are`() async throws {
        try setUp()
        let plain = await fixture.send("GET", "/services/web/logs?stdout=1&stderr=1")
        #expect(plain.status == 200)
        #expect(plain.response.headers["Content-Type"] == "application/vnd.docker.multiplexed-stream")
        #expect(try await body(plain) == frame(1, "hello\n") + frame(2, "no\n"))

        let full = await fixture.send("GET", "/tasks/\(Fixture.task(1))/logs?stdout=1&timestamps=1&details=1")
        let whose = "com.docker.swarm.node.id=n1,com.docker.swarm.service.id=s1,com.docker.swarm.task.id=t1"
        #expect(
            try await body(full)
                == frame(1, "2026-01-01T00:00:00.000000001Z \(whose) hello\n")
                + frame(2, "2026-01-01T00:00:00.000000002Z \(whose),tag=x no\n"))
    }

    @Test func `of a terminal come as they are`() async throws {
        try setUp(tty: true)
        let answer = await fixture.send("GET", "/services/web/logs?stdout=1")
        #expect(answer.response.headers["Content-Type"] == "application/vnd.docker.raw-stream")
        #expect(try await body(answer) == Array("hello\nno\n".utf8))
    }

    @Test func `that are not whole end with the reason, on the stream of the daemon's own trouble`() async throws {
        try setUp()
        fixture.state.withLock { $0.logs = [.init(trouble: "node host1 does not answer")] }
        let answer = await fixture.send("GET", "/services/web/logs?stdout=1")
        let words = "Error grabbing logs: rpc error: code = Unknown desc = node host1 does not answer\n"
        #expect(try await body(answer) == frame(3, words))
    }

    @Test func `are asked for as the client wants them`() async throws {
        try setUp()
        let answer = await fixture.send(
            "GET", "/services/web/logs?stdout=1&stderr=0&tail=7&since=1700000000.5&until=0")
        _ = try await body(answer)
        var wish = Dispatch.LogWish(.service(Fixture.service(1)), stderr: false, tail: 7, since: "1700000000.5")
        #expect(fixture.state.withLock { $0.logWishes } == [wish])
        _ = try await body(await fixture.send("GET", "/tasks/\(Fixture.task(1))/logs?stderr=1&tail=all"))
        wish = Dispatch.LogWish(.task(Fixture.task(1)), stdout: false)
        #expect(fixture.state.withLock { $0.logWishes.last } == wish)
    }

    @Test(arguments: [
        ("/services/web/logs", 400, "Bad parameters: you must choose at least one stream"),
        ("/services/web/logs?stdout=1&tail=x", 500, #"tail value must be a positive integer or "all""#),
        ("/services/web/logs?stdout=1&tail=-1", 500, "negative tail values not supported"),
        ("/services/web/logs?stdout=1&since=yesterday", 400, "invalid value for since: yesterday"),
        ("/services/none/logs?stdout=1", 404, "service none not found"),
        ("/tasks/none/logs?stdout=1", 404, "task none not found"),
    ])
    func `are refused with words`(target: String, status: Int, words: String) async throws {
        try setUp()
        let answer = await fixture.send("GET", target)
        #expect(answer.status == status)
        #expect(answer.message == words)
    }
}
