import ClusterModel
import EngineAPI
import Testing

@testable import EngineServer

@Suite("The routes about networks")
struct NetworkRoutesTests {
    let fixture = Fixture()
    static let app = Cluster.ID<Cluster.Network>(bits: 77)

    init() throws {
        fixture.addNode(1, "north", manager: true)
        let spec = try Cluster.NetworkSpec(parsing: ["Name": "app", "Labels": ["a": "b"], "Attachable": false])
        let subnet = try #require(IPSubnet("10.0.1.0/24"))
        fixture.apply(
            .putNetwork(
                .init(
                    id: Self.app, spec: spec, vni: 4_097,
                    subnets: [.init(subnet: subnet, gateway: try #require(IPAddress("10.0.1.1")))], at: Fixture.then)))
        fixture.answer(
            "/networks",
            #"[{"Name":"bridge","Id":"b1","Labels":{}},{"Name":"apus-4097","Id":"c1","Labels":{"apus.network":"x"}}]"#)
        fixture.answer("/networks/bridge", #"{"Name":"bridge","Id":"b1","Labels":{}}"#)
        fixture.answer("/networks/apus-4097", #"{"Name":"apus-4097","Id":"c1","Labels":{"apus.network":"x"}}"#)
    }

    @Test func `show ours beside the engine's, and hide what carries ours`() async {
        let list = await fixture.send("GET", "/networks").json.array ?? []
        #expect(list.map { $0["Name"]?.string } == ["app", "bridge"])
        #expect(
            list.first?.text == """
                {"Name":"app","Id":"\(Self.app)","Created":"2017-07-14T02:40:00.123456789Z","Scope":"swarm",\
                "Driver":"overlay","EnableIPv6":false,"IPAM":{"Driver":"default","Options":null,\
                "Config":[{"Subnet":"10.0.1.0/24","Gateway":"10.0.1.1"}]},"Internal":false,"Attachable":false,\
                "Ingress":false,"ConfigFrom":{"Network":""},"ConfigOnly":false,"Containers":null,\
                "Options":{"com.docker.network.driver.overlay.vxlanid_list":"4097"},"Labels":{"a":"b"}}
                """)
    }

    @Test func `find ours by name, ID and its beginning; what carries ours is not there`() async {
        for reference in ["app", "\(Self.app)", "\(Self.app)".prefix(24).description] {
            #expect(await fixture.send("GET", "/networks/\(reference)").json["Name"] == "app", "\(reference)")
        }
        #expect(await fixture.send("GET", "/networks/bridge").json["Id"] == "b1")
        #expect(await fixture.send("GET", "/networks/apus-4097").message == "network apus-4097 not found")
        #expect(await fixture.send("DELETE", "/networks/apus-4097").status == 404)
    }

    @Test func `remove ours through the cluster, the engine's through the engine`() async {
        #expect(await fixture.send("DELETE", "/networks/app").status == 204)
        #expect(fixture.submitted == [.removeNetwork(Self.app)])
        fixture.answer("DELETE /networks/bridge", "", status: 403)
        #expect(await fixture.send("DELETE", "/networks/bridge").status == 403)
    }

    @Test func `do not let anybody in where nobody may attach`() async {
        let answer = await fixture.send("POST", "/networks/app/connect", #"{"Container":"c"}"#)
        #expect(answer.status == 403 && answer.message?.hasSuffix("not manually attachable") == true)
    }

    @Test func `never prune what carries ours`() async {
        let path = #"POST /networks/prune?filters=%7B%22label%21%22%3A%5B%22apus.network%22%5D%7D"#
        fixture.answer(path, #"{"NetworksDeleted":["old"]}"#)
        let answer = await fixture.send("POST", "/networks/prune", "")
        #expect(answer.json["NetworksDeleted"]?.text == #"["old","app"]"#)
    }
}
