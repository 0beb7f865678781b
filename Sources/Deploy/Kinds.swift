/// What an application is: any type that can say its `unit`. Your own types may wrap or change those below.
public protocol Kind: Sendable {
    var unit: Unit { get }
}

/// What runs, in data: every kind comes down to this.
public struct Unit: Sendable, Kind {
    public enum Form: String, Sendable, Codable { case container, service, stack, kubernetes }
    /// When images are asked for.
    public enum Pull: String, Sendable, Codable {
        /// The registry is asked each time.
        case always
        /// Only when the host has none of that name.
        case missing
        /// It must be there.
        case never
    }
    /// How a container is exchanged on its host.
    public enum Exchange: String, Sendable, Codable {
        /// The new one first, unless both would hold the same port, network address or volume.
        case automatic
        /// The new one is well before the old one goes.
        case startFirst
        case stopFirst
    }

    public var form: Form
    public var name: String
    /// `name`, `name:tag`, `registry/account/name@sha256:…`; empty for stacks.
    public var image: String
    /// nil runs what the image says.
    public var command: [String]?
    public var options: [Option]
    public var pull: Pull = .always
    public var exchange: Exchange = .automatic
    /// How long a new container may take to be well, and a service to converge.
    public var patience: Time = .minutes(5)
    /// How long a container without a health check must run to count as well.
    public var steady: Time = .seconds(2)
    /// How many earlier versions are kept for a rollback.
    public var keep = 3
    /// A compose file or a Kubernetes configuration, beside the Deployfile.
    public var file: String?
    public var build: Build?
    public var migrations: Migrations?
    public var postgres: Postgres?
    /// Where the image comes from before it goes to `registry`; nil where it needs no carrying.
    public var registry: Registry?

    public init(form: Form, name: String, image: String, command: [String]? = nil, options: [Option] = []) {
        (self.form, self.name, self.image, self.command, self.options) = (form, name, image, command, options)
    }

    public var unit: Unit { self }
}

/// How an image is made on the machine that runs `apus`.
public struct Build: Sendable, Codable, Equatable {
    /// The folder of the Dockerfile, beside the Deployfile.
    public var path: String
    public var dockerfile: String?
    public var arguments: [String: String]
    /// Further words of `docker build`.
    public var options: [String]

    public init(
        _ path: String = ".", dockerfile: String? = nil, arguments: [String: String] = [:], options: [String] = []
    ) {
        (self.path, self.dockerfile, self.arguments, self.options) = (path, dockerfile, arguments, options)
    }
}

/// How an image reaches the hosts when they cannot pull it from where it was made.
public enum Registry: Sendable, Codable, Equatable {
    /// Pulled or built here, pushed there; hosts pull from `hosts`, which is `push` unless told.
    case intermediate(push: String, hosts: String? = nil)
    /// No registry: sent to each host over ssh.
    case direct
    /// A registry on the desk, reached by the hosts at `localhost:PORT` through a reverse tunnel for the time of the pull.
    case tunnel(port: Int, remotePort: Int? = nil)
}

/// How the database's schema follows the image.
public struct Migrations: Sendable, Codable, Equatable {
    /// `["python", "manage.py"]`.
    public var manage: [String]
    public init(manage: [String] = ["python", "manage.py"]) { self.manage = manage }
}

// MARK: - The kinds

/// A container of its own on each host.
public struct Container: Kind {
    public var unit: Unit
    public init(name: String, image: String, command: [String]? = nil, options: [Option] = []) {
        unit = Unit(form: .container, name: name, image: image, command: command, options: options)
    }
}

/// A service of a swarm: Docker's own or Apus. The hosts are its managers.
public struct Service: Kind {
    public var unit: Unit
    public init(name: String, image: String, command: [String]? = nil, options: [Option] = []) {
        unit = Unit(form: .service, name: name, image: image, command: command, options: options)
    }
}

/// A compose file, deployed with `docker stack`. The hosts are the managers of a swarm.
public struct Stack: Kind {
    public var unit: Unit
    /// - Parameter image: the image that migrations run in; compose files see it as `$APUS_IMAGE`.
    public init(name: String, file: String = "docker-compose.yml", image: String = "", options: [Option] = []) {
        unit = Unit(form: .stack, name: name, image: image, options: options)
        unit.file = file
    }
}

/// A Kubernetes configuration, applied with `kubectl` on the hosts. Files see the image as `$APUS_IMAGE`.
public struct KubernetesConfiguration: Kind {
    public var unit: Unit
    public init(name: String, file: String, image: String = "", options: [Option] = []) {
        unit = Unit(form: .kubernetes, name: name, image: image, options: options)
        unit.file = file
    }
}

/// A Django project in a container: migrated before it is updated, and back when it is rolled back.
public struct DjangoContainer: Kind {
    public var unit: Unit
    public init(
        name: String, image: String, command: [String]? = nil, options: [Option] = [], migrations: Migrations = .init()
    ) {
        unit = Container(name: name, image: image, command: command, options: options).unit
        unit.migrations = migrations
    }
}

/// A Django project as a service: migrated once, before it is updated, and back when it is rolled back.
public struct DjangoService: Kind {
    public var unit: Unit
    public init(
        name: String, image: String, command: [String]? = nil, options: [Option] = [], migrations: Migrations = .init()
    ) {
        unit = Service(name: name, image: image, command: command, options: options).unit
        unit.migrations = migrations
    }
}

/// A Django project in a compose file.
public struct DjangoStack: Kind {
    public var unit: Unit
    public init(
        name: String, file: String = "docker-compose.yml", image: String, options: [Option] = [],
        migrations: Migrations = .init()
    ) {
        unit = Stack(name: name, file: file, image: image, options: options).unit
        unit.migrations = migrations
    }
}

/// A Django project in Kubernetes.
public struct DjangoKubernetes: Kind {
    public var unit: Unit
    public init(
        name: String, file: String, image: String, options: [Option] = [], migrations: Migrations = .init()
    ) {
        unit = KubernetesConfiguration(name: name, file: file, image: image, options: options).unit
        unit.migrations = migrations
    }
}

/// What PostgreSQL is beside a container.
public struct Postgres: Sendable, Codable, Equatable {
    public var user: String
    /// Made when it is missing, backed up and restored.
    public var database: String
    /// Where backups are kept on the host.
    public var backups: String

    public init(user: String = "postgres", database: String = "postgres", backups: String = "/var/backups/postgres") {
        (self.user, self.database, self.backups) = (user, database, backups)
    }
}

/// PostgreSQL in a container, with backup and restore.
public struct PostgresContainer: Kind {
    public var unit: Unit
    public init(
        name: String, image: String, command: [String]? = nil, options: [Option] = [], postgres: Postgres = .init()
    ) {
        unit = Container(name: name, image: image, command: command, options: options).unit
        unit.exchange = .stopFirst
        unit.postgres = postgres
    }
}

// MARK: - Changing a kind in passing

extension Kind {
    /// A copy of its unit with a change: `django.with { $0.keep = 5 }`.
    public func with(_ change: (inout Unit) -> Void) -> Unit {
        var copy = unit
        change(&copy)
        return copy
    }
    public func built(from build: Build) -> Unit { with { $0.build = build } }
    public func carried(by registry: Registry) -> Unit { with { $0.registry = registry } }
}
