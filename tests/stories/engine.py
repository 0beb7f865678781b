"""What passes through to the engine, what is refused, and what an engine of its own mind does."""

import json
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from stories.kit import *


def story_pass_through():
    """what is not about the swarm passes through: run, exec, logs, cp, build, attach"""
    env = {"DOCKER_HOST": "unix://" + path("docker-1", "apus")}
    out = subprocess.run([DOCKERS[0], "run", "--rm", "-i", "busybox", "wc", "-c"], input="x" * 100_000, capture_output=True, text=True, timeout=60, env={**os.environ, **env})
    expect(out.stdout.strip() == "100000", out)
    name = docker("docker-1", "run", "-d", "busybox", "sh", "-c", "echo started; exec sleep 300")
    try:
        expect(docker("docker-1", "exec", name, "echo", "inside") == "inside", "exec")
        status, _, _ = run("docker-1", "exec", name, "sh", "-c", "exit 7")
        expect(status == 7, f"exit status {status}")
        until("logs", lambda: docker("docker-1", "logs", name) == "started")
        copied = subprocess.run([DOCKERS[0], "cp", f"{name}:/etc/passwd", "-"], capture_output=True, timeout=30, env={**os.environ, **env})
        expect(copied.returncode == 0 and len(copied.stdout) > 512, copied.stderr)
        terminal = subprocess.run(["script", "-qec", f"{DOCKERS[0]} exec -it {name} tty", "/dev/null"], capture_output=True, text=True, timeout=30, env={**os.environ, **env})
        expect("/dev/pts/" in terminal.stdout, terminal)
    finally:
        docker("docker-1", "rm", "-f", name)
    built = subprocess.run([DOCKERS[0], "build", "-q", "-"], input="FROM busybox\nRUN echo hi > /hi\n", capture_output=True, text=True, timeout=90, env={**os.environ, **env, "DOCKER_BUILDKIT": "0"})
    expect(built.returncode == 0, built.stderr)


def story_streams():
    """streams pass through both ways: run -it, attach, events, stats, BuildKit's build"""
    env = {**os.environ, "DOCKER_HOST": "unix://" + path("docker-1", "apus")}
    terminal = subprocess.run(["script", "-qec", f"{DOCKERS[0]} run --rm -it busybox sh -c 'tty; read word; echo got-$word'", "/dev/null"], input="back\n", capture_output=True, text=True, timeout=60, env=env)
    expect("/dev/pts/" in terminal.stdout or "/dev/console" in terminal.stdout, terminal)
    expect("got-back" in terminal.stdout, terminal)
    began = time.time()
    watcher = subprocess.Popen([DOCKERS[0], "events", "--filter", "type=container", "--format", "{{.Action}} {{.Actor.Attributes.name}}"], stdout=subprocess.PIPE, text=True, env=env)
    try:
        docker("docker-1", "create", "-i", "--name", "echoer", "busybox", "sh", "-c", "while read line; do echo \"<$line>\"; done; echo over; sleep 3; echo late")
        attached = subprocess.run([DOCKERS[0], "start", "-a", "-i", "echoer"], input="one\ntwo\n", capture_output=True, text=True, timeout=30, env=env)
        expect(attached.returncode == 0 and attached.stdout == "<one>\n<two>\nover\nlate\n", attached)
        docker("docker-1", "start", "echoer")
        attached = subprocess.Popen([DOCKERS[0], "attach", "--no-stdin", "echoer"], stdout=subprocess.PIPE, text=True, env=env)
        figures = json.loads(docker("docker-1", "stats", "--no-stream", "--format", "{{json .}}", "echoer"))
        expect(figures["Name"] == "echoer" and int(figures["PIDs"]) >= 1, figures)
        docker("docker-1", "stop", "-t", "0", "echoer")
        expect(attached.wait(timeout=30) == 137, attached.returncode)
    finally:
        docker("docker-1", "rm", "-f", "echoer")
        seen = []
        while not seen or seen[-1] != "destroy echoer":
            line = watcher.stdout.readline().strip()
            if not line:
                break
            seen.append(line)
        watcher.terminate()
        watcher.wait()
    expect([s for s in seen if s.endswith("echoer")][:3] == ["create echoer", "attach echoer", "start echoer"], seen)
    expect(seen[-1] == "destroy echoer", seen)
    past = docker("docker-1", "events", "--since", str(int(began)), "--until", str(int(time.time()) + 1), "--filter", "container=echoer", "--format", "{{.Action}}").split()
    expect("start" in past and past[-1] == "destroy", past)
    with tempfile.TemporaryDirectory() as context:
        Path(context, "Dockerfile").write_text("FROM busybox\nCOPY greeting /greeting\nRUN cat /greeting > /copied\nCMD cat /copied\n")
        Path(context, "greeting").write_text("built through the session\n")
        built = subprocess.run([DOCKERS[0], "build", "--progress=plain", "-t", "through-buildkit", context], capture_output=True, text=True, timeout=120, env={**env, "DOCKER_BUILDKIT": "1"})
        expect(built.returncode == 0 and "exporting" in built.stderr, built.stderr)
        expect(docker("docker-1", "run", "--rm", "through-buildkit") == "built through the session", "the built image")


def story_bad_input():
    """wrong requests get a status and words, and change nothing"""
    before = docker("docker-1", "service", "ls")
    for method, target, body, status, words in [
        ("POST", "/services/create", "{", 400, ""),
        ("POST", "/services/create", {"Name": "x"}, 400, "mismatched Runtime and *Spec fields"),
        ("POST", "/services/create", {"Name": "a b", "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}}}, 400, "name must be valid as a DNS name component"),
        ("GET", "/services/nosuch", None, 404, "service nosuch not found"),
        ("DELETE", "/services/nosuch", None, 404, "service nosuch not found"),
        ("GET", "/nodes/nosuch", None, 404, "node nosuch not found"),
        ("GET", "/tasks/nosuch", None, 404, "task nosuch not found"),
        ("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377"}, 503, "This node is already part of a swarm."),
        ("GET", "/v1.99/services", None, 400, "client version 1.99 is too new"),
    ]:
        got, _, answer_body = api("docker-1", method, target, body)
        expect(got == status and words in json.dumps(answer_body), f"{method} {target}: {got} {answer_body}")
    got, _, answer_body = api("docker-1", "POST", "/services/create", {"Name": "two", "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}}, "Mode": {"Replicated": {"Replicas": 0}}})
    expect(got == 201, answer_body)
    got, _, answer_body = api("docker-2", "POST", "/services/create", {"Name": "two", "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}}})
    expect(got == 409 and "name conflicts with an existing object" in answer_body["message"], answer_body)
    _, _, service = api("docker-1", "GET", "/services/two")
    stale = service["Version"]["Index"]
    got, _, answer_body = api("docker-3", "POST", f"/services/two/update?version={stale}", {**service["Spec"], "Labels": {"a": "1"}})
    expect(got == 200, answer_body)
    got, _, answer_body = api("docker-3", "POST", f"/services/two/update?version={stale}", {**service["Spec"], "Labels": {"a": "2"}})
    expect(got == 500 and answer_body["message"].endswith("update out of sequence"), answer_body)
    docker("docker-1", "service", "rm", "two")
    expect(docker("docker-1", "service", "ls") == before, "something was left")


def story_floods():
    """a body of 100 MB, slow clients and a thousand idle connections do no harm"""
    idle = []
    for _ in range(1000):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.connect(path("docker-2", "apus"))
        idle.append(s)
    slow = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    slow.connect(path("docker-2", "apus"))
    slow.sendall(b"GET /services HTTP/1.1\r\nHost: x\r\n")
    try:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(30)
        s.connect(path("docker-2", "apus"))
        s.sendall(b"POST /services/create HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n")
        chunk = b"x" * (1 << 20)
        try:
            for _ in range(100):
                s.sendall(chunk)
        except OSError:
            pass  # refused before the end: that is the point
        try:
            first = s.recv(200)
        except OSError:
            first = b""
        expect(b" 20" not in first[:12], first)
        began = time.monotonic()
        docker("docker-2", "service", "ls")
        expect(time.monotonic() - began < 5, "slow beside the flood")
        pid = int(lab("pid", "docker-2", "apusd"))
        status = Path(f"/proc/{pid}/status").read_text()
        anonymous = int(next(l.split()[1] for l in status.splitlines() if l.startswith("RssAnon")))
        expect(anonymous < 200_000, f"{anonymous} kB of anonymous memory")
    finally:
        for s in idle + [slow]:
            s.close()


def story_engine_restart():
    """apusd survives its engine's restart, and containers outlive apusd"""
    docker("docker-1", "service", "create", "--detach", "--name", "web", "--replicas", "3", "nginx:stable-alpine")
    until_replicas("docker-1", "web", 3)
    before = lab("engine", "docker-2", "docker", "ps", "-q")
    lab("stop", "docker-2", "apusd")
    expect(lab("engine", "docker-2", "docker", "ps", "-q") == before, "containers went with apusd")
    lab("start", "docker-2", "apusd")
    until_healthy()
    expect(lab("engine", "docker-2", "docker", "ps", "-q") == before, "containers were replaced by a restart of apusd")
    lab("stop", "docker-2", "dockerd")
    lab("start", "docker-2", "dockerd")
    until_replicas("docker-1", "web", 3, 90)


def story_dockers_own_swarm():
    """an engine that is in Docker's own swarm is refused, with the next step"""
    docker("docker-3", "swarm", "leave", "--force")
    lab("engine", "docker-3", "docker", "swarm", "init", "--advertise-addr", path("docker-3", "address"))
    try:
        refused("docker-3", "swarm leave", "swarm", "init")
    finally:
        lab("engine", "docker-3", "docker", "swarm", "leave", "--force")
    node = next(line.split()[0] for line in docker("docker-1", "node", "ls", "--format", "{{.ID}} {{.Hostname}}").splitlines() if line.endswith("docker-3"))
    docker("docker-1", "node", "demote", node)
    until("it can be removed", lambda: run("docker-1", "node", "rm", node)[0] == 0, 60)
    docker("docker-3", "swarm", "join", "--token", docker("docker-1", "swarm", "join-token", "-q", "manager"), path("docker-1", "address") + ":2377")
    until_healthy()
