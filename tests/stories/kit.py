"""What stories say: commands on hosts, requests on the raw API, and waiting for what should come true."""

import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from labkit import Failed, lab, path, until  # noqa: E402, F401

HOSTS = ["docker-1", "docker-2", "docker-3"]
DOCKERS = [d for d in ("/usr/bin/docker", "/usr/local/bin/docker") if os.path.exists(d)]


def run(host, *args, cli=DOCKERS[0], env=None, timeout=90):
    """The stock CLI against a host's Apus socket: (exit status, stdout, stderr)."""
    environment = {**os.environ, "DOCKER_HOST": "unix://" + path(host, "apus"), **(env or {})}
    done = subprocess.run([cli, *args], capture_output=True, text=True, timeout=timeout, env=environment)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def docker(host, *args, **options):
    status, out, err = run(host, *args, **options)
    if status != 0:
        raise Failed(f"{host}: docker {' '.join(args)}: exit {status}: {err or out}")
    return out


def refused(host, words, *args, **options):
    """It fails, and says this."""
    status, out, err = run(host, *args, **options)
    if status == 0:
        raise Failed(f"{host}: docker {' '.join(args)} was accepted: {out}")
    if words not in err + out:
        raise Failed(f"{host}: docker {' '.join(args)} said {err or out!r}, not {words!r}")


def expect(condition, message):
    if not condition:
        raise Failed(message)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, socket_path, timeout=30):
        super().__init__("docker", timeout=timeout)
        self.socket_path = socket_path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)


def api(host, method, target, body=None, timeout=30):
    """One request on the raw API: (status, headers, JSON or text)."""
    connection = UnixConnection(path(host, "apus"), timeout)
    data = body if isinstance(body, (bytes, str)) or body is None else json.dumps(body)
    connection.request(method, target, data, {"Content-Type": "application/json"} if data is not None else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    try:
        return answer.status, dict(answer.getheaders()), json.loads(text) if text else None
    except ValueError:
        return answer.status, dict(answer.getheaders()), text


def replicas(host, name):
    return docker(host, "service", "ls", "--filter", f"name={name}", "--format", "{{.Name}} {{.Replicas}}").split(name + " ")[-1]


def until_replicas(host, name, count, seconds=60):
    until(f"{count} of {name} run", lambda: replicas(host, name).startswith(f"{count}/{count}"), seconds)


def running(host, name):
    """Running tasks: [(task ID, node)]."""
    out = docker(host, "service", "ps", "--no-trunc", "--filter", "desired-state=running", "--format", "{{.ID}} {{.Node}} {{.CurrentState}}", name)
    return [(f[0], f[1]) for f in (line.split() for line in out.splitlines()) if f[2] == "Running"]


def leader(host):
    out = docker(host, "node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}")
    return next(line.split()[0] for line in out.splitlines() if line.endswith(" Leader"))


def healthy(host="docker-1"):
    """Three managers that reach each other and are ready."""
    out = docker(host, "node", "ls", "--format", "{{.Status}} {{.Availability}} {{.ManagerStatus}}").splitlines()
    return sorted(out) == ["Ready Active Leader", "Ready Active Reachable", "Ready Active Reachable"]


def until_healthy(seconds=60):
    for host in HOSTS:
        until(f"{host} sees three healthy managers", lambda: healthy(host), seconds)


def answer(host, port):
    connection = http.client.HTTPConnection(path(host, "address"), port, timeout=5)
    connection.request("GET", "/")
    return connection.getresponse().read().decode().strip()


def clean():
    for name in docker("docker-1", "service", "ls", "--format", "{{.Name}}").split():
        docker("docker-1", "service", "rm", name)
