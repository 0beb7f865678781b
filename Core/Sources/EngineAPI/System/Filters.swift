/// Which objects of a list a client wants: `{"label":["a=b"]}`, or in the older form `{"label":{"a=b":true}}`.
///
/// - Source: moby api/types/filters/parse.go.
public struct Filters: Sendable, Equatable {
    private var values: [String: [String]] = [:]

    public init() {}

    /// - Parameter allowed: the names that this list knows. Any other is an error, never left out in silence.
    public init(parsing text: String, allowed: Set<String>) throws(WordError) {
        guard !text.isEmpty else { return }
        let document: JSON
        do { document = try JSON(parsing: text) } catch { throw WordError(error.problem) }
        guard document != .null else { return }
        guard let object = document.object else {
            throw WordError("json: cannot unmarshal \(document.kind) into Go value of type map[string]map[string]bool")
        }
        for member in object.members {
            values[member.name] = try Self.list(member.value)
        }
        if let unknown = values.keys.filter({ !allowed.contains($0) }).min() {
            throw WordError("Invalid filter '\(unknown)'")
        }
    }

    private static func list(_ json: JSON) throws(WordError) -> [String] {
        switch json {
        case .null: return []
        // The value is not looked at: `{"global":false}` asks for global, as Docker reads it.
        case .object(let object): return object.members.map(\.name).sorted()
        case .array(let elements):
            var list: [String] = []
            for element in elements {
                guard let text = element.string else {
                    throw WordError("json: cannot unmarshal \(element.kind) into Go value of type string")
                }
                list.append(text)
            }
            return list
        default: throw WordError("json: cannot unmarshal \(json.kind) into Go value of type map[string]bool")
        }
    }

    /// What was asked for under `name`; empty when nothing was.
    public subscript(name: String) -> [String] {
        get { values[name] ?? [] }
        set { values[name] = newValue.isEmpty ? nil : newValue }
    }

    /// As a client sends it.
    public var text: String {
        var words: JSON = [:]
        for (name, wanted) in values.sorted(by: { $0.key < $1.key }) { words[name] = JSON(wanted) }
        return words.text
    }

    /// True when nothing was asked for under `name`, or one of what was asked is `matching`.
    public func allows(_ name: String, where matching: (String) -> Bool) -> Bool {
        let wanted = self[name]
        return wanted.isEmpty || wanted.contains(where: matching)
    }

    /// True when every label that was asked for is there: `key` with any value, `key=value` with this one.
    public func allowsLabels(_ name: String = "label", _ labels: [String: String]) -> Bool {
        self[name].allSatisfy { wanted in
            let halves = wanted.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let key = halves.first, let value = labels[key] else { return false }
            return halves.count < 2 || halves[1].isEmpty || halves[1] == value
        }
    }
}
