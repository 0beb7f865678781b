/// `POST /swarm/init`: begin a swarm on this node.
public struct SwarmInitRequest: Sendable, Equatable {
    public var listenAddress: String
    public var advertiseAddress: String
    public var dataPathAddress: String
    /// 0: the default.
    public var dataPathPort: Int
    public var defaultAddressPools: [String]
    /// 0: the default.
    public var subnetSize: Int
    public var forceNewCluster: Bool
    public var autoLockManagers: Bool
    /// Empty: active.
    public var availability: String
    /// `{}` where the client sent none.
    public var spec: JSON

    public init(parsing document: JSON) throws(WordError) {
        let fields = try Fields(document, of: "InitRequest")
        listenAddress = try fields.string("ListenAddr")
        advertiseAddress = try fields.string("AdvertiseAddr")
        dataPathAddress = try fields.string("DataPathAddr")
        dataPathPort = try fields.number("DataPathPort", type: "uint32")
        defaultAddressPools = try fields.strings("DefaultAddrPool")
        subnetSize = try fields.number("SubnetSize", type: "uint32")
        forceNewCluster = try fields.bool("ForceNewCluster")
        autoLockManagers = try fields.bool("AutoLockManagers")
        availability = try fields.string("Availability")
        spec = document["Spec"] ?? [:]
    }
}

/// `POST /swarm/join`: become a node of a swarm that exists.
public struct SwarmJoinRequest: Sendable, Equatable {
    public var listenAddress: String
    public var advertiseAddress: String
    public var dataPathAddress: String
    public var remoteAddresses: [String]
    public var joinToken: String
    /// Empty: active.
    public var availability: String

    public init(parsing document: JSON) throws(WordError) {
        let fields = try Fields(document, of: "JoinRequest")
        listenAddress = try fields.string("ListenAddr")
        advertiseAddress = try fields.string("AdvertiseAddr")
        dataPathAddress = try fields.string("DataPathAddr")
        remoteAddresses = try fields.strings("RemoteAddrs")
        joinToken = try fields.string("JoinToken")
        availability = try fields.string("Availability")
    }
}

/// The members of an object, each of the type that it must have; missing and `null` read as Go's zero value.
private struct Fields {
    let document: JSON
    let type: String

    init(_ document: JSON, of type: String) throws(WordError) {
        guard case .object = document else {
            throw WordError("json: cannot unmarshal \(document.kind) into Go value of type swarm.\(type)")
        }
        (self.document, self.type) = (document, type)
    }

    private func wrong(_ value: JSON, _ name: String, _ wanted: String) -> WordError {
        WordError("json: cannot unmarshal \(value.kind) into Go struct field \(type).\(name) of type \(wanted)")
    }

    func string(_ name: String) throws(WordError) -> String {
        guard let value = document[name] else { return "" }
        guard let text = value.string else { throw wrong(value, name, "string") }
        return text
    }

    func bool(_ name: String) throws(WordError) -> Bool {
        guard let value = document[name] else { return false }
        guard let flag = value.bool else { throw wrong(value, name, "bool") }
        return flag
    }

    /// A whole number from 0 up.
    func number(_ name: String, type: String) throws(WordError) -> Int {
        guard let value = document[name] else { return 0 }
        guard let number = value.int, (0...Int(UInt32.max)).contains(number) else { throw wrong(value, name, type) }
        return number
    }

    func strings(_ name: String) throws(WordError) -> [String] {
        guard let value = document[name] else { return [] }
        guard let elements = value.array else { throw wrong(value, name, "[]string") }
        var list: [String] = []
        for element in elements {
            guard let text = element.string else { throw wrong(element, name, "string") }
            list.append(text)
        }
        return list
    }
}
