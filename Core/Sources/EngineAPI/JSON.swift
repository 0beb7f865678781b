/// A JSON document as it was written: members in their order, numbers in their own digits.
///
/// The Engine API is kept as documents, not only as fields, so that what a newer client says and we do not know
/// survives a round trip, a 64-bit number is never rounded, and `docker inspect` shows fields in the order in
/// which the engine itself writes them. Reading is bounded (see `JSON.depthLimit`) and never traps.
///
/// - Source: RFC 8259; Go's `encoding/json` for member look-up without regard to case and for escapes.
public enum JSON: Sendable, Hashable {
    case null
    case bool(Bool)
    /// The digits as they were written.
    case number(String)
    case string(String)
    case array([JSON])
    case object(Object)

    /// Members in the order in which they were written. A name that stands twice counts once, the last time.
    public struct Object: Sendable, Hashable {
        public private(set) var members: [Member]

        public struct Member: Sendable, Hashable {
            public var name: String
            public var value: JSON
        }

        public init() { members = [] }

        /// For who knows that the name is not there yet.
        mutating func appendUnchecked(_ member: Member) { members.append(member) }

        /// Exactly this name or, as Go reads it, the same name in other letters' case.
        public subscript(name: String) -> JSON? {
            get {
                if let exact = members.last(where: { $0.name == name }) { return exact.value }
                let folded = name.lowercased()
                return members.last { $0.name.utf8.count == name.utf8.count && $0.name.lowercased() == folded }?.value
            }
            set {
                let place = members.firstIndex { $0.name == name }
                switch (place, newValue) {
                case (let place?, let value?): members[place].value = value
                case (let place?, nil): members.remove(at: place)
                case (nil, let value?): members.append(Member(name: name, value: value))
                case (nil, nil): break
                }
            }
        }
    }

    /// Deeper documents are refused: nothing in the Engine API nests more than a dozen deep.
    public static let depthLimit = 128
}

// MARK: - Making

extension JSON: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int) { self = .number(String(value)) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(nilLiteral: ()) { self = .null }
    public init(dictionaryLiteral elements: (String, JSON)...) {
        var object = Object()
        for (name, value) in elements { object[name] = value }
        self = .object(object)
    }

    public init(_ value: some BinaryInteger) { self = .number(String(value)) }
    /// Members sorted by name, as Go writes a map.
    public init(_ map: [String: String]) {
        var object = Object()
        for (name, value) in map.sorted(by: { $0.key < $1.key }) { object[name] = .string(value) }
        self = .object(object)
    }
    public init(_ list: [String]) { self = .array(list.map { .string($0) }) }
}

// MARK: - Reading what a document holds

extension JSON {
    /// The member of an object; nil where this is no object, has no such member, or the member is `null`.
    public subscript(name: String) -> JSON? {
        get {
            guard case .object(let object) = self, let value = object[name], value != .null else { return nil }
            return value
        }
        set {
            guard case .object(var object) = self else { return }
            object[name] = newValue
            self = .object(object)
        }
    }

    public var string: String? { if case .string(let text) = self { text } else { nil } }
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// A whole number that fits; nil for `1.5`, `"1"` and numbers past 64 bits.
    public var int: Int? {
        guard case .number(let digits) = self else { return nil }
        if let exact = Int(digits) { return exact }
        guard let real = Double(digits), real == real.rounded(), abs(real) < 9e18 else { return nil }
        return Int(real)
    }
    public var double: Double? { if case .number(let digits) = self { Double(digits) } else { nil } }
    public var array: [JSON]? { if case .array(let elements) = self { elements } else { nil } }
    public var object: Object? { if case .object(let object) = self { object } else { nil } }

    /// How Go names this kind of value in its error messages.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "bool"
        case .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}

// MARK: - Writing

extension JSON {
    /// The document on one line, escaped as Go's `encoding/json` does (`<`, `>` and `&` too).
    public var text: String { String(decoding: utf8, as: UTF8.self) }

    public var utf8: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(256)
        write(to: &out)
        return out
    }

    private func write(to out: inout [UInt8]) {
        switch self {
        case .null: out += "null".utf8
        case .bool(let value): out += (value ? "true" : "false").utf8
        case .number(let digits): out += digits.utf8
        case .string(let text): Self.write(text, to: &out)
        case .array(let elements):
            out.append(UInt8(ascii: "["))
            for (place, element) in elements.enumerated() {
                if place > 0 { out.append(UInt8(ascii: ",")) }
                element.write(to: &out)
            }
            out.append(UInt8(ascii: "]"))
        case .object(let object):
            out.append(UInt8(ascii: "{"))
            for (place, member) in object.members.enumerated() {
                if place > 0 { out.append(UInt8(ascii: ",")) }
                Self.write(member.name, to: &out)
                out.append(UInt8(ascii: ":"))
                member.value.write(to: &out)
            }
            out.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ text: String, to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\""))
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += #"\""#.utf8
            case "\\": out += #"\\"#.utf8
            case "\n": out += #"\n"#.utf8
            case "\r": out += #"\r"#.utf8
            case "\t": out += #"\t"#.utf8
            case "<", ">", "&", "\u{0}"..."\u{1F}", "\u{2028}", "\u{2029}":
                let hex = String(scalar.value, radix: 16)
                out += #"\u"#.utf8
                out += String(repeating: "0", count: 4 - hex.count).utf8
                out += hex.utf8
            default: out += UTF8.encode(scalar)!
            }
        }
        out.append(UInt8(ascii: "\""))
    }
}
