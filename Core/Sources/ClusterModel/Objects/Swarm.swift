extension Cluster {
    /// The swarm as one object: its settings, and what makes it trust its members.
    public struct Swarm: Sendable, Equatable, Codable {
        public var id: ID<Swarm>
        public var meta: Meta
        public var spec: SwarmSpec
        public var trust: Trust
        public var joinTokens: JoinTokens
        public var defaultAddressPools: [String]
        public var subnetSize: Int
        public var dataPathPort: Int

        public init(
            id: ID<Swarm>, spec: SwarmSpec, trust: Trust, joinTokens: JoinTokens, at now: Timestamp,
            defaultAddressPools: [String] = ["10.0.0.0/8"], subnetSize: Int = 24, dataPathPort: Int = 4789
        ) {
            self.id = id
            meta = Meta(createdAt: now)
            self.spec = spec
            self.trust = trust
            self.joinTokens = joinTokens
            self.defaultAddressPools = defaultAddressPools
            self.subnetSize = subnetSize
            self.dataPathPort = dataPathPort
        }
    }

    /// What the root certificate is made of. The key never leaves the managers.
    public struct Trust: Sendable, Equatable, Codable {
        public var rootCertificate: String
        public var rootKey: String
        /// DER, base64, as the API shows them.
        public var issuerSubject: String
        public var issuerPublicKey: String

        public init(rootCertificate: String, rootKey: String, issuerSubject: String, issuerPublicKey: String) {
            self.rootCertificate = rootCertificate
            self.rootKey = rootKey
            self.issuerSubject = issuerSubject
            self.issuerPublicKey = issuerPublicKey
        }
    }

    /// The secrets that let a machine join, one per role. Never logged.
    public struct JoinTokens: Sendable, Equatable, Codable {
        public var worker: String
        public var manager: String

        public init(worker: String, manager: String) {
            self.worker = worker
            self.manager = manager
        }

        /// The role for which `token` is good now; nil for a wrong or rotated one.
        public func role(of token: String) -> Role? {
            // Both are compared in full and in constant time, so that the answer's delay says nothing.
            let isWorker = Self.equal(token, worker)
            let isManager = Self.equal(token, manager)
            return isManager ? .manager : isWorker ? .worker : nil
        }

        private static func equal(_ a: String, _ b: String) -> Bool {
            let a = Array(a.utf8), b = Array(b.utf8)
            guard a.count == b.count else { return false }
            // In Swift `|` and `^` bind alike, from the left: without the brackets other tokens pass by chance.
            return zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
        }
    }

    /// The settings of the swarm: what decisions read, and the document that a client sent.
    public struct SwarmSpec: Sendable, Equatable, Codable {
        public var labels: [String: String] = [:]
        /// Old tasks kept for each slot.
        public var taskHistoryLimit: Int = 5
        /// Nanoseconds between two words of a worker.
        public var heartbeatPeriod: Int64 = 5_000_000_000
        /// Nanoseconds for which a node's certificate is good.
        public var nodeCertificateExpiry: Int64 = 90 * 24 * 3600 * 1_000_000_000
        /// As it was accepted, with every default filled in (JSON).
        public var document: String

        public init(document: String) { self.document = document }
    }
}
