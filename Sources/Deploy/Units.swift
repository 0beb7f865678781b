/// An amount of memory or disk, in bytes.
public struct Bytes: Sendable, Codable, Equatable {
    public var count: Int
    public init(_ count: Int) { self.count = count }
    /// 1 KiB is 1,024 bytes.
    public static func kibibytes(_ count: Int) -> Self { Self(count << 10) }
    /// 1 MiB is 1,048,576 bytes; docker's `m`.
    public static func mebibytes(_ count: Int) -> Self { Self(count << 20) }
    /// 1 GiB is 1,073,741,824 bytes; docker's `g`.
    public static func gibibytes(_ count: Int) -> Self { Self(count << 30) }
}

/// A length of time, exact to the millisecond.
public struct Time: Sendable, Codable, Equatable {
    public var milliseconds: Int
    public init(milliseconds: Int) { self.milliseconds = milliseconds }
    public static func milliseconds(_ count: Int) -> Self { Self(milliseconds: count) }
    public static func seconds(_ count: Double) -> Self { Self(milliseconds: Int((count * 1_000).rounded())) }
    public static func minutes(_ count: Double) -> Self { .seconds(count * 60) }
    package var nanoseconds: Int { milliseconds * 1_000_000 }
}

/// Where a secret value comes from. It is read on the machine that runs `apus`, when a deploy needs it; the Deployfile never holds it.
public enum Secret: Sendable, Codable, Hashable {
    /// A variable in the environment of `apus`.
    case environment(String)
    /// A file beside the Deployfile, or anywhere by its full path; a last line break is taken off.
    case file(String)
    /// What a command prints, for example `["pass", "show", "db"]`; a last line break is taken off.
    case command([String])
}

/// A value that is either said in the Deployfile or kept secret.
public enum Value: Sendable, Codable, Equatable, ExpressibleByStringLiteral {
    case plain(String)
    case secret(Secret)

    public init(stringLiteral value: String) { self = .plain(value) }
}

/// A port of the containers, and where it is reached from outside.
public struct Port: Sendable, Codable, Equatable {
    public enum Mode: String, Sendable, Codable { case ingress, host }
    public var target: Int
    /// nil lets the engine choose.
    public var published: Int?
    /// The address of the host, for containers only.
    public var address: String?
    /// `tcp`, `udp` or `sctp`.
    public var transport: String
    /// How a service publishes it: by the routing mesh of all nodes, or on the nodes where its tasks run.
    public var mode: Mode

    public init(
        target: Int, published: Int? = nil, address: String? = nil, transport: String = "tcp", mode: Mode = .ingress
    ) {
        (self.target, self.published, self.address) = (target, published, address)
        (self.transport, self.mode) = (transport, mode)
    }
}

/// A place in the container's file system that is not the image's.
public struct Mount: Sendable, Codable, Equatable {
    public enum Kind: String, Sendable, Codable { case volume, bind, tmpfs }
    public var kind: Kind
    /// A volume's name or a path of the host; nil for `tmpfs` and anonymous volumes.
    public var source: String?
    public var target: String
    public var readOnly: Bool
}

/// How a container is asked whether it is well.
public struct HealthCheck: Sendable, Codable, Equatable {
    /// Run by the image's shell.
    public var command: String
    public var interval: Time
    public var timeout: Time
    /// Failures in a row that make it unhealthy.
    public var retries: Int
    /// How long failures at the start are not counted.
    public var startPeriod: Time

    public init(
        _ command: String, interval: Time = .seconds(5), timeout: Time = .seconds(5), retries: Int = 3,
        startPeriod: Time = .seconds(0)
    ) {
        (self.command, self.interval, self.timeout) = (command, interval, timeout)
        (self.retries, self.startPeriod) = (retries, startPeriod)
    }
}

/// When a container that ended is started again.
public enum Restart: Sendable, Codable, Equatable {
    case never
    case always
    case unlessStopped
    /// Zero attempts are as many as it takes.
    case onFailure(attempts: Int = 0)
}

/// How a service goes from one version to the next, or back.
public struct Rollout: Sendable, Codable, Equatable {
    public enum Order: String, Sendable, Codable { case stopFirst = "stop-first", startFirst = "start-first" }
    public enum Failure: String, Sendable, Codable { case pause, `continue`, rollback }
    /// Tasks at once; 0 is all.
    public var parallelism: Int
    public var delay: Time
    public var order: Order
    public var onFailure: Failure
    /// How long a new task must live to count.
    public var monitor: Time
    /// Share of tasks that may fail, 0 to 1.
    public var maxFailureRatio: Double

    public init(
        parallelism: Int = 1, delay: Time = .seconds(0), order: Order = .stopFirst, onFailure: Failure = .rollback,
        monitor: Time = .seconds(5), maxFailureRatio: Double = 0
    ) {
        (self.parallelism, self.delay, self.order) = (parallelism, delay, order)
        (self.onFailure, self.monitor, self.maxFailureRatio) = (onFailure, monitor, maxFailureRatio)
    }
}
