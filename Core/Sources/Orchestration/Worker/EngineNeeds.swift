import EngineAPI

/// Which options of a container need which version of the engine. An older engine leaves out what it does not know and
/// says nothing, so it is not asked at all.
///
/// - Source: docs/api/version-history.md of moby; the versions in the Engine API's own description.
enum EngineNeeds {
    private struct Need {
        /// As a user wrote it.
        var option: String
        var since: APIVersion
        var release: String
        var isAsked: (_ container: JSON, _ template: JSON?) -> Bool
    }

    private static func mount(
        _ option: String, _ since: APIVersion, _ release: String, _ isAsked: @escaping (JSON) -> Bool
    ) -> Need {
        Need(option: option, since: since, release: release) { container, _ in
            (container["Mounts"]?.array ?? []).contains(where: isAsked)
        }
    }

    private static func isSet(_ value: JSON?) -> Bool {
        switch value {
        case nil, .null?, .bool(false)?, .string("")?, .array([])?: false
        case .number(let digits)?: digits != "0"
        default: true
        }
    }

    private static var needs: [Need] {
        [
            Need(option: "--init", since: .init(1, 25), release: "1.13") { container, _ in isSet(container["Init"]) },
            mount("bind-nonrecursive", .init(1, 40), "19.03") { isSet($0["BindOptions"]?["NonRecursive"]) },
            mount("bind-create-src", .init(1, 42), "23.0") { isSet($0["BindOptions"]?["CreateMountpoint"]) },
            mount("bind-recursive=writable", .init(1, 44), "25.0") {
                isSet($0["BindOptions"]?["ReadOnlyNonRecursive"])
            },
            mount("bind-recursive=readonly", .init(1, 44), "25.0") {
                isSet($0["BindOptions"]?["ReadOnlyForceRecursive"])
            },
            Need(option: "--health-start-interval", since: .init(1, 44), release: "25.0") { container, _ in
                isSet(container["Healthcheck"]?["StartInterval"])
            },
            mount("volume-subpath", .init(1, 45), "26.0") { isSet($0["VolumeOptions"]?["Subpath"]) },
            mount("the options of a tmpfs", .init(1, 46), "27.0") { isSet($0["TmpfsOptions"]?["Options"]) },
            mount("type=image", .init(1, 48), "28.0") { $0["Type"] == "image" },
        ]
    }

    static func check(
        _ container: JSON, _ template: JSON?, against node: ContainerDocument.Node
    ) throws(ContainerDocument.Unfit) {
        for need in needs where need.since > node.engine && need.isAsked(container, template) {
            throw ContainerDocument.Unfit(
                description: """
                    \(need.option) needs Docker \(need.release) (Engine API \(need.since)), the engine of \
                    \(node.hostname) speaks \(node.engine): upgrade it, or leave the option out
                    """)
        }
    }
}
