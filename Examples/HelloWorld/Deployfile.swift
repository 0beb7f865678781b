import Deploy

// One container on each of three hosts.
let web = Container(
    name: "web", image: "nginx:stable-alpine",
    options: [.publish("8080:80"), .restart(.unlessStopped), .env("GREETING", "hello")])

let deployment = Deployment {
    Application(web, hosts: ["docker-1", "docker-2", "docker-3"])
}
