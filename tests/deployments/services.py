"""Services: in Docker's own swarm mode and in an Apus cluster, by the same words."""

import json
import os
import subprocess

from deployments.kit import *


def swarm_of_docker():
    if engine("docker-1", "info", "--format", "{{.Swarm.LocalNodeState}}") != "active":
        engine("docker-1", "swarm", "init", "--advertise-addr", path("docker-1", "address"))
        token = engine("docker-1", "swarm", "join-token", "-q", "manager")
        for host in HOSTS[1:]:
            engine(host, "swarm", "join", "--token", token, path("docker-1", "address") + ":2377")
    return HOSTS


def service(options='.replicas(3), ', hosts=HOSTS, **rest):
    return container(options + ".update(Rollout(parallelism: 3, monitor: .seconds(1)))", hosts=hosts, kind="Service", **rest)


def journey(hosts, spec):
    """Created, unchanged, changed, rolled back, destroyed."""
    service(hosts=hosts)
    apus("deploy")
    serves("version-1.25")
    said(apus("deploy"), "No changes detected, update skipped.")
    service('.replicas(3), .env("FOO", "hello"), .label("a", "b"), ', hosts=hosts)
    said(apus("plan", status=2), "env FOO: + hello", "label a: + b")
    apus("deploy", "--tag", "1.26")
    serves("version-1.26")
    found = spec()
    expect(found["Labels"]["a"] == "b" and found["TaskTemplate"]["ContainerSpec"]["Env"] == ["FOO=hello"], found)
    expect("@sha256:" in found["TaskTemplate"]["ContainerSpec"]["Image"], found)
    apus("rollback")
    serves("version-1.25")
    said(apus("rollback"), "already, taken back from 2")
    serves("version-1.25")
    said(apus("status"), "3/3 running")
    apus("destroy", "web", "--yes")
    said(apus("destroy", "web", "--yes"), "Nothing is left of it")


def story_docker_swarm():
    """a service of Docker's swarm mode is created, left alone, updated by differences, rolled back once and destroyed"""
    swarm_of_docker()
    journey(HOSTS, lambda: json.loads(engine("docker-2", "service", "inspect", "web"))[0]["Spec"])


def story_one_word():
    """from container to service by one word: the next deploy moves the application over"""
    swarm_of_docker()
    container()
    apus("deploy")
    serves("version-1.25")
    service()
    said(apus("deploy"), "in the place of 3 container(s)")
    serves("version-1.25")
    expect(all("web" not in names(h) for h in HOSTS), [names(h) for h in HOSTS])
    said(apus("deploy"), "No changes detected")
    container()
    apus("deploy")
    serves("version-1.25")
    expect(engine("docker-1", "service", "ls", "-q") == "", "the service is still there")


def story_service_that_crashes():
    """a service whose new image crashes goes back by itself, is never called unchanged, and a first one ends soon"""
    swarm_of_docker()
    service()
    apus("deploy")
    service(command=CRASH)
    said(apus("deploy", status=1), "the swarm has gone back", "task: non-zero exit (3)")
    serves("version-1.25")
    said(apus("plan", status=2), "command: + sh")
    clean()
    said(apus("deploy", status=1, timeout=60), "its tasks do not run: 0/3", "non-zero exit (3)")


def story_manager_down():
    """a manager that is down is skipped with a warning while one is left"""
    swarm_of_docker()
    service(".replicas(1), ")
    apus("deploy")
    for control in (WORK / "cache/ssh").glob("*.c"):
        subprocess.run(["ssh", "-o", f"ControlPath={control}", "-O", "exit", "any"], capture_output=True)
    lab("cut", "docker-1", "in", "reject", "--from", lab_gateway())
    text = apus("deploy")
    said(text, "docker-1 is skipped", "[docker-2] web: No changes detected")


def lab_gateway():
    return os.environ["APUS_LAB_NET"] + ".1"


def story_stack():
    """a stack is deployed and waited for, left alone, rolled back with text and images, pruned and destroyed"""
    swarm_of_docker()
    text = (ROOT / "Examples/Stack/docker-compose.yml").read_text()

    def write(text):
        deployfile((ROOT / "Examples/Stack/Deployfile.swift").read_text())
        deployfile(text, "docker-compose.yml")

    write(text)
    apus("deploy")
    serves("version-1.25")
    said(apus("deploy"), "No changes detected, update skipped.")
    changed = text.replace("nginx:1.25", "nginx:1.26").split("  cache:")[0]
    write(changed)
    said(apus("plan", status=2), "nginx:1.26", "image: busybox")
    apus("deploy")
    serves("version-1.26")
    expect("pages_cache" not in engine("docker-1", "service", "ls", "--format", "{{.Name}}"), "what left the file still runs")
    apus("rollback")
    serves("version-1.25")
    expect("pages_cache" in engine("docker-1", "service", "ls", "--format", "{{.Name}}"), "what was there before is not there")
    said(apus("rollback"), "already, taken back from 2")
    write(text)
    said(apus("deploy"), "No changes detected")
    engine("docker-1", "service", "update", "--detach", "--env-add", "HAND=made", "pages_web")
    said(apus("plan", status=2), "service pages_web", "changed by hand")
    apus("deploy")
    write(text.replace("nginx:1.25", "nginx:1.25\n    command: [\"sh\", \"-c\", \"exit 3\"]"))
    said(apus("deploy", status=1), "pages_web", "non-zero exit (3)")
    apus("deploy", status=1)
    write(text.replace("nginx:1.25", "nginx:never-made"))
    said(apus("deploy", status=1), "nginx:never-made cannot be pulled", "Nothing was changed")
    write(text)
    apus("deploy")
    serves("version-1.25")
    write("services:\n  web: [not, a, service\n")
    apus("deploy", status=1)
    serves("version-1.25")
    apus("destroy", "pages", "--yes")
    said(apus("destroy", "pages", "--yes"), "Nothing is left of it")


def story_apus_cluster():
    """the same words on an Apus cluster"""
    for host in HOSTS:
        engine(host, "swarm", "leave", "--force", check=False)
    doors = [path(h, "apus") for h in HOSTS]

    def docker(door, *words):
        done = subprocess.run(["docker", "-H", "unix://" + door, *words], capture_output=True, text=True, timeout=60)
        expect(done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}")
        return done.stdout.strip()

    docker(doors[0], "swarm", "init", "--advertise-addr", path("docker-1", "address"))
    token = docker(doors[0], "swarm", "join-token", "-q", "manager")
    for host, door in list(zip(HOSTS, doors))[1:]:
        docker(door, "swarm", "join", "--advertise-addr", path(host, "address"), "--token", token, path("docker-1", "address") + ":2377")
    machines = [f'Machine("{h}", socket: "{d}")' for h, d in zip(HOSTS, doors)]
    journey(machines, lambda: json.loads(docker(doors[1], "service", "inspect", "web"))[0]["Spec"])
    for door in reversed(doors):
        docker(door, "swarm", "leave", "--force")
