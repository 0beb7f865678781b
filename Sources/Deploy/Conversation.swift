internal import Glibc

/// What `apus` says to a Deployfile's program.
package enum Question: Sendable, Codable {
    case describe(Surroundings)
    case hook(application: String, index: Int, step: Step, host: String?, image: String)
    /// To what a hook asked for.
    case done(output: String)
    case refused(reason: String)
}

/// What the program answers. Lines without `mark` are its own output, and shown as such.
package enum Answer: Sendable, Codable {
    case wish(Wish)
    case finished
    case failed(String)
    case run(host: String?, command: [String])
    case exec(host: String?, command: [String])
    case local(command: [String])
    case log(String)

    package static let mark: Character = "\u{1}"
}

/// The rest of a Deployfile's program: answers questions until there are none. Called after the last line of the Deployfile.
public func serve(_ deployment: Deployment) {
    var surroundings = Surroundings()
    while let question = listen() {
        switch question {
        case .describe(let place):
            surroundings = place
            say(.wish(deployment.wish(in: place)))
        case .hook(let application, let index, let step, let host, let image):
            let hooks = deployment.applications(surroundings).first { $0.unit.name == application }?.hooks ?? []
            guard hooks.indices.contains(index) else {
                say(.failed("\(application) has no hook \(index)"))
                continue
            }
            let context = HookContext(
                application: application, step: step, host: host, image: image,
                infrastructure: surroundings.infrastructure, ask: perform)
            do {
                try hooks[index].body(context)
                say(.finished)
            } catch { say(.failed("\(error)")) }
        case .done, .refused: say(.failed("nothing was asked"))
        }
    }
}

@Sendable private func perform(_ ask: HookContext.Ask) throws -> String {
    switch ask {
    case .run(let host, let command): say(.run(host: host, command: command))
    case .exec(let host, let command): say(.exec(host: host, command: command))
    case .local(let command): say(.local(command: command))
    case .log(let text): say(.log(text))
    }
    switch listen() {
    case .done(let output): return output
    case .refused(let reason): throw Stop(reason)
    default: throw Stop("the conversation with apus is over")
    }
}

private func listen() -> Question? {
    guard let line = readLine() else { return nil }
    do { return try JSONText(parsing: line).decode() } catch {
        say(.failed("not understood: \(error)"))
        return nil
    }
}

private func say(_ answer: Answer) {
    let text: String
    do { text = try JSONText(encoding: answer).text } catch { text = #"{"failed":{"_0":"\#(error)"}}"# }
    print("\(Answer.mark)\(text)")
    fflush(nil)
}
