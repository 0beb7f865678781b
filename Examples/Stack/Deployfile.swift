import Deploy

// A compose file, on the managers of a swarm. `apus rollback` takes back text and images together.
let stack = Stack(name: "pages", file: "docker-compose.yml", options: [.env("GREETING", "hello")])

let deployment = Deployment {
    Application(stack, hosts: ["docker-1", "docker-2", "docker-3"])
}
