extension JSONText {
    /// Any `Encodable` as a document.
    package init(encoding value: some Encodable) throws {
        let sink = Sink()
        try value.encode(to: TextEncoder(sink: sink, codingPath: []))
        self = sink.document
    }
}

/// Where one value gathers.
private final class Sink {
    enum Shape {
        case none
        case single(JSONText)
        case array([Sink])
        case object([(String, Sink)])
    }
    var shape = Shape.none

    var document: JSONText {
        switch shape {
        case .none: .object([])
        case .single(let value): value
        case .array(let elements): .array(elements.map(\.document))
        case .object(let members): .object(members.map { ($0.0, $0.1.document) })
        }
    }

    func member(_ name: String) -> Sink {
        let sink = Sink()
        if case .object(let members) = shape {
            shape = .object(members + [(name, sink)])
        } else {
            shape = .object([(name, sink)])
        }
        return sink
    }

    func element() -> Sink {
        let sink = Sink()
        if case .array(let elements) = shape { shape = .array(elements + [sink]) } else { shape = .array([sink]) }
        return sink
    }

    func put(_ value: some Encodable, _ path: [any CodingKey]) throws {
        switch value {
        case let value as String: shape = .single(.string(value))
        case let value as Bool: shape = .single(.bool(value))
        case let value as Int: shape = .single(.int(value))
        case let value as Double: shape = .single(.double(value))
        default: try value.encode(to: TextEncoder(sink: self, codingPath: path))
        }
    }
}

private struct TextEncoder: Encoder {
    let sink: Sink
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        if case .object = sink.shape {} else { sink.shape = .object([]) }
        return KeyedEncodingContainer(Keyed<Key>(sink: sink, codingPath: codingPath))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        sink.shape = .array([])
        return Unkeyed(sink: sink, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { Single(sink: sink, codingPath: codingPath) }
}

private struct Keyed<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let sink: Sink
    let codingPath: [any CodingKey]

    mutating func encodeNil(forKey key: Key) { sink.member(key.stringValue).shape = .single(.null) }
    mutating func encode(_ value: some Encodable, forKey key: Key) throws {
        try sink.member(key.stringValue).put(value, codingPath + [key])
    }
    mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        TextEncoder(sink: sink.member(key.stringValue), codingPath: codingPath + [key]).container(keyedBy: type)
    }
    mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        TextEncoder(sink: sink.member(key.stringValue), codingPath: codingPath + [key]).unkeyedContainer()
    }
    mutating func superEncoder() -> any Encoder { TextEncoder(sink: sink.member("super"), codingPath: codingPath) }
    mutating func superEncoder(forKey key: Key) -> any Encoder {
        TextEncoder(sink: sink.member(key.stringValue), codingPath: codingPath + [key])
    }
}

private struct Unkeyed: UnkeyedEncodingContainer {
    let sink: Sink
    let codingPath: [any CodingKey]
    var count: Int { if case .array(let elements) = sink.shape { elements.count } else { 0 } }

    mutating func encodeNil() { sink.element().shape = .single(.null) }
    mutating func encode(_ value: some Encodable) throws { try sink.element().put(value, codingPath) }
    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        TextEncoder(sink: sink.element(), codingPath: codingPath).container(keyedBy: type)
    }
    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
        TextEncoder(sink: sink.element(), codingPath: codingPath).unkeyedContainer()
    }
    mutating func superEncoder() -> any Encoder { TextEncoder(sink: sink.element(), codingPath: codingPath) }
}

private struct Single: SingleValueEncodingContainer {
    let sink: Sink
    let codingPath: [any CodingKey]

    mutating func encodeNil() { sink.shape = .single(.null) }
    mutating func encode(_ value: some Encodable) throws { try sink.put(value, codingPath) }
}
