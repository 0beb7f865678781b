extension JSONText {
    /// Reads any `Decodable` of this document.
    package func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
        try read(type, from: self, [])
    }
}

private func read<Value: Decodable>(_ type: Value.Type, from value: JSONText, _ path: [any CodingKey]) throws -> Value {
    func mismatch() -> DecodingError {
        .typeMismatch(type, .init(codingPath: path, debugDescription: "it is \(value.text.prefix(80))"))
    }
    switch value {
    case .string(let text): if let found = text as? Value { return found }
    case .bool(let flag): if let found = flag as? Value { return found }
    case .int(let number):
        if let found = number as? Value { return found }
        if let found = Double(number) as? Value { return found }
    case .double(let number): if let found = number as? Value { return found }
    default: break
    }
    if type == String.self || type == Int.self || type == Bool.self || type == Double.self { throw mismatch() }
    return try Value(from: TextDecoder(value: value, codingPath: path))
}

private struct TextDecoder: Decoder {
    let value: JSONText
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .object = value else {
            throw DecodingError.typeMismatch(
                [String: JSONText].self, .init(codingPath: codingPath, debugDescription: "it is no object"))
        }
        return KeyedDecodingContainer(Keyed<Key>(value: value, codingPath: codingPath))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .array(let elements) = value else {
            throw DecodingError.typeMismatch(
                [JSONText].self, .init(codingPath: codingPath, debugDescription: "it is no array"))
        }
        return Unkeyed(elements: elements, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueDecodingContainer { Single(value: value, codingPath: codingPath) }
}

private struct Keyed<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let value: JSONText
    let codingPath: [any CodingKey]

    var allKeys: [Key] {
        guard case .object(let members) = value else { return [] }
        return members.compactMap { Key(stringValue: $0.name) }
    }
    func contains(_ key: Key) -> Bool { value[key.stringValue] != nil }
    func decodeNil(forKey key: Key) -> Bool { (value[key.stringValue] ?? .null) == .null }
    func find(_ key: Key) throws -> JSONText {
        guard let found = value[key.stringValue] else {
            throw DecodingError.keyNotFound(key, .init(codingPath: codingPath, debugDescription: "it is missing"))
        }
        return found
    }
    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        try read(type, from: find(key), codingPath + [key])
    }
    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> {
        try TextDecoder(value: find(key), codingPath: codingPath + [key]).container(keyedBy: type)
    }
    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try TextDecoder(value: find(key), codingPath: codingPath + [key]).unkeyedContainer()
    }
    func superDecoder() throws -> any Decoder { TextDecoder(value: value, codingPath: codingPath) }
    func superDecoder(forKey key: Key) throws -> any Decoder {
        TextDecoder(value: try find(key), codingPath: codingPath + [key])
    }
}

private struct Unkeyed: UnkeyedDecodingContainer {
    let elements: [JSONText]
    let codingPath: [any CodingKey]
    var currentIndex = 0

    init(elements: [JSONText], codingPath: [any CodingKey]) {
        (self.elements, self.codingPath) = (elements, codingPath)
    }
    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex >= elements.count }

    mutating func next() throws -> JSONText {
        guard !isAtEnd else {
            throw DecodingError.valueNotFound(
                JSONText.self, .init(codingPath: codingPath, debugDescription: "the list is too short"))
        }
        defer { currentIndex += 1 }
        return elements[currentIndex]
    }
    mutating func decodeNil() throws -> Bool {
        guard !isAtEnd, elements[currentIndex] == .null else { return false }
        currentIndex += 1
        return true
    }
    mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try read(type, from: next(), codingPath)
    }
    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested>
    {
        try TextDecoder(value: next(), codingPath: codingPath).container(keyedBy: type)
    }
    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        try TextDecoder(value: next(), codingPath: codingPath).unkeyedContainer()
    }
    mutating func superDecoder() throws -> any Decoder { TextDecoder(value: try next(), codingPath: codingPath) }
}

private struct Single: SingleValueDecodingContainer {
    let value: JSONText
    let codingPath: [any CodingKey]

    func decodeNil() -> Bool { value == .null }
    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try read(type, from: value, codingPath) }
}
