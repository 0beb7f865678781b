/// What stands behind the `?` of a request.
public struct Query: Sendable, Equatable {
    /// In the order in which they came; a name may stand more than once.
    public private(set) var items: [Item] = []

    public struct Item: Sendable, Equatable {
        public var name: String
        public var value: String
    }

    public init(_ text: some StringProtocol = "") {
        for pair in text.split(separator: "&") {
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            items.append(
                Item(
                    name: Percent.decode(halves[0], plusIsSpace: true),
                    value: halves.count > 1 ? Percent.decode(halves[1], plusIsSpace: true) : ""))
        }
    }

    public subscript(name: String) -> String? {
        get { items.first { $0.name == name }?.value }
        set {
            items.removeAll { $0.name == name }
            if let newValue { items.append(Item(name: name, value: newValue)) }
        }
    }

    /// As it stands behind the `?`.
    public var text: String {
        items.map { "\(Percent.encode($0.name))=\(Percent.encode($0.value))" }.joined(separator: "&")
    }

    /// True unless the value is missing, empty, `0`, `no`, `false` or `none`: so Docker reads its older switches.
    ///
    /// - Source: moby api/server/httputils/form.go `BoolValue`.
    public func flag(_ name: String) -> Bool {
        let value = (self[name] ?? "").filter { $0 != " " }.lowercased()
        return !["", "0", "no", "false", "none"].contains(value)
    }

    /// A switch that must be one, as `insertDefaults`; false where it is missing or empty.
    public func strictFlag(_ name: String) throws(WordError) -> Bool {
        switch self[name] ?? "" {
        case "": return false
        case "1", "t", "T", "true", "TRUE", "True": return true
        case "0", "f", "F", "false", "FALSE", "False": return false
        case let other:
            throw WordError(
                "invalid value for \(name): \(other): strconv.ParseBool: parsing \"\(other)\": invalid syntax")
        }
    }

    /// The version of an object that the client has read and now sends back.
    ///
    /// - Parameter kind: `service`, `node` or `swarm`, for the message.
    public func objectVersion(of kind: String) throws(WordError) -> UInt64 {
        let text = self["version"] ?? ""
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), !text.isEmpty else {
            throw WordError("invalid \(kind) version '\(text)': strconv.ParseUint: parsing \"\(text)\": invalid syntax")
        }
        guard let version = UInt64(text) else {
            throw WordError(
                "invalid \(kind) version '\(text)': strconv.ParseUint: parsing \"\(text)\": value out of range")
        }
        return version
    }
}

/// `%41` for `A`, as paths and queries write what they may not write plainly.
public enum Percent {
    /// What is no escape stays as it is; bytes that are no UTF-8 become U+FFFD.
    public static func decode(_ text: some StringProtocol, plusIsSpace: Bool = false) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2, let high = digit(rest[rest.startIndex]),
                let low = digit(rest[rest.startIndex + 1])
            {
                bytes.append(high << 4 | low)
                rest.removeFirst(2)
            } else {
                bytes.append(byte == UInt8(ascii: "+") && plusIsSpace ? UInt8(ascii: " ") : byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Everything escaped but the letters, digits and marks that never have to be (RFC 3986, 2.3).
    public static func encode(_ text: some StringProtocol) -> String {
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                bytes.append(byte)
            default:
                let hex = Array("0123456789ABCDEF".utf8)
                bytes += [UInt8(ascii: "%"), hex[Int(byte >> 4)], hex[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
