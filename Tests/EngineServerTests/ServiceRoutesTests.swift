import ClusterModel
import ClusterStore
import EngineAPI
import Synchronization
import Testing

@testable import EngineServer

@Suite("The routes about services and tasks")
struct ServiceRoutesTests {
    let fixture = Fixture()

    init() throws {
        fixture.addNode(1, "north")
        try fixture.addService(1, Fixture.web())
        try fixture.addService(
            2, ["Name": "agent", "Mode": ["Global": [:]], "TaskTemplate": ["ContainerSpec": ["Image": "a"]]])
        fixture.addTask(11, of: 1, slot: 1, on: 1)
        fixture.addTask(12, of: 1, slot: 2, .starting)
        fixture.addTask(13, of: 1, slot: 2, .failed, desired: .shutdown)
        fixture.addTask(21, of: 2, slot: 0, on: 1)
    }

    @Test func `show a service as dockerd does, with what we do not know of`() async {
        #expect(
            await fixture.send("GET", "/services/web").text == """
                {"ID":"0000000000000000000000001","Version":{"Index":2},"CreatedAt":"2017-07-14T02:40:00.123456789Z",\
                "UpdatedAt":"1970-01-01T00:00:00.000000002Z","Spec":{"Name":"web","Labels":{"team":"blue"},\
                "TaskTemplate":{"ContainerSpec":{"Image":"nginx"},"Later":18446},"Mode":{"Replicated":{"Replicas":2}},\
                "EndpointSpec":{"Ports":[{"Protocol":"tcp","TargetPort":80,"PublishedPort":8080,"PublishMode":"host"}]}},\
                "Endpoint":{"Spec":{"Ports":[{"Protocol":"tcp","TargetPort":80,"PublishedPort":8080,\
                "PublishMode":"host"}]},"Ports":[{"Protocol":"tcp","TargetPort":80,"PublishedPort":8080,\
                "PublishMode":"host"}]}}

                """)
    }

    @Test func `show what it was before, and how an update goes`() async throws {
        var service = try #require(fixture.store.service(Fixture.service(1)))
        service.current = 2
        service.previous = 1
        service.newest = 2
        service.update = .init(state: .rollbackCompleted, startedAt: Fixture.then, message: "rollback completed")
        service.update?.completedAt = Fixture.then
        fixture.apply(
            .putRevision(
                .init(
                    service: service.id, number: 2, template: 2, spec: try .init(parsing: Fixture.web(image: "new")),
                    createdAt: Fixture.then, registryAuth: nil)), .putService(service))
        let json = await fixture.send("GET", "/services/web").json
        #expect(
            json.object?.members.map(\.name) == [
                "ID", "Version", "CreatedAt", "UpdatedAt", "Spec", "PreviousSpec", "Endpoint", "UpdateStatus",
            ])
        #expect(json["Spec"]?["TaskTemplate"]?["ContainerSpec"]?["Image"] == "new")
        #expect(json["PreviousSpec"]?["TaskTemplate"]?["ContainerSpec"]?["Image"] == "nginx")
        #expect(
            json["UpdateStatus"]?.text == """
                {"State":"rollback_completed","StartedAt":"2017-07-14T02:40:00.123456789Z",\
                "CompletedAt":"2017-07-14T02:40:00.123456789Z","Message":"rollback completed"}
                """)
        // Its tasks still run the first revision, which another template made.
        #expect(await fixture.send("GET", #"/tasks?filters={"_up-to-date":{"true":true},"service":["web"]}"#).ids == [])
    }

    @Test func `count what runs against what is wanted`() async {
        let list = await fixture.send("GET", "/services?status=true").json.array ?? []
        #expect(
            list.map { $0["ServiceStatus"]?.text } == [
                #"{"RunningTasks":1,"DesiredTasks":2,"CompletedTasks":0}"#,
                #"{"RunningTasks":1,"DesiredTasks":1,"CompletedTasks":0}"#,
            ])
        #expect(await fixture.send("GET", "/services").json.array?.first?["ServiceStatus"] == nil)
        #expect(await fixture.send("GET", "/services?status=maybe").status == 400)
    }

    @Test func `fill in what the cluster does by itself, when asked`() async {
        let spec = await fixture.send("GET", "/services/web?insertDefaults=true").json["Spec"]
        #expect(spec?["UpdateConfig"]?["Parallelism"] == 1 && spec?["UpdateConfig"]?["Order"] == "stop-first")
        #expect(spec?["TaskTemplate"]?["RestartPolicy"]?["Condition"] == "any")
        #expect(spec?["TaskTemplate"]?["ContainerSpec"]?["StopGracePeriod"] == 10_000_000_000)
        #expect(spec?["EndpointSpec"]?["Mode"] == "vip")
    }

    @Test(
        "list the services that were asked for",
        arguments: [
            (#"{"name":["we"]}"#, 1), (#"{"mode":["global"]}"#, 1), (#"{"mode":["other"]}"#, 0),
            (#"{"label":["team"]}"#, 1), (#"{"label":{"team=red":true}}"#, 0), (#"{"id":["000"]}"#, 2), ("", 2),
        ])
    func filters(_ text: String, _ count: Int) async {
        #expect(await fixture.send("GET", "/services?filters=\(text)").ids.count == count)
    }

    @Test func `create a service, and fill in what every client expects to read`() async throws {
        let answer = await fixture.send(
            "POST", "/services/create", #"{"Name":"x","TaskTemplate":{"ContainerSpec":{"Image":"a"}}}"#,
            headers: [Header("x-registry-auth", "e30=")])
        #expect(answer.status == 201 && answer.text == "{\"ID\":\"new\"}\n")
        guard case .createService(let spec, registryAuth: "e30=") = fixture.submitted.first else {
            Issue.record("not sent: \(fixture.submitted)")
            return
        }
        #expect(
            spec.document == """
                {"Name":"x","TaskTemplate":{"ContainerSpec":{"Image":"a","Isolation":"default"},"ForceUpdate":0,"Runtime":"container"},\
                "Labels":{},"Mode":{"Replicated":{"Replicas":1}}}
                """)
        #expect(spec.mode == .replicated(1))
    }

    @Test(
        "refuse what is no service",
        arguments: [
            ("", 400, "got EOF while reading request body"),
            ("[]", 400, "json: cannot unmarshal array into Go value of type swarm.ServiceSpec"),
            (#"{"Name":5}"#, 400, "json: cannot unmarshal number into Go struct field ServiceSpec.Name of type string"),
            (
                #"{"Name":"q","TaskTemplate":{"ContainerSpec":{"Image":""}}}"#, 400,
                "rpc error: code = InvalidArgument desc = ContainerSpec: image reference must be provided"
            ),
        ])
    func badSpecs(_ body: String, _ status: Int, _ message: String) async {
        let answer = await fixture.send("POST", "/services/create", body)
        #expect(answer.status == status && answer.message == message)
    }

    @Test func `tell a body that is no JSON`() async {
        #expect(await fixture.send("POST", "/services/create", "{\"Name\"").status == 400)
    }

    @Test func `change one, roll it back, and take the credentials from where they are`() async throws {
        let body = Fixture.web().text
        #expect(await fixture.send("POST", "/services/web/update?version=3", body).text == "{\"Warnings\":null}\n")
        #expect(
            await fixture.send(
                "POST", "/services/web/update?version=4&rollback=previous&registryAuthFrom=previous-spec", body
            )
            .status == 200)
        let requests = fixture.submitted
        guard
            case .updateService(Fixture.service(1), version: 3, .spec(let spec), registryAuth: .fromCurrent) = requests[
                0]
        else {
            Issue.record("not sent: \(requests)")
            return
        }
        #expect(spec.name == "web")
        #expect(
            requests[1] == .updateService(Fixture.service(1), version: 4, .rollback, registryAuth: .fromPrevious))
        #expect(
            await fixture.send("POST", "/services/web/update?version=4&rollback=foo", body).message
                == "unrecognized rollback option foo")
        #expect(
            await fixture.send("POST", "/services/web/update?version=4&registryAuthFrom=foo", body).message
                == "unsupported registryAuthFrom value")
        #expect(
            await fixture.send("POST", "/services/web/update", body).message
                == "invalid service version '': strconv.ParseUint: parsing \"\": invalid syntax")
    }

    @Test func `pass warnings on`() async {
        fixture.state.withLock { $0.outcome = .success(.init(created: "i", warnings: ["slow"])) }
        let body = Fixture.web().text
        #expect(
            await fixture.send("POST", "/services/create", body).text == "{\"ID\":\"i\",\"Warnings\":[\"slow\"]}\n")
        #expect(
            await fixture.send("POST", "/services/web/update?version=1", body).text == "{\"Warnings\":[\"slow\"]}\n")
    }

    @Test func `remove one, and tell one that is not there`() async {
        #expect(await fixture.send("DELETE", "/services/web").status == 200)
        #expect(fixture.submitted == [.removeService(Fixture.service(1))])
        let answer = await fixture.send("DELETE", "/services/nosuch")
        #expect(answer.status == 404 && answer.message == "service nosuch not found")
        #expect(
            await fixture.send("GET", "/services/0000").message == "service 0000 is ambiguous (2 matches found)")
    }

    @Test func `show a task as dockerd does`() async {
        #expect(
            await fixture.send("GET", "/tasks/\(Fixture.task(11))").text == """
                {"ID":"000000000000000000000000b","Version":{"Index":4},"CreatedAt":"2017-07-14T02:40:00.123456789Z",\
                "UpdatedAt":"1970-01-01T00:00:00.000000004Z","Labels":{},"Spec":{"ContainerSpec":{"Image":"nginx"},\
                "Later":18446},"ServiceID":"0000000000000000000000001","Slot":1,"NodeID":"0000000000000000000000001",\
                "Status":{"Timestamp":"2017-07-14T02:40:00.123456789Z","State":"running","Message":"started",\
                "ContainerStatus":{"ContainerID":"c11","PID":7,"ExitCode":0},"PortStatus":{}},"DesiredState":"running"}

                """)
        #expect(await fixture.send("GET", "/tasks/x").message == "task x not found")
    }

    @Test(
        "list the tasks that were asked for",
        arguments: [
            ("", 4), (#"{"service":["web"]}"#, 3), (#"{"node":["north"]}"#, 2),
            (#"{"service":["web"],"node":["north"]}"#, 1),
            (#"{"desired-state":["running"]}"#, 3), (#"{"desired-state":["shutdown"]}"#, 1),
            (#"{"name":["web.2"]}"#, 2),
            (#"{"name":["web"]}"#, 3), (#"{"label":["team=blue"]}"#, 3), (#"{"_up-to-date":["true"]}"#, 4),
            (#"{"runtime":["container"]}"#, 4), (#"{"runtime":["plugin"]}"#, 0),
            (#"{"id":["000000000000000000000000b"]}"#, 1),
        ])
    func taskFilters(_ text: String, _ count: Int) async {
        #expect(await fixture.send("GET", "/tasks?filters=\(text)").ids.count == count)
    }

    @Test(
        "tell what a filter names that is not there",
        arguments: [
            (#"{"node":["y"]}"#, 404, "node y not found"), (#"{"service":["y"]}"#, 404, "service y not found"),
            (#"{"desired-state":["y"]}"#, 400, "Invalid desired-state filter: 'y'"),
        ])
    func badTaskFilters(_ text: String, _ status: Int, _ message: String) async {
        let answer = await fixture.send("GET", "/tasks?filters=\(text)")
        #expect(answer.status == status && answer.message == message)
    }
}
