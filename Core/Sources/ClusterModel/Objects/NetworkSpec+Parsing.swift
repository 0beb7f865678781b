public import EngineAPI

extension Cluster.NetworkSpec {
    /// Reads the body of `POST /networks/create`, and keeps it. Past this door nobody checks again.
    ///
    /// - Throws: `ControlError` with swarm mode's words where it has some.
    /// - Source: swarmkit manager/controlapi/network.go; moby daemon/cluster/networks.go, libnetwork/network.go.
    public init(parsing document: JSON) throws(ControlError) {
        guard case .object = document else {
            throw .malformed("json: cannot unmarshal \(document.kind) into Go value of type types.NetworkCreateRequest")
        }
        let root = SpecField(document, at: "NetworkCreateRequest")
        name = try root.string("Name") ?? ""
        labels = try root.strings("Labels")
        driver = (try root.string("Driver") ?? "").lowercased()
        if driver.isEmpty { driver = "overlay" }
        options = try root.strings("Options")
        isInternal = document["Internal"]?.bool ?? false
        isAttachable = document["Attachable"]?.bool ?? false
        isIngress = document["Ingress"]?.bool ?? false
        subnets = []
        self.document = document.text

        guard !name.isEmpty else { throw .invalidArgument("meta: name must be provided") }
        guard name.utf8.count <= 255, name.utf8.allSatisfy({ $0 > 0x20 && $0 != UInt8(ascii: "/") }) else {
            throw .invalidArgument("network name \"\(name)\" is not valid: it has spaces, slashes or over 255 bytes")
        }
        guard driver == "overlay" else {
            throw .unimplemented(
                "networks of the swarm with the driver \(driver) are not supported yet: create it on each node, without --scope swarm"
            )
        }
        if document["EnableIPv6"]?.bool == true {
            throw .unimplemented("overlay networks with IPv6 are not supported yet: create it without --ipv6")
        }
        if isIngress, isAttachable {
            throw .invalidArgument("ingress network cannot be attachable")
        }
        if let text = options["com.docker.network.driver.mtu"], !(Int(text).map { (68...65_535).contains($0) } ?? false)
        {
            throw .invalidArgument(
                "com.docker.network.driver.mtu is a number of bytes from 68 to 65535, not \"\(text)\"")
        }

        let ipam = root.member("IPAM")
        let manager = try ipam.string("Driver") ?? ""
        guard ["", "default"].contains(manager) else {
            throw .unimplemented("the address manager \(manager) is not supported: leave --ipam-driver out")
        }
        for json in ipam.json?["Config"]?.array ?? [] {
            subnets.append(try Self.subnet(SpecField(json, at: "IPAMConfig")))
        }
        for (place, subnet) in subnets.enumerated() {
            for other in subnets[..<place] where other.subnet.overlaps(subnet.subnet) {
                throw .invalidArgument("subnets \(other.subnet) and \(subnet.subnet) overlap")
            }
        }
    }

    private static func subnet(_ field: SpecField) throws(ControlError) -> WantedSubnet {
        let text = try field.string("Subnet") ?? ""
        guard let subnet = IPSubnet(text) else {
            throw .invalidArgument("invalid subnet \(text) : invalid CIDR address")
        }
        guard subnet.base.family == .v4 else {
            throw .unimplemented("overlay networks with IPv6 are not supported yet: \(subnet)")
        }
        guard (8...29).contains(subnet.prefix) else {
            throw .invalidArgument("subnet \(subnet) cannot carry an overlay: its prefix has 8 to 29 bits")
        }
        var wanted = WantedSubnet(subnet: subnet)
        if let text = try field.string("IPRange"), !text.isEmpty {
            guard let range = IPSubnet(text), range.prefix >= subnet.prefix, subnet.contains(range.base) else {
                throw .invalidArgument("ip-range \(text) is not a part of the subnet \(subnet)")
            }
            wanted.range = range
        }
        func member(_ text: String, _ what: String) throws(ControlError) -> IPAddress {
            guard let address = IPAddress(text), subnet.contains(address), address != subnet.base,
                address != subnet.last
            else { throw .invalidArgument("\(what) \(text) is no address of the subnet \(subnet)") }
            return address
        }
        if let text = try field.string("Gateway"), !text.isEmpty { wanted.gateway = try member(text, "gateway") }
        for (name, text) in try field.strings("AuxiliaryAddresses").sorted(by: { $0.key < $1.key }) {
            wanted.reserved[name] = try member(text, "auxiliary address")
        }
        return wanted
    }

    /// The network that carries published ports, as `swarm init` makes it.
    public static var ingress: Self {
        // swift-format-ignore: NeverUseForceTry
        try! Self(parsing: JSON(parsing: Array(#"{"Name":"ingress","Driver":"overlay","Ingress":true}"#.utf8)))
    }
}
