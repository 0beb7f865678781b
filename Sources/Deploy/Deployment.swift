/// One step of a deploy, a rollback, or one of the others; each is a command of `apus` too.
public enum Step: String, Sendable, Codable, CaseIterable {
    case prepare, push, backup, pull, migrate, update
    case migrateBack = "migrate-back"
    case revert, restore, destroy
}

/// What runs before or after a step, in the Deployfile's own words.
public typealias Hook = @Sendable (HookContext) throws -> Void

/// A kind, where it goes, and what happens around its steps.
public struct Application: Sendable {
    public enum Moment: String, Sendable, Codable { case before, after }
    package struct Attached: Sendable {
        var step: Step
        var moment: Moment
        var body: Hook
    }

    package var unit: Unit
    package var hosts: [Machine]
    package var roles: [String]
    package var backsUp = false
    package var hooks: [Attached] = []
    /// Where it stands in the Deployfile.
    package var file: String
    package var line: Int

    /// - Parameter hosts: of this application; those of `roles` in the chosen infrastructure are added.
    public init(
        _ kind: some Kind, hosts: [Machine] = [], roles: [String] = [], file: StaticString = #filePath,
        line: Int = #line
    ) {
        (unit, self.hosts, self.roles) = (kind.unit, hosts, roles)
        (self.file, self.line) = ("\(file)", line)
    }

    /// Runs on each host of the step, before it. A failure stops the deploy.
    public func before(_ step: Step, _ body: @escaping Hook) -> Self { attaching(step, .before, body) }
    public func after(_ step: Step, _ body: @escaping Hook) -> Self { attaching(step, .after, body) }
    /// A deploy makes a backup first; it is off unless said.
    public func backingUp() -> Self {
        var copy = self
        copy.backsUp = true
        return copy
    }

    private func attaching(_ step: Step, _ moment: Moment, _ body: @escaping Hook) -> Self {
        var copy = self
        copy.hooks.append(Attached(step: step, moment: moment, body: body))
        return copy
    }
}

/// All that `apus` deploys from one Deployfile. The Deployfile calls it `deployment`.
public struct Deployment: Sendable {
    package var name: String?
    package var infrastructures: [Infrastructure]
    package var applications: @Sendable (Surroundings) -> [Application]

    /// - Parameter name: for lock and audit; the folder's name unless told.
    public init(
        _ name: String? = nil, infrastructures: [Infrastructure] = [],
        @ApplicationList applications: @escaping @Sendable () -> [Application]
    ) {
        (self.name, self.infrastructures) = (name, infrastructures)
        self.applications = { _ in applications() }
    }

    /// The same, for applications that depend on where they go.
    public init(
        _ name: String? = nil, infrastructures: [Infrastructure] = [],
        @ApplicationList applications: @escaping @Sendable (Surroundings) -> [Application]
    ) {
        (self.name, self.infrastructures, self.applications) = (name, infrastructures, applications)
    }
}

@resultBuilder
public enum ApplicationList {
    public static func buildExpression(_ one: Application) -> [Application] { [one] }
    public static func buildExpression(_ many: [Application]) -> [Application] { many }
    public static func buildBlock(_ parts: [Application]...) -> [Application] { parts.flatMap(\.self) }
    public static func buildOptional(_ part: [Application]?) -> [Application] { part ?? [] }
    public static func buildEither(first: [Application]) -> [Application] { first }
    public static func buildEither(second: [Application]) -> [Application] { second }
    public static func buildArray(_ parts: [[Application]]) -> [Application] { parts.flatMap(\.self) }
}

/// Where a hook finds itself, and its hands.
public struct HookContext: Sendable {
    public let application: String
    public let step: Step
    /// nil for steps that happen on this machine.
    public let host: String?
    public let image: String
    public let infrastructure: String?
    let ask: @Sendable (Ask) throws -> String

    enum Ask: Sendable, Codable {
        case run(host: String?, command: [String])
        case exec(host: String?, command: [String])
        case local(command: [String])
        case log(String)
    }

    /// Runs a command on the host, without a shell in between, and returns what it printed. Throws when it fails.
    @discardableResult
    public func run(_ command: String...) throws -> String { try ask(.run(host: host, command: command)) }
    /// Runs a command in the application's container on this host.
    @discardableResult
    public func exec(_ command: String...) throws -> String { try ask(.exec(host: host, command: command)) }
    /// Runs a command on this machine.
    @discardableResult
    public func local(_ command: String...) throws -> String { try ask(.local(command: command)) }
    public func log(_ text: String) { _ = try? ask(.log(text)) }
}

/// A hook's way to stop a deploy.
public struct Stop: Error, CustomStringConvertible {
    public var description: String
    public init(_ reason: String) { description = reason }
}
