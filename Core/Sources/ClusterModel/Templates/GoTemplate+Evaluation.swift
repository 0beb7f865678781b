extension GoTemplate {
    /// A function that a template may call; the name is the caller's to choose.
    public typealias Function = @Sendable ([Value]) throws(Trouble) -> Value

    /// A result longer than this is no name, no path and no file that anybody wanted.
    public static let resultLimit = 4 << 20

    /// - Parameters:
    ///   - root: what `.` and `$` are.
    ///   - functions: beside those of the language.
    /// - Throws: what Go says of a field or key that is not there, or of a call that fails.
    public func expand(_ root: Value, functions: [String: Function] = [:]) throws(Trouble) -> String {
        var run = TemplateRun(root: root, functions: functions)
        try run.walk(nodes, dot: root)
        return run.out
    }
}

extension GoTemplate.Value {
    var isTrue: Bool {
        switch self {
        case .string(let text): !text.isEmpty
        case .int(let number): number != 0
        case .bool(let value): value
        case .map(let map): !map.isEmpty
        case .object: true
        case .none: false
        }
    }

    /// As Go prints it.
    var printed: String {
        switch self {
        case .string(let text): text
        case .int(let number): String(number)
        case .bool(let value): String(value)
        case .map(let map):
            "map[" + map.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }.joined(separator: " ") + "]"
        case .object(_, let fields):
            "{" + fields.sorted { $0.key < $1.key }.map(\.value.printed).joined(separator: " ") + "}"
        case .none: "<no value>"
        }
    }

    var typeName: String {
        switch self {
        case .string: "string"
        case .int: "int"
        case .bool: "bool"
        case .map: "map[string]string"
        case .object(let type, _): type
        case .none: "nil"
        }
    }
}

/// One run of a template.
private struct TemplateRun {
    typealias Value = GoTemplate.Value
    typealias Trouble = GoTemplate.Trouble

    var out = ""
    private var variables: [(name: String, value: Value)]
    private let functions: [String: GoTemplate.Function]

    init(root: Value, functions: [String: GoTemplate.Function]) {
        variables = [("$", root)]
        self.functions = functions
    }

    // MARK: Nodes

    mutating func walk(_ nodes: [GoTemplate.Node], dot: Value) throws(Trouble) {
        for node in nodes {
            switch node {
            case .text(let text): try write(text)
            case .action(let pipeline):
                let value = try evaluate(pipeline, dot)
                if pipeline.variables.isEmpty { try write(value.printed) }
            case .choice(let pipeline, let then, let otherwise):
                let known = variables.count
                try walk(try evaluate(pipeline, dot).isTrue ? then : otherwise, dot: dot)
                variables.removeSubrange(known...)
            case .with(let pipeline, let then, let otherwise):
                let known = variables.count
                let value = try evaluate(pipeline, dot)
                if value.isTrue { try walk(then, dot: value) } else { try walk(otherwise, dot: dot) }
                variables.removeSubrange(known...)
            case .range(let pipeline, let body, let otherwise): try range(pipeline, body, otherwise, dot)
            }
        }
    }

    private mutating func range(
        _ pipeline: GoTemplate.Pipeline, _ body: [GoTemplate.Node], _ otherwise: [GoTemplate.Node], _ dot: Value
    ) throws(Trouble) {
        let known = variables.count
        defer { variables.removeSubrange(known...) }
        var bare = pipeline
        bare.variables = []
        let value = try evaluate(bare, dot)
        guard case .map(let map) = value else {
            if case .none = value { return try walk(otherwise, dot: dot) }
            throw Trouble(
                trouble(pipeline.commands[0].place, "range can't iterate over \(value.printed)").description)
        }
        if map.isEmpty { return try walk(otherwise, dot: dot) }
        for (key, element) in map.sorted(by: { $0.key < $1.key }) {
            variables.removeSubrange(known...)
            if let last = pipeline.variables.last { variables.append((last, .string(element))) }
            if pipeline.variables.count > 1 { variables.append((pipeline.variables[0], .string(key))) }
            try walk(body, dot: .string(element))
        }
    }

    private mutating func write(_ text: String) throws(Trouble) {
        guard out.utf8.count + text.utf8.count <= GoTemplate.resultLimit else {
            throw Trouble("template: expansion: the result is longer than \(GoTemplate.resultLimit) bytes")
        }
        out += text
    }

    // MARK: Pipelines

    private mutating func evaluate(_ pipeline: GoTemplate.Pipeline, _ dot: Value) throws(Trouble) -> Value {
        var value: Value?
        for command in pipeline.commands { value = try evaluate(command, dot, piped: value) }
        let result = value ?? .none
        if let name = pipeline.variables.first {
            if pipeline.isAssignment {
                guard let place = variables.lastIndex(where: { $0.name == name }) else {
                    throw Trouble("template: expansion: undefined variable \(name)")
                }
                variables[place].value = result
            } else {
                variables.append((name, result))
            }
        }
        return result
    }

    private mutating func evaluate(
        _ command: GoTemplate.Command, _ dot: Value, piped: Value?
    ) throws(Trouble) -> Value {
        if case .function(let name, _) = command.operands[0] {
            var arguments: [Value] = []
            for operand in command.operands.dropFirst() { arguments.append(try evaluate(operand, dot)) }
            if let piped { arguments.append(piped) }
            return try call(name, arguments, command.place)
        }
        guard command.operands.count == 1, piped == nil else {
            let text: String =
                switch command.operands[0] {
                case .field(let fields, _): fields.last ?? ""
                default: command.place.text.split(separator: " ").first.map(String.init) ?? ""
                }
            if case .field = command.operands[0] {
                throw trouble(command.place, "\(text) has arguments but cannot be invoked as function")
            }
            throw trouble(command.place, "can't give argument to non-function \(text)")
        }
        return try evaluate(command.operands[0], dot)
    }

    private mutating func evaluate(_ operand: GoTemplate.Operand, _ dot: Value) throws(Trouble) -> Value {
        switch operand {
        case .dot: return dot
        case .literal(let value): return value
        case .field(let fields, let place): return try follow(fields, from: dot, place)
        case .variable(let name, let fields, let place):
            guard let value = variables.last(where: { $0.name == name })?.value else {
                throw trouble(place, "undefined variable: \(name)")
            }
            return try follow(fields, from: value, place)
        case .function(let name, let place): return try call(name, [], place)
        case .pipeline(let pipeline, let fields, let place):
            return try follow(fields, from: try evaluate(pipeline, dot), place)
        }
    }

    private func follow(_ fields: [String], from start: Value, _ place: GoTemplate.Place) throws(Trouble) -> Value {
        var value = start
        for field in fields {
            switch value {
            case .object(let type, let members):
                guard let member = members[field] else {
                    throw trouble(place, "can't evaluate field \(field) in type \(type)")
                }
                value = member
            case .map(let map):
                guard let member = map[field] else {
                    throw trouble(place, "map has no entry for key \(TemplateParser.quoted(field))")
                }
                value = .string(member)
            case .string, .int, .bool, .none:
                throw trouble(place, "can't evaluate field \(field) in type \(value.typeName)")
            }
        }
        return value
    }

    private func trouble(_ place: GoTemplate.Place, _ words: String) -> Trouble {
        Trouble(
            "template: expansion:\(place.line):\(place.column): executing \"expansion\" at <\(place.text)>: \(words)")
    }

    // MARK: Functions

    private func call(_ name: String, _ arguments: [Value], _ place: GoTemplate.Place) throws(Trouble) -> Value {
        func wants(_ isRight: Bool, _ expected: String) throws(Trouble) {
            guard isRight else {
                throw trouble(
                    place, "wrong number of args for \(name): want \(expected) got \(arguments.count)")
            }
        }
        if let function = functions[name] {
            do { return try function(arguments) } catch {
                throw trouble(place, "error calling \(name): \(error)")
            }
        }
        switch name {
        case "and":
            try wants(!arguments.isEmpty, "at least 1")
            return arguments.first { !$0.isTrue } ?? arguments[arguments.count - 1]
        case "or":
            try wants(!arguments.isEmpty, "at least 1")
            return arguments.first { $0.isTrue } ?? arguments[arguments.count - 1]
        case "not":
            try wants(arguments.count == 1, "1")
            return .bool(!arguments[0].isTrue)
        case "len":
            try wants(arguments.count == 1, "1")
            switch arguments[0] {
            case .string(let text): return .int(text.utf8.count)
            case .map(let map): return .int(map.count)
            default: throw trouble(place, "error calling len: len of type \(arguments[0].typeName)")
            }
        case "index":
            try wants(!arguments.isEmpty, "at least 1")
            guard arguments.count > 1 else { return arguments[0] }
            guard case .map(let map) = arguments[0], arguments.count == 2, case .string(let key) = arguments[1] else {
                throw trouble(place, "error calling index: can't index item of type \(arguments[0].typeName)")
            }
            return .string(map[key] ?? "")
        case "join":
            var texts: [String] = []
            for argument in arguments {
                guard case .string(let text) = argument else {
                    throw trouble(place, "wrong type for value; expected string; got \(argument.typeName)")
                }
                texts.append(text)
            }
            try wants(!texts.isEmpty, "at least 1")
            return .string(texts.dropFirst().joined(separator: texts[0]))
        case "print": return .string(printed(arguments))
        case "println": return .string(arguments.map(\.printed).joined(separator: " ") + "\n")
        case "printf":
            try wants(!arguments.isEmpty, "at least 1")
            return .string(formatted(arguments))
        case "eq", "ne", "lt", "le", "gt", "ge": return .bool(try compare(name, arguments, place))
        default: throw trouble(place, "\(name) is not a defined function")
        }
    }

    /// Space between two of which neither is a text, as Go's `Sprint`.
    private func printed(_ values: [Value]) -> String {
        var text = ""
        var wasText = true
        for (number, value) in values.enumerated() {
            var isText = false
            if case .string = value { isText = true }
            if number > 0, !isText, !wasText { text += " " }
            text += value.printed
            wasText = isText
        }
        return text
    }

    /// `%s`, `%v`, `%d`, `%q`, `%t`, `%%`, with a width and zeros for numbers, as `%03d`.
    private func formatted(_ arguments: [Value]) -> String {
        var out = ""
        var rest = Substring(arguments[0].printed)
        var next = arguments.dropFirst()
        while let percent = rest.firstIndex(of: "%") {
            out += rest[..<percent]
            rest = rest[rest.index(after: percent)...]
            let flags = rest.prefix { "0123456789-".contains($0) }
            rest = rest[flags.endIndex...]
            guard let verb = rest.popFirst() else { return out + "%!(NOVERB)" }
            if verb == "%" {
                out.append("%")
                continue
            }
            guard let value = next.popFirst() else {
                out += "%!\(verb)(MISSING)"
                continue
            }
            var text: String
            switch (verb, value) {
            case ("s", .string), ("v", _), ("d", .int), ("t", .bool): text = value.printed
            case ("q", .string(let raw)): text = TemplateParser.quoted(raw)
            default: text = "%!\(verb)(\(value.typeName)=\(value.printed))"
            }
            let isLeft = flags.hasPrefix("-")
            let width = min(Int(flags.drop { $0 == "-" || $0 == "0" }) ?? 0, 1_000)
            let fill = flags.hasPrefix("0") && verb == "d" ? "0" : " "
            if text.count < width {
                let padding = String(repeating: fill, count: width - text.count)
                text = isLeft ? text + padding : padding + text
            }
            out += text
        }
        return out + rest
    }

    private func compare(_ name: String, _ arguments: [Value], _ place: GoTemplate.Place) throws(Trouble) -> Bool {
        guard arguments.count >= 2, name == "eq" || arguments.count == 2 else {
            if arguments.count < 2, name == "eq" {
                throw trouble(place, "error calling eq: missing argument for comparison")
            }
            throw trouble(place, "wrong number of args for \(name): want 2 got \(arguments.count)")
        }
        func isEqual(_ a: Value, _ b: Value) throws(Trouble) -> Bool {
            switch (a, b) {
            case (.string(let a), .string(let b)): return a == b
            case (.int(let a), .int(let b)): return a == b
            case (.bool(let a), .bool(let b)): return a == b
            default: throw trouble(place, "error calling \(name): incompatible types for comparison")
            }
        }
        func isLess() throws(Trouble) -> Bool {
            switch (arguments[0], arguments[1]) {
            case (.string(let a), .string(let b)): return Array(a.utf8).lexicographicallyPrecedes(Array(b.utf8))
            case (.int(let a), .int(let b)): return a < b
            default: throw trouble(place, "error calling \(name): incompatible types for comparison")
            }
        }
        if name == "eq" {
            for other in arguments.dropFirst() where try isEqual(arguments[0], other) { return true }
            return false
        }
        let equal = try isEqual(arguments[0], arguments[1])
        if name == "ne" { return !equal }
        let less = try isLess()
        return switch name {
        case "lt": less
        case "le": less || equal
        case "gt": !less && !equal
        default: !less
        }
    }
}
