@testable import Node
import Testing

@Suite("The address to advertise")
struct AddressesTests {
    static let one = [
        InterfaceAddress(interface: "lo", address: "127.0.0.1", isLoopback: true),
        InterfaceAddress(interface: "eth0", address: "10.0.0.5"),
        InterfaceAddress(interface: "docker0", address: "172.17.0.1"),
        InterfaceAddress(interface: "br-0a1b", address: "172.18.0.1"),
    ]

    func advertise(_ given: String, _ interfaces: [InterfaceAddress] = one, listen: String = "0.0.0.0:2377") throws
        -> String
    {
        let resolver = AddressResolver(interfaces: interfaces)
        let result = try resolver.advertiseAddress(
            given, otherwise: nil, listening: try resolver.listenAddress(listen))
        return AddressResolver.join(result.host, result.port)
    }

    @Test(
        "is what was given, completed",
        arguments: [
            ("", "10.0.0.5:2377"), ("1.2.3.4", "1.2.3.4:2377"), ("1.2.3.4:99", "1.2.3.4:99"), ("eth0", "10.0.0.5:2377"),
            ("eth0:99", "10.0.0.5:99"), ("[fd00::1]:99", "[fd00::1]:99"),
        ])
    func completed(given: String, expected: String) throws { #expect(try advertise(given) == expected) }

    @Test func `is the listen address where that is one of the machine's`() throws {
        #expect(try advertise("", listen: "10.0.0.9:4000") == "10.0.0.9:4000")
    }

    @Test func `must be given where the machine has several`() {
        let two = Self.one + [InterfaceAddress(interface: "eth1", address: "10.1.0.5")]
        #expect(
            throws: AddressProblem(
                message:
                    "could not choose an IP address to advertise since this system has multiple addresses on different interfaces (10.0.0.5 on eth0 and 10.1.0.5 on eth1) - specify one with --advertise-addr"
            )
        ) { try advertise("", two) }
    }

    @Test(
        "is refused in swarm mode's words",
        arguments: [
            (
                "eth9",
                "advertise address must be a non-zero IP address or network interface (with optional port number)"
            ),
            (
                "0.0.0.0",
                "advertise address must be a non-zero IP address or network interface (with optional port number)"
            ),
            (
                "1.2.3.4:x",
                "advertise address must be a non-zero IP address or network interface (with optional port number)"
            ),
        ])
    func refused(given: String, message: String) {
        #expect(throws: AddressProblem(message: message)) { try advertise(given) }
    }
}

@Suite("The address after a restart")
struct RenewedAddressTests {
    func resolver(_ addresses: (String, String)...) -> AddressResolver {
        AddressResolver(
            interfaces: [InterfaceAddress(interface: "lo", address: "127.0.0.1", isLoopback: true)]
                + addresses.map { InterfaceAddress(interface: $0.0, address: $0.1) })
    }

    @Test func `follows the interface that was named`() {
        #expect(resolver(("eth0", "10.0.0.9")).renewed("10.0.0.1:2377", wish: "eth0") == "10.0.0.9:2377")
        #expect(resolver(("eth0", "10.0.0.9")).renewed("10.0.0.1:2400", wish: "eth0:2400") == "10.0.0.9:2400")
    }

    @Test func `follows the machine where the choice was left to us`() {
        #expect(resolver(("eth0", "10.0.0.9")).renewed("10.0.0.1:2377", wish: "") == "10.0.0.9:2377")
        #expect(
            resolver(("eth0", "10.0.0.1"), ("eth1", "10.1.0.1")).renewed("10.0.0.1:2377", wish: "") == "10.0.0.1:2377")
    }

    @Test func `stays where nothing better is known`() {
        // The user said so; it may be another machine's that forwards.
        #expect(resolver(("eth0", "10.0.0.9")).renewed("10.0.0.1:2377", wish: "10.0.0.1") == "10.0.0.1:2377")
        #expect(resolver(("a", "10.0.0.8"), ("b", "10.0.0.9")).renewed("10.0.0.1:2377", wish: "") == "10.0.0.1:2377")
        #expect(resolver().renewed("10.0.0.1:2377", wish: "eth7") == "10.0.0.1:2377")
        #expect(resolver(("eth0", "10.0.0.9")).renewed("10.0.0.1:2377", wish: nil) == "10.0.0.1:2377")
    }
}
