package import EngineAPI
internal import AsyncHTTPClient
internal import Foundation
package import Logging
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// Talks to one Docker engine through its unix socket.
///
/// Every call but streams and pulls ends within its time-out: an engine that hangs does not hang us.
///
/// - Source: Docker Engine API v1.41 and later; the version is negotiated as the docker CLI does (`/_ping`).
package final class EngineClient: Sendable {
    /// The answer to any one call may not be larger.
    static let bodyLimit = 64 << 20

    private let socketPath: String
    private let log: Logger
    private let http: HTTPClient
    private let version_ = Mutex<APIVersion?>(nil)

    package init(socketPath: String, log: Logger) {
        self.socketPath = socketPath
        self.log = log
        var settings = HTTPClient.Configuration()
        settings.timeout.connect = .seconds(5)
        settings.redirectConfiguration = .disallow
        // A pull or an event stream holds one connection each.
        settings.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 64
        // Whoever calls decides whether to try again.
        settings.connectionPool.retryConnectionEstablishment = false
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings)
    }

    /// Call it last: no other call may be under way.
    package func shutdown() async {
        do { try await http.shutdown() } catch {
            log.warning("closing the connections to the engine failed", metadata: ["error": "\(error)"])
        }
    }

    package func info() async throws -> JSON { try await ask(.GET, "/info", for: "info", within: .seconds(30)) }
    package func version() async throws -> JSON { try await ask(.GET, "/version", for: "version") }

    /// One that is there already, alike, is fine.
    package func createVolume(_ document: JSON) async throws {
        try await ask(.POST, "/volumes/create", document, for: "create volume", within: .seconds(120))
    }

    package var containers: Containers { Containers(engine: self) }
    package var images: Images { Images(engine: self) }

    /// What happens in the engine from now on. The stream ends when the engine closes it, and throws when it is lost.
    ///
    /// It is subscribed when this returns: what is listed afterwards has no gap before the first event.
    package func events(_ filters: [String: [String]]) async throws -> AsyncThrowingStream<JSON, any Error> {
        let uri = "/events" + Self.query(["filters": Self.filters(filters)])
        let response = try await send(.GET, uri, for: "events", within: nil)
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: JSON.self)
        let reading = Task { [socketPath] in
            do {
                var lines = JSONLines()
                for try await chunk in response.body {
                    for line in try lines.take(chunk.readableBytesView) { continuation.yield(line) }
                }
                continuation.finish()
            } catch is CancellationError {
                continuation.finish(throwing: CancellationError())
            } catch {
                continuation.finish(throwing: EngineUnreachable(socketPath: socketPath, reason: "\(error)"))
            }
        }
        continuation.onTermination = { _ in reading.cancel() }
        return stream
    }
}

// MARK: - One call

extension EngineClient {
    /// Sends one request and reads its whole answer; `null` where there is none.
    @discardableResult
    func ask(
        _ method: HTTPMethod, _ uri: String, _ body: JSON? = nil, headers: HTTPHeaders = [:], for operation: String,
        within limit: Duration = .seconds(60)
    ) async throws -> JSON {
        let response = try await send(method, uri, body, headers: headers, for: operation, within: limit)
        let bytes = try await read(response, for: operation)
        if bytes.readableBytes == 0 { return .null }
        do { return try JSON(parsing: bytes.readableBytesView) } catch {
            throw EngineError(status: Int(response.status.code), message: "\(error)", operation: operation)
        }
    }

    /// - Returns: the answer, its body not read, if the engine agreed; an `EngineError` is thrown if it did not.
    /// - Parameter limit: for the whole call; nil for streams.
    func send(
        _ method: HTTPMethod, _ uri: String, _ body: JSON? = nil, headers: HTTPHeaders = [:], for operation: String,
        within limit: Duration?
    ) async throws -> HTTPClientResponse {
        let version = try await apiVersion()
        let response = try await execute(
            method, "/v\(version)\(uri)", body, headers: headers, within: limit ?? .seconds(86_400 * 365))
        guard response.status.code < 400 else {
            let bytes = try await read(response, for: operation)
            let text = String(decoding: bytes.readableBytesView, as: UTF8.self)
            let message = (try? JSON(parsing: text))?["message"]?.string ?? text
            throw EngineError(status: Int(response.status.code), message: message, operation: operation)
        }
        return response
    }

    private func execute(
        _ method: HTTPMethod, _ uri: String, _ body: JSON?, headers: HTTPHeaders, within limit: Duration
    ) async throws -> HTTPClientResponse {
        guard let url = URL(httpURLWithSocketPath: socketPath, uri: uri) else {
            throw EngineUnreachable(socketPath: socketPath, reason: "that is no path of a socket")
        }
        var request = HTTPClientRequest(url: url.absoluteString)
        request.method = method
        request.headers = headers
        // Go refuses the socket's path as a host name.
        request.headers.replaceOrAdd(name: "Host", value: "docker")
        if let body {
            request.headers.replaceOrAdd(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body.utf8))
        }
        do { return try await http.execute(request, deadline: .now() + .nanoseconds(limit.wholeNanoseconds)) } catch {
            if Task.isCancelled { throw CancellationError() }
            throw EngineUnreachable(socketPath: socketPath, reason: "\(error)")
        }
    }

    private func read(_ response: HTTPClientResponse, for operation: String) async throws -> ByteBuffer {
        do { return try await response.body.collect(upTo: Self.bodyLimit) } catch {
            if Task.isCancelled { throw CancellationError() }
            throw EngineUnreachable(socketPath: socketPath, reason: "its answer to \(operation) broke off: \(error)")
        }
    }

    /// What we and the engine both speak.
    package func apiVersion() async throws -> APIVersion {
        if let known = version_.withLock({ $0 }) { return known }
        let response = try await execute(.GET, "/_ping", nil, headers: [:], within: .seconds(10))
        _ = try await read(response, for: "ping")
        guard response.status.code < 400 else {
            throw EngineUnreachable(socketPath: socketPath, reason: "it answers \(response.status) to a ping")
        }
        let theirs = response.headers.first(name: "Api-Version").flatMap { APIVersion($0) } ?? .oldest
        let agreed = min(theirs, .newest)
        version_.withLock { $0 = agreed }
        log.debug("talking to the engine", metadata: ["socket": "\(socketPath)", "api": "\(agreed)"])
        return agreed
    }
}

// MARK: - Spelling

extension EngineClient {
    static func query(_ fields: KeyValuePairs<String, String>) -> String {
        fields.isEmpty ? "" : "?" + fields.map { "\($0.key)=\(escape($0.value))" }.joined(separator: "&")
    }

    static func filters(_ filters: [String: [String]]) -> String {
        var object = JSON.Object()
        for (name, values) in filters.sorted(by: { $0.key < $1.key }) { object[name] = JSON(values) }
        return JSON.object(object).text
    }

    /// Everything but RFC 3986's unreserved characters, byte by byte.
    static func escape(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                out.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                out += "%" + (hex.count == 1 ? "0" : "") + hex
            }
        }
        return out
    }
}

/// Cuts a stream of bytes into JSON documents, one a line.
struct JSONLines {
    /// A longer line is no progress message and no event.
    static let lineLimit = 1 << 20
    private var rest: [UInt8] = []

    mutating func take(_ bytes: some Collection<UInt8>) throws -> [JSON] {
        var found: [JSON] = []
        for byte in bytes {
            guard byte == UInt8(ascii: "\n") else {
                guard rest.count < Self.lineLimit else { throw LineTooLong() }
                rest.append(byte)
                continue
            }
            if let line = try line() { found.append(line) }
        }
        return found
    }

    /// What is left when the stream ends.
    mutating func line() throws -> JSON? {
        defer { rest.removeAll(keepingCapacity: true) }
        while rest.last == UInt8(ascii: "\r") { rest.removeLast() }
        // Not with `?:`, where `nil` would be the document `null`.
        guard !rest.isEmpty else { return nil }
        return try JSON(parsing: rest)
    }
}

struct LineTooLong: Error {}

extension Duration {
    var wholeNanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
