import Foundation

/// A small file that is there whole or as it was before, whatever happens: written aside, synced, renamed, and its
/// directory synced (rename(2), fsync(2)).
enum DurableFile {
    struct Failure: Error, CustomStringConvertible {
        var path: String
        var reason: String
        var description: String { "\(path) cannot be written: \(reason)" }
    }

    /// Readable for this user alone.
    static func write(_ bytes: Data, to path: String) throws {
        let aside = path + ".new"
        unlink(aside)  // it may have been made with other permissions
        let file = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw failure(aside) }
        defer { close(file) }
        let written = bytes.withUnsafeBytes { Foundation.write(file, $0.baseAddress, $0.count) }
        guard written == bytes.count, fsync(file) == 0 else { throw failure(aside) }
        guard rename(aside, path) == 0 else { throw failure(path) }
        let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(folder) }
        guard folder >= 0, fsync(folder) == 0 else { throw failure(path) }
    }

    private static func failure(_ path: String) -> Failure {
        Failure(path: path, reason: String(cString: strerror(errno)))
    }
}
