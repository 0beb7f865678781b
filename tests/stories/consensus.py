"""The managers' log: snapshots, what is on the disk, and what operators do when things go wrong."""

import concurrent.futures
import shutil
import time

from stories.kit import *


def dump(host):
    return api(host, "GET", "/apus/debug")[2]


def raft(host):
    return dump(host)["Raft"]


def set_raft(**numbers):
    set_raft_on("docker-1", **numbers)


def set_raft_on(host, **numbers):
    """Changes the swarm's Raft settings, as a client of the API does: the whole spec with its version."""
    swarm = api(host, "GET", "/swarm")[2]
    spec = swarm["Spec"]
    spec["Raft"].update(numbers)
    status, _, answer = api(host, "POST", f"/swarm/update?version={swarm['Version']['Index']}", spec)
    expect(status == 200, f"{status} {answer}")
    expect(api(host, "GET", "/swarm")[2]["Spec"]["Raft"].items() >= numbers.items(), "the settings are shown")


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


def next_write(host, name="counted"):
    """Seconds until a write is accepted that is sent now, tried again at once where it is refused."""
    began = time.monotonic()
    until("a write is accepted", lambda: run(host, "service", "update", "--detach", "--label-add", f"t={time.monotonic_ns()}", name)[0] == 0, 30)
    return time.monotonic() - began


def story_leader_stops():
    """a leader that is stopped or demoted hands over first: nobody waits for an election"""
    docker("docker-1", "service", "create", "--detach", "--name", "counted", "--replicas", "0", "busybox")
    usual = sorted(next_write("docker-2") for _ in range(5))[2]
    for _ in range(3):
        until_healthy()
        chief = leader("docker-1")
        other = next(h for h in HOSTS if h != chief)
        term = raft(other)["Term"]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            stopping = pool.submit(lab, "stop", chief, "apusd")
            slowest = max(next_write(other) for _ in range(8))
            stopping.result()
        expect(slowest < usual + 0.6, f"a write took {slowest:.2f} s while the leader stopped; usually {usual:.2f} s")
        until("somebody else leads", lambda: leader(other) != chief, 5)
        expect(raft(other)["Term"] == term + 1, "one term, so no election was lost")
        lab("start", chief, "apusd")
    until_healthy()

    chief = leader("docker-1")
    other = next(h for h in HOSTS if h != chief)
    docker(chief, "node", "demote", chief)
    slowest = max(next_write(other) for _ in range(5))
    expect(slowest < usual + 0.6, f"a write took {slowest:.2f} s after the leader was demoted")
    until("it is a worker", lambda: run(chief, "node", "ls")[0] != 0)
    until("the swarm agrees", lambda: docker(other, "node", "inspect", "--format", "{{.Spec.Role}} {{.ManagerStatus}}", chief) == "worker <nil>")
    docker(other, "node", "promote", chief)
    until_healthy()


def story_node_ls_is_true():
    """`docker node ls` and the debug dump say who leads, who answers and who does not"""
    docker("docker-1", "service", "create", "--detach", "--name", "counted", "--replicas", "0", "busybox")
    chief = leader("docker-1")
    gone = next(h for h in HOSTS if h != chief)
    lab("cut", gone)
    try:
        listed = lambda: dict(line.split(" ", 1) for line in docker(chief, "node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}").splitlines())
        until("it is unreachable", lambda: listed()[gone] == "Unreachable", 15)
        expect(listed()[chief] == "Leader", listed())
        # On its own it says that it knows of no leader, and soon.
        words = "The swarm does not have a leader. It's possible that too few managers are online."
        until("its reads are refused", lambda: words in "".join(run(gone, "service", "ls")[1:]), 15)
        began = time.monotonic()
        refused(gone, words, "service", "create", "--detach", "--no-resolve-image", "--name", "never", "busybox")
        expect(time.monotonic() - began < 2.5, f"refused after {time.monotonic() - began:.1f} s")
        state = raft(gone)
        expect(state["Role"] != "leader" and state["Leader"] is None, state)
        members = {m["Node"]: m["Reachable"] for m in state["Members"]}
        expect(sorted(members.values()) == [False, False, True], state)
        write(chief, 1)
        lead = raft(chief)
        expect(lead["Role"] == "leader" and lead["Commit"] == lead["Last"], lead)
    finally:
        lab("heal", gone)
    until_healthy()
    until("it has caught up", lambda: raft(gone)["Commit"] == raft(chief)["Commit"])
    expect("never" not in docker("docker-1", "service", "ls"), "it was carried out after all")


def story_moved():
    """a manager whose address changed is found again"""
    docker("docker-1", "service", "create", "--detach", "--name", "counted", "--replicas", "0", "busybox")
    chief = leader("docker-1")
    mover = next(h for h in HOSTS if h != chief)
    old = path(mover, "address")
    new = old.rsplit(".", 1)[0] + ".77"
    device = lab("run", mover, "sh", "-c", f"ip -o addr show | awk '/inet {old}\\// {{print $2}}'")
    node = lab("run", mover, "sh", "-c", "cat " + str(data(mover).parent / "node.json"))
    expect(f'"advertiseAddress" : "{old}:2377"' in node, node)

    def move(source, target):
        # The address was chosen by the node itself only where the user gave none: here it was left to it.
        lab("stop", mover, "apusd", check=False)
        record = data(mover).parent / "node.json"
        record.write_text(record.read_text().replace(f'"advertiseWish" : "{source}"', '"advertiseWish" : ""'))
        lab("run", mover, "sh", "-c", f"ip addr del {source}/24 dev {device} && ip addr add {target}/24 dev {device}")
        gateway = target.rsplit(".", 1)[0] + ".1"
        lab("run", mover, "sh", "-c", f"ip route replace default via {gateway}", check=False)
        lab("start", mover, "apusd")

    move(old, new)
    try:
        until("the others dial it there", lambda: any(m["Address"] == f"{new}:2377" and m["Reachable"] for m in raft(chief)["Members"]), 30)
        until_healthy()
        write(mover, 3)
        until_all_have(2)
        shown = docker(chief, "node", "inspect", "--format", "{{.ManagerStatus.Addr}}", mover)
        expect(shown == f"{new}:2377", shown)
    finally:
        move(new, old)
    until("it is back", lambda: any(m["Address"] == f"{old}:2377" and m["Reachable"] for m in raft(chief)["Members"]), 30)
    until_healthy()


def story_force_new_cluster():
    """one survivor of three goes on alone with all that it knows; those left behind are refused, with words, and can come back"""
    docker("docker-1", "service", "create", "--detach", "--name", "counted", "--replicas", "2", "nginx:stable-alpine")
    until_replicas("docker-1", "counted", 2)
    write("docker-1", 5)
    until_all_have(4)
    nodes = sorted(docker("docker-1", "node", "ls", "-q").split())
    service = docker("docker-1", "service", "inspect", "--format", "{{.ID}}", "counted")
    tokens = docker("docker-1", "swarm", "join-token", "-q", "worker")
    for host in HOSTS[1:]:
        lab("kill", host, "apusd")
    refused("docker-1", "This node is already part of a swarm", "swarm", "init")
    first = path("docker-1", "address")
    out = docker("docker-1", "swarm", "init", "--force-new-cluster", "--advertise-addr", first)
    expect("is now a manager" in out, out)
    expect(sorted(docker("docker-1", "node", "ls", "-q").split()) == nodes, "the nodes keep their IDs")
    expect(docker("docker-1", "service", "inspect", "--format", "{{.ID}}", "counted") == service, "and services theirs")
    expect(label("docker-1") == "4", "the last write is there")
    expect(docker("docker-1", "swarm", "join-token", "-q", "worker") == tokens, "tokens stay good")
    write("docker-1", 1, first=5)
    listed = docker("docker-1", "node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}").splitlines()
    expect(sorted(line.strip() for line in listed) == ["docker-1 Leader", "docker-2", "docker-3"], listed)

    # The others come back, a majority of the old group, and elect one of themselves; neither side listens to the other.
    for host in HOSTS[1:]:
        lab("start", host, "apusd")
    words = "belong to two beginnings of this swarm"
    for host in HOSTS:
        until(f"{host} says so in its log", lambda: words in lab("logs", host, "apusd"), 30)
    until("docker-2 says so in its dump", lambda: any(words in (m["Refuses"] or "") for m in raft("docker-2")["Members"]), 30)
    expect(raft("docker-1")["Role"] == "leader" and len(raft("docker-1")["Members"]) == 1, raft("docker-1"))
    expect(label("docker-1") == "5", "nothing of the old group came in")

    # What dockerd asks for: leave, be removed, join again.
    token = docker("docker-1", "swarm", "join-token", "-q", "manager")
    for host in HOSTS[1:]:
        docker(host, "swarm", "leave", "--force")
        old = next(line.split()[0] for line in docker("docker-1", "node", "ls", "--format", "{{.ID}} {{.Hostname}}").splitlines() if line.endswith(host))
        docker("docker-1", "node", "rm", "--force", old)
        docker(host, "swarm", "join", "--token", token, f"{first}:2377")
    until_healthy()
    until_all_have(5)
    until_replicas("docker-1", "counted", 2)


def story_full_disk():
    """a manager whose disk is full stops with words that say what to do; the others go on, and with room it comes back"""
    docker("docker-1", "service", "create", "--detach", "--name", "counted", "--replicas", "0", "busybox")
    # Without snapshots that shorten it, the log grows with every write.
    docker("docker-1", "swarm", "update", "--snapshot-interval", "10000")
    chief = leader("docker-1")
    victim = next(h for h in HOSTS if h != chief)
    place = data(victim)
    image = Path(path(victim, "dir")) / "small.ext4"
    lab("stop", victim, "apusd")
    lab("run", victim, "sh", "-c", f"truncate -s 12M {image} && mkfs.ext4 -q -m 0 {image} && mkdir -p {place}.kept && cp -a {place}/. {place}.kept/ && mount -o loop {image} {place} && cp -a {place}.kept/. {place}/")
    try:
        lab("start", victim, "apusd")
        until_healthy()
        filler = "x" * 60_000
        def fill():
            for n in range(8):
                docker(chief, "service", "update", "--detach", "--label-add", f"filler={n}{filler}", "counted")
            return docker(victim, "info", "--format", "{{.Swarm.LocalNodeState}}") == "error"
        until("the victim's disk is full", fill, 240)
        said = docker(victim, "info", "--format", "{{.Swarm.Error}}")
        expect("Make room on the disk" in said and "raft.sqlite" in said, said)
        expect("Make room on the disk" in lab("logs", victim, "apusd"), "the log says so too")
        write(chief, 3)
    finally:
        lab("stop", victim, "apusd", check=False)
        # Room: the same files on the large disk.
        lab("run", victim, "sh", "-c", f"cp -a {place}/. {place}.kept/; umount {place} && cp -a {place}.kept/. {place}/ && rm -rf {place}.kept {image}")
        lab("start", victim, "apusd")
    until_healthy()
    until_all_have(2)


def story_wrong_log():
    """the log of another node, a log without its key, and no log at all are refused with words"""
    node = "docker-3"
    place, other = data(node), data("docker-2")
    keys = place.parent / "certificates" / "swarm-raft.key"
    lab("stop", node, "apusd")
    lab("stop", "docker-2", "apusd")
    kept = keys.read_bytes()
    keep = place.parent / "raft.kept"
    try:
        keys.unlink()
        lab("start", node, "apusd")
        until("it says that its key is missing", lambda: f"{keys}, cannot be used: it is missing" in docker(node, "info", "--format", "{{.Swarm.Error}}"))
        lab("stop", node, "apusd")
        # Another's log, with its key: whole, but not this node's.
        place.rename(keep)
        shutil.copytree(other, place)
        keys.write_bytes((other.parent / "certificates" / "swarm-raft.key").read_bytes())
        lab("start", node, "apusd")
        until("it says whose it is", lambda: "it is that of" in docker(node, "info", "--format", "{{.Swarm.Error}}"))
        lab("stop", node, "apusd")
        # None at all: it must not come back under its number and have forgotten what it promised.
        shutil.rmtree(place)
        lab("start", node, "apusd")
        until("it says that its log is gone", lambda: "is gone, and with it what it promised" in docker(node, "info", "--format", "{{.Swarm.Error}}"))
        lab("stop", node, "apusd")
    finally:
        if keep.exists():
            shutil.rmtree(place, ignore_errors=True)
            keep.rename(place)
        keys.write_bytes(kept)
        lab("start", node, "apusd")
        lab("start", "docker-2", "apusd")
    until_healthy()


def story_snapshot_on_a_slow_link():
    """a large snapshot over a slow link goes on where a cut broke it off, and delays no heartbeat"""
    chief = leader("docker-1")
    away = next(h for h in HOSTS if h != chief)
    busy = next(h for h in HOSTS if h not in (chief, away))
    docker(chief, "service", "create", "--detach", "--name", "counted", "--replicas", "0", "busybox")
    lab("kill", away, "apusd")
    set_raft_on(chief, SnapshotInterval=20, LogEntriesForSlowFollowers=5)
    # Some 20 MB of state that do not compress away: labels of services.
    filler = "".join(chr(97 + n * 7 % 26) for n in range(90_000))
    for n in range(60):
        docker(chief, "service", "create", "--detach", "--no-resolve-image", "--name", f"large-{n}", "--replicas", "0",
               "--label", f"a={n}{filler}", "--label", f"b={n}{filler}", "busybox")
    until("the log is short", lambda: raft(chief)["First"] > 40)
    term = raft(chief)["Term"]
    lab("slow", away, "12000")
    try:
        lab("start", away, "apusd")
        logged = lambda words: lab("logs", away, "apusd").count(words)
        until("the snapshot is on its way", lambda: logged("receiving a snapshot") > 0, 30)
        time.sleep(1)
        lab("cut", away)
        time.sleep(4)
        lab("heal", away)
        lab("slow", away, "12000")
        seen, began = [], time.monotonic()
        while not seen or (not logged("taking over a snapshot") and time.monotonic() - began < 90):
            time.sleep(0.2)
            state = raft(away)
            seen.append(state["Leader"] is not None)
            write(busy, 1, first=len(seen))
        expect(logged("taking over a snapshot"), "the snapshot has arrived")
        expect(logged("receiving a snapshot") > 1, "it came in more than one stream")
        late = seen[len(seen) // 3:]
        expect(late.count(False) <= 1 + len(late) // 10, f"heard its leader in {late.count(True)} of {len(late)} looks")
    finally:
        lab("heal", away)
    until_healthy()
    until_all_have(len(seen))
    expect(raft(chief)["Term"] == term, f"nobody stood for election: term {term}, now {raft(chief)['Term']}")
    set_raft_on(chief, SnapshotInterval=10_000, LogEntriesForSlowFollowers=500)
