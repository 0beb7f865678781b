"""What scripts and stories share: the lab, the stock CLI on a host's socket, and waiting."""

import os
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAB = str(ROOT / "lab" / "lab")
DOCKER = os.environ.get("LAB_DOCKER", "/usr/bin/docker")


class Failed(Exception):
    """What was expected did not hold."""


def lab(*args, check=True, timeout=300):
    done = subprocess.run([LAB, *args], capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise Failed(f"lab {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


PATHS = {}


def path(host, what):
    if (host, what) not in PATHS:
        PATHS[host, what] = lab("path", host, what)
    return PATHS[host, what]


def run(socket, *args, timeout=120):
    """The stock CLI: (exit status, stdout, stderr)."""
    environment = {**os.environ, "DOCKER_HOST": "unix://" + socket}
    done = subprocess.run([DOCKER, *args], capture_output=True, text=True, timeout=timeout, env=environment)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def docker(socket, *args, timeout=120):
    status, out, err = run(socket, *args, timeout=timeout)
    if status != 0:
        raise Failed(f"docker {' '.join(args)}: exit {status}: {err or out}")
    return out


def until(what, probe, seconds=120, pause=0.02):
    """Waits until `probe` gives something true; says what it last saw."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            last = probe()
            if last:
                return last
        except (Failed, OSError, subprocess.TimeoutExpired) as problem:
            last = problem
        time.sleep(pause)
    raise Failed(f"not within {seconds} s: {what}; last seen: {last}")


def form_swarm(sockets, addresses):
    """All of them managers, with the stock CLI."""
    docker(sockets[0], "swarm", "init", "--advertise-addr", addresses[0])
    token = docker(sockets[0], "swarm", "join-token", "-q", "manager")
    for socket, address in zip(sockets[1:], addresses[1:]):
        docker(socket, "swarm", "join", "--advertise-addr", address, "--token", token, addresses[0] + ":2377")
    until("all are ready", lambda: docker(sockets[0], "node", "ls", "--format", "{{.Status}}").split() == ["Ready"] * len(sockets))
