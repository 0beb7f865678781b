"""From the file to the wish: compiled once, mistakes with their place, a clear word where no toolchain is."""

import os
import subprocess
import time

from deployments.kit import *


def story_compiled_once():
    """a Deployfile is compiled once, and again when it changes"""
    container()
    apus("list")
    began = time.monotonic()
    said(apus("list"), "web", "nginx:1.25", "docker-1 docker-2 docker-3")
    expect(time.monotonic() - began < 1, "the second run compiled again")
    # Without a compiler what is made already still runs, and what is not says what to do.
    nowhere = {"PATH": "/usr/bin:/bin"}
    expect(not os.path.exists("/usr/bin/swiftc"), "this story needs a PATH without swiftc")
    apus("list", **nowhere)
    container(image="nginx:1.26")
    said(apus("list", status=1, **nowhere), "no swiftc is in PATH", "swift.org/install")
    said(apus("list"), "nginx:1.26")


def story_mistakes():
    """mistakes are told by the compiler or the tool with file and line, and no host is asked"""
    deployfile('import Deploy\nlet deployment = Deployment {\n    Application(Container(nme: "web"), hosts: ["docker-1"])\n}\n')
    said(apus("plan", status=1), "Deployfile.swift:3:", "nme")
    deployfile("import Deploy\n")
    said(apus("plan", status=1), "declares no `deployment`")
    deployfile('import Deploy\nlet deployment = Deployment {\n    Application(Container(name: "a b", image: "x", options: [.publish("80:")]), hosts: ["docker-1"])\n}\n')
    said(apus("plan", status=1), "Deployfile.swift:3: a b:", "is no name", "is no port")
    said(apus("deploy", "nobody", status=1), "there is no application nobody; there is a b")


def story_hooks_and_surroundings():
    """hooks run on hosts and here, options depend on the infrastructure, and an infrastructure asks first"""
    deployfile('''
import Deploy
let web = Container(name: "web", image: "nginx:1.25", options: [.computed { [.env("WHERE", $0.infrastructure ?? "?"), .env("SAID", $0.arguments["word"] ?? "nothing")] }])
let deployment = Deployment("shop", infrastructures: [
    Infrastructure("staging", roles: ["web": ["docker-1"]]), Infrastructure("production", confirm: true, color: .red, roles: ["web": ["docker-1", "docker-2"]]),
]) {
    Application(web.with { $0.steady = .seconds(0.2) }, roles: ["web"])
        .before(.update) { $0.log("on " + (try $0.run("uname", "-n"))) }
        .after(.update) { context in
            if try context.exec("sh", "-c", "echo $WHERE") != "staging\\n" { throw Stop("it is elsewhere") }
        }
}
''')
    said(apus("deploy", status=1), "web has no host: choose an infrastructure with -i")
    said(apus("deploy", "-i", "nowhere", status=1), "there is no infrastructure nowhere; there is staging, production")
    said(apus("deploy", "-i", "production", status=1), "nobody can be asked", "--yes")
    text = apus("deploy", "-i", "staging", "--set", "word=hello")
    said(text, "[docker-1] web: on docker-1")
    env = inspect("docker-1", "web")["Config"]["Env"]
    expect("WHERE=staging" in env and "SAID=hello" in env, env)
    text = apus("deploy", "-i", "production", "--yes", status=1)
    said(text, "a hook of update stopped it: it is elsewhere")


def story_examples():
    """every example compiles, and says what it wishes"""
    shown = {}
    for file in sorted((ROOT / "Examples").glob("*/Deployfile.swift")):
        done = subprocess.run([APUS, "list", "--file", str(file)], capture_output=True, text=True, env=environment(POSTGRES_PASSWORD="x"))
        LAST[0] = done.stdout + done.stderr
        expect(done.returncode == 0, f"{file.parent.name}: {done.stdout}{done.stderr}")
        shown[file.parent.name] = done.stdout
    expect({"HelloWorld", "Roles", "SwarmService", "Stack", "Django", "BuildImage"} <= set(shown), sorted(shown))
    said(shown["Django"], "django container", "postgres")
