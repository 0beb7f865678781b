"""What goes wrong at night: each fault that Fabricio was seen to fail at."""

import os
import signal
import subprocess

from deployments.kit import *


def story_crash_at_start():
    """a container that crashes at start never replaces a good one, on any host, and the exit status says so"""
    container()
    apus("deploy")
    container(command=CRASH)
    text = apus("deploy", status=1)
    said(text, "it ended with status 3", "no luck today", "The old one is running again", "deploy failed")
    serves("version-1.25")
    for host in HOSTS:
        expect(names(host) == ["web", "web.failed"], names(host))
    # The same again fails again: a failure is never taken for "no changes".
    apus("deploy", status=1)
    serves("version-1.25")


def story_broken_health():
    """a health check that fails keeps the old container, without a moment of downtime where both can run"""
    container()
    apus("deploy")
    container('.health(HealthCheck("echo sick; false", interval: .seconds(0.3), retries: 1))')
    said(apus("deploy", status=1), "its health check fails: sick", "The old one is running again")
    serves("version-1.25")
    # No published port: the new one is tried beside the old one.
    free = '''
import Deploy
let web = Container(name: "web", image: "nginx:1.25", options: [HEALTH]).with { $0.steady = .seconds(0.2) }
let deployment = Deployment("shop") { Application(web, hosts: ["docker-1"]) }
'''
    clean()
    deployfile(free.replace("HEALTH", '.health(HealthCheck("true", interval: .seconds(0.3)))'))
    apus("deploy")
    started = inspect("docker-1", "web")["State"]["StartedAt"]
    deployfile(free.replace("HEALTH", '.health(HealthCheck("false", interval: .seconds(0.3), retries: 1))'))
    said(apus("deploy", status=1), "the new one first")
    expect(inspect("docker-1", "web")["State"]["StartedAt"] == started, "the good one was restarted")


def story_host_down():
    """a host that is down stops a deploy of containers before anything is changed; --skip-unreachable goes on without it"""
    container()
    apus("deploy")
    hang_up_host()
    lab("cut", "docker-2", "in", "reject")
    text = apus("deploy", "--tag", "1.26", status=1)
    said(text, "docker-2 cannot be reached", "Nothing was changed anywhere")
    serves("version-1.25", ["docker-1", "docker-3"])
    apus("deploy", "--tag", "1.26", "--skip-unreachable")
    serves("version-1.26", ["docker-1", "docker-3"])
    lab("heal")
    apus("deploy", "--tag", "1.26")
    serves("version-1.26")


def hang_up_host():
    """Connections that are kept would outlive a refused port."""
    for control in (WORK / "cache/ssh").glob("*.c"):
        subprocess.run(["ssh", "-o", f"ControlPath={control}", "-O", "exit", "any"], capture_output=True)


def story_image_missing_on_one_host():
    """an image that one host cannot have stops all hosts before any is changed"""
    container()
    apus("deploy")
    for host in ("docker-1", "docker-3"):
        engine(host, "tag", "nginx:1.25", "only:here")
    container(image="only:here", change="$0.pull = .never")
    said(apus("deploy", status=1), "docker-2: it has no image only:here", "Nothing was changed anywhere")
    container(image="nginx:never-made")
    said(apus("deploy", status=1), "nginx:never-made is not there and cannot be pulled")
    expect(set(versions().values()) == {"nginx:1.25"}, versions())


def story_registry_away():
    """a registry that is away harms nothing that runs: images keep their names"""
    container()
    apus("deploy")
    nft = "table inet noregistry { chain out { type filter hook output priority 0; tcp dport 5000 reject with tcp reset; }; }"
    lab("run", "docker-1", "nft", nft)
    try:
        said(apus("deploy", "--only", "docker-1"), "No changes detected", "whether nginx:1.25 has changed is unknown")
        said(apus("deploy", "--only", "docker-1", "--tag", "unknown", status=1), "cannot be pulled", "Nothing was changed")
        expect(engine("docker-1", "images", "-q", "nginx:1.25"), "the image lost its name")
        engine("docker-1", "restart", "-t", "1", "web")
        serves("version-1.25", ["docker-1"])
    finally:
        lab("run", "docker-1", "nft", "delete table inet noregistry")


def story_two_at_once():
    """of two deploys at once one is told who holds the lock, and all hosts end with the same version"""
    container()
    apus("deploy")
    container(image="nginx:1.26", change="$0.steady = .seconds(3)")
    first = start("deploy")
    until("the first holds the lock", lambda: any(".next" in n for n in names("docker-1")), 20)
    text = apus("deploy", status=1)
    said(text, "is locked by another deploy", "deploy web", "Nothing was changed")
    waiting = start("deploy", "--wait", "60")
    code, text = finish(first)
    expect(code == 0, text)
    code, text = finish(waiting)
    expect(code == 0 and text.count("No changes detected") == 3, text)
    expect(set(versions().values()) == {"nginx:1.26"}, versions())


def story_interrupted():
    """interrupted at any moment, the next command finishes the deploy or takes it back; no host is left between"""
    container('.env("N", "0")')
    apus("deploy")
    for number, moment in enumerate((0.15, 0.3, 0.6, 1.0, 1.5), 1):
        sign = signal.SIGINT if number % 2 else signal.SIGKILL
        container(f'.env("N", "{number}")')
        apus("list")
        process = start("deploy")
        wait_for(moment)
        process.send_signal(sign)
        code, text = finish(process)
        if number % 2:
            expect(code in (0, 130), f"exit {code} after an interrupt")
        text = apus("deploy", "--wait", "60")
        for host in HOSTS:
            expect(f"N={number}" in inspect(host, "web")["Config"]["Env"], f"{host} is behind after {moment} s and {sign.name}: {text}")
            expect(not {"web.next", "web.old", "web.back"} & set(names(host)), names(host))
            running = engine(host, "ps", "--filter", "label=apus.application", "--format", "{{.Names}}").split()
            expect(running == ["web"], running)
    serves("version-1.25")


def story_interrupted_and_taken_back():
    """a deploy that was killed half way is taken back by a rollback"""
    container()
    apus("deploy")
    container(image="nginx:1.26", change="$0.steady = .seconds(5)")
    process = start("deploy")
    until("the new ones are there", lambda: all("web.next" in names(h) for h in HOSTS), 20)
    wait_for(0.5)
    process.kill()
    finish(process)
    apus("rollback", "--wait", "60")
    serves("version-1.25")
    expect(all(names(h) == ["web"] for h in HOSTS), [names(h) for h in HOSTS])


def story_no_engine():
    """an engine that does not answer is told in the host's own words"""
    container(hosts=['Machine("docker-1", socket: "/run/none.sock")'])
    said(apus("plan", status=1), "the engine of docker-1 does not answer at /run/none.sock")


def story_no_forwarding():
    """where the socket may not be forwarded, the docker CLI of the host carries the bytes"""
    container(hosts=["docker-3"])
    folder = path("docker-3", "dir")
    config = folder + "/sshd_config"
    before = open(config).read()
    with open(config, "w") as file:
        file.write("AllowStreamLocalForwarding no\n" + before)
    hang_up_host()
    try:
        os.kill(int(lab("pid", "docker-3", "sshd")), signal.SIGHUP)
        wait_for(1)
        apus("deploy")
        serves("version-1.25", ["docker-3"])
        said(apus("deploy"), "No changes detected")
    finally:
        with open(config, "w") as file:
            file.write(before)
        os.kill(int(lab("pid", "docker-3", "sshd")), signal.SIGHUP)
        wait_for(1)
        hang_up_host()
