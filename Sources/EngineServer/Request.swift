package import EngineAPI

/// One request that this daemon answers itself, whole.
package struct Request: Sendable, Equatable {
    package var method: String
    /// Segments of the path, decoded, without the version.
    package var path: [String]
    /// As the client named it; nil for an unversioned path.
    package var version: APIVersion?
    package var query: Query
    package var headers: [Header]
    package var body: [UInt8]

    package init(_ method: String, _ target: RequestTarget, headers: [Header] = [], body: [UInt8] = []) {
        self.method = method
        path = target.path
        version = target.version
        query = target.query
        self.headers = headers
        self.body = body
    }

    /// - Parameter target: as it stands in the first line: `/v1.41/services?status=1`.
    package init(_ method: String, _ target: String, headers: [Header] = [], body: String = "") {
        self.init(method, RequestTarget(target), headers: headers, body: Array(body.utf8))
    }

    package subscript(header name: String) -> String? { headers[name] }
}

package struct Header: Sendable, Equatable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

extension [Header] {
    /// The first value under this name, in whatever case.
    package subscript(name: String) -> String? {
        first { $0.name.utf8.count == name.utf8.count && $0.name.lowercased() == name.lowercased() }?.value
    }

    /// True when one of the comma-separated words under `name` is `token`.
    package func has(_ token: String, in name: String) -> Bool {
        contains { header in
            header.name.lowercased() == name.lowercased()
                && header.value.split(separator: ",").contains {
                    $0.drop { $0 == " " }.lowercased().split(separator: " ").first.map(String.init) == token
                }
        }
    }
}

/// What a request's first line points at.
package struct RequestTarget: Sendable, Equatable {
    package var path: [String]
    package var version: APIVersion?
    package var query: Query

    /// Reads paths as the engine does, escapes included: what the engine would take for `/swarm/init` is found to be it
    /// here too, however it is spelled.
    package init(_ text: some StringProtocol) {
        var rest = Substring(text)
        if let scheme = rest.range(of: "://"), !rest[..<scheme.lowerBound].contains("/") {
            // The absolute form, which is for proxies; Go's servers take it as well.
            rest = rest[scheme.upperBound...].drop { $0 != "/" }
        }
        let halves = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        query = Query(halves.count > 1 ? halves[1] : "")
        // "/a/" keeps its empty last segment: it is another path than "/a".
        path = (halves.first ?? "").split(separator: "/", omittingEmptySubsequences: false).dropFirst()
            .map { Percent.decode($0) }
        if let first = path.first, first.hasPrefix("v"), first.dropFirst().first?.isNumber == true,
            let version = APIVersion(first.dropFirst())
        {
            self.version = version
            path.removeFirst()
        }
    }
}

extension Substring {
    fileprivate func range(of text: String) -> Range<Index>? {
        var place = startIndex
        while place < endIndex {
            if self[place...].hasPrefix(text) { return place..<index(place, offsetBy: text.count) }
            formIndex(after: &place)
        }
        return nil
    }
}
