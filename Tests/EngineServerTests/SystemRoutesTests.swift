import ClusterModel
import ClusterStore
import EngineAPI
import Synchronization
import Testing

@testable import EngineServer

@Suite("The routes about this machine")
struct SystemRoutesTests {
    let fixture = Fixture()

    @Test(
        "ping says what the engine says, and where this node stands",
        arguments: [
            (LocalSwarm.State.inactive, false, "inactive"), (.pending, false, "pending"), (.error, false, "error"),
            (.locked, false, "locked"), (.active, false, "active/worker"), (.active, true, "active/manager"),
        ])
    func ping(_ state: LocalSwarm.State, _ isManager: Bool, _ word: String) async {
        fixture.state.withLock { $0.local = LocalSwarm(state: state, controlAvailable: isManager) }
        let answer = await fixture.send("GET", "/_ping")
        #expect(answer.text == "OK")
        #expect(answer.response.headers["Swarm"] == word)
        #expect(answer.response.headers["Api-Version"] == "1.41")
        #expect(answer.response.headers["Server"] == "Docker/20.10")
        #expect(answer.response.headers["Connection"] == nil)
        #expect(await fixture.send("HEAD", "/v1.30/_ping").text == "")
    }

    @Test func `an engine that is newer than our own routes is spoken to as they are`() async {
        fixture.state.withLock { $0.engine["/_ping"]?.headers = [Header("Api-Version", "1.60")] }
        #expect(await fixture.send("GET", "/_ping").response.headers["Api-Version"] == "1.50")
        fixture.answer("/version", #"{"ApiVersion":"1.60","Components":[]}"#)
        let version = await fixture.send("GET", "/version").json
        #expect(version["ApiVersion"] == "1.50")
        #expect(version["Components"]?.array?.first?["Name"] == "Apus")
    }

    @Test func `an engine that does not answer is named`() async {
        fixture.state.withLock { $0.engine = [:] }
        let answer = await fixture.send("GET", "/_ping")
        #expect(answer.status == 503)
        #expect(answer.message?.contains("unix:///e") == true)
    }

    @Test func `info is the engine's, in place and order, but for the swarm`() async throws {
        try fixture.addSwarm()
        fixture.addNode(1, "a", manager: true)
        fixture.addNode(2, "b")
        fixture.answer("/v1.41/info", #"{"ID":"x","Swarm":{"LocalNodeState":"inactive"},"Big":18446744073709551615}"#)
        let answer = await fixture.send("GET", "/v1.41/info")
        #expect(
            answer.text.hasPrefix(#"{"ID":"x","Swarm":{"NodeID":"0000000000000000000000001","NodeAddr":"10.0.0.1","#))
        #expect(answer.text.hasSuffix("\"Big\":18446744073709551615}\n"))
        let swarm = try #require(answer.json["Swarm"])
        #expect(swarm["Nodes"] == 2 && swarm["Managers"] == 1 && swarm["ControlAvailable"] == true)
        #expect(swarm["RemoteManagers"]?.array?.count == 1)
        #expect(swarm["Cluster"]?["Spec"]?["Name"] == "default")
        #expect(swarm["Cluster"]?["JoinTokens"] == nil)
        #expect(!answer.text.contains("SECRET") && !answer.text.contains("SWMTKN"))
    }

    @Test func `info outside of a swarm is what dockerd shows`() async {
        fixture.state.withLock { $0.local = LocalSwarm() }
        fixture.answer("/info", "{}")
        #expect(
            await fixture.send("GET", "/info").text
                == #"{"Swarm":{"NodeID":"","NodeAddr":"","LocalNodeState":"inactive","ControlAvailable":false,"#
                + #""Error":"","RemoteManagers":null}}"# + "\n")
    }

    @Test func `info asks the engine in no newer version than it speaks`() async {
        fixture.answer("/info", "{}")
        #expect(await fixture.send("GET", "/v1.50/info").status == 200)
    }

    @Test func `info still answers when the cluster does not`() async {
        fixture.answer("/info", "{}")
        fixture.state.withLock { $0.refusal = .managerStarting }
        #expect(
            await fixture.send("GET", "/info").json["Swarm"]?["Error"]?.string == LifeError.managerStarting.description)
    }

    @Test func `our own answers carry dockerd's headers and a line's end`() async {
        let answer = await fixture.send("GET", "/services")
        #expect(answer.text == "[]\n")
        #expect(answer.response.headers["Api-Version"] == "1.41")
        #expect(answer.response.headers["Ostype"] == "linux")
        #expect(answer.response.headers["Docker-Experimental"] == "false")
        #expect(answer.response.headers["Content-Type"] == "application/json")
        #expect(answer.response.headers["Server"]?.hasPrefix("Apus/") == true)
    }

    @Test func `the dump is served`() async {
        #expect(await fixture.send("GET", "/apus/debug").json == ["role": "leader"])
    }

    @Test func `versions that we do not speak are refused on our own routes only`() async {
        #expect(
            await fixture.send("GET", "/v1.51/services").message
                == "client version 1.51 is too new. Maximum supported API version is 1.50")
        #expect(await fixture.send("GET", "/v1.23/services").status == 400)
        #expect(fixture.router.owner(of: "GET", RequestTarget("/v1.99/containers/json")) == .engine)
    }

    @Test(
        "whose a request is cannot be hidden by how it is spelled",
        arguments: [
            "/swarm/init", "/v1.41/swarm/init", "/v1.99/swarm/init", "/%73warm/%69nit", "/v1.41/swarm/init?a=b",
            "http://docker/v1.41/swarm/init", "/v1/swarm/init", "/v1.41.2/swarm/init",
        ])
    func spelling(_ target: String) {
        #expect(fixture.router.owner(of: "POST", RequestTarget(target)) == .us)
    }

    @Test(
        "is the engine's unless it is in the table",
        arguments: [
            ("GET", "/containers/json"), ("POST", "/swarm/other"), ("GET", "/services/"), ("PUT", "/services"),
            ("GET", "/"), ("GET", ""), ("OPTIONS", "*"), ("GET", "/v1.41"), ("GET", "/vx/services"),
            ("GET", "/nodes//"),
        ])
    func engine(_ method: String, _ target: String) {
        #expect(fixture.router.owner(of: method, RequestTarget(target)) == .engine)
    }
}
