import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Why a place to listen at cannot be had.
package enum ListenError: Error, Sendable, Equatable, CustomStringConvertible {
    case unknownScheme(String)
    case tcpIsNotSupported(String)
    case somebodyAnswers(String)
    case notASocket(String)
    case cannot(String, path: String, reason: String)
    case noLongerListening

    package var description: String {
        switch self {
        case .unknownScheme(let address): "\(address) is no place to listen at: give unix:///path/of/the/socket"
        case .tcpIsNotSupported(let address):
            """
            Listening at \(address) is not supported yet: whoever reaches the API over TCP without a client's \
            certificate owns this machine. Use DOCKER_HOST=ssh://user@host, which needs no open port.
            """
        case .somebodyAnswers(let path):
            "Another process answers at \(path). Stop it, or give apusd another socket."
        case .notASocket(let path): "\(path) exists and is no socket. Move it away, or give apusd another socket."
        case .noLongerListening: "The API's socket was closed, and not by this daemon's end"
        case .cannot(let what, let path, let reason): "Cannot \(what) \(path): \(reason)"
        }
    }
}

/// A unix socket for those who may command this machine: `root:docker`, mode 0660.
struct ListeningSocket {
    let path: String

    /// - Parameter address: `unix:///path`.
    init(_ address: String) throws(ListenError) {
        if address.hasPrefix("unix://"), address.dropFirst(7).first == "/" {
            path = String(address.dropFirst(7))
        } else if address.hasPrefix("tcp://") {
            throw .tcpIsNotSupported(address)
        } else {
            throw .unknownScheme(address)
        }
    }

    /// Makes the parent directory, and removes a socket file that nobody answers at any more.
    func prepare(on group: any EventLoopGroup) async throws {
        try makeParents()
        var info = stat()
        guard lstat(path, &info) == 0 else {
            if errno == ENOENT { return }
            throw failure("look at")
        }
        guard info.st_mode & S_IFMT == S_IFSOCK else { throw ListenError.notASocket(path) }
        if let channel = try? await ClientBootstrap(group: group).connect(unixDomainSocketPath: path).get() {
            try? await channel.close().get()
            throw ListenError.somebodyAnswers(path)
        }
        if unlink(path) != 0, errno != ENOENT { throw failure("remove the stale socket") }
    }

    /// The file that is there now, to be given to `remove(_:)`.
    func file() throws -> File {
        guard let file = File(path) else { throw failure("look at") }
        return file
    }

    /// Lets in whom it is for.
    func grant() throws {
        // The group `docker` is there where the engine's package is; without it the socket stays root's.
        if geteuid() == 0, let docker = getgrnam("docker"), chown(path, 0, docker.pointee.gr_gid) != 0 {
            throw failure("give to the group docker")
        }
        if chmod(path, 0o660) != 0 { throw failure("set the mode of") }
    }

    /// Removes the socket file, unless another process has put its own there meanwhile.
    func remove(_ file: File) {
        if File(path) == file { unlink(path) }
    }

    struct File: Equatable {
        private let device: UInt64
        private let inode: UInt64

        fileprivate init?(_ path: String) {
            var info = stat()
            guard lstat(path, &info) == 0 else { return nil }
            (device, inode) = (UInt64(info.st_dev), UInt64(info.st_ino))
        }
    }

    private func makeParents() throws {
        let parents = path.split(separator: "/").dropLast()
        var parent = ""
        for name in parents {
            parent += "/" + name
            if mkdir(parent, 0o755) != 0, errno != EEXIST {
                throw ListenError.cannot("make the directory", path: parent, reason: String(cString: strerror(errno)))
            }
        }
    }

    private func failure(_ what: String) -> ListenError {
        .cannot(what, path: path, reason: String(cString: strerror(errno)))
    }
}
