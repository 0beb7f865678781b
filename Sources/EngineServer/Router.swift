import EngineAPI
package import Logging
import Synchronization

/// Which paths of the Engine API this daemon answers itself. Everything else is the engine's.
///
/// Knows no socket: a request in, a response out.
package struct Router: Sendable {
    let life: any SwarmLife
    let engine: any EngineAnswers
    let log: Logger
    /// What this program calls itself in the `Server` header.
    let product: String
    private let engineVersion = EngineVersion()

    package init(life: any SwarmLife, engine: any EngineAnswers, log: Logger, product: String = "Apus/0.1 (linux)") {
        self.life = life
        self.engine = engine
        self.log = log
        self.product = product
    }

    static let table: [Route] = [
        Route("GET", "/_ping", Router.ping),
        Route("HEAD", "/_ping", Router.ping),
        Route("GET", "/version", Router.showVersion),
        Route("GET", "/info", Router.showInfo),
        Route("GET", "/events", Router.showEvents),
        Route("GET", "/apus/debug", Router.dump),

        Route("GET", "/swarm", Router.inspectSwarm),
        Route("POST", "/swarm/init", Router.initializeSwarm),
        Route("POST", "/swarm/join", Router.joinSwarm),
        Route("POST", "/swarm/leave", Router.leaveSwarm),
        Route("POST", "/swarm/update", Router.updateSwarm),
        Route("GET", "/swarm/unlockkey", Router.showUnlockKey),
        Route("POST", "/swarm/unlock", Router.unlockSwarm),

        Route("GET", "/nodes", Router.listNodes),
        Route("GET", "/nodes/{id}", Router.inspectNode),
        Route("DELETE", "/nodes/{id}", Router.removeNode),
        Route("POST", "/nodes/{id}/update", Router.updateNode),

        Route("GET", "/services", Router.listServices),
        Route("POST", "/services/create", Router.createService),
        Route("GET", "/services/{id}", Router.inspectService),
        Route("DELETE", "/services/{id}", Router.removeService),
        Route("POST", "/services/{id}/update", Router.updateService),
        Route("GET", "/services/{id}/logs", Router.serviceLogs),

        Route("GET", "/tasks", Router.listTasks),
        Route("GET", "/tasks/{id}", Router.inspectTask),
        Route("GET", "/tasks/{id}/logs", Router.taskLogs),

        Route("GET", "/secrets", Router.listDependencies),
        Route("POST", "/secrets/create", Router.createDependency),
        Route("GET", "/secrets/{id}", Router.inspectDependency),
        Route("DELETE", "/secrets/{id}", Router.removeDependency),
        Route("POST", "/secrets/{id}/update", Router.updateDependency),

        Route("GET", "/configs", Router.listDependencies),
        Route("POST", "/configs/create", Router.createDependency),
        Route("GET", "/configs/{id}", Router.inspectDependency),
        Route("DELETE", "/configs/{id}", Router.removeDependency),
        Route("POST", "/configs/{id}/update", Router.updateDependency),

        Route("GET", "/networks", Router.listNetworks),
        Route("POST", "/networks/create", Router.createNetwork, when: Router.isForCluster),
        Route("POST", "/networks/prune", Router.pruneNetworks),
        Route("GET", "/networks/{id}", Router.inspectNetwork),
        Route("DELETE", "/networks/{id}", Router.removeNetwork),
        Route("POST", "/networks/{id}/connect", Router.changeNetworkMembers),
        Route("POST", "/networks/{id}/disconnect", Router.changeNetworkMembers),
    ]
}

/// One line of the table.
struct Route: Sendable {
    typealias Handler = @Sendable (Router) -> @Sendable (Call) async throws -> Response

    let method: String
    /// `{id}` stands for any one segment that is not empty.
    let pattern: [String]
    let handler: Handler
    /// For a path that is ours only with some bodies; nil when it always is.
    let isOurs: (@Sendable (JSON) -> Bool)?

    init(
        _ method: String, _ pattern: String, _ handler: @escaping Handler,
        when isOurs: (@Sendable (JSON) -> Bool)? = nil
    ) {
        self.method = method
        self.pattern = pattern.split(separator: "/").map(String.init)
        self.handler = handler
        self.isOurs = isOurs
    }

    /// - Returns: what stands for `{id}`, empty where the pattern has none; nil when this is another path.
    func match(_ method: String, _ path: [String]) -> String? {
        guard method == self.method, path.count == pattern.count else { return nil }
        var id = ""
        for (part, segment) in zip(pattern, path) {
            if part == "{id}", !segment.isEmpty { id = segment } else if part != segment { return nil }
        }
        return id
    }
}

/// A request together with what the router read of its path.
struct Call: Sendable {
    let request: Request
    /// The name, ID or prefix in the path; empty where there is none.
    let reference: String

    var query: Query { request.query }

    /// The body as a document.
    func document() throws -> JSON {
        guard request.body.contains(where: { !" \t\r\n".utf8.contains($0) }) else {
            throw Refusal(400, "got EOF while reading request body")
        }
        do { return try JSON(parsing: request.body) } catch {
            throw Refusal(400, error.offset == request.body.count ? "unexpected EOF" : "\(error)")
        }
    }

    func filters(_ allowed: Set<String>) throws -> Filters {
        try Filters(parsing: query["filters"] ?? "", allowed: allowed)
    }
}

// MARK: - Answering

extension Router {
    /// Whose a request is.
    package enum Owner: Sendable, Equatable {
        case engine
        case us
        /// Its body decides: ask `answers(_:)` when it is there.
        case bodyDecides
    }

    package func owner(of method: String, _ target: RequestTarget) -> Owner {
        guard let (route, _) = Self.find(method, target.path) else { return .engine }
        return route.isOurs == nil ? .us : .bodyDecides
    }

    /// True when the request, with this body, is for us.
    package func answers(_ request: Request) -> Bool {
        guard let (route, _) = Self.find(request.method, request.path) else { return false }
        guard let isOurs = route.isOurs else { return true }
        guard let document = try? JSON(parsing: request.body) else { return false }
        return isOurs(document)
    }

    /// Never fails: what goes wrong is an answer too.
    package func respond(to request: Request) async -> Response {
        var response: Response
        do {
            guard let (route, reference) = Self.find(request.method, request.path) else {
                throw Refusal(404, "page not found")
            }
            if let words = request.version?.refusal { throw Refusal(400, words) }
            response = try await route.handler(self)(Call(request: request, reference: reference))
        } catch {
            let refusal = Refusal(error)
            if refusal.status >= 500 {
                log.info(
                    "A request was refused",
                    metadata: [
                        "request.method": "\(request.method)",
                        "request.path": "/\(request.path.joined(separator: "/"))",
                        "response.status": "\(refusal.status)", "reason": "\(refusal.message)",
                    ])
            }
            response = .refusal(refusal)
        }
        await addUsualHeaders(to: &response)
        if request.method == "HEAD" { response.body = [] }
        return response
    }

    private static func find(_ method: String, _ path: [String]) -> (Route, String)? {
        for route in table {
            if let reference = route.match(method, path) { return (route, reference) }
        }
        return nil
    }

    private func addUsualHeaders(to response: inout Response) async {
        let usual = [
            Header("Api-Version", await spokenVersion().description), Header("Docker-Experimental", "false"),
            Header("Ostype", "linux"), Header("Server", product),
        ]
        for header in usual where response.headers[header.name] == nil { response.headers.append(header) }
    }
}

// MARK: - The version that clients should speak

extension Router {
    /// The engine's own, so that clients ask of it only what it can; no newer than what our own routes know.
    func spokenVersion() async -> APIVersion {
        if let known = engineVersion.known.withLock({ $0 }) { return min(known, .newest) }
        guard let answer = try? await within(.seconds(2), { [engine] in try await engine.get("/_ping") }) else {
            return .newest
        }
        note(answer)
        return min(engineVersion.known.withLock { $0 } ?? .newest, .newest)
    }

    func note(_ answer: EngineAnswer) {
        guard let text = answer.headers["Api-Version"], let version = APIVersion(text) else { return }
        engineVersion.known.withLock { $0 = version }
    }

    /// Remembered from the engine's last answer.
    private final class EngineVersion: Sendable {
        let known = Mutex<APIVersion?>(nil)
    }
}
