internal import AsyncHTTPClient
internal import NIOCore
internal import NIOHTTP1

/// A line that a container wrote, as the engine's log driver gives it back.
package struct ContainerLogLine: Sendable, Equatable {
    /// 1 for the standard output, 2 for the standard error.
    package var stream: UInt8
    package var time: String
    package var details: String
    package var text: [UInt8]
}

extension EngineClient.Containers {
    /// Reads a container's log, to its end or, following, until the container has ended.
    ///
    /// The next lines are not read before `each` has returned.
    ///
    /// - Parameter query: `stdout`, `stderr`, `follow`, `since`, `until`, `tail`, as the engine takes them.
    /// - Throws: `EngineError` where the log cannot be read, as with drivers that only write.
    package func logs(
        _ id: String, isTerminal: Bool, query: KeyValuePairs<String, String>,
        each: @Sendable ([ContainerLogLine]) async throws -> Void
    ) async throws {
        let path = "/containers/\(EngineClient.escape(id))/logs" + EngineClient.query(query) + "&timestamps=1&details=1"
        let response = try await engine.send(.GET, path, for: "read logs", within: nil)
        var frames = LogFrames(isTerminal: isTerminal)
        for try await chunk in response.body {
            let lines = try frames.take(chunk.readableBytesView)
            if !lines.isEmpty { try await each(lines) }
        }
        if let last = frames.rest() { try await each([last]) }
    }
}

/// Cuts a log's bytes into lines: frames of eight bytes of head and a line each, or the plain lines of a terminal.
///
/// - Source: Engine API, `ContainerAttach`, "Stream format"; moby api/server/httputils/write_log_stream.go.
struct LogFrames {
    /// The engine cuts longer lines into pieces of 16 KiB.
    static let frameLimit = 1 << 20

    struct Broken: Error, CustomStringConvertible {
        var description: String
    }

    let isTerminal: Bool
    private var buffer: [UInt8] = []

    init(isTerminal: Bool) { self.isTerminal = isTerminal }

    mutating func take(_ bytes: some Collection<UInt8>) throws -> [ContainerLogLine] {
        buffer.append(contentsOf: bytes)
        var lines: [ContainerLogLine] = []
        var at = 0
        while let (length, stream, skip) = try next(from: at) {
            lines.append(Self.line(buffer[(at + skip)..<(at + skip + length)], stream))
            at += skip + length
        }
        buffer.removeSubrange(..<at)
        return lines
    }

    /// What a terminal wrote last without a line's end.
    mutating func rest() -> ContainerLogLine? {
        defer { buffer = [] }
        return isTerminal && !buffer.isEmpty ? Self.line(buffer[...], 1) : nil
    }

    private func next(from at: Int) throws -> (length: Int, stream: UInt8, skip: Int)? {
        if isTerminal {
            guard let end = buffer[at...].firstIndex(of: UInt8(ascii: "\n")) else {
                guard buffer.count - at <= Self.frameLimit else { throw Broken(description: "a line is too long") }
                return nil
            }
            return (end - at + 1, 1, 0)
        }
        guard buffer.count - at >= 8 else { return nil }
        let length = buffer[(at + 4)..<(at + 8)].reduce(0) { $0 << 8 | Int($1) }
        guard buffer[at] <= 3, length <= Self.frameLimit else {
            throw Broken(description: "the log is not in the engine's frames")
        }
        return buffer.count - at >= 8 + length ? (length, buffer[at], 8) : nil
    }

    /// `TIME DETAILS TEXT`, the details mostly empty.
    private static func line(_ bytes: ArraySlice<UInt8>, _ stream: UInt8) -> ContainerLogLine {
        let space = UInt8(ascii: " ")
        guard let first = bytes.firstIndex(of: space),
            let second = bytes[(first + 1)...].firstIndex(of: space)
        else { return ContainerLogLine(stream: stream, time: "", details: "", text: Array(bytes)) }
        return ContainerLogLine(
            stream: stream, time: String(decoding: bytes[..<first], as: UTF8.self),
            details: String(decoding: bytes[(first + 1)..<second], as: UTF8.self), text: Array(bytes[(second + 1)...]))
    }
}
