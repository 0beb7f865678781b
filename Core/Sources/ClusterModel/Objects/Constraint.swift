extension Cluster {
    /// One condition that a node must meet: `node.labels.zone == north`.
    ///
    /// - Source: swarmkit manager/constraint/constraint.go.
    public struct Constraint: Sendable, Equatable, Codable {
        public enum Operator: String, Sendable, Codable {
            case equal = "=="
            case notEqual = "!="
        }

        public var key: String
        public var comparison: Operator
        public var value: String

        /// - Throws: `ControlError.unknown` with swarmkit's words for what is no constraint.
        public init(parsing text: String) throws(ControlError) {
            for comparison in [Operator.equal, .notEqual] {
                guard let place = Self.firstPlace(of: comparison.rawValue, in: text) else { continue }
                let key = Self.trimmed(text[..<place])
                let value = Self.trimmed(text[text.index(place, offsetBy: 2)...])
                guard Self.isKey(key) else { throw .unknown("key '\(key)' is invalid") }
                guard !value.isEmpty, value.utf8.allSatisfy({ $0 >= 0x20 }) else {
                    throw .unknown("value '\(value)' is invalid")
                }
                (self.key, self.comparison, self.value) = (key, comparison, value)
                return
            }
            throw .unknown("constraint expected one operator from ==, !=")
        }

        public func matches(_ node: Node) -> Bool {
            let equal = values(of: node).map { $0.lowercased() == value.lowercased() } ?? false
            return comparison == .equal ? equal : !equal
        }

        /// What the node has under `key`; nil for a key that no node has.
        private func values(of node: Node) -> String? {
            switch key.lowercased() {
            case "node.id": return node.id.description
            case "node.hostname": return node.description?.hostname ?? ""
            case "node.ip": return node.status.address
            case "node.role": return node.role.rawValue
            case "node.platform.os": return node.description?.os ?? ""
            case "node.platform.arch": return node.description?.architecture ?? ""
            case let key where key.hasPrefix("node.labels."):
                return node.spec.labels[String(self.key.dropFirst("node.labels.".count))] ?? ""
            case let key where key.hasPrefix("engine.labels."):
                return node.description?.engineLabels[String(self.key.dropFirst("engine.labels.".count))] ?? ""
            default: return nil
            }
        }

        private static func firstPlace(of pair: String, in text: String) -> String.Index? {
            text.indices.first { text[$0...].hasPrefix(pair) }
        }

        private static func trimmed(_ text: Substring) -> String {
            var text = text
            while text.first == " " { text.removeFirst() }
            while text.last == " " { text.removeLast() }
            return String(text)
        }

        private static func isKey(_ key: String) -> Bool {
            guard let first = key.utf8.first, first != UInt8(ascii: "-"), first != UInt8(ascii: ".") else {
                return false
            }
            return key.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: "/"):
                    true
                default: false
                }
            }
        }
    }
}
