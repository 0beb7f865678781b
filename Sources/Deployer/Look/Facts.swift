package import Deploy
package import EngineAPI

/// What an image of a host is.
package struct ImageFacts: Sendable, Equatable {
    package var id: String
    package var digests: [String]

    package init(id: String, digests: [String] = []) { (self.id, self.digests) = (id, digests) }
    init?(_ document: JSON) {
        guard let id = document["Id"]?.string else { return nil }
        self.init(id: id, digests: document["RepoDigests"]?.array?.compactMap(\.string) ?? [])
    }
    func has(_ digest: String) -> Bool { digests.contains { $0.hasSuffix("@" + digest) } }
}

/// What a registry said about a name.
package enum RegistryAnswer: Sendable, Equatable {
    case digest(String)
    /// It has none of that name, or does not answer.
    case refused(String)
}

/// A container that carries a deploy's labels.
package struct MarkedContainer: Sendable, Equatable {
    package var id: String
    package var name: String
    package var application: String
    package var version: Int
    package var running: Bool
    package var image: String
    package var imageID: String
    package var status: String
    package var created: Int

    package init(
        id: String, name: String, application: String, version: Int, running: Bool, image: String = "",
        imageID: String = "",
        status: String = "", created: Int = 0
    ) {
        (self.id, self.name, self.application, self.version, self.running) = (id, name, application, version, running)
        (self.image, self.imageID, self.status, self.created) = (image, imageID, status, created)
    }

    init?(_ document: JSON) {
        guard let id = document["Id"]?.string, let application = document["Labels"]?[Mark.application]?.string,
            let name = document["Names"]?.array?.first?.string
        else { return nil }
        self.init(
            id: id, name: String(name.drop { $0 == "/" }), application: application,
            version: document["Labels"]?[Mark.version]?.string.flatMap(Int.init) ?? 0,
            running: document["State"]?.string == "running",
            image: document["Labels"]?[Mark.image]?.string ?? document["Image"]?.string ?? "",
            imageID: document["ImageID"]?.string ?? "",
            status: document["Status"]?.string ?? "", created: document["Created"]?.int ?? 0)
    }
}

/// What a host runs, as far as a deployment is concerned.
package struct Facts: Sendable, Equatable {
    package var host: Machine
    /// `active`, `inactive`…; empty where nobody needed to know.
    package var swarmState = ""
    package var isManager = false
    /// Containers by the applications' names, as inspected.
    package var containers: [String: JSON] = [:]
    package var marked: [MarkedContainer] = []
    package var images: [String: ImageFacts] = [:]
    package var registry: [String: RegistryAnswer] = [:]
    /// By name, as listed.
    package var services: [String: JSON] = [:]
    package var networks: [String: String] = [:]
    package var secrets: [String: String] = [:]
    package var configs: [String: String] = [:]
    /// Configs that keep what stacks were.
    package var records: [String: [StackRecord]] = [:]
    /// Requests that waited for one another; those sent together count once.
    package var roundTrips = 0
    package var requests = 0

    package init(host: Machine) { self.host = host }
}

/// A host that was looked at, or why not.
package enum Sight: Sendable, Equatable {
    case seen(Facts)
    case unreachable(String)

    package var facts: Facts? { if case .seen(let facts) = self { facts } else { nil } }
}
