/// A text with `{{…}}` in it, in the language of Go's text/template as far as services use it: fields, functions,
/// pipelines, variables, `if`, `with`, `range`, comments and trimmed space. What else that language has is refused.
///
/// A value: parsing and evaluating never trap, and no template runs longer than its text and its data allow.
///
/// - Source: Go text/template and text/template/parse; the errors are in its words.
public struct GoTemplate: Sendable {
    let nodes: [Node]

    /// - Parameter functions: that it may name beside those of the language.
    /// - Throws: what Go says of a text that is no template.
    public init(parsing text: String, functions: Set<String> = []) throws(Trouble) {
        var parser = TemplateParser(text, functions: functions)
        nodes = try parser.parse()
    }

    /// Why a text is no template, or why it has no result.
    public struct Trouble: Error, Sendable, Equatable, CustomStringConvertible {
        public var description: String

        public init(_ words: String) { description = words }
    }

    indirect enum Node: Sendable {
        case text(String)
        case action(Pipeline)
        case choice(Pipeline, then: [Node], otherwise: [Node])
        case with(Pipeline, then: [Node], otherwise: [Node])
        case range(Pipeline, body: [Node], otherwise: [Node])
    }

    struct Pipeline: Sendable {
        /// `$k, $v :=` and `$x =`.
        var variables: [String] = []
        var isAssignment = false
        var commands: [Command]
    }

    struct Command: Sendable {
        var operands: [Operand]
        var place: Place
    }

    /// Where something stands, and how it is written.
    struct Place: Sendable {
        var line: Int
        var column: Int
        var text: String
    }

    indirect enum Operand: Sendable {
        case dot
        case literal(Value)
        case field([String], Place)
        case variable(String, [String], Place)
        case function(String, Place)
        case pipeline(Pipeline, [String], Place)
    }

    /// What a template works on.
    public indirect enum Value: Sendable, Equatable {
        case string(String)
        case int(Int)
        case bool(Bool)
        case map([String: String])
        /// - Parameter type: as Go names it, for errors.
        case object(type: String, fields: [String: Value])
        case none
    }
}

/// Cuts a template's text into nodes.
struct TemplateParser {
    typealias Trouble = GoTemplate.Trouble

    private static let depthLimit = 100
    /// Those of Go that services use, and swarmkit's `join`.
    private static let known: Set<String> = [
        "and", "or", "not", "len", "index", "print", "printf", "println", "eq", "ne", "lt", "le", "gt", "ge", "join",
    ]

    private let bytes: [UInt8]
    private var at = 0
    private var depth = 0
    private var functions: Set<String>
    private var variables: [String] = ["$"]

    init(_ text: String, functions: Set<String>) {
        bytes = Array(text.utf8)
        self.functions = Self.known.union(functions)
    }

    private enum End { case input, end, otherwise(Int) }

    mutating func parse() throws(Trouble) -> [GoTemplate.Node] {
        let (nodes, end) = try list()
        switch end {
        case .input: return nodes
        case .end: throw trouble("unexpected {{end}}")
        case .otherwise: throw trouble("unexpected {{else}}")
        }
    }

    // MARK: Nodes

    private mutating func list() throws(Trouble) -> ([GoTemplate.Node], End) {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.depthLimit else { throw trouble("too deeply nested") }
        var nodes: [GoTemplate.Node] = []
        while true {
            if let text = readText() { nodes.append(.text(text)) }
            guard at < bytes.count else { return (nodes, .input) }
            if try skipComment() { continue }
            at += 2
            if at + 1 < bytes.count, bytes[at] == UInt8(ascii: "-"), isSpace(bytes[at + 1]) { at += 1 }
            skipSpace()
            let start = at
            switch peekWord() {
            case "if":
                at += 2
                let (pipeline, then, otherwise) = try branch("if")
                nodes.append(.choice(pipeline, then: then, otherwise: otherwise))
            case "with":
                at += 4
                let (pipeline, then, otherwise) = try branch("with")
                nodes.append(.with(pipeline, then: then, otherwise: otherwise))
            case "range":
                at += 5
                let (pipeline, body, otherwise) = try branch("range")
                nodes.append(.range(pipeline, body: body, otherwise: otherwise))
            case "end":
                at += 3
                try close("end")
                return (nodes, .end)
            case "else":
                at += 4
                return (nodes, .otherwise(start))
            case "template", "define", "block", "break", "continue":
                throw trouble("{{\(peekWord() ?? "")}} is not supported here")
            default:
                let pipeline = try self.pipeline(in: "command")
                try close("command")
                nodes.append(.action(pipeline))
            }
        }
    }

    private mutating func branch(
        _ word: String
    ) throws(Trouble) -> (GoTemplate.Pipeline, [GoTemplate.Node], [GoTemplate.Node]) {
        let known = variables.count
        defer { variables.removeSubrange(known...) }
        let pipeline = try self.pipeline(in: word)
        try close(word)
        let (then, end) = try list()
        switch end {
        case .input: throw trouble("unexpected EOF")
        case .end: return (pipeline, then, [])
        case .otherwise:
            skipSpace()
            if word == "if", peekWord() == "if" {
                at += 2
                depth += 1
                defer { depth -= 1 }
                guard depth < Self.depthLimit else { throw trouble("too deeply nested") }
                let (inner, innerThen, innerOtherwise) = try branch("if")
                return (pipeline, then, [.choice(inner, then: innerThen, otherwise: innerOtherwise)])
            }
            try close("else")
            let (otherwise, last) = try list()
            guard case .end = last else { throw trouble("expected end; found {{else}}") }
            return (pipeline, then, otherwise)
        }
    }

    /// Up to the next `{{`; nil where there is nothing.
    private mutating func readText() -> String? {
        var end = at
        while end < bytes.count, !isOpen(end) { end += 1 }
        var text = bytes[at..<end]
        if end + 3 < bytes.count, bytes[end + 2] == UInt8(ascii: "-"), isSpace(bytes[end + 3]) {
            while let last = text.last, isSpace(last) { text.removeLast() }
        }
        at = end
        return text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
    }

    private mutating func skipComment() throws(Trouble) -> Bool {
        var start = at + 2
        if start + 1 < bytes.count, bytes[start] == UInt8(ascii: "-"), isSpace(bytes[start + 1]) { start += 2 }
        guard bytes[min(start, bytes.count)...].starts(with: "/*".utf8) else { return false }
        var end = start + 2
        while end + 1 < bytes.count, !(bytes[end] == UInt8(ascii: "*") && bytes[end + 1] == UInt8(ascii: "/")) {
            end += 1
        }
        guard end + 1 < bytes.count else { throw trouble("unclosed comment") }
        at = end + 2
        do { try close("comment") } catch { throw trouble("comment ends before closing delimiter") }
        return true
    }

    /// Takes the `}}` that ends an action, and the space after ` -}}`.
    private mutating func close(_ context: String) throws(Trouble) {
        skipSpace()
        let hadSpace = isSpace(bytes[at - 1])
        var trims = false
        if hadSpace, at + 2 < bytes.count, bytes[at] == UInt8(ascii: "-"), bytes[at + 1] == UInt8(ascii: "}") {
            trims = true
            at += 1
        }
        guard isClose(at) else { throw try unexpected(context) }
        at += 2
        if trims { skipSpace() }
    }

    private func unexpected(_ context: String) throws(Trouble) -> Trouble {
        guard at < bytes.count else { return trouble("unclosed action") }
        return trouble("unexpected \(Self.quoted(String(decoding: [bytes[at]], as: UTF8.self))) in \(context)")
    }

    // MARK: Pipelines

    private mutating func pipeline(in context: String) throws(Trouble) -> GoTemplate.Pipeline {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.depthLimit else { throw trouble("too deeply nested") }
        skipSpace()
        var pipeline = GoTemplate.Pipeline(commands: [])
        try declaration(&pipeline, context)
        while true {
            pipeline.commands.append(try command(context))
            skipSpace()
            guard at < bytes.count, bytes[at] == UInt8(ascii: "|") else { break }
            at += 1
        }
        return pipeline
    }

    private mutating func declaration(_ pipeline: inout GoTemplate.Pipeline, _ context: String) throws(Trouble) {
        let start = at
        var names: [String] = []
        while at < bytes.count, bytes[at] == UInt8(ascii: "$") {
            at += 1
            names.append("$" + word())
            skipSpace()
            if context == "range", names.count == 1, at < bytes.count, bytes[at] == UInt8(ascii: ",") {
                at += 1
                skipSpace()
            } else {
                break
            }
        }
        if !names.isEmpty, bytes[at...].starts(with: ":=".utf8) {
            at += 2
            pipeline.variables = names
            variables += names
        } else if names.count == 1, at + 1 < bytes.count, bytes[at] == UInt8(ascii: "="), bytes[at + 1] != bytes[at] {
            at += 1
            pipeline.variables = names
            pipeline.isAssignment = true
        } else {
            at = start
        }
    }

    private mutating func command(_ context: String) throws(Trouble) -> GoTemplate.Command {
        skipSpace()
        let start = at
        var operands: [GoTemplate.Operand] = []
        while true {
            guard let operand = try self.operand() else { break }
            operands.append(operand)
            guard at < bytes.count, isSpace(bytes[at]) else { break }
            skipSpace()
        }
        if operands.isEmpty {
            guard at < bytes.count else { throw trouble("unclosed action") }
            if isClose(at) { throw trouble("missing value for \(context)") }
            throw try unexpected(context)
        }
        return GoTemplate.Command(operands: operands, place: place(start, at))
    }

    private mutating func operand() throws(Trouble) -> GoTemplate.Operand? {
        guard at < bytes.count else { return nil }
        let start = at
        switch bytes[at] {
        case UInt8(ascii: "\""), UInt8(ascii: "`"): return .literal(.string(try quotedString()))
        case UInt8(ascii: "."):
            let fields = self.fields()
            if fields.isEmpty {
                at += 1
                return .dot
            }
            return .field(fields, place(chainStart(start, fields), at, from: start))
        case UInt8(ascii: "$"):
            at += 1
            let name = "$" + word()
            guard variables.contains(name) else { throw trouble("undefined variable \(Self.quoted(name))") }
            let fields = self.fields()
            return .variable(name, fields, place(start, at))
        case UInt8(ascii: "("):
            at += 1
            let inner = try pipeline(in: "parenthesized pipeline")
            skipSpace()
            guard at < bytes.count, bytes[at] == UInt8(ascii: ")") else {
                throw at < bytes.count ? trouble("unclosed left paren") : trouble("unclosed action")
            }
            at += 1
            let fields = self.fields()
            return .pipeline(inner, fields, place(start, at))
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"):
            if bytes[at] == UInt8(ascii: "-"), isClose(at + 1) { return nil }
            at += 1
            while at < bytes.count, isWord(bytes[at]) || bytes[at] == UInt8(ascii: ".") { at += 1 }
            let text = String(decoding: bytes[start..<at], as: UTF8.self)
            guard let number = Int(text) else { throw trouble("bad number syntax: \(Self.quoted(text))") }
            return .literal(.int(number))
        default:
            let name = word()
            switch name {
            case "": return nil
            case "true": return .literal(.bool(true))
            case "false": return .literal(.bool(false))
            case "nil": throw trouble("nil is not a command")
            default:
                guard functions.contains(name) else { throw trouble("function \(Self.quoted(name)) not defined") }
                return .function(name, place(start, at))
            }
        }
    }

    private mutating func fields() -> [String] {
        var fields: [String] = []
        while at + 1 < bytes.count, bytes[at] == UInt8(ascii: "."), isWord(bytes[at + 1]) {
            at += 1
            fields.append(word())
        }
        return fields
    }

    private mutating func quotedString() throws(Trouble) -> String {
        let quote = bytes[at]
        var text: [UInt8] = []
        at += 1
        while at < bytes.count, bytes[at] != quote {
            if quote == UInt8(ascii: "`") {
                text.append(bytes[at])
            } else if bytes[at] == UInt8(ascii: "\n") {
                break
            } else if bytes[at] == UInt8(ascii: "\\"), at + 1 < bytes.count {
                at += 1
                switch bytes[at] {
                case UInt8(ascii: "n"): text.append(UInt8(ascii: "\n"))
                case UInt8(ascii: "t"): text.append(UInt8(ascii: "\t"))
                case UInt8(ascii: "r"): text.append(UInt8(ascii: "\r"))
                case UInt8(ascii: "\\"), UInt8(ascii: "\""): text.append(bytes[at])
                default: throw trouble("invalid syntax")
                }
            } else {
                text.append(bytes[at])
            }
            at += 1
        }
        guard at < bytes.count, bytes[at] == quote else {
            throw trouble(quote == UInt8(ascii: "`") ? "unterminated raw quoted string" : "unterminated quoted string")
        }
        at += 1
        return String(decoding: text, as: UTF8.self)
    }

    // MARK: Bytes

    private func peekWord() -> String? {
        var end = at
        while end < bytes.count, isWord(bytes[end]) { end += 1 }
        return end > at ? String(decoding: bytes[at..<end], as: UTF8.self) : nil
    }

    private mutating func word() -> String {
        let word = peekWord() ?? ""
        at += word.utf8.count
        return word
    }

    private mutating func skipSpace() {
        while at < bytes.count, isSpace(bytes[at]) { at += 1 }
    }

    private func isOpen(_ place: Int) -> Bool { bytes[place...].starts(with: "{{".utf8) }
    private func isClose(_ place: Int) -> Bool { place <= bytes.count && bytes[place...].starts(with: "}}".utf8) }
    private func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
    private func isWord(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || byte >= 0x80 || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    /// Of `.A.B.C` Go remembers where `.B` begins.
    private func chainStart(_ start: Int, _ fields: [String]) -> Int {
        fields.count > 1 ? start + 1 + fields[0].utf8.count : start
    }

    private func place(_ position: Int, _ end: Int, from start: Int? = nil) -> GoTemplate.Place {
        let before = bytes[..<position]
        let line = before.count { $0 == UInt8(ascii: "\n") } + 1
        let column = position - (before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0)
        var text = bytes[(start ?? position)..<end]
        while let last = text.last, isSpace(last) { text.removeLast() }
        return GoTemplate.Place(line: line, column: column, text: String(decoding: text, as: UTF8.self))
    }

    private func trouble(_ words: String) -> Trouble {
        let line = bytes[..<min(at, bytes.count)].count { $0 == UInt8(ascii: "\n") } + 1
        return Trouble("template: expansion:\(line): \(words)")
    }

    static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n") + "\""
    }
}
