import ClusterModel
import ClusterStore
import EngineAPI

extension Router {
    /// The engine's own answer, with our word about the swarm.
    func ping(_ call: Call) async throws -> Response {
        let answer = try await engine.get("/_ping")
        note(answer)
        var response = relay(answer)
        let local = await life.local()
        let swarm =
            local.state == .active
            ? (local.controlAvailable ? "active/manager" : "active/worker") : local.state.rawValue
        response.headers.append(Header("Swarm", swarm))
        return response
    }

    /// The engine's own answer; the API version no newer than what we can answer ourselves.
    func showVersion(_ call: Call) async throws -> Response {
        let answer = try await askEngine("/version", call)
        guard answer.status == 200, var document = try? JSON(parsing: answer.body) else { return relay(answer) }
        let apus: JSON = [
            "Name": "Apus", "Version": .string(productVersion),
            "Details": [
                "ApiVersion": .string("\(APIVersion.newest)"), "MinAPIVersion": .string("\(APIVersion.oldest)"),
            ],
        ]
        if let components = document["Components"]?.array { document["Components"] = .array(components + [apus]) }
        if let text = document["ApiVersion"]?.string, let version = APIVersion(text), version > .newest {
            document["ApiVersion"] = .string("\(APIVersion.newest)")
        }
        return .json(document)
    }

    /// The engine's own answer with `Swarm` replaced by what we know.
    func showInfo(_ call: Call) async throws -> Response {
        async let ours = swarmInfo()
        let answer = try await askEngine("/info", call)
        guard answer.status == 200, var document = try? JSON(parsing: answer.body) else { return relay(answer) }
        document["Swarm"] = await ours
        return .json(document)
    }

    func dump(_ call: Call) async throws -> Response { .json(await life.debugDump()) }

    private var productVersion: String {
        product.split(separator: "/").dropFirst().first?.split(separator: " ").first.map(String.init) ?? product
    }

    /// Asks in the version that the client speaks, unless the engine does not speak it.
    private func askEngine(_ path: String, _ call: Call) async throws -> EngineAnswer {
        var prefix = ""
        if let version = call.request.version, version <= (await spokenVersion()) { prefix = "/v\(version)" }
        let answer = try await engine.get(prefix + path)
        note(answer)
        return answer
    }

    func relay(_ answer: EngineAnswer) -> Response {
        let ofTheConnection: Set = ["connection", "keep-alive", "transfer-encoding", "content-length", "date", "swarm"]
        var response = Response(
            status: answer.status, headers: answer.headers.filter { !ofTheConnection.contains($0.name.lowercased()) },
            body: answer.body)
        if let place = response.headers.firstIndex(where: { $0.name.lowercased() == "api-version" }),
            let version = APIVersion(response.headers[place].value), version > .newest
        {
            response.headers[place].value = "\(APIVersion.newest)"
        }
        return response
    }

    /// `docker info` must answer when the swarm does not, so nothing here fails and the cluster is not waited for long.
    private func swarmInfo() async -> JSON {
        let local = await life.local()
        var info: JSON = [
            "NodeID": .string(local.nodeID?.description ?? ""),
            "NodeAddr": .string(local.nodeAddress),
            "LocalNodeState": .string(local.state.rawValue),
            "ControlAvailable": .bool(local.controlAvailable),
            "Error": .string(local.error),
            "RemoteManagers": .null,
        ]
        if !local.remoteManagers.isEmpty {
            info["RemoteManagers"] = .array(
                local.remoteManagers.map { ["NodeID": .string("\($0.node)"), "Addr": .string($0.address)] })
        }
        guard local.controlAvailable else { return info }
        do {
            let store = try await within(.seconds(3)) { [life] in try await life.cluster().snapshot() }
            let nodes = store.nodes
            info["Nodes"] = JSON(nodes.count)
            info["Managers"] = JSON(nodes.count { $0.manager != nil })
            if let swarm = store.swarm { info["Cluster"] = ClusterWords.cluster(swarm) }
        } catch {
            if local.error.isEmpty { info["Error"] = .string(Refusal(error).message) }
        }
        return info
    }
}
