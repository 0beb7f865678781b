import ClusterModel
import ClusterStore
import EngineAPI

// Logs of services and tasks, from all nodes.
extension Router {
    func serviceLogs(_ call: Call) async throws -> Response {
        let cluster = try await life.cluster()
        let store = try await cluster.snapshot()
        let service = try store.findService(call.reference)
        let spec = store.currentRevision(of: service)?.spec
        return try logs(.service(service.id), spec, call, cluster)
    }

    func taskLogs(_ call: Call) async throws -> Response {
        let cluster = try await life.cluster()
        let store = try await cluster.snapshot()
        let task = try store.findTask(call.reference)
        return try logs(.task(task.id), store.revision(task.revision, of: task.service)?.spec, call, cluster)
    }

    /// - Source: moby api/server/router/swarm/helpers.go, `swarmLogs`.
    private func logs(
        _ subject: Dispatch.LogWish.Subject, _ spec: Cluster.ServiceSpec?, _ call: Call, _ cluster: any ClusterAccess
    ) throws -> Response {
        let wish = try logWish(subject, call)
        let format = LogFormat(
            isTerminal: spec.flatMap {
                ClusterWords.document($0.document)["TaskTemplate"]?["ContainerSpec"]?["TTY"]?.bool
            } ?? false,
            withTimes: call.query.flag("timestamps"), withDetails: call.query.flag("details"))
        var response = Response(status: 200)
        let type = format.isTerminal ? "raw-stream" : "multiplexed-stream"
        response.headers.append(Header("Content-Type", "application/vnd.docker.\(type)"))
        response.stream = BodyStream { write in
            do {
                try await cluster.logs(wish) { batch in try await write(format.bytes(of: batch)) }
            } catch {
                if Task.isCancelled { return }
                try await write(format.trouble(Refusal(error).message))
            }
        }
        return response
    }

    private func logWish(_ subject: Dispatch.LogWish.Subject, _ call: Call) throws -> Dispatch.LogWish {
        var wish = Dispatch.LogWish(
            subject, follows: call.query.flag("follow"), stdout: call.query.flag("stdout"),
            stderr: call.query.flag("stderr"))
        guard wish.stdout || wish.stderr else {
            throw Refusal(400, "Bad parameters: you must choose at least one stream")
        }
        let tail = call.query["tail"] ?? ""
        if !tail.isEmpty, tail != "all" {
            guard let lines = Int(tail) else {
                throw Refusal(500, #"tail value must be a positive integer or "all""#)
            }
            guard lines >= 0 else { throw Refusal(500, "negative tail values not supported") }
            wish.tail = lines
        }
        for (name, field) in [("since", \Dispatch.LogWish.since), ("until", \Dispatch.LogWish.until)] {
            let text = call.query[name] ?? ""
            guard
                text.utf8.allSatisfy({ $0 == UInt8(ascii: ".") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
                )
            else { throw Refusal(400, "invalid value for \(name): \(text)") }
            if text != "0" { wish[keyPath: field] = text }
        }
        return wish
    }
}

/// How lines go out: framed by their stream, or plain for a terminal.
///
/// - Source: moby api/server/httputils/write_log_stream.go; pkg/stdcopy.
struct LogFormat: Sendable {
    var isTerminal: Bool
    var withTimes: Bool
    var withDetails: Bool

    func bytes(of batch: Dispatch.LogBatch) -> [UInt8] {
        var out: [UInt8] = []
        for line in batch.lines {
            var text: [UInt8] = []
            if withTimes { text += Array(line.time.utf8) + [UInt8(ascii: " ")] }
            if withDetails { text += Array(details(of: line, in: batch).utf8) + [UInt8(ascii: " ")] }
            text += line.text
            frame(text, stream: line.stream, into: &out)
        }
        if let words = batch.trouble { out += trouble("rpc error: code = Unknown desc = \(words)") }
        return out
    }

    /// On the stream by which clients are told of the daemon's own trouble.
    func trouble(_ words: String) -> [UInt8] {
        var out: [UInt8] = []
        frame(Array("Error grabbing logs: \(words)\n".utf8), stream: 3, into: &out)
        return out
    }

    /// Sorted, as the engine writes them; by these the CLI knows whose line it is.
    private func details(of line: Dispatch.LogBatch.Line, in batch: Dispatch.LogBatch) -> String {
        var details = line.details.split(separator: ",").map(String.init)
        details.append("com.docker.swarm.node.id=\(batch.node)")
        details.append("com.docker.swarm.service.id=\(batch.service)")
        details.append("com.docker.swarm.task.id=\(batch.task)")
        return details.sorted().joined(separator: ",")
    }

    private func frame(_ text: [UInt8], stream: UInt8, into out: inout [UInt8]) {
        if !isTerminal {
            let length = UInt32(text.count)
            out += [stream, 0, 0, 0]
            out += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) }
        }
        out += text
    }
}
