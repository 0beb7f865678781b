"""Services: created, updated, rolled back, healed, moved."""

import json

from stories.kit import *


def story_article():
    """a service is created, labelled and scaled in the article's words"""
    docker("docker-1", "service", "create", "--name", "nginx", "--replicas", "2", "nginx:stable-alpine")
    until_replicas("docker-1", "nginx", 2)
    before = {task for task, _ in running("docker-1", "nginx")}
    docker("docker-1", "service", "update", "--label-add", "foo=bar", "nginx")
    spec = json.loads(docker("docker-2", "service", "inspect", "nginx"))[0]["Spec"]
    expect(spec["Labels"] == {"foo": "bar"}, spec["Labels"])
    docker("docker-1", "service", "update", "--label-rm", "foo", "nginx")
    docker("docker-1", "service", "update", "--replicas", "3", "nginx")
    until_replicas("docker-3", "nginx", 3)
    after = running("docker-1", "nginx")
    expect(before <= {task for task, _ in after}, "tasks were replaced by a change of labels or of the number")
    expect({node for _, node in after} == set(HOSTS), f"not spread: {after}")


def story_host_ports():
    """a port in host mode answers on every node that runs a task"""
    docker("docker-1", "service", "create", "--detach", "--name", "web", "--replicas", "3", "--publish", "mode=host,target=80,published=8080", "nginx:stable-alpine")
    until_replicas("docker-1", "web", 3)
    answers = {until(f"{host} answers", lambda: answer(host, 8080)) for host in HOSTS}
    expect(len(answers) == 3 and all(a.startswith("hello from ") for a in answers), answers)


def story_update_and_rollback():
    """an update replaces the image one task at a time, a rollback takes it back"""
    docker("docker-2", "service", "create", "--detach", "--name", "web", "--replicas", "3", "--publish", "mode=host,target=80,published=8080", "nginx:stable-alpine")
    until_replicas("docker-1", "web", 3)
    docker("docker-2", "service", "update", "--update-monitor", "1s", "--image", "nginx:1.26", "web", timeout=120)
    for host in HOSTS:
        until(f"{host} answers anew", lambda: answer(host, 8080).startswith("version-1.26"))
    state = json.loads(docker("docker-1", "service", "inspect", "web"))[0]["UpdateStatus"]
    expect(state["State"] == "completed" and state["Message"] == "update completed", state)
    docker("docker-3", "service", "rollback", "--detach", "web")
    for host in HOSTS:
        until(f"{host} answers as before", lambda: answer(host, 8080).startswith("hello from"), 60)


def story_missing_image():
    """an image that does not exist is named in the task's error"""
    docker("docker-1", "service", "create", "--detach", "--no-resolve-image", "--name", "ghost", "nosuchimage:1")
    until("the error", lambda: "No such image: nosuchimage:1" in docker("docker-2", "service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", "ghost"))


def story_bad_command():
    """a command that cannot start is named in the task's error"""
    docker("docker-1", "service", "create", "--detach", "--name", "nocommand", "busybox", "/no/such/command")
    until("the error", lambda: "/no/such/command" in docker("docker-1", "service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", "nocommand"))


def story_failed_task():
    """a container that is killed is replaced"""
    docker("docker-1", "service", "create", "--detach", "--name", "web", "--restart-delay", "1s", "nginx:stable-alpine")
    until_replicas("docker-1", "web", 1)
    task, node = running("docker-1", "web")[0]
    container = docker(node, "ps", "-q", "--filter", f"label=com.docker.swarm.task.id={task}")
    docker(node, "kill", container)
    until("another task runs", lambda: [t for t, _ in running("docker-1", "web") if t != task])


def story_drain():
    """a drained node is emptied and stays so until it is active again"""
    docker("docker-1", "service", "create", "--detach", "--name", "web", "--replicas", "3", "nginx:stable-alpine")
    until_replicas("docker-1", "web", 3)
    docker("docker-1", "node", "update", "--availability", "drain", "docker-3")
    until("docker-3 is empty", lambda: {n for _, n in running("docker-1", "web")} == {"docker-1", "docker-2"} and len(running("docker-1", "web")) == 3, 60)
    docker("docker-1", "node", "update", "--availability", "active", "docker-3")
    docker("docker-1", "service", "scale", "--detach", "web=5")
    until("docker-3 is used", lambda: any(n == "docker-3" for _, n in running("docker-1", "web")))
