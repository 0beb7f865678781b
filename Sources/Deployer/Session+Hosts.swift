internal import Deploy
internal import EngineAPI
internal import EngineClient
internal import Foundation

// MARK: - The audit trail

extension Session {
    /// Where a host keeps it. The name has the host's in it, since homes may be shared between hosts.
    private static let auditFile = #"d="${XDG_STATE_HOME:-$HOME/.local/state}/apus"; f="$d/audit-$(uname -n).log""#

    /// A line on each host that was meant: who, when, what, and how it ended.
    func audit(_ verb: String, _ plan: Plan, _ outcomes: [Outcome], at began: String) async {
        await withTaskGroup(of: Void.self) { group in
            for remote in orderedRemotes {
                let mine = outcomes.filter { $0.host == remote.host }
                guard !mine.isEmpty else { continue }
                let changes = plan.tasks.filter { $0.host == remote.host }.flatMap { task in
                    task.changes.map { "\(task.application): \($0.description)" }
                }
                let line: JSON = [
                    "at": .string(began), "who": .string(invocation.operatorName), "what": .string(verb),
                    "deployment": .string(deployment),
                    "applications": JSON(Array(Set(mine.map(\.application))).sorted()),
                    "result": .string(mine.contains { $0.state != .done } ? "failed" : "done"),
                    "words": JSON(mine.map(\.words)), "changes": JSON(changes),
                ]
                group.addTask {
                    let script = Self.auditFile + #"; umask 077; mkdir -p "$d" && cat >>"$f""#
                    do {
                        let done = try await remote.shell(script, input: line.text + "\n", within: .seconds(20))
                        if !done.succeeded {
                            voice.line(
                                "! \(remote.host): its audit trail could not be written: \(done.complaint)", .warning)
                        }
                    } catch { voice.line("! \(remote.host): its audit trail could not be written: \(error)", .warning) }
                }
            }
        }
    }

    /// What hosts keep of earlier deploys, and the versions that a rollback can go to.
    package func history() async -> Int32 {
        let sights = await Look(wants, credentials: credentials).look(orderedRemotes)
        var failed = false
        for remote in orderedRemotes {
            guard case .seen(let facts) = sights[remote.host] else {
                if case .unreachable(let why) = sights[remote.host] { voice.say(remote.host, nil, "✘ \(why)", .bad) }
                failed = true
                continue
            }
            for want in wants where want.wished.hosts.contains(remote.host) {
                for one in facts.marked.filter({ $0.application == want.name }).sorted(by: { $0.version > $1.version })
                {
                    let what = one.name == want.name ? "current" : ContainerNames.isKept(one) ? "kept" : one.name
                    voice.say(
                        remote.host, want.name, "version \(one.version)  \(one.image)  \(one.status)  \(what)",
                        one.name == want.name ? .good : .plain)
                }
                if let service = facts.services[want.name], facts.isManager {
                    for (spec, what) in [(service["Spec"], "current"), (service["PreviousSpec"], "kept")] {
                        guard let spec else { continue }
                        let version = spec.at(["Labels", Mark.version])?.string ?? "?"
                        let image = spec.at(["TaskTemplate", "ContainerSpec", "Image"])?.string ?? ""
                        voice.say(
                            remote.host, want.name, "version \(version)  \(image)  \(what)",
                            what == "current" ? .good : .plain)
                    }
                }
            }
            let said = try? await remote.shell(Self.auditFile + #"; tail -n 20 "$f" 2>/dev/null; true"#)
            for line in (said?.output ?? "").split(separator: "\n") {
                guard let entry = try? JSON(parsing: String(line)) else { continue }
                let words = ["at", "who", "what", "result"].map { entry[$0]?.string ?? "" }
                let names = entry["applications"]?.array?.compactMap(\.string).joined(separator: ", ") ?? ""
                voice.say(
                    remote.host, nil, "\(words[0])  \(words[1])  \(words[2]) \(names)  \(words[3])",
                    words[3] == "done" ? .plain : .bad)
                for change in entry["changes"]?.array?.compactMap(\.string) ?? [] {
                    voice.say(remote.host, nil, "    " + change, .quiet)
                }
            }
        }
        return failed ? Exit.failed : Exit.fine
    }
}

// MARK: - What runs

extension Session {
    package func status() async -> Int32 {
        let sights = await Look(wants, credentials: credentials).look(orderedRemotes)
        var rows: [[String]] = [["APPLICATION", "HOST", "STATE", "VERSION", "IMAGE"]]
        var tones: [Voice.Tone] = [.quiet]
        var bad = false
        func row(_ cells: [String], _ good: Bool) {
            rows.append(cells)
            tones.append(good ? .good : .bad)
            bad = bad || !good
        }
        for want in wants {
            var isSaid = false
            for host in want.wished.hosts {
                guard let facts = sights[host]?.facts else {
                    row([want.name, "\(host)", "unreachable", "", ""], false)
                    continue
                }
                if want.wished.form == .container {
                    let current = facts.marked.first { $0.application == want.name && $0.name == want.name }
                    let state =
                        current?.status ?? facts.containers[want.name]?.at(["State", "Status"])?.string ?? "none"
                    let good =
                        facts.containers[want.name]?.at(["State", "Running"])?.bool == true
                        && !state.contains("unhealthy")
                    row(
                        [want.name, "\(host)", state, current.map { "\($0.version)" } ?? "", current?.image ?? ""], good
                    )
                } else if facts.isManager, !isSaid, let remote = remotes[host] {
                    isSaid = true
                    guard let service = facts.services[want.name] else {
                        row([want.name, "\(host)", "none", "", ""], false)
                        continue
                    }
                    let engine = remote.engine.deploying
                    let filter = engine.filters(["service": [want.name], "desired-state": ["running"]])
                    let tasks =
                        (try? await engine.get("/tasks" + engine.query(["filters": filter]), for: "list tasks").array)
                        ?? []
                    let running = tasks.filter { $0.at(["Status", "State"])?.string == "running" }.count
                    let wanted = service.at(["Spec", "Mode", "Replicated", "Replicas"])?.int ?? tasks.count
                    let update = service.at(["UpdateStatus", "State"])?.string.map { ", update \($0)" } ?? ""
                    row(
                        [
                            want.name, "\(host)", "\(running)/\(wanted) running\(update)",
                            service.at(["Spec", "Labels", Mark.version])?.string ?? "",
                            service.at(["Spec", "TaskTemplate", "ContainerSpec", "Image"])?.string ?? "",
                        ], running == wanted)
                }
            }
        }
        if invocation.json {
            voice.line(
                JSON.array(
                    rows.dropFirst().map {
                        [
                            "application": .string($0[0]), "host": .string($0[1]), "state": .string($0[2]),
                            "version": .string($0[3]), "image": .string($0[4]),
                        ]
                    }
                ).text)
        } else {
            voice.table(rows, tones: tones)
        }
        return bad ? Exit.failed : Exit.fine
    }

    package func logs(tail: Int) async -> Int32 {
        var failed = false
        for want in wants {
            for host in want.wished.hosts {
                guard let remote = remotes[host] else { continue }
                do {
                    try await remote.connect()
                    let engine = remote.engine.deploying
                    if want.wished.form == .container {
                        voice.say(host, want.name, try await engine.logs(of: want.name, tail: tail).trimmed)
                    } else {
                        voice.say(host, want.name, try await engine.serviceLogs(of: want.name, tail: tail).trimmed)
                        break
                    }
                } catch {
                    voice.say(host, want.name, "✘ \(error)", .bad)
                    failed = true
                }
            }
        }
        return failed ? Exit.failed : Exit.fine
    }

    /// On the first host that runs the application, or on all.
    package func exec(_ words: [String], everywhere: Bool) async -> Int32 {
        var worst: Int32 = Exit.fine
        for want in wants {
            for host in want.wished.hosts {
                guard let remote = remotes[host] else { continue }
                do {
                    try await remote.connect()
                    let (status, output) = try await remote.engine.deploying.exec(
                        words, in: try await container(want, remote))
                    if !output.trimmed.isEmpty { voice.say(host, want.name, output.trimmed) }
                    worst = max(worst, Int32(clamping: status))
                    if !everywhere { return worst }
                } catch {
                    voice.say(host, want.name, "✘ \(error)", .bad)
                    worst = Exit.failed
                }
            }
        }
        return worst
    }
}
