internal import EngineAPI
internal import EngineClient
internal import Foundation
internal import Logging

/// Sees to it that the engine has an image. Who asks for one that is on its way waits for the same pull.
actor ImageSource {
    private let engine: EngineClient
    private let prefersOffline: Bool
    private let log: Logger
    private var pulls: [String: Task<Void, any Error>] = [:]

    init(engine: EngineClient, log: Logger) {
        self.engine = engine
        self.log = log
        prefersOffline = ProcessInfo.processInfo.environment["DOCKER_SERVICE_PREFER_OFFLINE_IMAGE"] == "1"
    }

    /// A tag may have moved, so it is asked for each time; a digest says what is meant for ever.
    ///
    /// - Source: moby daemon/cluster/executor/container/controller.go (20.10), `Prepare` and adapter.go, `pullImage`.
    func provide(_ reference: String, registryAuth: String?) async throws {
        if reference.contains("@") || prefersOffline, try await isPresent(reference) { return }
        do {
            try await pull(reference, registryAuth)
        } catch let error as EngineError {
            if try await isPresent(reference) {
                log.debug(
                    "using the image that is there, the registry does not give it",
                    metadata: ["image": "\(reference)", "error": "\(error)"])
                return
            }
            // In dockerd's words whatever the registry said, which stands in this node's log.
            log.warning(
                "an image could not be pulled and is not there",
                metadata: ["image": "\(reference)", "error": "\(error)"])
            throw EngineError(status: 404, message: "No such image: \(reference)", operation: error.operation)
        }
    }

    private func pull(_ reference: String, _ registryAuth: String?) async throws {
        let key = reference + "\n" + (registryAuth ?? "")
        if let underWay = pulls[key] { return try await underWay.value }
        let pull = Task { [engine] in try await engine.images.pull(reference, registryAuth: registryAuth) }
        pulls[key] = pull
        defer { pulls[key] = nil }
        try await withTaskCancellationHandler {
            try await pull.value
        } onCancel: {
            pull.cancel()
        }
    }

    private func isPresent(_ reference: String) async throws -> Bool {
        do {
            _ = try await engine.images.inspect(reference)
            return true
        } catch let error as EngineError where error.isNotFound {
            return false
        }
    }
}
