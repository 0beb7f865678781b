"""Managers killed, cut off and lost."""

import concurrent.futures
import time

from stories.kit import *


def story_leader_killed():
    """kill -9 of the leader: writes go on within 2 seconds, tasks stay up, nothing acknowledged is lost"""
    docker("docker-1", "service", "create", "--detach", "--name", "web", "--replicas", "3", "nginx:stable-alpine")
    until_replicas("docker-1", "web", 3)
    before = running("docker-1", "web")
    for round_number in range(3):
        victim = leader("docker-1")
        survivors = [h for h in HOSTS if h != victim]
        acknowledged = []
        for n in range(5):
            name = f"kept-{round_number}-{n}"
            docker(survivors[n % 2], "service", "create", "--detach", "--name", name, "--replicas", "0", "busybox")
            acknowledged.append(name)
        lab("kill", victim, "apusd")
        began = time.monotonic()
        until("a write is accepted", lambda: run(survivors[0], "service", "update", "--detach", "--label-add", f"round={round_number}", "web")[0] == 0, 20)
        took = time.monotonic() - began
        expect(took < 2, f"the next write took {took:.2f} s")
        names = docker(survivors[1], "service", "ls", "--format", "{{.Name}}").split()
        missing = [n for n in acknowledged if n not in names]
        expect(not missing, f"lost: {missing}")
        lab("start", victim, "apusd")
        until_healthy()
    expect(running("docker-1", "web") == before, f"tasks changed: {before} → {running('docker-1', 'web')}")


def story_all_killed():
    """kill -9 of all three at once, then started: everything acknowledged is there"""
    names = [f"durable-{n}" for n in range(5)]
    for name in names:
        docker("docker-2", "service", "create", "--detach", "--name", name, "--replicas", "0", "busybox")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda h: lab("kill", h, "apusd"), HOSTS))
        list(pool.map(lambda h: lab("start", h, "apusd"), HOSTS))
    until_healthy()
    found = docker("docker-3", "service", "ls", "--format", "{{.Name}}").split()
    expect(set(names) <= set(found), found)


def story_no_quorum():
    """without a majority writes fail in words and reads do not lie"""
    for host in HOSTS[1:]:
        lab("kill", host, "apusd")
    try:
        words = "The swarm does not have a leader. It's possible that too few managers are online."
        until("reads are refused", lambda: words in "".join(run("docker-1", "service", "ls")[1:]))
        # Only now: a write that a leader takes in its last second may yet be carried out, and says so.
        refused("docker-1", words, "service", "create", "--detach", "--name", "never", "busybox")
    finally:
        for host in HOSTS[1:]:
            lab("start", host, "apusd")
    until_healthy()
    expect("never" not in docker("docker-1", "service", "ls"), "it was carried out after all")


def story_node_lost():
    """the tasks of a host that loses its power start elsewhere"""
    docker("docker-1", "service", "create", "--detach", "--name", "web", "--replicas", "3", "nginx:stable-alpine")
    until_replicas("docker-1", "web", 3)
    lab("cut", "docker-3")
    try:
        until("three run on the other two", lambda: len([n for _, n in running("docker-1", "web") if n != "docker-3"]) == 3, 60)
        until("docker-3 is down", lambda: docker("docker-1", "node", "inspect", "--format", "{{.Status.State}}", "docker-3") == "down")
        # Of what is lost with the host nothing counts as running, whatever becomes of the slots.
        docker("docker-1", "service", "scale", "--detach", "web=2")
        until_replicas("docker-1", "web", 2)
        expect(replicas("docker-1", "web") == "2/2", replicas("docker-1", "web"))
    finally:
        lab("heal", "docker-3")
    until_healthy()
    until("nothing runs twice", lambda: sum(len(docker(h, "ps", "-q", "--filter", "label=com.docker.swarm.service.name=web").split()) for h in HOSTS) == 2, 60)
