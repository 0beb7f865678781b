"""How a swarm is formed, who belongs to it, and the clients that see it."""

import subprocess
import sys
import time

from stories.kit import *


def story_init_and_join():
    """the article's commands form a swarm of three managers"""
    first = path("docker-1", "address")
    out = docker("docker-1", "swarm", "init", "--advertise-addr", first)
    expect("is now a manager." in out and "docker swarm join --token SWMTKN-1-" in out, out)
    out = docker("docker-1", "swarm", "join-token", "manager")
    token = next(word for word in out.split() if word.startswith("SWMTKN-1-"))
    expect([len(part) for part in token.split("-")[2:]] == [50, 25], token)
    for host in HOSTS[1:]:
        out = docker(host, "swarm", "join", "--token", token, f"{first}:2377")
        expect(out == "This node joined a swarm as a manager.", out)
    until_healthy()


def story_identity_files():
    """the identity lies where monitoring looks, and the key is for root alone"""
    import stat
    directory = Path(path("docker-1", "dir"))
    found = list(directory.rglob("swarm/certificates/swarm-node.key"))
    expect(len(found) == 1, f"{found} under {directory}")
    expect(stat.S_IMODE(found[0].stat().st_mode) == 0o600, oct(found[0].stat().st_mode))
    for name in ("swarm-node.crt", "swarm-root-ca.crt"):
        text = (found[0].parent / name).read_text()
        expect("BEGIN CERTIFICATE" in text, f"{name}: {text[:60]}")


def story_every_manager_answers():
    """what one manager did, every other one shows at once"""
    for turn, host in enumerate(HOSTS * 2):
        name = f"seen-{turn}"
        docker(host, "service", "create", "--detach", "--name", name, "--replicas", "0", "busybox")
        for other in HOSTS:
            docker(other, "service", "inspect", name)
        docker(HOSTS[(turn + 1) % 3], "service", "rm", name)
        for other in HOSTS:
            refused(other, f"no such service: {name}", "service", "inspect", name)


def story_worker():
    """a worker joins, is refused what managers do, is promoted, demoted and removed"""
    first = path("docker-1", "address")
    docker("docker-1", "node", "demote", "docker-3")
    until("docker-3 is a worker", lambda: run("docker-3", "node", "ls")[0] != 0)
    until("the swarm agrees", lambda: docker("docker-1", "node", "inspect", "--format", "{{.Spec.Role}} {{.ManagerStatus}}", "docker-3") == "worker <nil>")
    refused("docker-3", "Worker nodes can't be used to view or modify cluster state", "service", "ls")
    docker("docker-3", "swarm", "leave")
    until("it is down", lambda: docker("docker-1", "node", "inspect", "--format", "{{.Status.State}}", "docker-3") == "down", 30)
    docker("docker-1", "node", "rm", "docker-3")
    token = docker("docker-1", "swarm", "join-token", "-q", "worker")
    out = docker("docker-3", "swarm", "join", "--token", token, f"{first}:2377")
    expect(out == "This node joined a swarm as a worker.", out)
    docker("docker-2", "node", "promote", "docker-3")
    until_healthy()


def story_tokens():
    """wrong, rotated and malformed tokens are refused with the reason"""
    first = path("docker-1", "address")
    docker("docker-3", "swarm", "leave", "--force")
    old = docker("docker-1", "swarm", "join-token", "-q", "manager")
    docker("docker-1", "swarm", "join-token", "--rotate", "manager")
    new = docker("docker-1", "swarm", "join-token", "-q", "manager")
    expect(old != new and old.split("-")[2] == new.split("-")[2], "the secret changes, the digest stays")
    expect(len({old, new, docker("docker-1", "swarm", "join-token", "-q", "worker")}) == 3, "three tokens")
    refused("docker-3", "A valid join token is necessary to join this cluster", "swarm", "join", "--token", old, f"{first}:2377")
    refused("docker-3", "invalid join token", "swarm", "join", "--token", "SWMTKN-1-nonsense", f"{first}:2377")
    other = new[:12] + ("0" if new[12] != "0" else "1") + new[13:]
    refused("docker-3", "remote CA does not match fingerprint", "swarm", "join", "--token", other, f"{first}:2377")
    node = next(line.split()[0] for line in docker("docker-1", "node", "ls", "--format", "{{.ID}} {{.Hostname}}").splitlines() if line.endswith("docker-3"))
    docker("docker-1", "node", "demote", node)
    until("it is down", lambda: docker("docker-1", "node", "inspect", "--format", "{{.Status.State}}", node) == "down", 30)
    until("it can be removed", lambda: run("docker-1", "node", "rm", node)[0] == 0)
    docker("docker-3", "swarm", "join", "--token", new, f"{first}:2377")
    until_healthy()


def story_both_clis():
    """both docker CLIs and every API version from 1.24 on are answered"""
    docker("docker-1", "service", "create", "--detach", "--name", "web", "nginx:stable-alpine")
    for cli in DOCKERS:
        for host in HOSTS:
            docker(host, "service", "ls", cli=cli)
            docker(host, "node", "ls", cli=cli)
            docker(host, "service", "ps", "web", cli=cli)
            docker(host, "info", cli=cli)
        docker("docker-1", "service", "inspect", "--pretty", "web", cli=cli)
    for version in ("1.24", "1.30", "1.41", "1.50"):
        status, headers, body = api("docker-1", "GET", f"/v{version}/services")
        expect(status == 200 and body[0]["Spec"]["Name"] == "web", f"{version}: {status} {body}")
    status, headers, _ = api("docker-1", "GET", "/_ping")
    expect(headers.get("Swarm") == "active/manager" and headers.get("Api-Version") == "1.41", headers)


def story_docker_py():
    """docker-py 7 lists, creates, updates and removes services"""
    environment = ROOT / ".build" / "docker-py"
    if not environment.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, capture_output=True, timeout=120)
        subprocess.run([str(environment / "bin" / "pip"), "install", "-q", "docker==7.1.0"], check=True, capture_output=True, timeout=300)
    script = """
import docker, sys, time
client = docker.DockerClient(base_url=sys.argv[1])
assert client.swarm.attrs["JoinTokens"]["Worker"].startswith("SWMTKN-1-")
assert len(client.nodes.list()) == 3
service = client.services.create("nginx:stable-alpine", name="py", mode=docker.types.ServiceMode("replicated", 2), labels={"a": "b"})
deadline = time.monotonic() + 60
while [t["Status"]["State"] for t in service.tasks()].count("running") != 2:
    assert time.monotonic() < deadline, service.tasks()
    time.sleep(0.2)
service.update(name="py", mode=docker.types.ServiceMode("replicated", 1), labels={"a": "c"})
service.reload()
assert service.attrs["Spec"]["Labels"] == {"a": "c"}, service.attrs
assert client.services.list(filters={"name": "py"})[0].id == service.id
service.remove()
try:
    client.services.get("py")
    raise SystemExit("it is still there")
except docker.errors.NotFound:
    print("docker-py is content")
"""
    done = subprocess.run([str(environment / "bin" / "python"), "-c", script, "unix://" + path("docker-2", "apus")], capture_output=True, text=True, timeout=120)
    expect(done.stdout.strip() == "docker-py is content", done.stdout + done.stderr)
