import Deploy
import Deployer
import EngineAPI
import Testing

private let hosts: [Machine] = ["h1", "h2", "h3"]

private func want(_ kind: some Kind, image: String? = nil) -> Want {
    let deployment = Deployment("shop") { Application(kind, hosts: hosts) }
    let wished = deployment.wish(in: Surroundings()).applications[0]
    return Want(wished, deployment: "shop", image: ImageName(image ?? wished.image))
}

private let web = Container(name: "web", image: "nginx:1", options: [.publish("8080:80"), .env("FOO", "42")])

/// A host that runs what a want says, as its engine would tell.
private func facts(_ host: Machine, running want: Want? = nil, version: Int = 1, image: String = "sha256:1") -> Facts {
    var facts = Facts(host: host)
    facts.images["nginx:1"] = ImageFacts(id: "sha256:1", digests: ["nginx@sha256:d1"])
    facts.registry["nginx:1"] = .digest("sha256:d1")
    guard let want else { return facts }
    var document = ContainerDocument.make(want)
    document["Labels"] = [
        "apus.application": .string(want.name), "apus.version": .string("\(version)"),
        "apus.image": .string(want.image.description),
        "apus.wish": .string(ContainerDocument.make(want, masked: true).text),
    ]
    let host = document["HostConfig"] ?? [:]
    facts.containers[want.name] = [
        "Image": .string(image), "State": ["Running": true, "Status": "running"], "Config": document,
        "HostConfig": host,
        "NetworkSettings": ["Networks": ["bridge": [:]]],
    ]
    facts.marked = [
        MarkedContainer(
            id: "1", name: want.name, application: want.name, version: version, running: true, image: "nginx:1",
            imageID: image)
    ]
    return facts
}

private func kept(_ version: Int, named name: String? = nil, running: Bool = false) -> MarkedContainer {
    MarkedContainer(
        id: "k\(version)", name: name ?? "web.v\(version)", application: "web", version: version, running: running,
        image: "nginx:\(version)",
        imageID: "sha256:\(version)")
}

private func plan(_ want: Want, _ all: [Facts], _ goal: Planner.Goal = .steps([.pull, .migrate, .update])) -> Plan {
    Planner(goal).plan([want], Dictionary(uniqueKeysWithValues: all.map { ($0.host, .seen($0)) }))
}

@Suite("A plan for containers")
struct ContainerPlanTests {
    @Test func `creates what is not there, with one version number for all hosts`() {
        let plan = plan(want(web), [facts("h1", running: want(web), version: 6), facts("h2"), facts("h3")])
        #expect(plan.tasks.map(\.action) == [.createContainer(version: 7), .createContainer(version: 7)])
        #expect(plan.tasks.map(\.host) == ["h2", "h3"])
        #expect(plan.unchanged.map(\.words) == ["No changes detected, update skipped."])
    }

    @Test func `changes nothing when nothing has changed`() {
        let plan = plan(want(web), hosts.map { facts($0, running: want(web)) })
        #expect(plan.isEmpty)
        #expect(plan.unchanged.count == 3)
    }

    @Test func `an option that changed is a change, and is named`() {
        let new = want(
            Container(
                name: "web", image: "nginx:1",
                options: [.publish("8080:80"), .env("FOO", "hello"), .memory(.mebibytes(64))]))
        let plan = plan(new, [facts("h1", running: want(web))])
        #expect(plan.tasks.map(\.action) == [.exchangeContainer(version: 2, startFirst: false)])
        #expect(
            plan.tasks[0].changes == [Change("env FOO", from: "42", to: "hello"), Change("memory", to: "67108864")])
    }

    @Test func `an option that was taken out of the Deployfile is a change`() {
        let plan = plan(
            want(Container(name: "web", image: "nginx:1", options: [.publish("8080:80")])),
            [facts("h1", running: want(web))])
        #expect(plan.tasks[0].changes == [Change("env FOO", from: "42")])
    }

    @Test func `what was changed by hand is seen, and said to be`() {
        var seen = facts("h1", running: want(web))
        var memory = seen.containers["web"]!["HostConfig"]!
        memory["Memory"] = 4096
        seen.containers["web"]!["HostConfig"] = memory
        let plan = plan(want(web), [seen])
        #expect(plan.tasks[0].changes == [Change("memory", from: "4096", byHand: true)])
    }

    @Test func `a container that was stopped is started, not replaced`() {
        var seen = facts("h1", running: want(web))
        seen.containers["web"]!["State"] = ["Running": false, "Status": "exited"]
        #expect(plan(want(web), [seen]).tasks.map(\.action) == [.startContainer(name: "web")])
    }

    @Test func `a new content under the same name is pulled and taken`() {
        var seen = facts("h1", running: want(web))
        seen.registry["nginx:1"] = .digest("sha256:d2")
        #expect(
            plan(want(web), [seen]).tasks.map(\.action) == [
                .pull(image: "nginx:1"), .exchangeContainer(version: 2, startFirst: false),
            ])
    }

    @Test func `a registry that is away harms nothing that runs`() {
        var seen = facts("h1", running: want(web))
        seen.registry["nginx:1"] = .refused("connection refused")
        let plan = plan(want(web), [seen])
        #expect(plan.isEmpty && plan.notes.count == 1)
    }

    @Test func `an image missing on one host stops all before anything is changed`() {
        var second = facts("h2")
        second.images = [:]
        second.registry["nginx:1"] = .refused("manifest unknown")
        let plan = plan(want(web), [facts("h1"), second, facts("h3")])
        #expect(
            plan.problems == [
                "web: h2: image nginx:1 is not there and cannot be pulled: manifest unknown. Nothing was changed anywhere"
            ])
    }

    @Test func `a host that is down stops all, unless told to go on`() {
        let sights: [Machine: Sight] = [
            "h1": .seen(facts("h1")), "h2": .unreachable("h2 cannot be reached"), "h3": .seen(facts("h3")),
        ]
        var planner = Planner(.steps([.pull, .update]))
        #expect(planner.plan([want(web)], sights).problems.count == 1)
        planner.skipsUnreachable = true
        let plan = planner.plan([want(web)], sights)
        #expect(plan.problems.isEmpty && plan.tasks.map(\.host) == ["h1", "h3"] && plan.notes.count == 1)
    }

    @Test func `the new one starts first only where both can run`() {
        let free = want(Container(name: "web", image: "nginx:1", options: [.env("FOO", "43")]))
        #expect(
            plan(free, [facts("h1", running: want(web))]).tasks[0].action
                == .exchangeContainer(version: 2, startFirst: true))
    }

    @Test func `migrations run once, after every pull and before any update`() {
        let django = want(DjangoContainer(name: "web", image: "nginx:1"))
        var all = hosts.map { facts($0) }
        for place in all.indices { all[place].images = [:] }
        #expect(plan(django, all).tasks.map(\.step) == [.pull, .pull, .pull, .migrate, .update, .update, .update])
    }

    @Test func `an unchanged project is not migrated`() {
        let django = want(DjangoContainer(name: "web", image: "nginx:1"))
        #expect(plan(django, hosts.map { facts($0, running: django) }).isEmpty)
    }

    @Test func `a secret that changed is a change whose value is not shown`() {
        let kind = Container(name: "web", image: "nginx:1", options: [.env("PASSWORD", secret: .environment("P"))])
        var old = want(kind)
        old.secrets = [.environment("P"): "old"]
        var new = old
        new.secrets = [.environment("P"): "new"]
        let seen = facts("h1", running: old)
        #expect(plan(old, [seen]).isEmpty)
        let plan = plan(new, [seen])
        #expect(plan.tasks[0].changes.map(\.field) == ["env PASSWORD"])
        #expect(!plan.document.text.contains("old") && !plan.document.text.contains("\"new\""))
        #expect(!seen.containers["web"]!.at("Config", "Labels").text.contains("old"))
    }
}

@Suite("A rollback of containers")
struct RollbackTests {
    @Test func `goes to the newest version that is kept`() {
        var seen = facts("h1", running: want(web), version: 7)
        seen.marked += [kept(5), kept(6)]
        #expect(
            plan(want(web), [seen], .rollback(to: nil, migrateBack: true)).tasks.map(\.action) == [
                .rollbackContainer(to: kept(6))
            ])
        #expect(
            plan(want(web), [seen], .rollback(to: 5, migrateBack: true)).tasks.map(\.action) == [
                .rollbackContainer(to: kept(5))
            ])
    }

    @Test func `a second one says that it is there already`() {
        var seen = facts("h1", running: want(web), version: 6)
        seen.marked += [kept(5), kept(7)]
        let plan = plan(want(web), [seen], .rollback(to: nil, migrateBack: true))
        #expect(plan.isEmpty && plan.unchanged[0].words.hasPrefix("It is at version 6 already, taken back from 7"))
    }

    @Test func `without an earlier version it says so`() {
        #expect(
            plan(want(web), [facts("h1", running: want(web))], .rollback(to: nil, migrateBack: true)).problems.count
                == 1)
    }

    @Test func `after an interrupted deploy it puts back what was there`() {
        var seen = facts("h1", running: want(web), version: 6)
        seen.marked += [kept(5), kept(7, named: "web.next", running: true)]
        #expect(
            plan(want(web), [seen], .rollback(to: nil, migrateBack: true)).tasks.map(\.action) == [
                .recover([.remove("web.next")])
            ])
    }
}

@Suite("What an interrupted exchange leaves")
struct RecoveryTests {
    private func steps(_ containers: [MarkedContainer]) -> [Recovery] {
        var facts = Facts(host: "h1")
        facts.marked = containers
        return Recovery.needed("web", in: facts)
    }
    private let current = kept(6, named: "web", running: true)

    @Test func `nothing is done where all is in order`() { #expect(steps([current, kept(5)]) == []) }
    @Test func `a new one that was not yet well goes`() {
        #expect(steps([current, kept(7, named: "web.next")]) == [.remove("web.next")])
        #expect(steps([kept(6, named: "web"), kept(7, named: "web.next")]) == [.remove("web.next"), .start("web")])
    }
    @Test func `between the renames the old one comes back`() {
        #expect(
            steps([kept(6, named: "web.old"), kept(7, named: "web.next", running: true)])
                == [.remove("web.next"), .rename(from: "web.old", to: "web"), .start("web")])
    }
    @Test func `after the renames the old one is put away`() {
        #expect(
            steps([current, kept(5, named: "web.old", running: true)]) == [
                .stop("web.old"), .rename(from: "web.old", to: "web.v5"),
            ])
    }
    @Test func `a rollback that had begun is undone`() {
        #expect(
            steps([kept(6, named: "web"), kept(5, named: "web.back", running: true)]) == [
                .stop("web.back"), .rename(from: "web.back", to: "web.v5"), .start("web"),
            ])
    }
    @Test func `no step of an exchange leaves what is not put in order`() {
        // Each state of an exchange, in order; after its recovery exactly one container is called web, and nothing else is half done.
        let next = kept(7, named: "web.next", running: true)
        let states: [[MarkedContainer]] = [
            [current, kept(7, named: "web.next")], [kept(6, named: "web"), kept(7, named: "web.next")],
            [kept(6, named: "web"), next],
            [kept(6, named: "web.old"), next], [kept(6, named: "web.old"), kept(7, named: "web", running: true)],
            [current, next],
        ]
        for state in states {
            var names = Set(state.map(\.name))
            for step in steps(state) {
                switch step {
                case .remove(let name): names.remove(name)
                case .rename(let from, let to):
                    #expect(names.remove(from) != nil)
                    #expect(names.insert(to).inserted)
                case .stop(let name), .start(let name): #expect(names.contains(name))
                }
            }
            #expect(names.contains("web"))
            #expect(names.isDisjoint(with: ["web.next", "web.old", "web.back"]))
        }
    }
}

extension JSON {
    fileprivate func at(_ path: String...) -> JSON { path.reduce(self) { $0[$1] ?? .null } }
}
