import ClusterStore
import EngineAPI

/// What clients ask of every swarm and this version does not have. It says so rather than let the engine answer,
/// which knows nothing of this cluster.
extension Router {
    /// `GET /secrets`, `GET /configs`: there are none.
    func listNone(_ call: Call) async throws -> Response {
        _ = try call.filters(["id", "label", "name", "names"])
        _ = try await life.cluster().snapshot()
        return .json([])
    }

    func findNone(_ call: Call) async throws -> Response {
        _ = try await life.cluster().snapshot()
        throw Refusal(404, "\(kind(call)) \(call.reference) not found")
    }

    func refuseKept(_ call: Call) async throws -> Response {
        _ = try await life.cluster()
        throw Refusal(
            501,
            """
            \(kind(call))s are not supported yet: give the service environment variables, or mount a file that \
            every node has
            """)
    }

    private func kind(_ call: Call) -> String { call.request.path.first == "secrets" ? "secret" : "config" }
}
