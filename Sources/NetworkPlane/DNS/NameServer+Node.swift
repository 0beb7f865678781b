package import Logging
import NIOPosix
package import NetworkPlan

extension NameServer {
    /// - Parameter resolverFile: the node's own `/etc/resolv.conf`: whom it names answers for the rest.
    package convenience init(names: NameTable, resolverFile: String, log: Logger) {
        self.init(names: names, upstream: Self.upstream(of: resolverFile), log: log)
    }

    /// On the process's own event loops, at 127.0.0.1.
    package func start(port: Int) async throws {
        try await start(port: port, on: MultiThreadedEventLoopGroup.singleton)
    }
}
