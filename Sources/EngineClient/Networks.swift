package import EngineAPI
internal import NIOHTTP1

extension EngineClient {
    /// The engine's own networks.
    package struct Networks: Sendable {
        let engine: EngineClient

        /// - Parameter labels: each `name` or `name=value`; all must be there.
        package func list(labels: [String]) async throws -> [JSON] {
            let uri = "/networks" + EngineClient.query(["filters": EngineClient.filters(["label": labels])])
            return try await engine.ask(.GET, uri, for: "list networks").array ?? []
        }

        /// - Returns: the network's ID.
        package func create(_ document: JSON) async throws -> String {
            let answer = try await engine.ask(.POST, "/networks/create", document, for: "create network")
            guard let id = answer["Id"]?.string else {
                throw EngineError(status: 201, message: "the engine named no network", operation: "create network")
            }
            return id
        }

        package func remove(_ id: String) async throws {
            try await engine.ask(.DELETE, "/networks/\(EngineClient.escape(id))", for: "remove network")
        }

        /// - Parameter document: `Container` and `EndpointConfig`.
        package func connect(_ id: String, _ document: JSON) async throws {
            try await engine.ask(
                .POST, "/networks/\(EngineClient.escape(id))/connect", document, for: "connect to network")
        }
    }

    package var networks: Networks { Networks(engine: self) }
}
