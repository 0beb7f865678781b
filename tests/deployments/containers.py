"""Containers on plain engines."""

import json

from deployments.kit import *


def story_no_change():
    """a second deploy changes nothing, says so, and takes at most four round trips to a host"""
    container()
    apus("deploy")
    serves("version-1.25")
    before = [inspect(h, "web")["Id"] + inspect(h, "web")["State"]["StartedAt"] for h in HOSTS]
    text = apus("deploy")
    expect(text.count("No changes detected, update skipped.") == 3, text)
    plan = json.loads(apus("plan", "--json"))
    expect(plan["tasks"] == [] and all(h["roundTrips"] <= 4 for h in plan["hosts"]) and len(plan["hosts"]) == 3, plan)
    expect(before == [inspect(h, "web")["Id"] + inspect(h, "web")["State"]["StartedAt"] for h in HOSTS], "something was touched")


def story_changes():
    """every change is planned by name, with exit status 2, and then made; versions are kept"""
    container('.env("FOO", "42")')
    apus("deploy")
    container('.env("FOO", "hello"), .memory(.mebibytes(64))')
    said(apus("plan", status=2), "env FOO: 42 → hello", "memory: + 67108864")
    said(apus("deploy", "--dry-run", status=2), "env FOO: 42 → hello")
    expect("FOO=42" in inspect("docker-1", "web")["Config"]["Env"], "a dry run changed something")
    apus("deploy")
    for host in HOSTS:
        one = inspect(host, "web")
        expect("FOO=hello" in one["Config"]["Env"] and one["HostConfig"]["Memory"] == 67108864, one["Config"]["Env"])
    for tag in ("1.26", "1.25", "1.26", "1.25"):
        apus("deploy", "--tag", tag, "--only", "docker-1")
    expect(names("docker-1") == ["web", "web.v3", "web.v4", "web.v5"], names("docker-1"))
    said(apus("history", "--only", "docker-1"), "version 6", "current", "version 5", "kept", "image: nginx:1.25 → nginx:1.26", "deploy web  done")


def story_rollback():
    """a rollback goes back, a second one says that it is there already, and any kept version can be named"""
    container()
    apus("deploy")
    apus("deploy", "--tag", "1.26")
    serves("version-1.26")
    apus("rollback")
    serves("version-1.25")
    said(apus("rollback"), "It is at version 1 already, taken back from 2")
    serves("version-1.25")
    apus("rollback", "--to", "2")
    serves("version-1.26")
    said(apus("rollback", "--to", "9", status=1), "has no version 9")


def story_drift():
    """what was changed by hand is seen, shown and mended"""
    container('.restart(.unlessStopped)')
    apus("deploy")
    engine("docker-2", "update", "--memory", "64m", "--memory-swap", "64m", "--restart", "no", "web")
    engine("docker-3", "stop", "-t", "1", "web")
    text = apus("plan", status=2)
    said(text, "[docker-2] web: update: replace", "memory: - 67108864 (changed by hand)", "(changed by hand)", "[docker-3] web: update: start the container",
         "[docker-1] web: No changes detected")
    apus("deploy")
    serves("version-1.25")
    expect(inspect("docker-2", "web")["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped", "not mended")
    apus("plan")


def story_secrets():
    """secrets reach the container, and no log, label or command line"""
    container('.env("PASSWORD", secret: .environment("DB_PASSWORD"))')
    said(apus("deploy", status=1), "the variable DB_PASSWORD, which is not set")
    texts = [apus("deploy", DB_PASSWORD="first-secret")]
    texts.append(apus("deploy", DB_PASSWORD="first-secret"))
    said(texts[-1], "No changes detected")
    texts.append(apus("plan", status=2, DB_PASSWORD="second-secret"))
    said(texts[-1], "env PASSWORD: ••••")
    texts.append(apus("deploy", "--verbose", DB_PASSWORD="second-secret"))
    one = inspect("docker-1", "web")
    expect("PASSWORD=second-secret" in one["Config"]["Env"], "the secret is not there")
    for text in [*texts, json.dumps(one["Config"]["Labels"]), apus("history", DB_PASSWORD="second-secret")]:
        expect("first-secret" not in text and "second-secret" not in text, "a secret was told: " + text)


def story_hostile_values():
    """values with quotes, backslashes, line breaks and shell words arrive byte by byte"""
    values = ["a b", "it's", 'say "x"', "$HOME `id` $(id)", "back\\\\slash\\", "line\nbreak\ttab", "*;&<>#!", "ünïcode ✓", "", "{{.Name}}", "'; rm -rf /; '", "--flag", "%s%n"]
    quoted = ", ".join(f'.env("V{i}", {swift(v)})' for i, v in enumerate(values))
    container(quoted + f', .label("odd", {swift(values[3] + values[4])})')
    apus("deploy", "--only", "docker-1")
    config = inspect("docker-1", "web")["Config"]
    for i, value in enumerate(values):
        expect(f"V{i}={value}" in config["Env"], f"{value!r} became {[e for e in config['Env'] if e.startswith(f'V{i}=')]}")
    expect(config["Labels"]["odd"] == values[3] + values[4], config["Labels"]["odd"])
    said(apus("deploy", "--only", "docker-1"), "No changes detected")


def swift(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def story_commands():
    """status, logs, exec and destroy; a second destroy says that nothing is left"""
    container()
    said(apus("status", status=1), "none")
    apus("deploy")
    said(apus("status"), "Up", "nginx:1.25")
    said(apus("exec", "web", "--everywhere", "--", "sh", "-c", "echo $HOSTNAME-here"), "-here")
    answer("docker-1")
    apus("logs", "web", "--tail", "5")
    said(apus("destroy", "web", status=1), "--yes")
    apus("destroy", "web", "--yes")
    expect(all(names(h) == [] for h in HOSTS), "something is left")
    said(apus("destroy", "web", "--yes"), "Nothing is left of it, destroy skipped.")
