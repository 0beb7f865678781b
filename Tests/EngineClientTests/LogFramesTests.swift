import Testing

@testable import EngineClient

@Suite("A container's log")
struct LogFramesTests {
    private func frame(_ stream: UInt8, _ text: String) -> [UInt8] {
        [stream, 0, 0, 0, 0, 0, UInt8(text.utf8.count >> 8), UInt8(text.utf8.count & 255)] + Array(text.utf8)
    }

    @Test(arguments: 1...40)
    func `is cut into lines wherever the network cut it`(size: Int) throws {
        let bytes = frame(1, "2026-01-01T00:00:00Z  a b\n") + frame(2, "2026-01-01T00:00:01Z x=1,y=2 two\n")
        var frames = LogFrames(isTerminal: false)
        var lines: [ContainerLogLine] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            lines += try frames.take(bytes[start..<min(start + size, bytes.count)])
        }
        #expect(
            lines == [
                .init(stream: 1, time: "2026-01-01T00:00:00Z", details: "", text: Array("a b\n".utf8)),
                .init(stream: 2, time: "2026-01-01T00:00:01Z", details: "x=1,y=2", text: Array("two\n".utf8)),
            ])
        #expect(frames.rest() == nil)
    }

    @Test func `of a terminal ends with what has no line's end`() throws {
        var frames = LogFrames(isTerminal: true)
        let lines = try frames.take(Array("2026-01-01T00:00:00Z  a\r\n2026-01-01T00:00:01Z  b".utf8))
        #expect(lines.map { String(decoding: $0.text, as: UTF8.self) } == ["a\r\n"])
        #expect(frames.rest()?.text == Array("b".utf8))
    }

    @Test(arguments: [[9, 0, 0, 0, 0, 0, 0, 1, 65], [1, 0, 0, 0, 255, 255, 255, 255]] as [[UInt8]])
    func `that is none is refused`(bytes: [UInt8]) {
        var frames = LogFrames(isTerminal: false)
        #expect(throws: LogFrames.Broken.self) { try frames.take(bytes) }
    }
}
