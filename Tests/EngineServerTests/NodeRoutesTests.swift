import ClusterModel
import ClusterStore
import EngineAPI
import Synchronization
import Testing

@testable import EngineServer

@Suite("The routes about nodes")
struct NodeRoutesTests {
    let fixture = Fixture()

    init() throws {
        try fixture.addSwarm()
        fixture.addNode(1, "north", manager: true, labels: ["zone": "n"])
        fixture.addNode(2, "south", manager: true)
        fixture.addNode(3, "west")
        fixture.addNode(36 * 3 + 3, "west")
        fixture.state.withLock { $0.managers = .init(leader: Fixture.node(1), reachable: [Fixture.node(1)]) }
    }

    @Test func `show a manager as dockerd does`() async {
        #expect(
            await fixture.send("GET", "/nodes/north").text == """
                {"ID":"0000000000000000000000001","Version":{"Index":2},"CreatedAt":"2017-07-14T02:40:00.123456789Z",\
                "UpdatedAt":"1970-01-01T00:00:00.000000002Z","Spec":{"Labels":{"zone":"n"},"Role":"manager",\
                "Availability":"active"},"Description":{"Hostname":"north","Platform":{"Architecture":"x86_64",\
                "OS":"linux"},"Resources":{"NanoCPUs":2000000000,"MemoryBytes":1073741824},\
                "Engine":{"EngineVersion":"20.10.24","Labels":{"disk":"fast"}},"TLSInfo":{"TrustRoot":"PEM",\
                "CertIssuerSubject":"U1VC","CertIssuerPublicKey":"S0VZ"}},"Status":{"State":"ready","Addr":"10.0.0.1"},\
                "ManagerStatus":{"Leader":true,"Reachability":"reachable","Addr":"10.0.0.1:2377"}}

                """)
    }

    @Test func `say who does not answer, and nothing of managers for a worker`() async {
        let south = await fixture.send("GET", "/nodes/south").json["ManagerStatus"]
        #expect(south?["Reachability"] == "unreachable" && south?["Leader"] == nil)
        #expect(await fixture.send("GET", "/nodes/0000000000000000000000003").json["ManagerStatus"] == nil)
    }

    @Test(
        "find one by ID, name, or an ID's beginning",
        arguments: [
            ("0000000000000000000000002", 200, nil), ("south", 200, nil),
            ("000000000000000000000003", 200, nil),
            ("00", 400, "node 00 is ambiguous (4 matches found)"),
            ("west", 400, "node west is ambiguous (2 matches found)"),
            ("self", 404, "node self not found"),
        ] as [(String, Int, String?)])
    func references(_ reference: String, _ status: Int, _ message: String?) async {
        let answer = await fixture.send("GET", "/nodes/\(reference)")
        #expect(answer.status == status)
        #expect(answer.message == message)
    }

    @Test(
        "list those that were asked for",
        arguments: [
            (#"{"role":["manager"]}"#, 2), (#"{"name":["we"]}"#, 2), (#"{"label":["disk=fast"]}"#, 4),
            (#"{"node.label":["zone=n"]}"#, 1), (#"{"membership":["accepted"]}"#, 4),
            (#"{"membership":{"pending":true}}"#, 0), (#"{"id":["0000000000000000000000001"]}"#, 1), ("", 4),
        ])
    func filters(_ text: String, _ count: Int) async {
        #expect(await fixture.send("GET", "/nodes?filters=\(text)").ids.count == count)
    }

    @Test(
        "refuse filters that mean nothing",
        arguments: [
            (#"{"x":["y"]}"#, "Invalid filter 'x'"), (#"{"role":["y"]}"#, "Invalid role filter: 'y'"),
            (#"{"membership":["y"]}"#, "Invalid membership filter: 'y'"),
        ])
    func badFilters(_ text: String, _ message: String) async {
        let answer = await fixture.send("GET", "/nodes?filters=\(text)")
        #expect(answer.status == 400 && answer.message == message)
    }

    @Test func `change and remove one`() async throws {
        #expect(
            await fixture.send(
                "POST", "/nodes/west/update?version=1", #"{"Role":"worker","Availability":"drain"}"#
            ).status == 400)
        let id = "0000000000000000000000003"
        #expect(
            await fixture.send(
                "POST", "/nodes/\(id)/update?version=9", #"{"Role":"worker","Availability":"drain","Labels":{"a":"b"}}"#
            ).status == 200)
        #expect(await fixture.send("DELETE", "/nodes/\(id)?force=1").status == 200)
        #expect(
            fixture.submitted == [
                .updateNode(
                    Fixture.node(3), version: 9, .init(labels: ["a": "b"], role: .worker, availability: .drain)),
                .removeNode(Fixture.node(3), force: true),
            ])
    }

    @Test(
        "refuse a spec that is none",
        arguments: [
            (#"{"Role":"king","Availability":"active"}"#, #"invalid Role: "king""#), ("{}", #"invalid Role: """#),
            (#"{"Role":"worker"}"#, #"invalid Availability: """#),
            ("[]", "json: cannot unmarshal array into Go value of type swarm.NodeSpec"),
        ])
    func badSpecs(_ body: String, _ message: String) async {
        let answer = await fixture.send("POST", "/nodes/x/update?version=1", body)
        #expect(answer.status == 400 && answer.message == message)
    }
}
