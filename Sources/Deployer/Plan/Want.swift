package import Deploy

/// One application as it is to be, with everything read that the Deployfile only points at.
package struct Want: Sendable, Equatable {
    package var wished: Wish.Wished
    package var deployment: String
    /// As the hosts know it.
    package var image: ImageName
    /// As this machine knows it, where it differs.
    package var localImage: ImageName
    /// Values of the secrets that its options name.
    package var secrets: [Secret: String]
    /// The compose file, or the Kubernetes configuration.
    package var fileText: String?
    /// The ID of its image on this machine, where it is sent straight to hosts.
    package var localID: String?

    package init(
        _ wished: Wish.Wished, deployment: String, image: ImageName, localImage: ImageName? = nil,
        secrets: [Secret: String] = [:],
        fileText: String? = nil
    ) {
        (self.wished, self.deployment, self.image, self.secrets) = (wished, deployment, image, secrets)
        (self.localImage, self.fileText) = (localImage ?? image, fileText)
    }

    package var name: String { wished.name }

    func value(_ value: Value) -> String {
        switch value {
        case .plain(let text): text
        case .secret(let secret): secrets[secret] ?? ""
        }
    }

    /// Names of variables whose values are never shown.
    var secretNames: Set<String> {
        Set(wished.settings.compactMap { if case .env(let name, .secret) = $0 { name } else { nil } })
    }
}

/// Labels that a deploy leaves on what it makes.
enum Mark {
    static let application = "apus.application"
    static let deployment = "apus.deployment"
    static let version = "apus.version"
    /// What was wished of a container, without secrets: so the next plan can say what changed, and what was changed by hand.
    static let wish = "apus.wish"
    /// The image's name as it was wished.
    static let image = "apus.image"
    /// Paths of the engine's document that options set, so that they can be taken back.
    static let paths = "apus.engine-paths"
    static let all: Set<String> = [application, deployment, version, wish, image, paths]
}
