package import EngineAPI
internal import AsyncHTTPClient
internal import NIOCore
internal import NIOHTTP1

extension EngineClient {
    /// What a deploy asks of an engine, and of the swarm that it may be a manager of.
    package var deploying: DeployCalls { DeployCalls(engine: self) }

    package struct DeployCalls: Sendable {
        let engine: EngineClient

        /// One round trip, the first; the version of the API is agreed upon.
        package func ping() async throws { _ = try await engine.apiVersion() }

        /// - Returns: nil where the engine has no such thing.
        package func find(_ uri: String, for operation: String, auth: String? = nil) async throws -> JSON? {
            do { return try await get(uri, for: operation, auth: auth) } catch let error as EngineError
                where error.isNotFound
            { return nil }
        }

        package func get(_ uri: String, for operation: String, auth: String? = nil) async throws -> JSON {
            try await engine.ask(.GET, uri, headers: Self.headers(auth), for: operation)
        }

        /// - Parameter limit: for the whole call.
        @discardableResult
        package func post(
            _ uri: String, _ body: JSON? = nil, for operation: String, auth: String? = nil,
            within limit: Duration = .seconds(120)
        ) async throws -> JSON {
            try await engine.ask(.POST, uri, body, headers: Self.headers(auth), for: operation, within: limit)
        }

        package func delete(_ uri: String, for operation: String) async throws {
            try await engine.ask(.DELETE, uri, for: operation, within: .seconds(120))
        }

        package func path(_ start: String, _ name: String, _ rest: String = "") -> String {
            "/\(start)/\(EngineClient.escape(name))\(rest)"
        }

        /// An image's path keeps its slashes.
        package func imagePath(_ start: String, _ reference: String, _ rest: String) -> String {
            let name = reference.split(separator: "/", omittingEmptySubsequences: false)
                .map { EngineClient.escape(String($0)) }.joined(separator: "/")
            return "/\(start)/\(name)\(rest)"
        }

        package func query(_ fields: KeyValuePairs<String, String>) -> String { EngineClient.query(fields) }
        package func filters(_ filters: [String: [String]]) -> String { EngineClient.filters(filters) }

        /// Pulls an image and says how far it is, at most about once for each layer's message.
        package func pull(_ reference: String, auth: String?, progress: @Sendable (PullProgress) -> Void) async throws {
            let uri = "/images/create" + Images.query(of: reference)
            let response = try await engine.send(
                .POST, uri, headers: Self.headers(auth), for: "pull image", within: nil)
            var lines = JSONLines()
            var state = PullProgress()
            var failure: String?
            func note(_ line: JSON?) {
                guard let line else { return }
                if let text = line["error"]?.string ?? line["errorDetail"]?["message"]?.string { failure = text }
                state.take(line)
            }
            for try await chunk in response.body {
                for line in try lines.take(chunk.readableBytesView) { note(line) }
                progress(state)
            }
            note(try lines.line())
            if let failure { throw EngineError(status: 200, message: failure, operation: "pull image") }
        }

        /// What a container wrote, both streams, without the frames between.
        package func logs(of container: String, tail: Int, since: Int? = nil) async throws -> String {
            let uri =
                path("containers", container, "/logs")
                + query(["stdout": "1", "stderr": "1", "tail": "\(tail)", "since": "\(since ?? 0)"])
            return try await text(uri, for: "logs")
        }

        /// What the tasks of a service wrote.
        package func serviceLogs(of service: String, tail: Int) async throws -> String {
            let uri = path("services", service, "/logs") + query(["stdout": "1", "stderr": "1", "tail": "\(tail)"])
            return try await text(uri, for: "logs")
        }

        private func text(_ uri: String, for operation: String) async throws -> String {
            let response = try await engine.send(.GET, uri, for: operation, within: .seconds(60))
            return EngineClient.unframed(
                try await response.body.collect(upTo: EngineClient.bodyLimit).readableBytesView)
        }

        /// Runs a command in a running container.
        ///
        /// - Returns: its exit status and what it printed.
        package func exec(_ command: [String], in container: String, user: String? = nil) async throws -> (
            status: Int, output: String
        ) {
            var body: JSON = ["AttachStdout": true, "AttachStderr": true, "Cmd": JSON(command)]
            if let user { body["User"] = .string(user) }
            let made = try await post(path("containers", container, "/exec"), body, for: "exec")
            guard let id = made["Id"]?.string else {
                throw EngineError(status: 201, message: "the engine named no exec", operation: "exec")
            }
            let response = try await engine.send(
                .POST, path("exec", id, "/start"), ["Detach": false, "Tty": false], for: "exec", within: .seconds(3_600)
            )
            let output = EngineClient.unframed(
                try await response.body.collect(upTo: EngineClient.bodyLimit).readableBytesView)
            return (try await get(path("exec", id, "/json"), for: "exec")["ExitCode"]?.int ?? -1, output)
        }

        private static func headers(_ auth: String?) -> HTTPHeaders {
            var headers: HTTPHeaders = [:]
            if let auth, !auth.isEmpty { headers.add(name: "X-Registry-Auth", value: auth) }
            return headers
        }
    }

    /// The engine frames two streams in one: a byte for the stream, three of nothing, four of length. A terminal's has no frames.
    ///
    /// - Source: Engine API, "Attach to a container", stream format.
    static func unframed(_ bytes: some Collection<UInt8>) -> String {
        let all = Array(bytes)
        var out: [UInt8] = []
        var place = 0
        while place + 8 <= all.count {
            guard all[place] <= 2, all[place + 1...place + 3].allSatisfy({ $0 == 0 }) else {
                return String(decoding: all, as: UTF8.self)
            }
            let length = all[place + 4..<place + 8].reduce(0) { $0 << 8 | Int($1) }
            out += all[min(place + 8, all.count)..<min(place + 8 + length, all.count)]
            place += 8 + length
        }
        return String(decoding: out, as: UTF8.self)
    }
}

/// How far a pull is, over all layers that have said something.
package struct PullProgress: Sendable, Equatable {
    private var layers: [String: (current: Int, total: Int)] = [:]
    /// What the engine said last that concerns the whole.
    package private(set) var status = ""

    package var current: Int { layers.values.reduce(0) { $0 + $1.current } }
    package var total: Int { layers.values.reduce(0) { $0 + $1.total } }

    mutating func take(_ line: JSON) {
        if let layer = line["id"]?.string, let detail = line["progressDetail"], let total = detail["total"]?.int {
            layers[layer] = (detail["current"]?.int ?? 0, total)
        } else if let text = line["status"]?.string, line["id"] == nil {
            status = text
        }
    }

    package static func == (a: Self, b: Self) -> Bool {
        a.current == b.current && a.total == b.total && a.status == b.status
    }
}
