"""What a node makes of a service: its container, option by option."""

import base64
import json
import os
import subprocess
import tempfile
import time

from stories.kit import *

ALL_FLAGS = [
    "--hostname", "h-{{.Service.Name}}-{{.Task.Slot}}", "--env", "A=1", "--env", "N={{.Node.Hostname}}", "--env", "EMPTY",
    "--label", "tier=front", "--container-label", "mine=yes", "--user", "1000:1000", "--group", "44", "--workdir", "/tmp",
    "--init", "--tty", "--host", "db:10.0.0.5", "--dns", "1.1.1.1", "--dns-search", "example.com", "--dns-option", "ndots:2",
    "--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN", "--ulimit", "nofile=100:200", "--sysctl", "net.ipv4.ip_forward=1",
    "--read-only", "--mount", "type=bind,source=/etc,target=/b,readonly,bind-nonrecursive=true",
    "--mount", "type=volume,source=vol-{{.Task.Slot}},target=/v,volume-driver=local,volume-label=x={{.Service.Name}},volume-opt=type=tmpfs,volume-opt=device=tmpfs",
    "--mount", "type=volume,target=/anon", "--mount", "type=tmpfs,target=/t,tmpfs-size=1048576,tmpfs-mode=1770",
    "--stop-signal", "SIGINT", "--stop-grace-period", "7500ms", "--health-cmd", "true", "--health-interval", "1s",
    "--health-timeout", "2s", "--health-retries", "2", "--health-start-period", "1s", "--log-driver", "json-file",
    "--log-opt", "max-size=1m", "--limit-cpu", "0.5", "--limit-memory", "64M", "--limit-pids", "50", "--reserve-memory", "32M",
    "--publish", "mode=host,target=80,published=8088", "--entrypoint", "sleep",
]


def error(name):
    return docker("docker-1", "service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", name)


def container(name):
    """What the engine of its node has of the one task of a service."""
    host = docker("docker-1", "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}}", name)
    ids = docker(host, "ps", "-q", "--filter", f"label=com.docker.swarm.service.name={name}").split()
    expect(len(ids) == 1, f"containers of {name} on {host}: {ids}")
    return host, json.loads(docker(host, "inspect", ids[0]))[0]


def story_all_flags():
    """every option of a service reaches the container"""
    docker("docker-1", "service", "create", "--detach", "--no-resolve-image", "--name", "all", *ALL_FLAGS, "busybox", "1000")
    until_replicas("docker-1", "all", 1)
    host, made = container("all")
    config, hosted = made["Config"], made["HostConfig"]
    expect(config["Hostname"] == "h-all-1" and f"N={host}" in config["Env"] and "EMPTY" in config["Env"], config)
    expect(config["StopSignal"] == "SIGINT" and config["User"] == "1000:1000" and config["Tty"], config)
    expect(hosted["Init"] and hosted["ReadonlyRootfs"] and hosted["PidsLimit"] == 50 and hosted["NanoCpus"] == 500000000, hosted)
    expect(hosted["GroupAdd"] == ["44"] and hosted["ExtraHosts"] == ["db:10.0.0.5"] and hosted["Dns"] == ["1.1.1.1"], hosted)
    expect(hosted["CapAdd"] == ["CAP_NET_ADMIN"] and hosted["Sysctls"] == {"net.ipv4.ip_forward": "1"}, hosted)
    expect({m["Destination"] for m in made["Mounts"]} == {"/b", "/v", "/anon", "/t"}, made["Mounts"])
    volume = json.loads(docker(host, "volume", "inspect", "vol-1"))[0]
    expect(volume["Labels"] == {"x": "all"} and volume["Options"]["type"] == "tmpfs", volume)
    docker("docker-1", "service", "rm", "all")
    until("its container is gone", lambda: not docker(host, "ps", "-aq", "--filter", "label=com.docker.swarm.service.name=all"))
    docker(host, "volume", "rm", "vol-1")


def story_refused_options():
    """a template without a result and what only Windows has are refused, what an old engine cannot do is named"""
    create = ["service", "create", "--detach", "--no-resolve-image", "--name", "no"]
    refused("docker-1", "can't evaluate field Foo in type", *create, "--hostname", "{{.Task.Foo}}", "busybox")
    refused("docker-1", "Windows", *create, "--isolation", "hyperv", "busybox")
    refused("docker-1", "Windows", *create, "--credential-spec", "file://x", "busybox")
    status, _, made = api("docker-1", "POST", "/v1.44/services/create", {
        "Name": "subpath", "TaskTemplate": {"ContainerSpec": {"Image": "busybox", "Mounts": [
            {"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": {"Subpath": "a"}}]}}})
    expect(status == 201, made)
    until("the version that is needed", lambda: "volume-subpath needs Docker 26.0 (Engine API 1.45)" in error("subpath"))


def story_stop_and_grace():
    """a task is told to stop with its own signal, and killed once its grace is over"""
    script = "trap 'echo heard; exit 0' USR1; while :; do sleep 0.1; done"
    docker("docker-1", "service", "create", "--detach", "--name", "polite", "--stop-signal", "SIGUSR1", "busybox", "sh", "-c", script)
    docker("docker-1", "service", "create", "--detach", "--name", "deaf", "--stop-grace-period", "1s", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    until_replicas("docker-1", "polite", 1)
    until_replicas("docker-1", "deaf", 1)
    places = {name: container(name) for name in ("polite", "deaf")}
    began = int(time.time())
    docker("docker-1", "service", "scale", "--detach", "polite=0", "deaf=0")
    for name, code in (("polite", "0"), ("deaf", "137")):
        host, made = places[name]
        # Its container goes with it: the engine's own word of its end is what stays.
        until(f"{name} has ended with {code}", lambda: docker(host, "events", "--since", str(began), "--until", str(int(time.time()) + 1), "--filter", f"container={made['Id']}",
                                                           "--filter", "event=die", "--format", "{{.Actor.Attributes.exitCode}}") == code, 20)


def story_stray():
    """a container whose task the swarm forgot while its node was away is stopped with its own grace"""
    script = "trap 'sleep 1; echo bye; exit 0' TERM; while :; do sleep 0.1; done"
    docker("docker-1", "service", "create", "--detach", "--name", "stray", "--constraint", "node.hostname==docker-3", "busybox", "sh", "-c", script)
    until_replicas("docker-1", "stray", 1)
    _, made = container("stray")
    lab("stop", "docker-3", "apusd")
    docker("docker-1", "service", "rm", "stray")
    events = ["timeout", "60", DOCKERS[0], "-H", "unix://" + path("docker-3", "engine"), "events", "--filter", f"container={made['Id']}",
              "--filter", "event=die", "--format", "{{.Actor.Attributes.exitCode}}"]
    watching = subprocess.Popen(events, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    lab("start", "docker-3", "apusd")
    code = watching.stdout.readline().strip()
    watching.terminate()
    watching.wait()
    expect(code == "0", f"it was killed, not stopped: exit {code!r}")
    until_healthy()


def create_from(kind, name, text, *options):
    return subprocess.run([DOCKERS[0], kind, "create", *options, name, "-"], input=text, text=True, check=True, capture_output=True,
                          env={**os.environ, "DOCKER_HOST": "unix://" + path("docker-1", "apus")}).stdout.strip()


def inside(host, made, *command):
    return docker(host, "exec", made["Id"], *command)


def story_secrets():
    """a container finds its secrets and configs, as asked, and nothing else shows what they hold"""
    create_from("secret", "key", "hunter2-in-memory")
    create_from("config", "site", "listen 80;\n")
    create_from("config", "page", "{{.Node.Hostname}} {{.Task.Slot}} {{secret \"key\"}} {{env \"MODE\"}}", "--template-driver", "golang")
    docker("docker-2", "service", "create", "--detach", "--name", "keeper", "--env", "MODE=x", "--secret", "key",
           "--secret", "source=key,target=/etc/key,uid=33,gid=44,mode=0400", "--config", "source=site,target=/etc/site.conf",
           "--config", "source=page,target=/page", "--read-only", "busybox", "sleep", "1000")
    until_replicas("docker-1", "keeper", 1)
    host, made = container("keeper")
    expect(inside(host, made, "cat", "/run/secrets/key") == "hunter2-in-memory", "the secret")
    expect(inside(host, made, "cat", "/etc/site.conf") == "listen 80;", "the config")
    expect(inside(host, made, "cat", "/page") == f"{host} 1 hunter2-in-memory x", inside(host, made, "cat", "/page"))
    expect(inside(host, made, "stat", "-c", "%u %g %a", "/etc/key") == "33 44 400", inside(host, made, "stat", "-c", "%u %g %a", "/etc/key"))
    expect(inside(host, made, "stat", "-c", "%u %g %a", "/run/secrets/key") == "0 0 444", "owner and mode")
    status, _, _ = run(host, "exec", made["Id"], "sh", "-c", "echo no > /run/secrets/key")
    expect(status != 0, "a secret can be written")
    shown = json.dumps(made) + docker("docker-1", "service", "inspect", "keeper") + docker("docker-1", "secret", "inspect", "key")
    expect("hunter2" not in shown and "aHVudGVyMi1pbi1tZW1vcnk" not in shown, "an inspection shows the secret")
    for each in HOSTS:
        found = subprocess.run(["grep", "-rlaE", "hunter2-in-memory|aHVudGVyMi1pbi1tZW1vcnk", lab("path", each, "dir")], capture_output=True, text=True).stdout
        expect(not found, f"on the disk of {each}: {found}")
    places = lab("run", host, "find", "/run/apus-tasks", "-type", "f")
    expect(len(places.split()) == 4, places)
    refused("docker-1", "secret 'key' is in use by the following service: keeper", "secret", "rm", "key")

    # Another life of apusd finds them, and a container that starts then too.
    lab("kill", host, "apusd")
    lab("start", host, "apusd")
    until_healthy()
    expect(inside(host, made, "cat", "/run/secrets/key") == "hunter2-in-memory", "the secret after a crash")
    docker("docker-1", "service", "update", "--detach", "--force", "keeper")
    until("its successor runs", lambda: container("keeper")[1]["Id"] != made["Id"] and replicas("docker-1", "keeper").startswith("1/1"), 30)
    host, made = container("keeper")
    expect(inside(host, made, "cat", "/run/secrets/key") == "hunter2-in-memory", "the secret of the successor")
    docker("docker-1", "service", "rm", "keeper")
    for each in HOSTS:
        until(f"nothing of them is left on {each}", lambda: not lab("run", each, "sh", "-c", "find /run/apus-tasks -type f 2>/dev/null || true"))
    docker("docker-1", "secret", "rm", "key")
    docker("docker-1", "config", "rm", "site", "page")


TALK = "i=0; while [ $i -lt 5 ]; do i=$((i+1)); echo out $i; echo err $i >&2; done; sleep 1000"


def story_logs():
    """what all tasks of a service wrote is read from any manager; a node that does not answer costs a warning"""
    docker("docker-1", "service", "create", "--detach", "--name", "talk", "--mode", "global", "busybox", "sh", "-c", TALK)
    until("three run", lambda: len(running("docker-1", "talk")) == 3)
    status, out, err = until("all is written", lambda: (lambda a: a if len(a[1].splitlines()) == 15 and len(a[2].splitlines()) == 15 else None)(run("docker-2", "service", "logs", "talk")))
    expect(status == 0 and all(sum(f"@{host} " in line for line in out.splitlines()) == 5 for host in HOSTS), out)
    for host in HOSTS:
        mine = [line.split("| ")[1] for line in out.splitlines() if f"@{host} " in line]
        expect(mine == [f"out {n}" for n in range(1, 6)], mine)
    _, out, err = run("docker-3", "service", "logs", "--raw", "--tail", "2", "talk")
    expect(len((out + "\n" + err).split("\n")) - (not out) - (not err) == 6, f"two lines of each of three tasks: {out}\n{err}")
    task = docker("docker-1", "service", "ps", "-q", "--filter", "node=docker-3", "talk").split()[0]
    status, out, err = run("docker-1", "service", "logs", "--timestamps", task)
    expect(status == 0 and len(out.splitlines()) == 5 and out.startswith("20") and "docker-3" in out, out + err)
    refused("docker-1", "no such task or service", "service", "logs", "nosuch")
    status, _, answer = api("docker-1", "GET", "/services/talk/logs")
    expect((status, answer) == (400, {"message": "Bad parameters: you must choose at least one stream"}), answer)

    # Followed: what a task writes that starts later is there too, and nothing stays behind when the client goes.
    following = subprocess.Popen([DOCKERS[0], "service", "logs", "--follow", "--tail", "0", "talk"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                 env={**os.environ, "DOCKER_HOST": "unix://" + path("docker-2", "apus")})
    time.sleep(1)
    docker("docker-1", "service", "update", "--detach", "--force", "--update-parallelism", "0", "talk")
    line = following.stdout.readline()
    expect("out 1" in line and "talk." in line, line)
    following.terminate()
    following.communicate()

    lab("cut", "docker-3")
    try:
        began = time.monotonic()
        status, out, err = run("docker-1", "service", "logs", "talk", timeout=60)
        expect("incomplete log stream" in err and "node docker-3" in err and "@docker-1 " in out and "@docker-2 " in out, f"exit {status}\n{out}\n{err}")
        expect(time.monotonic() - began < 20, "it took too long")
    finally:
        lab("heal")
    until_healthy()


def story_unreadable_log():
    """a log driver that cannot be read is named, the other tasks' lines are there"""
    docker("docker-1", "service", "create", "--detach", "--name", "mute", "--log-driver", "none", "busybox", "sleep", "1000")
    until_replicas("docker-1", "mute", 1)
    status, _, err = run("docker-1", "service", "logs", "mute")
    expect(status != 0 and "incomplete log stream" in err and "does not support reading" in err, f"exit {status}: {err}")


def story_terminal_log():
    """a service with a terminal has its log unframed"""
    docker("docker-1", "service", "create", "--detach", "--name", "tty", "--tty", "busybox", "sh", "-c", "echo hello; sleep 1000")
    until_replicas("docker-1", "tty", 1)
    until("its line", lambda: docker("docker-2", "service", "logs", "--raw", "tty") == "hello")


def events(host, *args):
    return subprocess.Popen([DOCKERS[0], "events", *args], stdout=subprocess.PIPE, text=True, env={**os.environ, "DOCKER_HOST": "unix://" + path(host, "apus")})


def story_events():
    """docker events tells of services, nodes, secrets and configs on every manager, among the engine's own"""
    began = str(int(time.time()))
    shown = "{{.Scope}} {{.Type}} {{.Action}} {{.Actor.Attributes.name}}"
    here = events("docker-1", "--format", shown)
    there = events("docker-2", "--filter", "type=service", "--format", "{{json .}}")
    tasks = events("docker-3", "--filter", "type=task", "--filter", "event=update", "--format", '{{index .Actor.Attributes "state.new"}}')
    time.sleep(1)
    create_from("secret", "seen", "x")
    docker("docker-3", "service", "create", "--detach", "--name", "heard", "--constraint", "node.hostname==docker-1", "busybox", "sleep", "1000")
    until_replicas("docker-1", "heard", 1)
    docker("docker-3", "service", "update", "--detach", "--replicas", "2", "heard")
    until_replicas("docker-1", "heard", 2)
    docker("docker-1", "node", "update", "--availability", "pause", "docker-3")
    docker("docker-1", "node", "update", "--availability", "active", "docker-3")
    docker("docker-1", "service", "rm", "heard")
    docker("docker-1", "secret", "rm", "seen")
    ended = f"{time.time():.9f}"
    time.sleep(2)
    for process in (here, there, tasks):
        process.terminate()
    lines = here.communicate()[0].splitlines()
    for wanted in ("swarm secret create seen", "swarm service create heard", "swarm service update heard", "swarm node update docker-3",
                   "swarm service remove heard", "swarm secret remove seen"):
        expect(wanted in lines, f"{wanted!r} is not among {lines}")
    expect(any(line.startswith("local container start heard.1.") for line in lines), lines)
    expect(not any(" task " in line for line in lines), "events of tasks for who did not ask")
    services = [json.loads(line) for line in there.communicate()[0].splitlines()]
    expect({e["Type"] for e in services} == {"service"} and services[0]["Action"] == "create" and services[-1]["Action"] == "remove", services)
    expect(any(e["Actor"]["Attributes"].get("replicas.new") == "2" and e["Actor"]["Attributes"].get("replicas.old") == "1" for e in services), services)
    states = tasks.communicate()[0].split()
    expect(states[:3] and "running" in states and "preparing" in states, states)
    past = docker("docker-2", "events", "--since", began, "--until", ended, "--filter", "type=node", "--format", '{{index .Actor.Attributes "availability.new"}}').splitlines()
    expect([a for a in past if a not in ("", "<no value>")] == ["pause", "active"], past)


GUARDED = """
import base64, http.server, sys, urllib.request, urllib.error
class Guard(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"captain:hunter2-registry").decode():
            return self.reply(401, {"WWW-Authenticate": 'Basic realm="guarded"'}, b"{}")
        asked = urllib.request.Request("http://" + sys.argv[1] + self.path, method=self.command)
        for name in ("Accept", "Range"):
            for value in self.headers.get_all(name) or []: asked.add_header(name, ", ".join(self.headers.get_all(name)))
        try: given = urllib.request.urlopen(asked)
        except urllib.error.HTTPError as refusal: given = refusal
        self.reply(given.status, {k: v for k, v in given.headers.items() if k in ("Content-Type", "Docker-Content-Digest")}, given.read(), given.headers.get("Content-Length"))
    def reply(self, status, headers, body, length=None):
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(body)
    do_GET = do_HEAD = answer
    def log_message(self, *args): pass
import os, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
http.server.ThreadingHTTPServer(("127.0.0.1", 5555), Guard).serve_forever()
"""


def story_registry_credentials():
    """an image behind a password is pulled with the client's credentials, which are shown nowhere"""
    registry = ".".join(path("docker-1", "address").split(".")[:3]) + ".1:5000"
    guard = subprocess.Popen([str(ROOT / "lab" / "lab"), "run", "docker-1", "python3", "-c", GUARDED, registry], stdin=subprocess.PIPE)
    try:
        with tempfile.TemporaryDirectory() as folder:
            secret = base64.b64encode(b"captain:hunter2-registry").decode()
            with open(folder + "/config.json", "w") as config:
                json.dump({"auths": {"127.0.0.1:5555": {"auth": secret}}}, config)
            create = ["service", "create", "--detach", "--constraint", "node.hostname==docker-1"]
            image = "127.0.0.1:5555/nginx:1.26"
            until("the registry asks for a password", lambda: "401" in lab("run", "docker-1", "sh", "-c", "busybox wget -S -O- http://127.0.0.1:5555/v2/ 2>&1 || true"), 10)
            docker("docker-1", *create, "--name", "barred", "--no-resolve-image", image)
            until("it cannot be had without", lambda: f"No such image: {image}" in error("barred"))
            docker("docker-1", "service", "rm", "barred")
            docker("docker-1", *create, "--name", "admitted", "--with-registry-auth", image, env={"DOCKER_CONFIG": folder})
            until_replicas("docker-1", "admitted", 1)
            host, made = container("admitted")
            shown = json.dumps(made) + docker("docker-1", "service", "inspect", "admitted") + "".join(lab("logs", each, "apusd") for each in HOSTS)
            expect("hunter2" not in shown and secret not in shown, "the credentials are shown")
    finally:
        guard.stdin.close()
        guard.wait(10)
