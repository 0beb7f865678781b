internal import EngineAPI
internal import Foundation

/// What the docker CLI of this machine knows about registries.
package struct Credentials: Sendable {
    private let config: JSON

    /// - Parameter folder: `DOCKER_CONFIG`, or `~/.docker`.
    package init(folder: String) {
        let text = try? String(contentsOfFile: folder + "/config.json", encoding: .utf8)
        config = text.flatMap { try? JSON(parsing: $0) } ?? [:]
    }

    /// As the engine wants it in `X-Registry-Auth`; nil where nothing is known.
    ///
    /// - Source: Engine API, "Authentication"; docker/cli docs, credential helpers.
    package func header(for image: ImageName) async -> String? {
        let registry = image.registry ?? "https://index.docker.io/v1/"
        let helper = config["credHelpers"]?[registry]?.string ?? config["credsStore"]?.string
        if let helper,
            let said = try? await Local.run(
                ["docker-credential-" + helper, "get"], input: registry, within: .seconds(20)), said.succeeded,
            let answer = try? JSON(parsing: said.output), let user = answer["Username"]?.string,
            let secret = answer["Secret"]?.string
        {
            return encode(
                user == "<token>"
                    ? ["identitytoken": .string(secret), "serveraddress": .string(registry)]
                    : ["username": .string(user), "password": .string(secret), "serveraddress": .string(registry)])
        }
        guard let entry = config["auths"]?[registry], let coded = entry["auth"]?.string,
            let data = Data(base64Encoded: coded)
        else { return nil }
        let halves = String(decoding: data, as: UTF8.self).split(
            separator: ":", maxSplits: 1, omittingEmptySubsequences: false
        ).map(String.init)
        guard halves.count == 2 else { return nil }
        return encode([
            "username": .string(halves[0]), "password": .string(halves[1]), "serveraddress": .string(registry),
        ])
    }

    private func encode(_ document: JSON) -> String {
        Data(document.utf8).base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(
            of: "/", with: "_")
    }
}
