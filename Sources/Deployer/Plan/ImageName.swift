/// An image's name in its parts: `registry/account/name:tag@digest`.
package struct ImageName: Sendable, Equatable, CustomStringConvertible {
    /// With its port; nil for Docker Hub.
    package var registry: String?
    /// With what stands between registry and tag: `account/name`.
    package var path: String
    package var tag: String?
    package var digest: String?

    package init(_ text: String) {
        var rest = text
        if let at = rest.firstIndex(of: "@") {
            digest = String(rest[rest.index(after: at)...])
            rest = String(rest[..<at])
        }
        let afterSlash = rest.lastIndex(of: "/").map(rest.index(after:)) ?? rest.startIndex
        if let colon = rest[afterSlash...].lastIndex(of: ":") {
            tag = String(rest[rest.index(after: colon)...])
            rest = String(rest[..<colon])
        }
        // The first part is a registry if it could be a host.
        if let slash = rest.firstIndex(of: "/") {
            let first = rest[..<slash]
            if first.contains(".") || first.contains(":") || first == "localhost" {
                registry = String(first)
                rest = String(rest[rest.index(after: slash)...])
            }
        }
        path = rest
        if tag == nil, digest == nil { tag = "latest" }
    }

    package var description: String { unpinned + (digest.map { "@" + $0 } ?? "") }
    /// Without the digest.
    package var unpinned: String { (registry.map { $0 + "/" } ?? "") + path + (tag.map { ":" + $0 } ?? "") }
    /// What the engine calls it in `RepoDigests`.
    var repository: String { (registry.map { $0 + "/" } ?? "") + path }

    /// The last part of the path.
    package var name: String {
        get { path.split(separator: "/").last.map(String.init) ?? path }
        set { path = (path.split(separator: "/").dropLast().map(String.init) + [newValue]).joined(separator: "/") }
    }

    package func pinned(to digest: String) -> Self {
        var copy = self
        copy.digest = digest
        return copy
    }

    /// Changed in part or wholly, as said on the command line: `1.2`, `name:1.2`, `registry/account/name:1.2`, `name@sha256:…`.
    package func overridden(by text: String) -> Self {
        if text.hasPrefix("sha256:") { return overriding { $0.digest = text } }
        let bare = !text.contains("/") && !text.contains(":") && !text.contains("@")
        if bare {
            return overriding {
                $0.tag = text
                $0.digest = nil
            }
        }
        let said = ImageName(text)
        return overriding {
            if said.registry != nil { $0.registry = said.registry }
            if said.path.contains("/") { $0.path = said.path } else { $0.name = said.path }
            $0.tag = said.tag
            $0.digest = said.digest
        }
    }

    private func overriding(_ change: (inout Self) -> Void) -> Self {
        var copy = self
        change(&copy)
        return copy
    }
}
