import ArgumentParser
internal import Deploy
internal import Deployer

extension Apus {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What the Deployfile says: applications, images, hosts.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications

        func run() async throws {
            let (names, tag) = (applications.names, applications.tag)
            try await common.run({ ($0.names, $0.imageOverride) = (names, tag) }) { session in
                session.list()
                return Session.Exit.fine
            }
        }
    }

    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What a deploy would change; exit status 2 if there is something.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing

        func run() async throws {
            let planner = changing.planner(.steps([.pull, .migrate, .update]))
            try await common.run({ changing.apply(to: &$0, applications.names, tag: applications.tag) }) {
                await $0.plan(planner)
            }
        }
    }

    struct Deploy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Prepare, push, backup, pull, migrate, update.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        @Flag(inversion: .prefixedNo, help: "Back up first.")
        var backup: Bool?
        @Flag(inversion: .prefixedNo, help: "Migrate databases.")
        var migrate = true

        func run() async throws {
            var steps: Set<Steps.Element> = [.prepare, .push, .pull, .update]
            if backup == true { steps.insert(.backup) }
            if migrate { steps.insert(.migrate) }
            let choice = backup
            try await Steps.run(steps, "deploy", common, applications, changing, backsUpByDefault: choice == nil)
        }
    }

    struct Upgrade: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Pull, migrate, update: a deploy without building and pushing.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        func run() async throws {
            try await Steps.run([.pull, .migrate, .update], "upgrade", common, applications, changing)
        }
    }

    struct Rollback: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Back to the version before the last deploy, its schema too.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        @ArgumentParser.Option(help: "A version that is kept; see history.")
        var to: Int?
        @Flag(inversion: .prefixedNo, help: "Take migrations back.")
        var migrateBack = true
        func run() async throws {
            try await Steps.run(
                goal: .rollback(to: to, migrateBack: migrateBack), "rollback", common, applications, changing)
        }
    }

    struct Revert: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "A rollback that leaves the schema as it is.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        @ArgumentParser.Option(help: "A version that is kept; see history.")
        var to: Int?
        func run() async throws {
            try await Steps.run(goal: .rollback(to: to, migrateBack: false), "revert", common, applications, changing)
        }
    }

    struct Destroy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove applications and their kept versions. Volumes stay.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing

        func validate() throws {
            guard !applications.names.isEmpty else {
                throw ValidationError("destroy removes what is named: apus destroy NAME…")
            }
        }
        func run() async throws {
            try await Steps.run(goal: .destroy, "destroy", common, applications, changing, asks: true)
        }
    }

    struct Restore: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Restore a database from a backup.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        @ArgumentParser.Option(help: "The backup on the host; the newest unless told.")
        var from: String?

        func validate() throws {
            guard applications.names.count == 1 else {
                throw ValidationError("restore takes one application: apus restore NAME")
            }
        }
        func run() async throws {
            try await Steps.run(goal: .restore(file: from), "restore", common, applications, changing, asks: true)
        }
    }

    struct Prepare: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Build or fetch images on this machine.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        func run() async throws { try await Steps.run([.prepare], "prepare", common, applications, changing) }
    }

    struct Push: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Push images to their registry.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        func run() async throws { try await Steps.run([.push], "push", common, applications, changing) }
    }

    struct Backup: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Back up databases.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        func run() async throws { try await Steps.run([.backup], "backup", common, applications, changing) }
    }

    struct Pull: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Bring images to the hosts.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        func run() async throws { try await Steps.run([.pull], "pull", common, applications, changing) }
    }

    struct Migrate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Migrate databases to the images' schema.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        func run() async throws { try await Steps.run([.migrate], "migrate", common, applications, changing) }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Update what runs, with images that are there.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        func run() async throws { try await Steps.run([.update], "update", common, applications, changing) }
    }

    struct MigrateBack: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take migrations back to the kept version's schema.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @OptionGroup var changing: Changing
        func run() async throws {
            try await Steps.run(goal: .migrateBack, "migrate-back", common, applications, changing)
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What runs where; exit status 1 if something does not.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        func run() async throws {
            let names = applications.names
            try await common.run({ $0.names = names }) { await $0.status() }
        }
    }

    struct History: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Versions that are kept, and the audit trail of the hosts.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        func run() async throws {
            let names = applications.names
            try await common.run({ $0.names = names }) { await $0.history() }
        }
    }

    struct Logs: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "What the applications wrote.")
        @OptionGroup var common: Common
        @OptionGroup var applications: Applications
        @ArgumentParser.Option(name: [.customShort("n"), .long], help: "Lines of each.")
        var tail = 100
        func run() async throws {
            let (names, tail) = (applications.names, tail)
            try await common.run({ $0.names = names }) { await $0.logs(tail: tail) }
        }
    }

    struct Exec: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run a command in an application's container: apus exec NAME -- COMMAND….")
        @OptionGroup var common: Common
        @Flag(help: "On all its hosts.")
        var everywhere = false
        @Argument var name: String
        @Argument(parsing: .postTerminator) var command: [String]
        func run() async throws {
            let (name, command, everywhere) = (name, command, everywhere)
            try await common.run({ $0.names = [name] }) { await $0.exec(command, everywhere: everywhere) }
        }
    }
}

/// Commands that change hosts differ in their goal alone.
enum Steps {
    typealias Element = Planner.StepName

    static func run(
        _ steps: Set<Element>, _ verb: String, _ common: Common, _ applications: Applications, _ changing: Changing,
        backsUpByDefault: Bool = false
    ) async throws {
        try await run(goal: .steps(steps), verb, common, applications, changing, backsUpByDefault: backsUpByDefault)
    }

    static func run(
        goal: Planner.Goal, _ verb: String, _ common: Common, _ applications: Applications, _ changing: Changing,
        asks: Bool = false,
        backsUpByDefault: Bool = false
    ) async throws {
        var planner = changing.planner(goal)
        planner.backsUpByDefault = backsUpByDefault
        let (dryRun, frozen) = (changing.dryRun, planner)
        let change: (inout Invocation) -> Void = {
            changing.apply(to: &$0, applications.names, tag: applications.tag)
            $0.asks = asks
        }
        try await common.run(change) { session in
            dryRun ? await session.plan(frozen) : try await session.carryOut(frozen, verb: verb)
        }
    }
}
