import Deploy
import Testing

@Suite("The words of a Deployfile")
struct WishTests {
    @Test func `a wish survives the way to the tool and back`() throws {
        let deployment = Deployment(
            "shop",
            infrastructures: [
                Infrastructure("staging", confirm: true, color: .green, roles: ["web": ["u@a:2200", "b"]])
            ]
        ) {
            Application(
                DjangoService(
                    name: "django", image: "project/django",
                    options: [
                        .publish("8080:80"), .env("DJANGO_SETTINGS_MODULE", "my_settings"), .replicas(3),
                        .env("PASSWORD", secret: .environment("DB_PASSWORD")), .restart(.onFailure(attempts: 2)),
                        .engine("TaskTemplate.ContainerSpec.TTY", "true"),
                        .env("ODD", "a\\\\b \"c\" $d `e` ü \n \u{1}"),
                        .computed { [.label("where", $0.infrastructure ?? "nowhere")] },
                    ]), hosts: ["user@manager1"], roles: ["web"]
            )
            .after(.update) { _ in }
        }
        let wish = deployment.wish(in: Surroundings(infrastructure: "staging"))
        let text = try JSONText(encoding: wish).text
        #expect(try JSONText(parsing: text).decode(Wish.self) == wish)
        #expect(wish.applications[0].hosts.map(\.description) == ["user@manager1", "u@a:2200", "b"])
        #expect(wish.applications[0].settings.contains(.label(name: "where", value: "staging")))
        #expect(wish.applications[0].mistakes == [])
    }

    @Test(arguments: [
        ("80", [Port(target: 80)]), ("8080:80", [Port(target: 80, published: 8080)]),
        ("127.0.0.1:53:53/udp", [Port(target: 53, published: 53, address: "127.0.0.1", transport: "udp")]),
        ("[::1]:1:2", [Port(target: 2, published: 1, address: "::1")]),
        ("8000-8001:90-91", [Port(target: 90, published: 8000), Port(target: 91, published: 8001)]),
    ])
    func `ports are read as docker reads them`(text: String, ports: [Port]) {
        #expect(Port.parse(text, mode: .ingress) == ports)
    }

    @Test(arguments: ["", "x", "80:", "1:2:", "70000", "80/icmp", "1-2:3", "9-8:9-8"])
    func `what is no port is refused`(text: String) { #expect(Port.parse(text, mode: .ingress) == nil) }

    @Test func `mistakes are told with the place where they stand`() {
        let deployment = Deployment {
            Application(
                Container(name: "a b", image: "", options: [.publish("x"), .replicas(-1), .engine("A", "text")]),
                hosts: ["h"])
        }
        let wished = deployment.wish(in: Surroundings()).applications[0]
        #expect(wished.mistakes.count == 5)
        #expect(wished.place.contains("WishTests.swift:"))
    }
}
