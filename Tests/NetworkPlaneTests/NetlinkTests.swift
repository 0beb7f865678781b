import Testing

@testable import NetworkPlane

@Suite("Netlink messages")
struct NetlinkTests {
    @Test("lengths, flags and attributes are where the kernel looks for them")
    func layout() {
        var message = NetlinkMessage(16, body: [1, 2, 3])
        message.attribute(3, "ab")
        message.nested(18) { $0.attribute(1, UInt8(7)) }
        let bytes = message.finished(sequence: 9, flags: 4)
        #expect(bytes[0..<4] == [40, 0, 0, 0])
        #expect(bytes[4..<8] == [16, 0, 5, 0])
        #expect(bytes[8..<12] == [9, 0, 0, 0])
        #expect(Array(bytes[20..<28]) == [7, 0, 3, 0, 97, 98, 0, 0])
        #expect(Array(bytes[28..<40]) == [12, 0, 18, 0x80, 5, 0, 1, 0, 7, 0, 0, 0])
    }
}
