import Foundation
import GRDB

/// The log cannot be read or written. The node must stop: it cannot keep promises.
package struct RaftLogError: Error, Sendable, CustomStringConvertible {
    var path: String
    var doing: String
    var reason: String
    /// What a person should do now.
    var advice: String

    package var description: String {
        """
        the log of this manager, \(path), failed while \(doing): \(reason). \
        This manager stops, because it can keep no promises now. \(advice). Then start apusd again.
        """
    }

    init(path: String, doing: String, reason: String, advice: String) {
        self.path = path
        self.doing = doing
        self.reason = reason
        self.advice = advice
    }

    /// An error that says more already stays as it is.
    init(path: String, doing: String, _ error: any Error) {
        if let error = error as? RaftLogError {
            self = error
            return
        }
        var advice =
            "Look at the disk and its file system (`dmesg`); where it is broken, replace it and let this node join anew"
        var reason = "\(error)"
        if let error = error as? DatabaseError {
            reason = "\(error.message ?? "SQLite says no more") (SQLite \(error.extendedResultCode.rawValue))"
            switch error.resultCode {
            case .SQLITE_FULL: advice = "Make room on the disk (`df \(path)`)"
            case .SQLITE_BUSY, .SQLITE_LOCKED:
                advice = "Another program has it open: see that only one apusd runs in this directory"
            case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_CANTOPEN, .SQLITE_AUTH:
                advice = "See that apusd may write there, and that the file system is not mounted read-only"
            case .SQLITE_CORRUPT, .SQLITE_NOTADB: advice = Self.ofDamage
            default: break
            }
        } else if let error = error as? KeyFileError {
            advice = error.advice
            reason = "the file of its keys, \(error.path), cannot be used: \(error.reason)"
        } else if let error = error as? DamagedWriteAheadFile {
            advice = Self.ofDamage
            reason = error.description
        }
        self.init(path: path, doing: doing, reason: reason, advice: advice)
    }

    static let ofDamage = """
        Do not repair it by hand: what is missing may have been promised to somebody. While other managers have a \
        majority, let this node leave (`docker swarm leave --force`) and join again; else put back a copy of the \
        directory from before the damage
        """
}
