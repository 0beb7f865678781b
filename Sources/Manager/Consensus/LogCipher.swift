import Crypto
import Foundation
import Synchronization

/// Encrypts what consensus keeps on the disk, with keys that are kept in another file.
///
/// AES-256-GCM with a random nonce for each row; the row's place (its table and indexes) is authenticated with it, so
/// that a row that was moved or copied is noticed like a damaged one. The key is drawn anew from time to time: new rows
/// take the newest, rows of before keep theirs until they are compacted away, and then their key is forgotten.
///
/// The file says how its keys are protected; "none" today, so that a later version can wrap them with a key that only
/// people have (autolock), and this one refuses such a file with words.
///
/// - Source: NIST SP 800-38D, section 8.3: at most 2^32 rows under one key with random nonces.
package final class LogCipher: Sendable {
    private struct Keys {
        var secrets: [UInt32: SymmetricKey] = [:]
        var madeAt: [UInt32: Date] = [:]
        var current: UInt32 = 0
        var sealedWithCurrent = 0
    }

    /// One row as it stands on the disk.
    struct Sealed {
        var key: UInt32
        var box: Data
    }

    enum Failure: Error {
        case noSuchKey(UInt32)
        /// Not what was sealed there, or not with that key.
        case notAuthentic
    }

    /// Far below the limit of the source.
    private static let mostRowsPerKey = 1 << 28
    /// Seconds.
    private static let longestLife: TimeInterval = 30 * 24 * 3_600

    let path: String
    private let keys: Mutex<Keys>

    private init(path: String, keys: Keys) {
        self.path = path
        self.keys = Mutex(keys)
    }

    /// - Returns: nil where there is no such file.
    static func load(_ path: String) throws -> LogCipher? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let file: File
        do {
            file = try JSONDecoder().decode(File.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        } catch {
            // Where it is wrong, never what stands there.
            throw KeyFileError(path: path, reason: "it is not a file of keys, or is damaged")
        }
        guard file.version == 1, file.protection == "none" else {
            throw KeyFileError(
                path: path, reason: "its keys are protected by '\(file.protection)', which this version cannot unlock",
                advice: "Install the version of apusd that wrote it")
        }
        var keys = Keys()
        keys.current = file.current
        for key in file.keys {
            guard let secret = Data(base64Encoded: key.secret), secret.count == 32 else {
                throw KeyFileError(path: path, reason: "key \(key.id) in it is damaged")
            }
            keys.secrets[key.id] = SymmetricKey(data: secret)
            keys.madeAt[key.id] = Date(timeIntervalSince1970: key.madeAt)
        }
        guard keys.secrets[keys.current] != nil else {
            throw KeyFileError(path: path, reason: "its newest key, \(file.current), is missing")
        }
        return LogCipher(path: path, keys: keys)
    }

    /// With a first key, on the disk before anything is sealed.
    static func create(_ path: String) throws -> LogCipher {
        let cipher = LogCipher(path: path, keys: Keys())
        try cipher.rotate()
        return cipher
    }

    /// Rows that are sealed from here on take a new key.
    ///
    /// - Throws: with the old one still in use.
    package func rotate() throws {
        try keys.withLock { keys in
            var next = keys
            next.current = (keys.secrets.keys.max() ?? 0) + 1
            next.secrets[next.current] = SymmetricKey(size: .bits256)
            next.madeAt[next.current] = Date()
            next.sealedWithCurrent = 0
            try write(next)
            keys = next
        }
    }

    var isRotationDue: Bool {
        keys.withLock { keys in
            keys.sealedWithCurrent >= Self.mostRowsPerKey
                || keys.madeAt[keys.current].map { -$0.timeIntervalSinceNow > Self.longestLife } ?? true
        }
    }

    /// Keys that no row needs any more are gone from the file.
    func keepOnly(_ needed: Set<UInt32>) throws {
        try keys.withLock { keys in
            var kept = keys
            kept.secrets = keys.secrets.filter { needed.contains($0.key) || $0.key == keys.current }
            guard kept.secrets.count < keys.secrets.count else { return }
            try write(kept)
            keys = kept
        }
    }

    var known: [UInt32] { keys.withLock { $0.secrets.keys.sorted() } }
    var current: UInt32 { keys.withLock { $0.current } }

    /// - Parameter place: which row of which table it is.
    func seal(_ bytes: [UInt8], at place: String) throws -> Sealed {
        let (key, secret) = keys.withLock { keys in
            keys.sealedWithCurrent += 1
            return (keys.current, keys.secrets[keys.current]!)
        }
        // A nonce of the usual 12 bytes is always part of the combined form.
        let box = try AES.GCM.seal(bytes, using: secret, authenticating: Array(place.utf8)).combined!
        return Sealed(key: key, box: box)
    }

    func open(_ sealed: Sealed, at place: String) throws(Failure) -> [UInt8] {
        guard let secret = keys.withLock({ $0.secrets[sealed.key] }) else { throw .noSuchKey(sealed.key) }
        guard let box = try? AES.GCM.SealedBox(combined: sealed.box),
            let bytes = try? AES.GCM.open(box, using: secret, authenticating: Array(place.utf8))
        else { throw .notAuthentic }
        return Array(bytes)
    }
}

// MARK: - The file

extension LogCipher {
    private struct File: Codable {
        var version: Int
        /// How the secrets are protected beyond the file's permissions.
        var protection: String
        var current: UInt32
        var keys: [Key]

        struct Key: Codable {
            var id: UInt32
            /// Seconds since 1970.
            var madeAt: Double
            /// Base64.
            var secret: String
        }
    }

    private func write(_ keys: Keys) throws {
        let entries = keys.secrets.sorted { $0.key < $1.key }.map { id, secret in
            File.Key(
                id: id, madeAt: keys.madeAt[id]?.timeIntervalSince1970 ?? 0,
                secret: secret.withUnsafeBytes { Data($0) }.base64EncodedString())
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try DurableFile.write(
            encoder.encode(File(version: 1, protection: "none", current: keys.current, keys: entries)), to: path)
    }
}

/// The keys of the log cannot be used.
struct KeyFileError: Error {
    var path: String
    var reason: String
    var advice = """
        Put back the file from a copy of this node's directory. Without it nothing can be read of the log: then let this \
        node leave (`docker swarm leave --force`) and join again
        """
}
