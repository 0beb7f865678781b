package import EngineAPI
internal import AsyncHTTPClient
internal import NIOCore
internal import NIOHTTP1

extension EngineClient {
    package struct Images: Sendable {
        let engine: EngineClient

        package func inspect(_ reference: String) async throws -> JSON {
            // A reference has slashes; the engine's router takes them as they are.
            let name = reference.split(separator: "/", omittingEmptySubsequences: false)
                .map { EngineClient.escape(String($0)) }.joined(separator: "/")
            return try await engine.ask(.GET, "/images/\(name)/json", for: "inspect image")
        }

        /// Returns when the image is there. May take as long as the network needs.
        ///
        /// - Parameter registryAuth: as it came in the `X-Registry-Auth` header.
        package func pull(_ reference: String, registryAuth: String?) async throws {
            var headers: HTTPHeaders = [:]
            if let registryAuth, !registryAuth.isEmpty { headers.add(name: "X-Registry-Auth", value: registryAuth) }
            let uri = "/images/create" + Self.query(of: reference)
            let response = try await engine.send(.POST, uri, headers: headers, for: "pull image", within: nil)
            var lines = JSONLines()
            var failure: String?
            func note(_ line: JSON?) {
                if let text = line?["error"]?.string ?? line?["errorDetail"]?["message"]?.string { failure = text }
            }
            for try await chunk in response.body {
                for line in try lines.take(chunk.readableBytesView) { note(line) }
            }
            note(try lines.line())
            if let failure { throw EngineError(status: 200, message: failure, operation: "pull image") }
        }

        /// Without a tag the engine would fetch all of them.
        static func query(of reference: String) -> String {
            let (name, tag) = split(reference)
            return EngineClient.query(["fromImage": name, "tag": tag])
        }

        /// The name, and its digest, its tag or `latest`.
        static func split(_ reference: String) -> (name: String, tag: String) {
            if let at = reference.firstIndex(of: "@") {
                return (split(String(reference[..<at])).name, String(reference[reference.index(after: at)...]))
            }
            let afterSlash = reference.lastIndex(of: "/").map(reference.index(after:)) ?? reference.startIndex
            if let colon = reference[afterSlash...].firstIndex(of: ":") {
                return (String(reference[..<colon]), String(reference[reference.index(after: colon)...]))
            }
            return (reference, "latest")
        }
    }
}
