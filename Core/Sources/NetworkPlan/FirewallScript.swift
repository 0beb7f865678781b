/// What nftables is told so that a difference becomes true: one transaction, all of it or nothing.
public struct FirewallScript: Sendable, Equatable {
    /// Empty if the difference is none of nftables'.
    public var text: String

    public init(for difference: Difference) {
        var added: [String: [Element]] = [:]
        var removed: [String: [Element]] = [:]
        var lines: [String] = []
        var endings: [String] = []
        let table = "inet \(Layout.table)"
        for step in difference.steps {
            switch step {
            case .remove(.chain(let chain)) where chain.name == "layout":
                text = "delete table \(table)\n"
                return
            case .add(.chain(let chain)) where chain.name == "layout":
                // Add before delete: a table that is not there cannot be deleted.
                lines =
                    ["add table \(table)", "delete table \(table)", "add table \(table)"]
                    + Layout.sets.map { $0.declaration.inserted(after: ["set", "map"], table) } + lines
                lines += Self.making(chain, table)
            case .add(.chain(let chain)): lines += Self.making(chain, table)
            case .replace(_, with: .chain(let chain)):
                lines.append("flush chain \(table) \(chain.name)")
                lines += Self.rules(of: chain, table)
            case .remove(.chain(let chain)):
                lines.append("flush chain \(table) \(chain.name)")
                endings.append("delete chain \(table) \(chain.name)")
            case .add(.element(let element)): added[element.set, default: []].append(element)
            case .replace(.element(let old), with: .element(let new)):
                removed[old.set, default: []].append(old)
                added[new.set, default: []].append(new)
            case .remove(.element(let element)): removed[element.set, default: []].append(element)
            default: break
            }
        }
        // Elements name chains: these come first, and go last.
        for (set, elements) in removed.sorted(by: { $0.key < $1.key }) {
            lines.append(
                "delete element \(table) \(set) { \(elements.map { $0.word(value: false) }.joined(separator: ", ")) }")
        }
        for (set, elements) in added.sorted(by: { $0.key < $1.key }) {
            lines.append(
                "add element \(table) \(set) { \(elements.map { $0.word(value: true) }.joined(separator: ", ")) }")
        }
        let all = lines + endings
        text = all.isEmpty ? "" : all.joined(separator: "\n") + "\n"
    }

    private static func making(_ chain: Chain, _ table: String) -> [String] {
        ["add chain \(table) \(chain.name)" + (chain.hook.map { " { \($0) }" } ?? "")] + rules(of: chain, table)
    }

    private static func rules(of chain: Chain, _ table: String) -> [String] {
        chain.rules.map { "add rule \(table) \(chain.name) \($0.text) comment \"\($0.digest)\"" }
    }
}

extension Element {
    fileprivate func word(value shown: Bool) -> String {
        key + (shown ? value.map { " : \($0)" } ?? "" : "")
    }
}

extension String {
    /// `set bridges …` → `add set inet apus bridges …`.
    fileprivate func inserted(after words: [String], _ table: String) -> String {
        for word in words where hasPrefix(word + " ") {
            return "add \(word) \(table) " + dropFirst(word.count + 1)
        }
        return self
    }
}
