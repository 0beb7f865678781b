import ClusterModel
import Testing

@Suite struct IPAddressTests {
    @Test(arguments: [
        "0.0.0.0", "10.0.0.1", "255.255.255.255", "::", "::1", "fd00::1", "2001:db8::8:800:200c:417a",
        "1:2:3:4:5:6:7:8", "1:0:0:2::3", "0:0:1::",
    ])
    func readsWhatItWrites(_ text: String) throws {
        #expect(try #require(IPAddress(text)).description == text)
    }

    @Test(arguments: [
        ("0:0:0:0:0:0:0:1", "::1"), ("2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"),
        ("::ffff:10.0.0.1", "::ffff:a00:1"), ("1:0:0:2:0:0:0:3", "1:0:0:2::3"), ("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"),
    ])
    func writesTheShortForm(_ text: String, _ short: String) throws {
        #expect(try #require(IPAddress(text)).description == short)
    }

    @Test(arguments: [
        "", ".", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.+4", "1.2.3.4 ", ":", ":::", "1::2::3",
        "12345::",
        "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8", "::1.2.3", "fe80::1%eth0", "g::", "٣.1.1.1",
    ])
    func refuses(_ text: String) { #expect(IPAddress(text) == nil) }

    @Test func counts() throws {
        let address = try #require(IPAddress("10.0.0.255"))
        #expect(address.advanced(by: 1)?.description == "10.0.1.0")
        #expect(address.advanced(by: -256)?.description == "9.255.255.255")
        #expect(IPAddress("255.255.255.255")?.advanced(by: 1) == nil)
        #expect(IPAddress("0.0.0.0")?.advanced(by: -1) == nil)
        #expect(IPAddress("::ffff:ffff:ffff:ffff")?.advanced(by: 1)?.description == "0:0:0:1::")
        #expect(IPAddress("0:0:0:1::")?.advanced(by: -1)?.description == "::ffff:ffff:ffff:ffff")
        #expect(address.distance(to: try #require(IPAddress("10.0.1.1"))) == 2)
        #expect(address.distance(to: try #require(IPAddress("::1"))) == nil)
        #expect(address < (try #require(IPAddress("10.0.1.0"))))
    }

    @Test func subnets() throws {
        let subnet = try #require(IPSubnet("10.0.9.77/22"))
        #expect(subnet.description == "10.0.8.0/22")
        #expect(subnet.last.description == "10.0.11.255")
        #expect(subnet.contains(try #require(IPAddress("10.0.11.255"))))
        #expect(!subnet.contains(try #require(IPAddress("10.0.12.0"))))
        #expect(!subnet.contains(try #require(IPAddress("::a00:800"))))
        #expect(subnet.overlaps(try #require(IPSubnet("10.0.0.0/8"))))
        #expect(try #require(IPSubnet("10.0.0.0/8")).overlaps(subnet))
        #expect(!subnet.overlaps(try #require(IPSubnet("10.0.12.0/24"))))
        #expect(subnet.next?.description == "10.0.12.0/22")
        #expect(IPSubnet("255.255.255.0/24")?.next == nil)
        #expect(IPSubnet("fd00::1/64")?.last.description == "fd00::ffff:ffff:ffff:ffff")
        #expect(IPSubnet("::/0")?.last.description == "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
        for wrong in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/8/8", "x/8"] {
            #expect(IPSubnet(wrong) == nil, "\(wrong)")
        }
    }

    @Test func macs() throws {
        #expect(MACAddress(for: try #require(IPAddress("10.60.0.11"))).description == "02:42:0a:3c:00:0b")
    }
}
