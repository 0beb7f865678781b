public import EngineAPI

extension Cluster.DependencySpec {
    /// Reads the body of `POST /secrets/create` and `/configs/create`.
    ///
    /// - Source: swarmkit manager/controlapi/secret.go `validateSecretSpec`, config.go `validateConfigSpec`, common.go.
    public init(_ kind: Cluster.DependencyKind, parsing document: JSON) throws(ControlError) {
        self.kind = kind
        let type = kind == .secret ? "SecretSpec" : "ConfigSpec"
        guard case .object = document else {
            throw .malformed("json: cannot unmarshal \(document.kind) into Go value of type swarm.\(type)")
        }
        let root = SpecField(document, at: type)
        name = try root.string("Name") ?? ""
        labels = try root.strings("Labels")
        if let data = document["Data"], data.string == nil {
            throw .malformed(
                "json: cannot unmarshal \(data.kind) into Go struct field \(type).Data of type []uint8")
        }
        data = try root.string("Data") ?? ""
        if let place = Base64.fault(in: data) { throw .malformed("illegal base64 data at input byte \(place)") }
        templating = try root.member("Templating").string("Name").flatMap { $0.isEmpty ? nil : $0 }

        guard !name.isEmpty else { throw .invalidArgument("name must be provided") }
        guard name.utf8.count <= 64, Self.isName(name) else {
            throw .invalidArgument(
                "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]"
            )
        }
        if kind == .secret, root.member("Driver").exists {
            let driver = try root.member("Driver").string("Name") ?? ""
            guard !driver.isEmpty else { throw .invalidArgument("secret driver must have a name") }
            throw .unimplemented("secrets of a driver (\(driver)) are not supported: give the secret's value itself")
        }
        if let templating, templating != "golang" {
            throw .unimplemented("the template driver \(templating) is not supported: there is golang")
        }
        guard let size = Base64.decode(data)?.count, size >= 1, size < kind.limit else {
            throw .invalidArgument("\(kind) data must be larger than 0 and less than \(kind.limit) bytes")
        }
    }

    /// `^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$`
    private static func isName(_ name: String) -> Bool {
        let isPlain: (UInt8) -> Bool = { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: false
            }
        }
        return isPlain(name.utf8.first!) && isPlain(name.utf8.last!)
            && name.utf8.allSatisfy { isPlain($0) || "-_.".utf8.contains($0) }
    }
}

extension Cluster.DependencyReference {
    /// Those of a container's spec, in their order.
    ///
    /// - Source: swarmkit manager/controlapi/service.go `validateSecretRefsSpec`, `validateConfigRefsSpec`.
    static func list(_ container: SpecField) throws(ControlError) -> [Self] {
        var all: [Self] = []
        for (kind, plural, prefix) in [
            (Cluster.DependencyKind.secret, "Secrets", "Secret"), (.config, "Configs", "Config"),
        ] {
            var targets: [String: String] = [:]
            for json in container.json?[plural]?.array ?? [] {
                let field = SpecField(json, at: "\(prefix)Reference")
                let reference = Self(
                    kind: kind, id: try field.string("\(prefix)ID") ?? "",
                    name: try field.string("\(prefix)Name") ?? "",
                    file: try file(field))
                guard !reference.id.isEmpty, !reference.name.isEmpty else {
                    throw .invalidArgument("malformed \(kind) reference")
                }
                guard let file = reference.file else {
                    guard kind == .secret || field.member("Runtime").exists else {
                        throw .malformed("invalid Config: either File or Runtime should be set")
                    }
                    guard kind == .config else {
                        throw .invalidArgument("malformed \(kind) reference, no target provided")
                    }
                    all.append(reference)
                    continue
                }
                guard !file.name.isEmpty else {
                    throw .invalidArgument("malformed file \(kind) reference, invalid target file name provided")
                }
                if let other = targets.updateValue(reference.name, forKey: file.name) {
                    throw .invalidArgument(
                        "\(kind) references '\(other)' and '\(reference.name)' have a conflicting target: '\(file.name)'"
                    )
                }
                all.append(reference)
            }
        }
        return all
    }

    private static func file(_ field: SpecField) throws(ControlError) -> File? {
        let file = field.member("File")
        guard file.exists else { return nil }
        var read = File(name: try file.string("Name") ?? "")
        if let uid = try file.string("UID"), !uid.isEmpty { read.uid = uid }
        if let gid = try file.string("GID"), !gid.isEmpty { read.gid = gid }
        if let mode = try file.int("Mode") { read.mode = UInt32(truncatingIfNeeded: mode) & 0o7777 }
        return read
    }
}
