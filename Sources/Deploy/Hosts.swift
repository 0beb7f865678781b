/// A host, as ssh knows it: `user@name:port`, or a name of `~/.ssh/config` with its jump hosts and keys.
public struct Machine: Sendable, Codable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
    public var user: String?
    public var name: String
    public var port: Int?
    /// The engine's socket on the host.
    public var socket: String

    /// - Parameter socket: the Docker engine's unless told; `/run/apus/apus.sock` for a node of an Apus cluster.
    public init(_ text: String, socket: String = "/var/run/docker.sock") {
        let halves = text.split(separator: "@", maxSplits: 1).map(String.init)
        user = halves.count > 1 ? halves[0] : nil
        name = halves.last ?? text
        self.socket = socket
        let parts = name.split(separator: ":", omittingEmptySubsequences: false)
        if parts.count == 2, let number = Int(parts[1]) {
            name = String(parts[0])
            port = number
        }
    }

    public init(stringLiteral value: String) { self.init(value) }

    public var description: String { (user.map { $0 + "@" } ?? "") + name + (port.map { ":\($0)" } ?? "") }
}

/// Where deployments go: a name, its roles and what is different there.
public struct Infrastructure: Sendable {
    public enum Color: String, Sendable, Codable { case none, red, green, yellow, blue, magenta, cyan }
    public var name: String
    /// Ask before anything is changed there.
    public var confirm: Bool
    public var color: Color
    public var roles: [String: [Machine]]
    /// Variables for commands that run on its hosts.
    public var environment: [String: String]

    public init(
        _ name: String, confirm: Bool = false, color: Color = .none, roles: [String: [Machine]] = [:],
        environment: [String: String] = [:]
    ) {
        (self.name, self.confirm, self.color) = (name, confirm, color)
        (self.roles, self.environment) = (roles, environment)
    }
}

/// What computed options may depend on.
public struct Surroundings: Sendable, Codable {
    /// nil where none was chosen.
    public var infrastructure: String?
    /// What was said with `--set NAME=VALUE`.
    public var arguments: [String: String]

    public init(infrastructure: String? = nil, arguments: [String: String] = [:]) {
        (self.infrastructure, self.arguments) = (infrastructure, arguments)
    }
}
