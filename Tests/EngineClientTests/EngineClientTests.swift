import EngineAPI
import Logging
import Testing

@testable import EngineClient

@Suite("The engine's client")
struct EngineClientTests {
    @Test(arguments: [
        ("nginx", "nginx", "latest"), ("nginx:1", "nginx", "1"), ("host:5000/a/b", "host:5000/a/b", "latest"),
        ("host:5000/a/b:2", "host:5000/a/b", "2"), ("nginx@sha256:aa", "nginx", "sha256:aa"),
        ("nginx:1@sha256:aa", "nginx", "sha256:aa"),
    ])
    func `splits a reference`(reference: String, name: String, tag: String) {
        #expect(EngineClient.Images.split(reference) == (name, tag))
    }

    @Test func `orders versions by their numbers`() {
        #expect(APIVersion("1.9")! < APIVersion("1.41")!)
        #expect(APIVersion("one") == nil)
    }

    @Test func `cuts a stream into documents wherever the network cut it`() throws {
        var lines = JSONLines()
        #expect(try lines.take(Array(#"{"a":"#.utf8)) == [])
        #expect(try lines.take(Array("1}\r\n\n{\"b\":2}".utf8)).map(\.text) == [#"{"a":1}"#])
        #expect(try lines.line()?.text == #"{"b":2}"#)
    }

    @Test func `says in words that no engine is there`() async {
        let engine = EngineClient(socketPath: "/nowhere/docker.sock", log: Logger(label: "test"))
        let error = await #expect(throws: EngineUnreachable.self) { try await engine.version() }
        #expect(error?.description.contains("Is dockerd running?") == true)
        await engine.shutdown()
    }
}
