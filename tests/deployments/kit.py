"""What stories of deployments say: a Deployfile, `apus`, and a look at the engines."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from labkit import Failed, lab, path, until  # noqa: E402, F401

APUS = str(ROOT / ".build/debug/apus")
HOSTS = ["docker-1", "docker-2", "docker-3"]
WORK = Path(tempfile.mkdtemp(prefix="apus-deploy-"))
LAST = [""]
CRASH = '["sh", "-c", "echo no luck today >&2; exit 3"]'


def expect(condition, message):
    if not condition:
        raise Failed(message)


def environment(**more):
    return {**os.environ, "APUS_SSH_CONFIG": path_of_lab("ssh/config"), "APUS_CACHE": str(WORK / "cache"), "XDG_STATE_HOME": str(WORK / "state"), **more}


def path_of_lab(rest):
    return os.path.join(os.environ["APUS_LAB_DIR"], rest)


def deployfile(text, name="Deployfile.swift"):
    folder = WORK / "shop"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def container(options="", image="nginx:1.25", hosts=HOSTS, command="nil", change="", name="web", kind="Container"):
    """A Deployfile with one application."""
    machines = ", ".join(h if "(" in h else f'"{h}"' for h in hosts)
    options = f'.publish("8080:80", mode: .host), {options}' if options else '.publish("8080:80", mode: .host)'
    return deployfile(f'''
import Deploy
let web = {kind}(name: "{name}", image: "{image}", command: {command}, options: [{options}]).with {{ $0.steady = .seconds(0.5); {change} }}
let deployment = Deployment("shop") {{ Application(web, hosts: [{machines}]) }}
''')


def start(*words, **more):
    return subprocess.Popen([APUS, words[0], "--file", str(WORK / "shop"), *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            stdin=subprocess.DEVNULL, env=environment(**more), start_new_session=True)


def finish(process, timeout=120):
    try:
        said = process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said = process.communicate()[0]
        LAST[0] = said
        raise Failed(f"apus did not end within {timeout} s") from None
    LAST[0] = said
    return process.returncode, said


def apus(*words, status=0, timeout=120, **more):
    """Runs apus and wants this exit status; returns what it said."""
    code, said = finish(start(*words, **more), timeout)
    if code != status:
        raise Failed(f"apus {' '.join(words)}: exit {code}, not {status}:\n{said}")
    return said


def said(text, *wanted):
    for words in wanted:
        if words not in text:
            raise Failed(f"it did not say {words!r}:\n{text}")


def engine(host, *words, check=True):
    """The stock CLI on the host's own engine."""
    done = subprocess.run(["docker", "-H", "unix://" + path(host, "engine"), *words], capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise Failed(f"{host}: docker {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def inspect(host, name):
    return json.loads(engine(host, "inspect", name))[0]


def answer(host, port=8080):
    """What is served there, or nothing."""
    done = subprocess.run(["curl", "-s", "-m", "3", f"http://{path(host, 'address')}:{port}/"], capture_output=True, text=True)
    return done.stdout.strip()


def serves(words, hosts=HOSTS, port=8080):
    for host in hosts:
        until(f"{host} answers {words}", lambda: answer(host, port).startswith(words), 10)


def versions():
    """{host: image} of the application's container."""
    return {h: engine(h, "ps", "--filter", "name=^/web$", "--format", "{{.Image}}") for h in HOSTS}


def names(host):
    return sorted(engine(host, "ps", "-a", "--filter", "label=apus.application", "--format", "{{.Names}}").split())


def clean():
    lab("heal")
    for host in HOSTS:
        for service in engine(host, "service", "ls", "-q", check=False).split():
            engine(host, "service", "rm", service, check=False)
        ids = engine(host, "ps", "-aq", "--filter", "label=apus.application").split()
        if ids:
            engine(host, "rm", "-f", *ids, check=False)


def hang_up():
    """Ends the connections that commands left open, and forgets what they wrote."""
    for control in (WORK / "cache/ssh").glob("*.c"):
        subprocess.run(["ssh", "-o", f"ControlPath={control}", "-O", "exit", "any"], capture_output=True)
    shutil.rmtree(WORK, ignore_errors=True)


def wait_for(seconds):
    """Only where the point is to strike in the middle of something."""
    time.sleep(seconds)
