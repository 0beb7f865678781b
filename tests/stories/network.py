"""The swarm's networks: published ports on every node, overlays, addresses that come back."""

import collections
import json
import subprocess
import time

from stories.kit import *


def ask(host, address, port=8080, times=1, seconds=5):
    """What `times` new connections from a host to an address heard; empty for one that failed."""
    script = f"for i in $(seq {times}); do curl -s -m {seconds} http://{address}:{port}/ || echo; done"
    done = subprocess.run([str(ROOT / "lab/lab"), "run", host, "sh", "-c", script], capture_output=True, text=True, timeout=60 + times * seconds)
    return done.stdout.splitlines()


def clients_seen(service):
    """The callers' addresses in the logs of a service's containers, counted."""
    seen = collections.Counter()
    for host in HOSTS:
        for container in engine(host, "ps", "-q", "--filter", f"label=com.docker.swarm.service.name={service}").split():
            logs = subprocess.run([str(ROOT / "lab/lab"), "engine", host, "docker", "logs", container], capture_output=True, text=True, timeout=30)
            seen.update(line.split()[0] for line in logs.stdout.splitlines() if '"GET' in line)
    return seen


def engine(host, *args):
    """The docker CLI against a host's own engine."""
    return subprocess.run([str(ROOT / "lab/lab"), "engine", host, "docker", *args], capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def on_host(host, *args):
    return subprocess.run([str(ROOT / "lab/lab"), "run", host, *args], capture_output=True, text=True, timeout=60).stdout


def story_ingress():
    """a published port answers on every node and on its localhost, spread evenly, and the task sees who calls"""
    docker("docker-1", "service", "create", "--detach", "--name", "web", "--publish", "8080:80", "--replicas", "2", "nginx:stable-alpine")
    until_replicas("docker-1", "web", 2)
    idle = next(host for host in HOSTS if host not in {node for _, node in running("docker-1", "web")})
    for host in HOSTS:
        until(f"{host} answers", lambda: all(ask(host, "127.0.0.1")) and all(ask(idle, path(host, "address"))))
    before = clients_seen("web")
    for host in HOSTS:
        heard = collections.Counter(ask(idle, path(host, "address"), times=100))
        expect("" not in heard and len(heard) == 2, f"{host} answered {heard}")
        # Chi-squared with one degree of freedom: 15 is passed by chance once in 9,000 times.
        expect(sum((count - 50) ** 2 / 50 for count in heard.values()) < 15, f"{host} spreads {heard}")
    seen = clients_seen("web") - before
    expect(seen[path(idle, "address")] == 300, f"the tasks saw {seen}, and {path(idle, 'address')} called")
    # A node with a task asks another node, which may choose that very task.
    for host in HOSTS:
        for other in HOSTS:
            heard = ask(host, path(other, "address"), times=6)
            expect(len(heard) == 6 and all(heard), f"{host} asks {other}: {heard}")


def story_ports():
    """ports are added and taken away without touching the tasks; one that is taken is refused"""
    docker("docker-1", "service", "create", "--detach", "--name", "web", "--publish", "8080:80", "--replicas", "2", "nginx:stable-alpine")
    until_replicas("docker-1", "web", 2)
    tasks = running("docker-1", "web")
    refused("docker-2", "port '8080' is already in use by service 'web'", "service", "create", "--detach", "--name", "other", "--publish", "8080:80", "nginx:stable-alpine")
    docker("docker-1", "service", "update", "--detach", "--publish-add", "8081:80", "web")
    for host in HOSTS:
        until(f"8081 on {host}", lambda: all(ask("docker-1", path(host, "address"), 8081)))
    docker("docker-1", "service", "update", "--detach", "--publish-rm", "80", "web")
    for host in HOSTS:
        until(f"nothing on {host}", lambda: not any(ask("docker-1", path(host, "address"), 8080, seconds=1) + ask("docker-1", path(host, "address"), 8081, seconds=1)))
    expect(running("docker-1", "web") == tasks, "tasks were replaced")
    docker("docker-1", "service", "create", "--detach", "--name", "other", "--publish", "80", "nginx:stable-alpine")
    expect(json.loads(docker("docker-1", "service", "inspect", "--format", "{{json .Endpoint.Ports}}", "other"))[0]["PublishedPort"] == 30000, "a dynamic port")


def story_overlay():
    """containers on one overlay reach each other across nodes by virtual address; it is gone when it is removed"""
    docker("docker-1", "network", "create", "--driver", "overlay", "app")
    docker("docker-1", "service", "create", "--detach", "--name", "web", "--network", "app", "--replicas", "2", "nginx:stable-alpine")
    docker("docker-1", "service", "create", "--detach", "--name", "caller", "--network", "app", "--mode", "global", "--stop-grace-period", "1s", "busybox", "sleep", "600")
    until_replicas("docker-1", "web", 2)
    until_replicas("docker-1", "caller", 3)
    address = docker("docker-1", "service", "inspect", "--format", "{{range .Endpoint.VirtualIPs}}{{.Addr}}{{end}}", "web").split("/")[0]
    for host in HOSTS:
        container = engine(host, "ps", "-q", "--filter", "label=com.docker.swarm.service.name=caller")
        heard = set()
        for _ in range(8):
            heard.add(engine(host, "exec", container, "timeout", "5", "wget", "-q", "-O", "-", f"http://{address}/"))
        expect(len(heard) == 2, f"{host}: {address} answered {heard}")
    inspected = json.loads(docker("docker-2", "network", "inspect", "--verbose", "app"))[0]
    expect(sorted(inspected["Services"]) == ["caller", "web"] and inspected["Services"]["web"]["VIP"] == address, inspected)
    expect(len(inspected["Peers"]) == 3 and len(inspected["Services"]["web"]["Tasks"]) == 2, inspected)
    refused("docker-1", "is in use by service", "network", "rm", "app")
    expect("app" in docker("docker-3", "network", "ls", "--filter", "driver=overlay", "--format", "{{.Name}}").split(), "network ls")
    expect(docker("docker-1", "network", "ls", "--filter", "driver=bridge", "--format", "{{.Name}}") == "bridge", "the bridges beneath are shown")
    for name in ["web", "caller"]:
        docker("docker-1", "service", "rm", name)
    until("nobody is on it", lambda: run("docker-1", "network", "rm", "app")[0] == 0, 30)
    for host in HOSTS:
        until(f"{host} keeps nothing of it", lambda: "apus-" not in on_host(host, "ip", "-brief", "link") and "inet apus" not in on_host(host, "nft", "list", "tables"), 45)


def story_flush():
    """what somebody else flushes comes back, and traffic outlives every apusd"""
    docker("docker-1", "service", "create", "--detach", "--name", "web", "--publish", "8080:80", "--replicas", "3", "nginx:stable-alpine")
    until_replicas("docker-1", "web", 3)
    for host in HOSTS:
        until(f"{host} answers", lambda: all(ask("docker-1", path(host, "address"))))
    for host in HOSTS:
        lab("kill", host)
    try:
        for host in HOSTS:
            heard = ask("docker-1", path(host, "address"), times=12)
            expect(len(heard) == 12 and all(heard), f"without apusd {host} answered {heard}")
    finally:
        for host in HOSTS:
            lab("start", host)
    until_healthy()
    on_host("docker-2", "nft", "delete", "table", "inet", "apus")
    began = time.monotonic()
    until("docker-2 answers again", lambda: all(ask("docker-1", path("docker-2", "address"), seconds=1)), 45)
    print(f"     the table that was deleted was back after {time.monotonic() - began:.1f} s", flush=True)
