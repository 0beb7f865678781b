import NIOCore

/// Finds the end of a request's body in what has arrived so far, and what it says.
///
/// - Source: RFC 9112 §6, §7.1.
struct RequestBody {
    enum Progress: Equatable {
        case incomplete
        /// - Parameter length: bytes from the start of the body that belong to it, as they came.
        case complete([UInt8], length: Int)
        case tooLong
        case malformed
    }

    private let framing: RequestHead.Framing
    /// More, on the wire or in it, is refused.
    private let limit: Int
    /// Of a chunked body: how far it was read, and what it said so far.
    private var place = 0
    private var content: [UInt8] = []

    init(_ framing: RequestHead.Framing, limit: Int) {
        self.framing = framing
        self.limit = limit
    }

    /// - Parameter bytes: everything from the start of the body on; more each time.
    mutating func read(_ bytes: ByteBufferView) -> Progress {
        switch framing {
        case .length(let length):
            guard length <= limit else { return .tooLong }
            return bytes.count < length ? .incomplete : .complete(Array(bytes.prefix(length)), length: length)
        case .chunked:
            return readChunks(bytes)
        }
    }

    private mutating func readChunks(_ bytes: ByteBufferView) -> Progress {
        while true {
            let rest = bytes.dropFirst(place)
            guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
                return rest.count > Self.longestLine ? .malformed : bytes.count > limit ? .tooLong : .incomplete
            }
            let line = rest[rest.startIndex..<end]
            guard line.last == UInt8(ascii: "\r"), let size = Self.size(line.dropLast()) else { return .malformed }
            guard size <= limit - content.count else { return .tooLong }
            let start = place + line.count + 1
            if size == 0 { return readTrailer(bytes, from: start) }
            guard bytes.count >= start + size + 2 else { return bytes.count > limit + 2 ? .tooLong : .incomplete }
            let chunk = bytes.dropFirst(start).prefix(size + 2)
            guard chunk.suffix(2).elementsEqual("\r\n".utf8) else { return .malformed }
            content += chunk.dropLast(2)
            place = start + size + 2
            guard place <= limit else { return .tooLong }
        }
    }

    /// Trailing headers say nothing to us; the body ends with the empty line after them.
    private func readTrailer(_ bytes: ByteBufferView, from start: Int) -> Progress {
        var place = start
        while true {
            let rest = bytes.dropFirst(place)
            guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
                return bytes.count - start > Self.longestLine ? .malformed : .incomplete
            }
            let line = rest[rest.startIndex..<end]
            guard line.last == UInt8(ascii: "\r") else { return .malformed }
            place += line.count + 1
            if line.count == 1 { return .complete(content, length: place) }
        }
    }

    private static let longestLine = 4096

    /// The hexadecimal number in front of a chunk; what follows a semicolon is an extension, and not looked at.
    private static func size(_ line: ByteBufferView) -> Int? {
        let digits = line.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") }
        guard (1...15).contains(digits.count),
            digits.allSatisfy({ Character(Unicode.Scalar($0)).isASCII && Character(Unicode.Scalar($0)).isHexDigit })
        else { return nil }
        return Int(String(decoding: digits, as: UTF8.self), radix: 16)
    }
}
