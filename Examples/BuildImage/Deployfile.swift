import Deploy

// Built once on this machine, pushed to a registry on this desk, and pulled by the hosts through a reverse tunnel.
let pages = Container(name: "pages", image: "team/pages:1", options: [.publish("8080:80")])
    .built(from: Build("image"))
    .carried(by: .tunnel(port: 5000))

let deployment = Deployment {
    Application(pages, hosts: ["docker-1", "docker-2", "docker-3"])
}
