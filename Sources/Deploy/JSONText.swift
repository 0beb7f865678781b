/// A JSON document, for a conversation of lines without any library.
///
/// - Source: RFC 8259.
package indirect enum JSONText: Sendable, Equatable {
    case null
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case array([JSONText])
    /// Members in the order in which they were written.
    case object([(name: String, value: JSONText)])

    package static func == (a: Self, b: Self) -> Bool { a.text == b.text }

    package subscript(name: String) -> JSONText? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.name == name }?.value
    }
}

// MARK: - Writing

extension JSONText {
    /// On one line.
    package var text: String {
        var out = ""
        write(to: &out)
        return out
    }

    private func write(to out: inout String) {
        switch self {
        case .null: out += "null"
        case .bool(let value): out += value ? "true" : "false"
        case .int(let value): out += String(value)
        case .double(let value): out += value.isFinite ? "\(value)" : "null"
        case .string(let value): Self.write(value, to: &out)
        case .array(let elements):
            out += "["
            for (place, element) in elements.enumerated() {
                if place > 0 { out += "," }
                element.write(to: &out)
            }
            out += "]"
        case .object(let members):
            out += "{"
            for (place, member) in members.enumerated() {
                if place > 0 { out += "," }
                Self.write(member.name, to: &out)
                out += ":"
                member.value.write(to: &out)
            }
            out += "}"
        }
    }

    private static func write(_ value: String, to out: inout String) {
        out += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": out += #"\""#
            case "\\": out += #"\\"#
            case "\n": out += #"\n"#
            case "\r": out += #"\r"#
            case "\t": out += #"\t"#
            case "\u{0}"..."\u{1F}":
                let hex = String(scalar.value, radix: 16)
                out += #"\u"# + String(repeating: "0", count: 4 - hex.count) + hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        out += "\""
    }
}

// MARK: - Reading

extension JSONText {
    package struct Malformed: Error, CustomStringConvertible {
        package var place: Int
        package var expected: String
        package var description: String { "no JSON: expected \(expected) at byte \(place)" }
    }

    package init(parsing text: String) throws {
        var reader = Reader(bytes: Array(text.utf8))
        self = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.place == reader.bytes.count else { throw reader.expected("the end") }
    }

    private struct Reader {
        let bytes: [UInt8]
        var place = 0

        func expected(_ what: String) -> Malformed { Malformed(place: place, expected: what) }
        var next: UInt8? { place < bytes.count ? bytes[place] : nil }

        mutating func skipSpace() {
            while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { place += 1 }
        }

        mutating func take(_ word: StaticString, as value: JSONText) throws -> JSONText {
            let wanted = Array("\(word)".utf8)
            guard bytes[place...].starts(with: wanted) else { throw expected("\(word)") }
            place += wanted.count
            return value
        }

        mutating func value(depth: Int) throws -> JSONText {
            guard depth < 64 else { throw expected("less nesting") }
            skipSpace()
            switch next {
            case UInt8(ascii: "n"): return try take("null", as: .null)
            case UInt8(ascii: "t"): return try take("true", as: .bool(true))
            case UInt8(ascii: "f"): return try take("false", as: .bool(false))
            case UInt8(ascii: "\""): return .string(try string())
            case UInt8(ascii: "["): return try array(depth)
            case UInt8(ascii: "{"): return try object(depth)
            default: return try number()
            }
        }

        mutating func array(_ depth: Int) throws -> JSONText {
            var elements: [JSONText] = []
            place += 1
            skipSpace()
            if next == UInt8(ascii: "]") {
                place += 1
                return .array(elements)
            }
            while true {
                elements.append(try value(depth: depth + 1))
                skipSpace()
                defer { place += 1 }
                if next == UInt8(ascii: ",") { continue }
                guard next == UInt8(ascii: "]") else { throw expected(", or ]") }
                return .array(elements)
            }
        }

        mutating func object(_ depth: Int) throws -> JSONText {
            var members: [(name: String, value: JSONText)] = []
            place += 1
            skipSpace()
            if next == UInt8(ascii: "}") {
                place += 1
                return .object(members)
            }
            while true {
                skipSpace()
                guard next == UInt8(ascii: "\"") else { throw expected("a name") }
                let name = try string()
                skipSpace()
                guard next == UInt8(ascii: ":") else { throw expected(":") }
                place += 1
                members.append((name, try value(depth: depth + 1)))
                skipSpace()
                defer { place += 1 }
                if next == UInt8(ascii: ",") { continue }
                guard next == UInt8(ascii: "}") else { throw expected(", or }") }
                return .object(members)
            }
        }

        mutating func number() throws -> JSONText {
            let start = place
            while let byte = next, "+-.eE0123456789".utf8.contains(byte) { place += 1 }
            let digits = String(decoding: bytes[start..<place], as: UTF8.self)
            if let whole = Int(digits) { return .int(whole) }
            guard let real = Double(digits) else { throw expected("a value") }
            return .double(real)
        }

        mutating func string() throws -> String {
            var out: [UInt8] = []
            place += 1
            while let byte = next {
                place += 1
                switch byte {
                case UInt8(ascii: "\""): return String(decoding: out, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard let mark = next else { throw expected("an escape") }
                    place += 1
                    switch mark {
                    case UInt8(ascii: "n"): out.append(0x0A)
                    case UInt8(ascii: "r"): out.append(0x0D)
                    case UInt8(ascii: "t"): out.append(0x09)
                    case UInt8(ascii: "b"): out.append(0x08)
                    case UInt8(ascii: "f"): out.append(0x0C)
                    case UInt8(ascii: "u"): out += Array(String(try unicode()).utf8)
                    default: out.append(mark)
                    }
                default: out.append(byte)
                }
            }
            throw expected("\"")
        }

        mutating func unicode() throws -> Character {
            let high = try hex()
            if (0xD800..<0xDC00).contains(high), place + 1 < bytes.count, bytes[place] == UInt8(ascii: "\\") {
                place += 2
                let low = try hex()
                let code = 0x10000 + (high - 0xD800) << 10 + (low &- 0xDC00)
                return Character(Unicode.Scalar(code) ?? "\u{FFFD}")
            }
            return Character(Unicode.Scalar(high) ?? "\u{FFFD}")
        }

        mutating func hex() throws -> UInt32 {
            guard place + 4 <= bytes.count,
                let code = UInt32(String(decoding: bytes[place..<place + 4], as: UTF8.self), radix: 16)
            else { throw expected("four hexadecimal digits") }
            place += 4
            return code
        }
    }
}
