/// Bytes in the alphabet of RFC 4648, the plain one and the one for addresses, as Go and clients write them.
public enum Base64 {
    /// - Returns: nil for what is no base64. Padding may be missing.
    public static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count / 4 * 3 + 3)
        var bits: UInt32 = 0
        var count = 0
        var rest = Array(text.utf8)[...]
        while rest.last == UInt8(ascii: "=") { rest = rest.dropLast() }
        for byte in rest {
            guard let value = value(of: byte) else {
                if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") { continue }
                return nil
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return count == 6 ? nil : bytes
    }

    /// Where a text stops being what Go's `StdEncoding` takes; nil for one that it takes.
    ///
    /// - Source: Go, encoding/base64, `CorruptInputError`.
    public static func fault(in text: some StringProtocol) -> Int? {
        var digits = 0
        var padding = 0
        for (place, byte) in text.utf8.enumerated() where byte != UInt8(ascii: "\n") && byte != UInt8(ascii: "\r") {
            if byte == UInt8(ascii: "="), digits % 4 >= 2, digits % 4 + padding < 4 {
                padding += 1
            } else if padding == 0, byte != UInt8(ascii: "-"), byte != UInt8(ascii: "_"), value(of: byte) != nil {
                digits += 1
            } else {
                return place
            }
        }
        return digits % 4 == 0 || digits % 4 + padding == 4 ? nil : text.utf8.count
    }

    private static func value(of byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"), UInt8(ascii: "-"): 62
        case UInt8(ascii: "/"), UInt8(ascii: "_"): 63
        default: nil
        }
    }
}
