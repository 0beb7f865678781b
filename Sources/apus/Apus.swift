import ArgumentParser

@main
struct Apus: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apus",
        abstract: "Deployments as code: what a Deployfile.swift says, on any Docker engine, swarm or Apus cluster.",
        discussion: """
            Exit status: 0 all is as wished; 1 something failed, and the words above say what; 2 (plan) there is something to do; \
            64 the command line is wrong; 130 interrupted.
            """,
        subcommands: [
            List.self, Plan.self, Deploy.self, Upgrade.self, Rollback.self, Status.self, History.self, Logs.self,
            Exec.self, Prepare.self, Push.self,
            Backup.self, Pull.self, Migrate.self, Update.self, MigrateBack.self, Revert.self, Restore.self,
            Destroy.self,
        ])
}
