import Foundation
import Manager

/// One file of keys for all logs of this process, so that a copied log can be opened.
enum TestKeys {
    static let path: String = {
        let path = NSTemporaryDirectory() + "apus-tests-keys-\(ProcessInfo.processInfo.processIdentifier)"
        let log = try! RaftLog(directory: path + ".first", keyFile: path)
        try! log.close()
        try! FileManager.default.removeItem(atPath: path + ".first")
        return path
    }()
}

extension RaftLog {
    convenience init(directory: String, patience: Duration = .seconds(3)) throws {
        try self.init(directory: directory, keyFile: TestKeys.path, patience: patience)
    }
}
