internal import Deploy
package import EngineAPI

extension Plan {
    /// For people, per application and host.
    package func say(to voice: Voice) {
        for note in notes { voice.line("! " + note, .warning) }
        for problem in problems { voice.line("✘ " + problem, .bad) }
        for task in tasks {
            voice.say(task.host, task.application, "\(task.step.rawValue): \(task.action.words)", .change)
            for change in task.changes {
                let tone: Voice.Tone = change.from == nil ? .add : change.to == nil ? .remove : .change
                voice.line(
                    "    " + (change.from == nil ? "+ " : change.to == nil ? "- " : "~ ") + change.description, tone)
            }
        }
        for one in unchanged { voice.say(one.host, one.application, one.words, .quiet) }
    }

    /// For programs.
    package var document: JSON {
        func text(_ value: String?) -> JSON { value.map { .string($0) } ?? .null }
        return [
            "tasks": .array(
                tasks.map { task in
                    [
                        "application": .string(task.application), "step": .string(task.step.rawValue),
                        "host": .string("\(task.host)"),
                        "action": .string(task.action.words),
                        "changes": .array(
                            task.changes.map {
                                [
                                    "field": .string($0.field), "from": text($0.from), "to": text($0.to),
                                    "byHand": .bool($0.byHand),
                                ]
                            }),
                    ]
                }),
            "unchanged": .array(
                unchanged.map {
                    ["application": .string($0.application), "host": .string("\($0.host)"), "words": .string($0.words)]
                }),
            "notes": JSON(notes), "problems": JSON(problems),
        ]
    }
}
