public import EngineAPI

extension Cluster.NodeSpec {
    /// Reads what a client wants of a node.
    ///
    /// - Throws: `ControlError.invalidArgument` with dockerd's words.
    /// - Source: moby daemon/cluster/convert/node.go `NodeSpecToGRPC`.
    public init(parsing document: JSON) throws(ControlError) {
        guard case .object = document else {
            throw .invalidArgument("json: cannot unmarshal \(document.kind) into Go value of type swarm.NodeSpec")
        }
        let root = SpecField(document, at: "NodeSpec")
        let name = try root.string("Name") ?? ""
        let roleName = try root.string("Role") ?? ""
        guard let role = Cluster.Role(rawValue: roleName.lowercased()) else {
            throw .invalidArgument("invalid Role: \"\(roleName)\"")
        }
        let availabilityName = try root.string("Availability") ?? ""
        guard let availability = Cluster.Availability(rawValue: availabilityName.lowercased()) else {
            throw .invalidArgument("invalid Availability: \"\(availabilityName)\"")
        }
        self.init(
            name: name.isEmpty ? nil : name, labels: try root.strings("Labels"), role: role, availability: availability)
    }
}
