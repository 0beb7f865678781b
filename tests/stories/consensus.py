"""The managers' log: snapshots, what is on the disk, and what operators do when things go wrong."""

import concurrent.futures
import time

from stories.kit import *


def dump(host):
    return api(host, "GET", "/apus/debug")[2]


def raft(host):
    return dump(host)["Raft"]


def set_raft(**numbers):
    """Changes the swarm's Raft settings, as a client of the API does: the whole spec with its version."""
    swarm = api("docker-1", "GET", "/swarm")[2]
    spec = swarm["Spec"]
    spec["Raft"].update(numbers)
    status, _, answer = api("docker-1", "POST", f"/swarm/update?version={swarm['Version']['Index']}", spec)
    expect(status == 200, f"{status} {answer}")
    expect(api("docker-1", "GET", "/swarm")[2]["Spec"]["Raft"].items() >= numbers.items(), "the settings are shown")


def write(host, count, first=0, name="counted"):
    for n in range(first, first + count):
        docker(host, "service", "update", "--detach", "--label-add", f"n={n}", name)


def label(host, name="counted"):
    return docker(host, "service", "inspect", "--format", "{{.Spec.Labels.n}}", name)


def data(host):
    return next(Path(path(host, "dir")).rglob("raft.sqlite")).parent


def until_all_have(number):
    for host in HOSTS:
        until(f"{host} knows {number}", lambda: label(host) == str(number), 30)


def story_snapshot():
    """snapshots are made as the settings say, and bring up a manager that was away and one that is new"""
    set_raft(SnapshotInterval=40, LogEntriesForSlowFollowers=10)
    docker("docker-1", "service", "create", "--detach", "--name", "counted", "--replicas", "0", "busybox")
    lab("kill", "docker-3", "apusd")
    write("docker-1", 120)
    until("the log is short", lambda: raft("docker-1")["Snapshot"] > 100 and raft("docker-1")["First"] > 60)
    lab("start", "docker-3", "apusd")
    until_healthy()
    until_all_have(119)
    expect("taking over a snapshot" in lab("logs", "docker-3", "apusd"), "docker-3 was brought up by a snapshot")
    expect(raft("docker-3")["Snapshot"] > 100, raft("docker-3"))

    # A restart is the snapshot and what came after it.
    for host in HOSTS:
        lab("kill", host, "apusd")
    for host in HOSTS:
        lab("start", host, "apusd")
    until_healthy()
    until_all_have(119)

    # A new manager, of whose beginnings the log says nothing any more.
    docker("docker-1", "node", "demote", "docker-3")
    until("docker-3 is a worker", lambda: run("docker-3", "node", "ls")[0] != 0)
    docker("docker-3", "swarm", "leave")
    until("it is down", lambda: docker("docker-1", "node", "inspect", "--format", "{{.Status.State}}", "docker-3") == "down", 30)
    docker("docker-1", "node", "rm", "docker-3")
    token = docker("docker-1", "swarm", "join-token", "-q", "manager")
    docker("docker-3", "swarm", "join", "--token", token, path("docker-1", "address") + ":2377")
    until_healthy()
    until_all_have(119)
    expect(raft("docker-3")["Snapshot"] > 100, raft("docker-3"))

    # The settings are followed from one entry to the next.
    set_raft(SnapshotInterval=10_000, LogEntriesForSlowFollowers=500)
    before = raft("docker-1")["Snapshot"]
    write("docker-1", 60, first=120)
    until_all_have(179)
    expect(raft("docker-1")["Snapshot"] <= before + 45, "no snapshots beyond the one that was due")


def story_encrypted_log():
    """what a service's spec says cannot be found in the managers' files"""
    secret = "never-to-be-seen-" + str(time.monotonic_ns())
    set_raft(SnapshotInterval=10, LogEntriesForSlowFollowers=5)
    docker("docker-1", "service", "create", "--detach", "--name", "counted", "--env", f"PASSWORD={secret}", "--replicas", "0", "busybox")
    write("docker-1", 30)
    until_all_have(29)
    set_raft(SnapshotInterval=10_000, LogEntriesForSlowFollowers=500)
    for host in HOSTS:
        for file in data(host).iterdir():
            expect(secret.encode() not in file.read_bytes(), f"{file} holds it in plain words")
