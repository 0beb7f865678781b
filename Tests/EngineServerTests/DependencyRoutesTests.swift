import ClusterModel
import EngineAPI
import Testing

@testable import EngineServer

@Suite("The routes about secrets and configs")
struct DependencyRoutesTests {
    let fixture = Fixture()
    static let secret = Cluster.ID<Cluster.Dependency>(bits: 50)
    static let config = Cluster.ID<Cluster.Dependency>(bits: 51)

    init() {
        fixture.apply(
            .putDependency(
                .init(
                    id: Self.secret, spec: .init(kind: .secret, name: "key", labels: ["a": "b"], data: "aGlkZGVu"),
                    at: Fixture.then)),
            .putDependency(
                .init(id: Self.config, spec: .init(kind: .config, name: "key", data: "b3Blbg=="), at: Fixture.then)))
    }

    @Test func `show what a config holds, and of a secret everything else`() async {
        #expect(
            await fixture.send("GET", "/secrets/key").text == """
                {"ID":"\(Self.secret)","Version":{"Index":1},"CreatedAt":"2017-07-14T02:40:00.123456789Z",\
                "UpdatedAt":"1970-01-01T00:00:00.000000001Z","Spec":{"Name":"key","Labels":{"a":"b"}}}

                """)
        #expect(await fixture.send("GET", "/configs/\(Self.config)").json["Spec"]?["Data"] == "b3Blbg==")
        #expect(await fixture.send("GET", "/secrets").text.contains("aGlkZGVu") == false)
        #expect(await fixture.send("GET", "/secrets/\(Self.config)").status == 404)
        #expect(await fixture.send("GET", "/configs/x").message == "config x not found")
    }

    @Test func `filter`() async {
        #expect(await fixture.send("GET", #"/secrets?filters={"names":["ke"]}"#).ids == [])
        #expect(await fixture.send("GET", #"/secrets?filters={"name":["ke"]}"#).ids == ["\(Self.secret)"])
        #expect(await fixture.send("GET", #"/secrets?filters={"label":["a=c"]}"#).ids == [])
        #expect(await fixture.send("GET", #"/configs?filters={"y":["y"]}"#).message == "Invalid filter 'y'")
    }

    @Test func `keep what was sent, without it in any text about it`() async throws {
        let answer = await fixture.send("POST", "/secrets/create", #"{"Name":"n","Data":"c2VjcmV0"}"#)
        #expect(answer.status == 201 && answer.text == "{\"ID\":\"new\"}\n")
        guard case .createDependency(let spec) = try #require(fixture.submitted.first) else {
            Issue.record("something else was asked")
            return
        }
        #expect(spec.data == "c2VjcmV0" && "\(spec)" == "secret n")
    }

    @Test(
        "refuse",
        arguments: [
            ("secrets", "{}", "name must be provided"),
            (
                "secrets", #"{"Name":"-a","Data":"YQ=="}"#,
                "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]"
            ),
            ("secrets", #"{"Name":"a"}"#, "secret data must be larger than 0 and less than 512000 bytes"),
            ("configs", #"{"Name":"a"}"#, "config data must be larger than 0 and less than 1024000 bytes"),
        ])
    func refusals(path: String, body: String, words: String) async {
        let answer = await fixture.send("POST", "/\(path)/create", body)
        #expect(answer.status == 400 && answer.message == "rpc error: code = InvalidArgument desc = \(words)")
        #expect(fixture.submitted.isEmpty)
    }

    @Test func `change labels alone`() async {
        let path = "/secrets/key/update?version=1"
        #expect(await fixture.send("POST", path, #"{"Name":"key","Labels":{"c":"d"}}"#).status == 200)
        #expect(fixture.submitted == [.relabelDependency(Self.secret, .secret, version: 1, labels: ["c": "d"])])
        for body in [#"{"Name":"other"}"#, #"{"Name":"key","Data":"YQ=="}"#] {
            #expect(
                await fixture.send("POST", path, body).message
                    == "rpc error: code = InvalidArgument desc = only updates to Labels are allowed")
        }
        #expect(await fixture.send("DELETE", "/configs/key").status == 204)
    }
}
