package import EngineAPI
internal import NIOHTTP1

extension EngineClient {
    package struct Containers: Sendable {
        let engine: EngineClient

        /// - Returns: the container's ID.
        package func create(name: String, _ document: JSON) async throws -> String {
            let uri = "/containers/create" + EngineClient.query(["name": name])
            let answer = try await engine.ask(.POST, uri, document, for: "create container", within: .seconds(120))
            guard let id = answer["Id"]?.string else {
                throw EngineError(status: 201, message: "the engine named no container", operation: "create container")
            }
            return id
        }

        package func start(_ id: String) async throws {
            try await engine.ask(.POST, path(id, "/start"), for: "start container", within: .seconds(120))
        }

        package func inspect(_ id: String) async throws -> JSON {
            try await engine.ask(.GET, path(id, "/json"), for: "inspect container")
        }

        /// Returns once it stopped; a container that had stopped already is fine.
        ///
        /// - Parameter timeoutSeconds: from the stop signal to the kill; nil for what stands in the container.
        package func stop(_ id: String, timeoutSeconds: Int?) async throws {
            let longest = 86_400 * 365
            let seconds = timeoutSeconds.map { max(0, min($0, longest)) }
            let uri = path(id, "/stop") + (seconds.map { EngineClient.query(["t": "\($0)"]) } ?? "")
            try await engine.ask(.POST, uri, for: "stop container", within: .seconds((seconds ?? longest) + 60))
        }

        package func kill(_ id: String) async throws {
            try await engine.ask(.POST, path(id, "/kill"), for: "kill container")
        }

        /// With its anonymous volumes.
        package func remove(_ id: String, force: Bool) async throws {
            let uri = path(id) + EngineClient.query(["v": "true", "force": force ? "true" : "false"])
            try await engine.ask(.DELETE, uri, for: "remove container", within: .seconds(120))
        }

        /// - Parameter labels: each `name` or `name=value`; all must be there.
        package func list(labels: [String], all: Bool = true) async throws -> [JSON] {
            let filters = EngineClient.filters(labels.isEmpty ? [:] : ["label": labels])
            let uri = "/containers/json" + EngineClient.query(["all": all ? "true" : "false", "filters": filters])
            return try await engine.ask(.GET, uri, for: "list containers").array ?? []
        }

        private func path(_ id: String, _ rest: String = "") -> String {
            "/containers/\(EngineClient.escape(id))\(rest)"
        }
    }
}
