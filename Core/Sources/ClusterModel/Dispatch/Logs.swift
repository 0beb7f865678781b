extension Dispatch {
    /// Which logs are asked for, and how much of them.
    public struct LogWish: Sendable, Equatable, Codable {
        public enum Subject: Sendable, Equatable, Codable {
            case service(Cluster.ID<Cluster.Service>)
            case task(Cluster.ID<Cluster.Task>)
        }

        public var subject: Subject
        /// On and on, with what tasks that start later write.
        public var follows: Bool
        public var stdout: Bool
        public var stderr: Bool
        /// Lines from the end, of each task; nil for all.
        public var tail: Int?
        /// As the engine takes them: seconds since 1970, with a fraction; empty for no bound.
        public var since: String
        public var until: String

        public init(
            _ subject: Subject, follows: Bool = false, stdout: Bool = true, stderr: Bool = true, tail: Int? = nil,
            since: String = "", until: String = ""
        ) {
            self.subject = subject
            self.follows = follows
            self.stdout = stdout
            self.stderr = stderr
            self.tail = tail
            self.since = since
            self.until = until
        }
    }

    /// What the leader asks of a node; what comes back bears the number.
    public struct LogOrder: Sendable, Equatable, Codable {
        public var number: UInt64
        public var wish: LogWish

        public init(number: UInt64, wish: LogWish) {
            self.number = number
            self.wish = wish
        }
    }

    /// A few lines of one task, or what is missing from the whole.
    public struct LogBatch: Sendable, Equatable {
        public struct Line: Sendable, Equatable {
            /// 1 for the standard output, 2 for the standard error.
            public var stream: UInt8
            /// RFC 3339 with nanoseconds, as the engine wrote it.
            public var time: String
            /// `name=value,…` of the container's log options, escaped as the engine does; mostly empty.
            public var details: String
            /// With its line's end.
            public var text: [UInt8]

            public init(stream: UInt8, time: String, details: String = "", text: [UInt8]) {
                self.stream = stream
                self.time = time
                self.details = details
                self.text = text
            }
        }

        public var node: String
        public var service: String
        public var task: String
        public var lines: [Line]
        /// Why something is missing; nil where nothing is.
        public var trouble: String?

        public init(node: String, service: String, task: String, lines: [Line]) {
            self.node = node
            self.service = service
            self.task = task
            self.lines = lines
        }

        public init(trouble: String) {
            self.init(node: "", service: "", task: "", lines: [])
            self.trouble = trouble
        }
    }
}
