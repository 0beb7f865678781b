import Deploy
import Deployer
import EngineAPI
import Testing

private func want(_ options: [Option], command: [String]? = nil) -> Want {
    let deployment = Deployment("shop") {
        Application(Service(name: "api", image: "nginx:1", command: command, options: options), hosts: ["m1", "m2"])
    }
    return Want(deployment.wish(in: Surroundings()).applications[0], deployment: "shop", image: ImageName("nginx:1"))
}

private func manager(_ host: Machine = "m1", _ service: JSON? = nil) -> Facts {
    var facts = Facts(host: host)
    facts.isManager = true
    facts.swarmState = "active"
    facts.registry["nginx:1"] = .digest("sha256:d1")
    facts.networks = ["front": "net1"]
    facts.services["api"] = service
    return facts
}

private func service(_ spec: JSON, previous: JSON? = nil) -> JSON {
    var service: JSON = ["ID": "s1", "Spec": spec]
    service["PreviousSpec"] = previous
    return service
}

private func spec(_ want: Want, version: Int = 1) -> JSON {
    ServiceDocument.make(
        want, image: "nginx:1@sha256:d1", over: nil, known: ServiceDocument.Known(manager()), version: version
    ).spec
}

private func plan(_ want: Want, _ facts: [Facts], _ goal: Planner.Goal = .steps([.pull, .migrate, .update])) -> Plan {
    Planner(goal).plan([want], Dictionary(uniqueKeysWithValues: facts.map { ($0.host, .seen($0)) }))
}

@Suite("A plan for services")
struct ServicePlanTests {
    private let options: [Option] = [
        .publish("8080:80"), .env("B", "2"), .env("A", "1"), .replicas(3), .label("foo", "bar"), .network("front"),
        .constraint("node.role == manager"),
        .mount(.volume, source: "data", target: "/data"), .memory(.mebibytes(64)), .host("db", "10.0.0.1"),
    ]

    @Test func `runs the digest that the registry names, on one manager`() {
        let plan = plan(want(options), [manager("m1"), manager("m2")])
        guard case .createService(let spec, _) = plan.tasks.first?.action else {
            Issue.record("no service is created: \(plan)")
            return
        }
        #expect(plan.tasks.count == 1 && plan.tasks[0].host == "m1")
        #expect(spec["TaskTemplate"]?["ContainerSpec"]?["Image"] == "nginx:1@sha256:d1")
        #expect(spec["TaskTemplate"]?["Networks"] == [["Target": "net1"]])
    }

    @Test func `changes nothing when nothing has changed, whatever the engine has added`() {
        var actual = spec(want(options))
        actual["EndpointSpec"]?["Mode"] = "vip"
        actual["TaskTemplate"]?["ForceUpdate"] = 3
        actual["TaskTemplate"]?["Runtime"] = "container"
        actual["TaskTemplate"]?["ContainerSpec"]?["Isolation"] = "default"
        actual["TaskTemplate"]?["ContainerSpec"]?["Env"] = ["A=1", "B=2"]
        actual["TaskTemplate"]?["ContainerSpec"]?["DNSConfig"] = [:]
        #expect(plan(want(options), [manager("m1", service(actual))]).isEmpty)
    }

    @Test(arguments: [
        ([Option.env("A", "9")], "env A"), ([.replicas(2)], "replicas"), ([.label("x", "y")], "label x"),
        ([.containerLabel("x", "y")], "container label x"),
        ([.user("nobody")], "user"), ([.network("front")], "networks"),
        ([.constraint("node.role==worker")], "constraints"), ([.host("a", "1.1.1.1")], "Hosts"),
        ([.publish("1:2")], "publish"), ([.volume("d:/d")], "mounts"),
        ([.stopGracePeriod(.seconds(3))], "StopGracePeriod"),
        ([.restart(.onFailure(attempts: 2))], "restart"), ([.dns("1.1.1.1")], "DNSConfig.Nameservers"),
        ([.capAdd("net_admin")], "CapabilityAdd"),
        ([.ulimit("nofile", soft: 10)], "Ulimits"), ([.sysctl("a.b", "1")], "Sysctls.a.b"), ([.group("g")], "Groups"),
        ([.initProcess], "Init"),
        ([.update(Rollout(parallelism: 2))], "UpdateConfig.Parallelism"), ([.cpus(0.5)], "cpus"),
        ([.health(HealthCheck("true"))], "Healthcheck.Test"),
        ([.engine("TaskTemplate.ContainerSpec.TTY", "true")], "TTY"),
        ([.placementPreference(spread: "node.labels.z")], "Placement.Preferences"),
    ])
    func `every option is added when it is said and removed when it no longer is`(options: [Option], field: String) {
        let plain = want([])
        let changed = want(options)
        let adding = plan(changed, [manager("m1", service(spec(plain)))])
        #expect(adding.tasks.first?.changes.map(\.field).contains(field) == true, "adding: \(adding)")
        let removing = plan(plain, [manager("m1", service(spec(changed)))])
        #expect(removing.tasks.first?.changes.map(\.field).contains(field) == true, "removing: \(removing)")
        guard case .updateService(_, let back) = removing.tasks.first?.action else { return }
        // And then there is nothing more to do.
        #expect(plan(plain, [manager("m1", service(back))]).isEmpty)
    }

    @Test func `what was changed by hand goes back`() {
        var actual = spec(want(options))
        actual["TaskTemplate"]?["ContainerSpec"]?["Env"] = ["A=1", "B=2", "HAND=made"]
        #expect(
            plan(want(options), [manager("m1", service(actual))]).tasks.first?.changes == [
                Change("env HAND", from: "made")
            ])
    }

    @Test func `the order of a command's words is theirs`() {
        #expect(
            !plan(want([], command: ["a", "b"]), [manager("m1", service(spec(want([], command: ["b", "a"]))))]).isEmpty)
    }

    @Test func `an update that was paused is done again`() {
        var one = service(spec(want(options)))
        one["UpdateStatus"] = ["State": "paused", "Message": "task failed"]
        #expect(plan(want(options), [manager("m1", one)]).tasks.count == 1)
    }

    @Test func `a manager that is down is skipped while one is left`() {
        let sights: [Machine: Sight] = ["m1": .unreachable("m1 cannot be reached"), "m2": .seen(manager("m2"))]
        let plan = Planner(.steps([.update])).plan([want(options)], sights)
        #expect(
            plan.tasks.map(\.host) == ["m2"] && plan.problems.isEmpty
                && plan.notes == ["m1 is skipped: m1 cannot be reached"])
    }

    @Test func `workers are no managers, and none at all is a problem`() {
        var worker = manager("m1")
        worker.isManager = false
        #expect(
            plan(want(options), [worker]).problems == [
                "api: there is no manager of a swarm among its hosts: m1 is a worker"
            ])
    }

    @Test func `an image that cannot be had changes nothing`() {
        var facts = manager("m1")
        facts.registry["nginx:1"] = .refused("manifest unknown")
        #expect(plan(want(options), [facts]).problems.count == 1)
        // What runs keeps running, also when the registry is away.
        facts.services["api"] = service(spec(want(options)))
        let kept = plan(want(options), [facts])
        #expect(kept.isEmpty && kept.notes.count == 1)
    }

    @Test func `a second rollback says that it is there already`() {
        let (old, new) = (spec(want([]), version: 1), spec(want(options), version: 2))
        let goal = Planner.Goal.rollback(to: nil, migrateBack: true)
        #expect(
            plan(want(options), [manager("m1", service(new, previous: old))], goal).tasks.map(\.action) == [
                .rollbackService(id: "s1")
            ])
        let again = plan(want(options), [manager("m1", service(old, previous: new))], goal)
        #expect(again.isEmpty && again.unchanged.count == 1)
    }

    @Test func `from container to service by one word`() {
        var facts = manager("m1")
        facts.marked = [MarkedContainer(id: "c1", name: "api", application: "api", version: 4, running: true)]
        guard case .createService(let spec, let replacing) = plan(want(options), [facts]).tasks.first?.action else {
            Issue.record("no service is created")
            return
        }
        #expect(replacing.map(\.id) == ["c1"] && spec["Labels"]?["apus.version"] == "5")
    }
}

@Suite("Names and migrations")
struct NameTests {
    @Test(arguments: [
        ("1.2", "reg:5000/acc/app:1.2"), ("other:2", "reg:5000/acc/other:2"), ("r2.io/a/b:3", "r2.io/a/b:3"),
        ("app@sha256:ab", "reg:5000/acc/app@sha256:ab"),
        ("sha256:ab", "reg:5000/acc/app:1@sha256:ab"),
    ])
    func `an image is overridden in part or wholly`(text: String, result: String) {
        #expect(ImageName("reg:5000/acc/app:1").overridden(by: text).description == result)
    }

    @Test func `words survive a shell`() {
        #expect("a b".quoted == "'a b'")
        #expect("it's".quoted == #"'it'\''s'"#)
        #expect("".quoted == "''")
        #expect("plain-1.2/x:y".quoted == "plain-1.2/x:y")
    }

    @Test func `migrations are taken back to what both images know`() {
        let new = MigrationPlan(
            parsing:
                "[X]  a.0001_initial\n[X]  a.0002_more\n[X]  b.0001_initial (1 squashed migrations)\n[ ]  a.0003_pending\n"
        )
        let old = MigrationPlan(parsing: "[X]  a.0001_initial\nignored line\n")
        #expect(new.back(to: old) == [.init("b", "zero"), .init("a", "0001_initial")])
        #expect(new.back(to: new) == [])
        #expect(new.pending == [.init("a", "0003_pending")])
    }
}
