import NIOCore

/// What can be wrong with an address that a client gave, in the words of swarm mode.
struct AddressProblem: Error, Equatable {
    var message: String
}

/// One address of one interface of this machine.
struct InterfaceAddress: Sendable, Equatable {
    var interface: String
    var address: String
    var isIPv6 = false
    var isLoopback = false

    /// Those of this machine now, in the kernel's order.
    static func all() -> [InterfaceAddress] {
        let devices = (try? System.enumerateDevices()) ?? []
        return devices.compactMap { device in
            guard let address = device.address, let text = address.ipAddress else { return nil }
            // Link-local addresses mean nothing to another machine.
            if text.hasPrefix("fe80:") { return nil }
            return InterfaceAddress(
                interface: device.name, address: text, isIPv6: address.protocol == .inet6,
                isLoopback: text.hasPrefix("127.") || text == "::1")
        }
    }
}

/// Settles where a node listens and under which address others find it.
///
/// - Source: moby daemon/cluster/listen_addr.go.
struct AddressResolver {
    static let defaultPort = 2377
    private static let noListenAddress =
        "listen address must be an IP address or network interface (with optional port number)"
    private static let noAdvertiseAddress =
        "advertise address must be a non-zero IP address or network interface (with optional port number)"
    /// Interfaces that engines make for containers: nobody else reaches a node there.
    private static let engineInterfaces = ["docker0", "docker_gwbridge"]

    var interfaces: [InterfaceAddress]

    /// - Returns: `host:port` to bind.
    func listenAddress(_ given: String) throws(AddressProblem) -> (host: String, port: Int) {
        guard let (host, port) = Self.split(given.isEmpty ? "0.0.0.0" : given, defaultPort: Self.defaultPort) else {
            throw AddressProblem(message: Self.noListenAddress)
        }
        if Self.isAddress(host) { return (host, port) }
        return (try address(ofInterface: host, otherwise: Self.noListenAddress), port)
    }

    /// - Parameters:
    ///   - given: what the client wrote: an address or an interface, with or without a port; empty to choose.
    ///   - otherwise: `--default-advertise-addr`.
    func advertiseAddress(
        _ given: String, otherwise: String?, listening: (host: String, port: Int)
    ) throws(AddressProblem) -> (host: String, port: Int) {
        let text = given.isEmpty ? otherwise ?? "" : given
        if !text.isEmpty {
            guard let (host, port) = Self.split(text, defaultPort: listening.port) else {
                throw AddressProblem(message: Self.noAdvertiseAddress)
            }
            guard Self.isAddress(host) else {
                return (try address(ofInterface: host, otherwise: Self.noAdvertiseAddress), port)
            }
            guard !Self.isUnspecified(host) else {
                throw AddressProblem(message: Self.noAdvertiseAddress)
            }
            return (host, port)
        }
        if !Self.isUnspecified(listening.host) { return listening }
        return (try systemAddress(), listening.port)
    }

    /// Where others find this node now that it starts again: machines move, and a name of an interface, or the choice
    /// that was left to us, then means another address.
    ///
    /// - Parameters:
    ///   - known: `host:port`, as it was last.
    ///   - wish: what the user gave for it; nil where that is not known.
    /// - Returns: `known` where it still holds, or where nothing better can be said.
    func renewed(_ known: String, wish: String?) -> String {
        guard let wish, let (host, port) = Self.split(known, defaultPort: Self.defaultPort) else { return known }
        let name = wish.isEmpty ? "" : Self.split(wish, defaultPort: port)?.host ?? ""
        if Self.isAddress(name) || (wish.isEmpty && interfaces.contains { $0.address == host }) { return known }
        let found =
            try? (name.isEmpty ? systemAddress() : address(ofInterface: name, otherwise: Self.noAdvertiseAddress))
        return found.map { Self.join($0, port) } ?? known
    }

    /// The one address of this machine that others can reach.
    private func systemAddress() throws(AddressProblem) -> String {
        let candidates = interfaces.filter { !$0.isLoopback && !Self.isEngines($0.interface) }
        let known = candidates.filter { !$0.isIPv6 }.isEmpty ? candidates : candidates.filter { !$0.isIPv6 }
        guard let first = known.first else {
            throw AddressProblem(message: "could not find the system's IP address - specify one with --advertise-addr")
        }
        guard let second = known.dropFirst().first else { return first.address }
        let places =
            first.interface == second.interface
            ? "addresses on interface \(first.interface) (\(first.address) and \(second.address))"
            : "addresses on different interfaces (\(first.address) on \(first.interface) and \(second.address) on \(second.interface))"
        throw AddressProblem(
            message:
                "could not choose an IP address to advertise since this system has multiple \(places) - specify one with --advertise-addr"
        )
    }

    private static func isEngines(_ interface: String) -> Bool {
        engineInterfaces.contains(interface) || interface.hasPrefix("br-") || interface.hasPrefix("veth")
    }

    /// - Parameter otherwise: what to say of a name that no interface has.
    private func address(ofInterface name: String, otherwise: String) throws(AddressProblem) -> String {
        let all = interfaces.filter { $0.interface == name }
        guard !all.isEmpty else { throw AddressProblem(message: otherwise) }
        let addresses = all.filter { !$0.isIPv6 }.isEmpty ? all : all.filter { !$0.isIPv6 }
        if addresses.count > 1 {
            throw AddressProblem(
                message:
                    "interface \(name) has more than one IPv4 address (\(addresses[0].address) and \(addresses[1].address))"
            )
        }
        return addresses[0].address
    }

    static func join(_ host: String, _ port: Int) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// `a`, `a:1`, `::1`, `[::1]:1`.
    static func split(_ text: String, defaultPort: Int) -> (host: String, port: Int)? {
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            let host = String(text[text.index(after: text.startIndex)..<end])
            let rest = text[text.index(after: end)...]
            guard !rest.isEmpty else { return (host, defaultPort) }
            guard rest.first == ":", let port = port(rest.dropFirst()) else { return nil }
            return (host, port)
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        if parts.count == 2 {
            guard let port = port(parts[1]) else { return nil }
            return parts[0].isEmpty ? nil : (String(parts[0]), port)
        }
        return text.isEmpty ? nil : (text, defaultPort)
    }

    private static func port(_ text: Substring) -> Int? {
        guard let port = Int(text), (1...65_535).contains(port) else { return nil }
        return port
    }

    private static func isAddress(_ host: String) -> Bool {
        (try? SocketAddress(ipAddress: host, port: 0)) != nil
    }

    private static func isUnspecified(_ host: String) -> Bool { host == "0.0.0.0" || host == "::" }
}
