import Deploy

// Roles are filled by infrastructures: `apus deploy -i staging`. Production asks first.
let deployment = Deployment(
    "shop",
    infrastructures: [
        Infrastructure("staging", color: .green, roles: ["web": ["docker-1"], "cache": ["docker-1"]]),
        Infrastructure(
            "production", confirm: true, color: .red, roles: ["web": ["docker-1", "docker-2"], "cache": ["docker-3"]]),
    ]
) { surroundings in
    Application(
        Container(name: "cache", image: "busybox", command: ["sleep", "1000000"], options: [.stopSignal("SIGKILL")]),
        roles: ["cache"])
    Application(
        Container(
            name: "web", image: "nginx:1.25",
            options: [
                .publish("8080:80"), .env("WHERE", surroundings.infrastructure ?? "nowhere"), .restart(.unlessStopped),
            ]),
        roles: ["web"]
    )
    .after(.update) { $0.log("\($0.application) is on \($0.infrastructure ?? "nowhere")") }
}
