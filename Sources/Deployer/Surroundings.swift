internal import Foundation
package import Logging

extension Invocation {
    /// As this machine and its environment say.
    ///
    /// - Parameter sshConfig: instead of `APUS_SSH_CONFIG`.
    package static func here(sshConfig: String?, log: Logger) -> Invocation {
        let environment = ProcessInfo.processInfo.environment
        let home = environment["HOME"] ?? "/tmp"
        let cache = environment["APUS_CACHE"] ?? (environment["XDG_CACHE_HOME"] ?? home + "/.cache") + "/apus"
        let binary =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        let config = (sshConfig ?? environment["APUS_SSH_CONFIG"]).map {
            $0.hasPrefix("/") ? $0 : FileManager.default.currentDirectoryPath + "/" + $0
        }
        let path = environment["PATH"] ?? ""
        let user = environment["USER"] ?? environment["LOGNAME"] ?? NSUserName()
        return Invocation(
            ssh: SSHSettings(config: config, folder: cache + "/ssh"), cache: cache,
            dockerConfig: environment["DOCKER_CONFIG"] ?? home + "/.docker", environment: environment,
            operatorName: "\(user)@\(ProcessInfo.processInfo.hostName)", log: log,
            toolchain: { try Toolchain(binary: binary, searchPath: path, override: environment["APUS_DEPLOY_MODULE"]) })
    }
}
