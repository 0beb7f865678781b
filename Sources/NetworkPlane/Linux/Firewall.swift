import CNFTables
import EngineAPI
import NetworkPlan

/// What nftables said to a script.
package struct FirewallError: Error, Sendable, CustomStringConvertible {
    package var words: String
    package var description: String { "nftables refused: \(words)" }
}

/// The plane's table in nftables, in the namespace of the thread that opened it. For one thread.
///
/// Through libnftables in this process: a process of its own for each change costs twenty times as much.
final class Firewall {
    private let context: OpaquePointer

    init() throws(FirewallError) {
        guard let context = nft_ctx_new(UInt32(NFT_CTX_DEFAULT)) else {
            throw FirewallError(words: "no context of libnftables: is the process allowed to open netlink sockets?")
        }
        self.context = context
        nft_ctx_buffer_output(context)
        nft_ctx_buffer_error(context)
    }

    deinit { nft_ctx_free(context) }

    /// One transaction: all of it becomes true or nothing.
    @discardableResult
    func run(_ script: String) throws(FirewallError) -> String {
        let failed = nft_run_cmd_from_buffer(context, script) != 0
        // Both are emptied by being read.
        let output = nft_ctx_get_output_buffer(context).map { String(cString: $0) } ?? ""
        let words = nft_ctx_get_error_buffer(context).map { String(cString: $0) } ?? ""
        guard !failed else { throw FirewallError(words: String(words.prefix(2_000))) }
        return output
    }

    /// What the table holds, as items; nothing if there is none, or if it is of another layout than `digest`.
    func items(layout digest: String?) throws -> [Item] {
        // Asked first: listing a table that is not there is an error with words of its own.
        let tables = try list("list tables inet")
        guard tables.contains(where: { $0["table"]?["name"]?.string == Layout.table }) else { return [] }
        let objects = try list("list table inet \(Layout.table)")
        let items = TableListing.items(of: objects)
        guard let digest else { return items }
        let known = items.contains {
            guard case .chain(let chain) = $0, chain.name == "layout" else { return false }
            return chain.rules.map(\.digest) == [digest] && TableListing.isWhole(objects)
        }
        return known ? items : []
    }

    private func list(_ command: String) throws -> [JSON] {
        let before = nft_ctx_output_get_flags(context)
        nft_ctx_output_set_flags(context, UInt32(NFT_CTX_OUTPUT_JSON))
        defer { nft_ctx_output_set_flags(context, before) }
        return try JSON(parsing: run(command))["nftables"]?.array ?? []
    }
}

/// Reads libnftables' JSON listing of the plane's table back into items.
///
/// - Source: libnftables-json(5).
enum TableListing {
    static func items(of objects: [JSON]) -> [Item] {
        var rules: [String: [Chain.Rule]] = [:]
        var order: [String] = []
        var items: [Item] = []
        for object in objects {
            if let chain = object["chain"], let name = chain["name"]?.string {
                order.append(name)
            } else if let rule = object["rule"], let chain = rule["chain"]?.string {
                rules[chain, default: []].append(Chain.Rule(digest: rule["comment"]?.string ?? "not ours"))
            } else if let set = object["set"] ?? object["map"], let name = set["name"]?.string {
                for element in set["elem"]?.array ?? [] {
                    items.append(.element(self.element(element, of: name, isMap: object["map"] != nil)))
                }
            }
        }
        return order.map { .chain(Chain(name: $0, rules: rules[$0] ?? [])) } + items
    }

    /// Whether all sets of the layout are there.
    static func isWhole(_ objects: [JSON]) -> Bool {
        let names = Set(objects.compactMap { ($0["set"] ?? $0["map"])?["name"]?.string })
        return Layout.sets.allSatisfy { names.contains($0.name) }
    }

    private static func element(_ listed: JSON, of set: String, isMap: Bool) -> Element {
        guard isMap, let pair = listed.array, pair.count == 2 else { return Element(set, word(listed)) }
        return Element(set, word(pair[0]), set == "arrivals" ? mark(pair[1]) : word(pair[1]))
    }

    private static func word(_ value: JSON) -> String {
        switch value {
        case .string(let text): return text
        case .number(let digits): return digits
        default: break
        }
        if let parts = value["concat"]?.array { return parts.map(word).joined(separator: " . ") }
        if let prefix = value["prefix"] {
            return word(prefix["addr"] ?? .null) + "/" + word(prefix["len"] ?? .null)
        }
        if let target = value["goto"]?["target"]?.string { return "goto \(target)" }
        // An element with a comment or a time limit is an object around its value: not ours, so it differs.
        return value.text
    }

    /// `0x00100000`: nftables lists marks as plain numbers here.
    private static func mark(_ value: JSON) -> String {
        guard let number = value.int.flatMap({ UInt32(exactly: $0) }) else { return word(value) }
        let digits = String(number, radix: 16)
        return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
    }
}
