extension Cluster {
    /// A secret or a config: a small file that the cluster keeps, and brings to the tasks that use it.
    ///
    /// Both are one thing with two sets of rules. What it holds never changes; only its labels do.
    ///
    /// - Source: swarmkit api/objects.proto `Secret`, `Config`; agent/dependency.go calls both dependencies.
    public struct Dependency: Sendable, Equatable, Codable {
        public var id: ID<Dependency>
        public var meta: Meta
        public var spec: DependencySpec

        public init(id: ID<Dependency>, spec: DependencySpec, at now: Timestamp) {
            self.id = id
            meta = Meta(createdAt: now)
            self.spec = spec
        }
    }

    public enum DependencyKind: String, Sendable, Codable, CaseIterable {
        /// Shown to nobody but the containers that use it.
        case secret
        case config

        /// Bytes: as many, or more, are too many.
        ///
        /// - Source: swarmkit manager/controlapi/secret.go `MaxSecretSize`, config.go `MaxConfigSize`.
        public var limit: Int { self == .secret ? 500 * 1024 : 1000 * 1024 }
    }

    public struct DependencySpec: Sendable, Equatable, Codable {
        public var kind: DependencyKind
        public var name: String
        public var labels: [String: String]
        /// Base64, as the client sent it.
        public var data: String
        /// `golang`: fields of the task are filled in where it runs; nil: as it is.
        public var templating: String?

        public init(
            kind: DependencyKind, name: String, labels: [String: String] = [:], data: String, templating: String? = nil
        ) {
            self.kind = kind
            self.name = name
            self.labels = labels
            self.data = data
            self.templating = templating
        }
    }

    /// One use of a secret or a config by a service.
    public struct DependencyReference: Sendable, Hashable, Codable {
        public var kind: DependencyKind
        /// As the client named it: checked when the service is made.
        public var id: String
        public var name: String
        /// Where it appears; nil for a config that the engine itself reads (a credential spec).
        public var file: File?

        public struct File: Sendable, Hashable, Codable {
            /// Absolute, or for a secret below `/run/secrets`, for a config below `/`.
            public var name: String
            public var uid: String
            public var gid: String
            /// Permissions, as chmod(2) takes them.
            public var mode: UInt32

            public init(name: String, uid: String = "0", gid: String = "0", mode: UInt32 = 0o444) {
                self.name = name
                self.uid = uid
                self.gid = gid
                self.mode = mode
            }
        }

        public init(kind: DependencyKind, id: String, name: String, file: File?) {
            self.kind = kind
            self.id = id
            self.name = name
            self.file = file
        }
    }
}

extension Cluster.DependencySpec: CustomStringConvertible {
    /// Without what it holds: this is what logs see.
    public var description: String { "\(kind) \(name)" }
}
