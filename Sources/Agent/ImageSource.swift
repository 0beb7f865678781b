internal import EngineAPI
internal import EngineClient
internal import Foundation
internal import Logging

/// Sees to it that the engine has an image. Who asks for one that is on its way waits for the same pull; a pull for
/// which nobody waits any more is cancelled.
actor ImageSource {
    private let engine: EngineClient
    private let prefersOffline: Bool
    private let log: Logger
    private var pulls: [PullKey: Pull] = [:]
    private var lastWaiter = 0

    /// Two services with other credentials do not share what those credentials open.
    private struct PullKey: Hashable {
        var reference: String
        var registryAuth: String?
    }

    private struct Pull {
        var work: Task<Void, Never>?
        var waiters: [Int: CheckedContinuation<Void, any Error>] = [:]
    }

    init(engine: EngineClient, log: Logger) {
        self.engine = engine
        self.log = log
        prefersOffline = ProcessInfo.processInfo.environment["DOCKER_SERVICE_PREFER_OFFLINE_IMAGE"] == "1"
    }

    /// A tag may have moved, so it is asked for each time; a digest says what is meant for ever.
    ///
    /// - Throws: `EngineError` for an image that cannot be had, `CancellationError` once the caller is cancelled.
    /// - Source: moby daemon/cluster/executor/container/controller.go (20.10), `Prepare` and adapter.go, `pullImage`.
    func provide(_ reference: String, registryAuth: String?) async throws {
        if reference.contains("@") || prefersOffline, try await isPresent(reference) { return }
        do {
            try await pull(PullKey(reference: reference, registryAuth: registryAuth))
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

    private func pull(_ key: PullKey) async throws {
        lastWaiter += 1
        let waiter = lastWaiter
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                if Task.isCancelled { return continuation.resume(throwing: CancellationError()) }
                pulls[key, default: Pull()].waiters[waiter] = continuation
                guard pulls[key]?.work == nil else { return }
                // It belongs to all who wait for it, so no one's scope can hold it; the last who leaves cancels it.
                pulls[key]?.work = Task { [engine] in
                    var result: Result<Void, any Error> = .success(())
                    do {
                        try await engine.images.pull(key.reference, registryAuth: key.registryAuth)
                    } catch {
                        result = .failure(error)
                    }
                    if !Task.isCancelled { self.finish(key, result) }
                }
            }
        } onCancel: {
            Task { await self.leave(waiter, key) }
        }
    }

    private func finish(_ key: PullKey, _ result: Result<Void, any Error>) {
        for waiter in pulls.removeValue(forKey: key)?.waiters.values ?? [:].values { waiter.resume(with: result) }
    }

    private func leave(_ waiter: Int, _ key: PullKey) {
        guard let continuation = pulls[key]?.waiters.removeValue(forKey: waiter) else { return }
        continuation.resume(throwing: CancellationError())
        if pulls[key]?.waiters.isEmpty == true {
            pulls[key]?.work?.cancel()
            pulls[key] = nil
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
