internal import Deploy

/// Backup and restore, with the database's own programs in its own container.
struct PostgresRun {
    let want: Want
    let remote: Remote
    private var postgres: Postgres { want.wished.postgres ?? Postgres() }
    private var docker: String { "docker -H \("unix://\(remote.host.socket)".quoted)" }

    /// A new file on the host; the part that is being written has another name.
    func backup() async throws -> String {
        let script = """
            set -eu; umask 077; d=\(postgres.backups.quoted); mkdir -p "$d"
            f="$d/"\(want.name.quoted)-\(postgres.database.quoted)-$(date -u +%Y%m%dT%H%M%SZ).dump
            \(docker) exec \(want.name.quoted) pg_dump --format=custom --username=\(postgres.user.quoted) \(postgres.database.quoted) >"$f.part"
            mv "$f.part" "$f"; echo "$f"
            """
        let done = try await remote.shell(script, within: .seconds(86_400))
        guard done.succeeded else { throw Stop("backup: \(done.complaint)") }
        return "backup: \(done.output.trimmed)"
    }

    func restore(_ file: String?) async throws -> String {
        let choice =
            file.map { "f=\($0.quoted)" }
            ?? "f=$(ls -1 \(postgres.backups.quoted)/\(want.name.quoted)-\(postgres.database.quoted)-*.dump 2>/dev/null | tail -n 1)"
        let script = """
            set -eu; \(choice); [ -n "$f" ] || { echo "there is no backup in "\(postgres.backups.quoted) >&2; exit 1; }
            [ -r "$f" ] || { echo "there is no file $f" >&2; exit 1; }
            \(docker) exec -i \(want.name.quoted) pg_restore --clean --if-exists --single-transaction --username=\(postgres.user.quoted) --dbname=\(postgres.database.quoted) <"$f"
            echo "$f"
            """
        let done = try await remote.shell(script, within: .seconds(86_400))
        guard done.succeeded else { throw Stop("restore: \(done.complaint)") }
        return "restored \(done.output.trimmed)"
    }
}
