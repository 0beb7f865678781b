import NIOCore

/// The first lines of a request, read without taking them out of the buffer, because most requests are passed on as they are.
struct RequestHead: Equatable {
    var method: String
    var target: String
    var isHTTP11: Bool
    var headers: [Header]
    /// Bytes up to and including the empty line.
    var length: Int
    var framing: Framing

    /// How the end of the body is found.
    enum Framing: Equatable {
        case length(Int)
        case chunked
    }

    /// The client wants to go on with another protocol, or with raw bytes, on this connection.
    var isUpgrade: Bool { headers.has("upgrade", in: "connection") }

    /// Another request may follow on this connection.
    var keepsAlive: Bool { isHTTP11 && !headers.has("close", in: "connection") }

    var expectsContinue: Bool { headers["Expect"]?.lowercased() == "100-continue" }

    /// More is refused.
    static let longest = 64 << 10
}

/// A head that no server should guess the meaning of.
struct BadHead: Error, Equatable {
    var status: Int
    var message: String
}

// MARK: - Reading

extension RequestHead {
    /// - Returns: nil while the head is not complete.
    ///
    /// - Source: RFC 9112 §2, §3, §5, §6. What two readers could take for two different requests is refused.
    init?(reading buffer: ByteBuffer) throws(BadHead) {
        let view = buffer.readableBytesView
        guard let end = Self.end(of: view.prefix(Self.longest)) else {
            guard view.count < Self.longest else {
                throw BadHead(status: 431, message: "the head of the request is longer than \(Self.longest) bytes")
            }
            return nil
        }
        length = view.distance(from: view.startIndex, to: end)
        let text = String(decoding: view[view.startIndex..<end], as: UTF8.self)
        // "\r\n" is one Character.
        var lines = text.split(separator: "\r\n", omittingEmptySubsequences: false).dropLast(2)
        let words = (lines.popFirst() ?? "").split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, Self.isToken(words[0]), !words[1].isEmpty,
            words[2] == "HTTP/1.1" || words[2] == "HTTP/1.0"
        else { throw BadHead(status: 400, message: "this is no HTTP/1.1 request") }
        (method, target, isHTTP11) = (String(words[0]), String(words[1]), words[2] == "HTTP/1.1")

        headers = []
        for line in lines {
            // A line's end without its partner is one to some readers and none to others.
            guard let colon = line.utf8.firstIndex(of: UInt8(ascii: ":")), Self.isToken(line[..<colon]),
                line.utf8.allSatisfy({ $0 >= 0x20 || $0 == 0x09 })
            else {
                throw BadHead(status: 400, message: "a header of the request is malformed")
            }
            headers.append(Header(String(line[..<colon]), Self.trimmed(line[line.index(after: colon)...])))
        }
        framing = try Self.framing(headers)
    }

    private static func end(of view: ByteBufferView) -> ByteBufferView.Index? {
        var rest = view
        while let carriageReturn = rest.firstIndex(of: UInt8(ascii: "\r")) {
            rest = rest[carriageReturn...]
            if rest.starts(with: "\r\n\r\n".utf8) { return rest.startIndex + 4 }
            rest = rest.dropFirst()
        }
        return nil
    }

    private static func framing(_ headers: [Header]) throws(BadHead) -> Framing {
        let codings = headers.filter { $0.name.lowercased() == "transfer-encoding" }.map { $0.value.lowercased() }
        let lengths = Set(headers.filter { $0.name.lowercased() == "content-length" }.map(\.value))
        if !codings.isEmpty {
            guard codings == ["chunked"], lengths.isEmpty else {
                throw BadHead(status: 400, message: "the end of the request's body cannot be told from its headers")
            }
            return .chunked
        }
        guard let text = lengths.first else { return .length(0) }
        guard lengths.count == 1, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(text) else {
            throw BadHead(status: 400, message: "the request's Content-Length is malformed")
        }
        return .length(length)
    }

    private static func isToken(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !#"(),/:;<=>?@[\]{}""#.utf8.contains($0) }
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text)
    }
}

// MARK: - Passing on

extension RequestHead {
    /// The head for the engine: as it came, but asking for one request only, so that the next one is routed again.
    /// An upgrade stays one.
    func forEngine(from buffer: ByteBuffer) -> ByteBuffer {
        if isUpgrade { return buffer.getSlice(at: buffer.readerIndex, length: length)! }
        var head = ByteBuffer()
        head.reserveCapacity(length + 32)
        var rest = buffer.readableBytesView.prefix(length - 2)
        var isFirst = true
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let line = rest[rest.startIndex...end]
            rest = rest[(end + 1)...]
            let name = String(decoding: line.prefix { $0 != UInt8(ascii: ":") }, as: UTF8.self).lowercased()
            if isFirst || (name != "connection" && name != "keep-alive") { head.writeBytes(line) }
            isFirst = false
        }
        head.writeString("Connection: close\r\n\r\n")
        return head
    }
}
