/// Django's migrations of one image, in the order in which they are applied.
///
/// - Source: `manage.py showmigrations --plan`: lines of `[X]  app.0001_name` (applied) or `[ ]  app.0002_name`.
package struct MigrationPlan: Sendable, Equatable {
    package struct Migration: Sendable, Hashable {
        package var app: String
        package var name: String
        package init(_ app: String, _ name: String) { (self.app, self.name) = (app, name) }
    }
    package struct Step: Sendable, Equatable {
        package var app: String
        /// `zero` takes back all of the app.
        package var target: String
        package init(_ app: String, _ target: String) { (self.app, self.target) = (app, target) }
    }

    package var migrations: [Migration] = []
    package var applied: Set<Migration> = []

    package init(parsing text: String) {
        for line in text.split(whereSeparator: \.isNewline) {
            let line = String(line).trimmed
            guard line.hasPrefix("[X]") || line.hasPrefix("[ ]"),
                let word = line.dropFirst(3).split(separator: " ").first,
                let dot = word.firstIndex(of: ".")
            else { continue }
            let migration = Migration(String(word[..<dot]), String(word[word.index(after: dot)...]))
            migrations.append(migration)
            if line.hasPrefix("[X]") { applied.insert(migration) }
        }
    }

    package var pending: [Migration] { migrations.filter { !applied.contains($0) } }

    /// What the newer image must take back, so that the older one finds its schema: the newest apps first.
    ///
    /// An app that the older image does not have goes to `zero`. What only the older image has, it applies itself afterwards.
    package func back(to older: MigrationPlan) -> [Step] {
        let known = Set(older.migrations)
        var steps: [Step] = []
        for migration in migrations.reversed() where applied.contains(migration) && !known.contains(migration) {
            guard !steps.contains(where: { $0.app == migration.app }) else { continue }
            // The last of this app that both have, by this image's order.
            let target = migrations.last { $0.app == migration.app && known.contains($0) }?.name ?? "zero"
            steps.append(Step(migration.app, target))
        }
        return steps
    }
}
