package import Deploy
package import EngineAPI

/// What is to be done, in order. A value: looking at it changes nothing.
package struct Plan: Sendable, Equatable {
    package var tasks: [PlannedTask] = []
    /// Where nothing is to be done.
    package var unchanged: [Unchanged] = []
    /// Worth knowing, and no reason to stop.
    package var notes: [String] = []
    /// Reasons why nothing may be done at all.
    package var problems: [String] = []

    package struct Unchanged: Sendable, Equatable {
        package var application: String
        package var host: Machine
        package var words: String
    }
    package init() {}
    package var isEmpty: Bool { tasks.isEmpty && problems.isEmpty }

    mutating func append(_ other: Plan) {
        tasks += other.tasks
        unchanged += other.unchanged
        notes += other.notes.filter { !notes.contains($0) }
        problems += other.problems
    }
}

package struct PlannedTask: Sendable, Equatable {
    package var application: String
    package var step: Step
    package var host: Machine
    package var action: Action
    package var changes: [Change] = []
}

package enum Action: Sendable, Equatable {
    case pull(image: String)
    /// Straight from this machine's engine.
    case load(image: String)
    case backup
    case restore(file: String?)
    case migrate(image: String)
    /// From the schema of one image to that of an older one.
    case migrateBack(from: String, to: String)
    case startContainer(name: String)
    /// - Parameter version: of the new one.
    case exchangeContainer(version: Int, startFirst: Bool)
    case createContainer(version: Int)
    /// Containers of this application that a service takes the place of.
    case createService(spec: JSON, replacing: [Placed])
    case updateService(id: String, spec: JSON)
    /// The engine's own way back.
    case rollbackService(id: String)
    case rollbackContainer(to: MarkedContainer)
    case removeService(id: String, name: String)
    case removeContainers(names: [String])
    case deployStack(StackWish)
    case removeStack(name: String)
    case applyKubernetes(text: String)
    case deleteKubernetes(text: String)
    /// What an interrupted command left is put in order.
    case recover([Recovery])

    package struct Placed: Sendable, Equatable {
        package var host: Machine
        package var name: String
        package var id: String
        package var running: Bool
    }
}

/// A stack as it is to be: its text, the images' digests, and the variables it reads.
package struct StackWish: Sendable, Equatable {
    package var text: String
    package var environment: [String: String]
    package var version: Int
    /// The swarm keeps it already.
    package var isRollback: Bool
}

extension Action {
    /// What it does, for people.
    package var words: String {
        switch self {
        case .pull(let image): "pull \(image)"
        case .load(let image): "send \(image)"
        case .backup: "back up"
        case .restore(let file): "restore \(file ?? "the newest backup")"
        case .migrate(let image): "migrate with \(image)"
        case .migrateBack(_, let to): "migrate back to the schema of \(to)"
        case .startContainer: "start the container"
        case .exchangeContainer(let version, let startFirst):
            "replace the container by version \(version)\(startFirst ? ", the new one first" : "")"
        case .createContainer(let version): "create the container, version \(version)"
        case .createService(_, let replacing):
            replacing.isEmpty
                ? "create the service" : "create the service in the place of \(replacing.count) container(s)"
        case .updateService: "update the service"
        case .rollbackService: "roll the service back"
        case .rollbackContainer(let to): "go back to version \(to.version) (\(to.image))"
        case .removeService: "remove the service"
        case .removeContainers(let names): "remove \(names.joined(separator: ", "))"
        case .deployStack(let wish):
            "\(wish.isRollback ? "take the stack back to" : "deploy the stack,") version \(wish.version)"
        case .removeStack: "remove the stack"
        case .applyKubernetes: "apply the configuration"
        case .deleteKubernetes: "delete the configuration"
        case .recover(let steps): steps.map(\.words).joined(separator: "; ")
        }
    }
}

/// How containers of one application are called on a host.
package enum ContainerNames {
    /// Not yet well.
    static func next(_ name: String) -> String { name + ".next" }
    /// The one that was there before, between two renames.
    static func old(_ name: String) -> String { name + ".old" }
    /// A kept version that is coming back.
    static func back(_ name: String) -> String { name + ".back" }
    /// The last that did not become well, kept for a look.
    static func failed(_ name: String) -> String { name + ".failed" }
    static func kept(_ name: String, _ version: Int) -> String { name + ".v\(version)" }
    static func isKept(_ container: MarkedContainer) -> Bool {
        container.name == kept(container.application, container.version)
    }
}

/// One thing to put in order after an interrupted command. All of them may be repeated.
package enum Recovery: Sendable, Equatable {
    case remove(String)
    case rename(from: String, to: String)
    case stop(String)
    case start(String)

    package var words: String {
        switch self {
        case .remove(let name): "remove \(name)"
        case .rename(let from, let to): "\(from) becomes \(to)"
        case .stop(let name): "stop \(name)"
        case .start(let name): "start \(name)"
        }
    }

    /// What an interrupted exchange of this application left on a host; nothing where there was none.
    ///
    ///     NAME (running)  NAME.next            created, perhaps started, not yet well
    ///     NAME.old        NAME.next            well; between the first rename and the second
    ///     NAME.old        NAME                 promoted, the old one not yet put away
    ///     NAME            NAME.back            a rollback had begun
    package static func needed(_ application: String, in facts: Facts) -> [Recovery] {
        let mine = Dictionary(
            facts.marked.filter { $0.application == application }.map { ($0.name, $0) }, uniquingKeysWith: { a, _ in a }
        )
        let current =
            mine[application]
            ?? (facts.containers[application] != nil
                ? .init(
                    id: "", name: application, application: application, version: 0,
                    running: facts.containers[application]?["State"]?["Running"]?.bool ?? false) : nil)
        var steps: [Recovery] = []
        if mine[ContainerNames.next(application)] != nil { steps.append(.remove(ContainerNames.next(application))) }
        let old = mine[ContainerNames.old(application)]
        if let back = mine[ContainerNames.back(application)] {
            if current == nil, old == nil {
                steps.append(.rename(from: back.name, to: application))
            } else {
                if back.running { steps.append(.stop(back.name)) }
                steps.append(.rename(from: back.name, to: ContainerNames.kept(application, back.version)))
            }
        }
        if let old {
            if current != nil {
                if old.running { steps.append(.stop(old.name)) }
                if mine[ContainerNames.kept(application, old.version)] != nil {
                    steps.append(.remove(ContainerNames.kept(application, old.version)))
                }
                steps.append(.rename(from: old.name, to: ContainerNames.kept(application, old.version)))
            } else {
                steps.append(.rename(from: old.name, to: application))
                if !old.running { steps.append(.start(application)) }
            }
        }
        for kept in mine.values.sorted(by: { $0.name < $1.name }) where ContainerNames.isKept(kept) && kept.running {
            steps.append(.stop(kept.name))
        }
        if !steps.isEmpty, let current, !current.running { steps.append(.start(application)) }
        return steps
    }
}
