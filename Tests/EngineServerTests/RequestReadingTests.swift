import NIOCore
import Testing

@testable import EngineServer

@Suite("A request's head")
struct RequestHeadTests {
    private func read(_ text: String) throws -> RequestHead? {
        do { return try RequestHead(reading: ByteBuffer(string: text)) } catch { throw error }
    }

    @Test func `is read once it is whole`() throws {
        let text = "POST /v1.41/x?y HTTP/1.1\r\nHost: d\r\nX-A:  b c \r\nContent-Length: 3\r\n\r\nabc"
        for count in 0..<(text.utf8.count - 3) {
            #expect(try read(String(decoding: Array(text.utf8.prefix(count)), as: UTF8.self)) == nil)
        }
        let head = try #require(try read(text))
        #expect(head.method == "POST" && head.target == "/v1.41/x?y" && head.framing == .length(3))
        #expect(head.headers == [Header("Host", "d"), Header("X-A", "b c"), Header("Content-Length", "3")])
        #expect(head.length == text.utf8.count - 3 && head.keepsAlive && !head.isUpgrade)
    }

    @Test(
        "is refused where two could read it differently",
        arguments: [
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "GET / HTTP/1.1\r\nA b: c\r\n\r\n",
            "GET / HTTP/1.1\r\n folded: x\r\n\r\n", "GET / HTTP/1.1\r\nnothing\r\n\r\n", "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "\r\n\r\n", "GET / HTTP/1.1\r\n: x\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n",
        ])
    func refuses(_ text: String) {
        #expect(throws: BadHead.self) { try read(text) }
    }

    @Test func `is refused when it is too long`() {
        #expect(throws: BadHead.self) { try read("GET / HTTP/1.1\r\nA: " + String(repeating: "a", count: 70_000)) }
    }

    @Test func `goes to the engine as it came, for one request`() throws {
        let text = "GET /x HTTP/1.1\r\nHost:d\r\nconnection: keep-alive\r\nKeep-Alive: 5\r\nX:  y\r\n\r\nrest"
        let head = try #require(try read(text))
        #expect(
            String(buffer: head.forEngine(from: ByteBuffer(string: text)))
                == "GET /x HTTP/1.1\r\nHost:d\r\nX:  y\r\nConnection: close\r\n\r\n")
        let upgrade = "POST /exec HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        let other = try #require(try read(upgrade))
        #expect(other.isUpgrade && String(buffer: other.forEngine(from: ByteBuffer(string: upgrade))) == upgrade)
    }

    @Test func `survives any bytes`() {
        var random = SystemRandomNumberGenerator()
        let alphabet = Array("GET /:\r\n\r\nHTTP/1.1 a\u{0}\u{7F}%".utf8)
        for _ in 0..<5_000 {
            let bytes = (0..<60).map { _ in
                random.next() % 10 == 0
                    ? UInt8.random(in: 0...255, using: &random) : alphabet.randomElement(using: &random)!
            }
            let buffer = ByteBuffer(bytes: bytes + Array("\r\n\r\n".utf8))
            _ = (try? RequestHead(reading: buffer)).flatMap { $0 }.map { _ = $0.forEngine(from: buffer) }
        }
    }
}

@Suite("A request's body")
struct RequestBodyTests {
    private func read(_ text: String, limit: Int = 100) -> RequestBody.Progress {
        var body = RequestBody(.chunked, limit: limit)
        let bytes = Array(text.utf8)
        var last = RequestBody.Progress.incomplete
        // As it may come: byte by byte.
        for count in 0...bytes.count {
            last = body.read(ByteBufferView(ByteBuffer(bytes: bytes[..<count])))
            if last != .incomplete { return last }
        }
        return last
    }

    @Test func `is put together from its chunks`() {
        let text = "3\r\nabc\r\n0a;ext=1\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
        #expect(read(text + "GET") == .complete(Array("abc0123456789".utf8), length: text.utf8.count))
        #expect(read("0\r\n\r\n") == .complete([], length: 5))
        #expect(read("3\r\nab") == .incomplete)
    }

    @Test(arguments: ["x\r\n", "\r\n", "-1\r\n", "3\r\nabcd\r\n", "3\nabc", "ffffffffffffffffff\r\n", "٣\r\n"])
    func `is refused where its chunks do not fit`(_ text: String) {
        #expect(read(text) == .malformed)
    }

    @Test func `is refused when it is too long, before it has arrived`() {
        #expect(read("65\r\n") == .tooLong)
        #expect(read(String(repeating: "1\r\na\r\n", count: 30)) == .tooLong)
        var body = RequestBody(.length(101), limit: 100)
        #expect(body.read(ByteBufferView(ByteBuffer())) == .tooLong)
    }

    @Test func `survives any bytes`() {
        var random = SystemRandomNumberGenerator()
        let alphabet = Array("0123af\r\n;x".utf8)
        for _ in 0..<3_000 {
            let bytes = (0..<40).map { _ in alphabet.randomElement(using: &random)! }
            _ = read(String(decoding: bytes, as: UTF8.self), limit: 50)
        }
    }
}
