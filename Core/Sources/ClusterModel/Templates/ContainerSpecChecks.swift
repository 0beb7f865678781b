import EngineAPI

/// What of a container's spec is refused at once: a template that can have no result, and what only Windows has.
///
/// - Source: swarmkit manager/controlapi/service.go, `validateContainerSpec`.
enum ContainerSpecChecks {
    static func check(_ container: JSON, service: String, labels: [String: String]) throws(ControlError) {
        let isolation = container["Isolation"]?.string ?? ""
        guard isolation.isEmpty || isolation == "default" else {
            throw .invalidArgument(
                "ContainerSpec: isolation \"\(isolation)\" is for containers of Windows: leave --isolation out")
        }
        guard container["Privileges"]?["CredentialSpec"] == nil else {
            throw .invalidArgument(
                "ContainerSpec: a credential spec is for containers of Windows: leave --credential-spec out")
        }
        for mount in container["Mounts"]?.array ?? [] {
            switch mount["Type"]?.string {
            case "npipe":
                throw .invalidArgument("ContainerSpec: a mount of type npipe is for containers of Windows")
            case "cluster":
                throw .unimplemented(
                    "mounts of type cluster (CSI volumes) are not supported: use a volume with a driver of its own")
            default: break
            }
        }

        // What stands for what is not known yet; only that it is there counts.
        var context = TemplateContext()
        (context.serviceID, context.serviceName, context.serviceLabels) = ("serviceid", service, labels)
        (context.nodeID, context.nodeHostname) = ("nodeid", "hostname")
        (context.taskID, context.taskName, context.taskSlot) = ("taskid", "taskname", "1")
        do { _ = try ContainerTemplates(context).expand(container) } catch {
            throw .invalidArgument(error.description)
        }
    }
}
