import Deploy

// One service on the managers of a swarm, Docker's own or Apus: the first that answers is asked, once.
let nginx = Service(
    name: "nginx", image: "nginx:1.25",
    options: [
        .publish("8080:80", mode: .host), .replicas(3), .memoryReservation(.mebibytes(16)), .label("team", "web"),
        .update(Rollout(parallelism: 3, monitor: .seconds(1))),
    ])

let deployment = Deployment {
    Application(nginx, hosts: ["docker-1", "docker-2", "docker-3"])
}
