public import EngineAPI

extension Cluster.SwarmSpec {
    /// Reads the settings that a client sent, and fills in what it left out.
    ///
    /// As with Docker, a client sends the whole spec: a number that is missing or 0 means the default, not "as before".
    ///
    /// - Throws: `ControlError` with the reference's words.
    /// - Source: moby daemon/cluster/convert/swarm.go; swarmkit manager/controlapi/cluster.go `validateClusterSpec`.
    public init(parsing document: JSON) throws(ControlError) {
        guard case .object = document else {
            throw .invalidArgument("json: cannot unmarshal \(document.kind) into Go value of type swarm.Spec")
        }
        let root = SpecField(document, at: "Spec")
        let name = try root.string("Name") ?? ""
        guard name.isEmpty || name == "default" else { throw .invalidArgument(#"swarm spec must be named "default""#) }
        let labels = try root.strings("Labels")

        let history = try root.member("Orchestration").int("TaskHistoryRetentionLimit") ?? 5
        let raft = root.member("Raft")
        let heartbeat = try root.member("Dispatcher").int("HeartbeatPeriod") ?? 0
        guard heartbeat >= 0 else { throw .invalidArgument("heartbeat time period cannot be a negative duration") }
        let authority = root.member("CAConfig")
        let expiry = try authority.int("NodeCertExpiry") ?? 0
        guard expiry == 0 || expiry >= Self.shortestExpiry else {
            throw .invalidArgument("minimum certificate expiry time is: 1h0m0s")
        }
        for field in ["ExternalCAs", "SigningCACert", "SigningCAKey"] {
            guard let value = authority.json?[field], value != "", value != [] else { continue }
            throw .unimplemented("\(field) is not supported yet: the swarm signs its nodes' certificates itself")
        }
        if root.member("EncryptionConfig").json?["AutoLockManagers"]?.bool == true {
            throw .unimplemented(
                "autolock is not supported yet: keep the state directory of the managers on an encrypted disk instead")
        }

        var settings: JSON = ["Name": "default", "Labels": JSON(labels)]
        settings["Orchestration"] = ["TaskHistoryRetentionLimit": JSON(history)]
        settings["Raft"] = [
            "SnapshotInterval": JSON(try raft.positive("SnapshotInterval", else: 10_000)),
            "KeepOldSnapshots": JSON(try raft.int("KeepOldSnapshots") ?? 0),
            "LogEntriesForSlowFollowers": JSON(try raft.positive("LogEntriesForSlowFollowers", else: 500)),
            "ElectionTick": JSON(try raft.positive("ElectionTick", else: 10)),
            "HeartbeatTick": JSON(try raft.positive("HeartbeatTick", else: 1)),
        ]
        self.init(document: "")
        self.labels = labels
        taskHistoryLimit = Int(history)
        if heartbeat > 0 { heartbeatPeriod = heartbeat }
        if expiry > 0 { nodeCertificateExpiry = expiry }
        settings["Dispatcher"] = ["HeartbeatPeriod": JSON(heartbeatPeriod)]
        settings["CAConfig"] = ["NodeCertExpiry": JSON(nodeCertificateExpiry)]
        settings["TaskDefaults"] = document["TaskDefaults"] ?? [:]
        settings["EncryptionConfig"] = ["AutoLockManagers": false]
        self.document = settings.text
    }

    /// One hour, in nanoseconds.
    private static var shortestExpiry: Int64 { 3_600_000_000_000 }
}

extension SpecField {
    /// The number where there is one and it is not 0.
    fileprivate func positive(_ name: String, else usual: Int64) throws(ControlError) -> Int64 {
        guard let number = try int(name), number != 0 else { return usual }
        guard number > 0 else {
            throw .invalidArgument(
                "json: cannot unmarshal number \(number) into Go struct field \(path).\(name) of type uint64")
        }
        return number
    }
}
