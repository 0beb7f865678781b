package import ClusterModel
package import Foundation
import SwiftASN1
import X509

/// Who this node is in its swarm, and the proof of it.
package struct NodeCredentials: Sendable {
    package let node: Cluster.ID<Cluster.Node>
    package let role: Cluster.Role
    package let cluster: Cluster.ID<Cluster.Swarm>
    package let notBefore: Date
    package let notAfter: Date
    package let certificatePEM: String
    package let keyPEM: String
    package let rootPEM: String

    package init(certificatePEM: String, keyPEM: String, rootPEM: String) throws {
        let certificate = try Certificate(pemEncoded: certificatePEM)
        guard let identity = CertifiedIdentity(certificate) else {
            throw CredentialsError(reason: "the certificate names no node of a swarm")
        }
        (node, role, cluster) = (identity.node, identity.role, identity.cluster)
        guard try Certificate.PrivateKey(pemEncoded: keyPEM).publicKey == certificate.publicKey else {
            throw CredentialsError(reason: "the certificate of node \(node) was made for another key")
        }
        notBefore = certificate.notValidBefore
        notAfter = certificate.notValidAfter
        self.certificatePEM = certificatePEM
        self.keyPEM = keyPEM
        self.rootPEM = rootPEM
    }
}

// MARK: - On disk

extension NodeCredentials {
    // The names that Docker's users and their monitoring know.
    private static let (certificateFile, keyFile, rootFile) = ("swarm-node.crt", "swarm-node.key", "swarm-root-ca.crt")
    /// Where a file waits until all of them are safe.
    private static let waiting = ".new"

    /// - Throws: `CredentialsError`, which names the file and what to do.
    package static func load(from directory: String) throws -> NodeCredentials {
        func text(_ name: String) throws -> String {
            do {
                return try String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8)
            } catch {
                throw CredentialsError(
                    reason:
                        "\(directory)/\(name) cannot be read: \(error). Restore it, or leave the swarm and join again")
            }
        }
        let (root, key) = (try text(rootFile), try text(keyFile))
        do {
            return try NodeCredentials(certificatePEM: try text(certificateFile), keyPEM: key, rootPEM: root)
        } catch {
            // A power cut between the two renames of `write`: the key is the new one, its certificate still waits.
            guard let certificate = try? text(certificateFile + waiting),
                let credentials = try? NodeCredentials(certificatePEM: certificate, keyPEM: key, rootPEM: root)
            else {
                if error is CredentialsError { throw error }
                throw CredentialsError(
                    reason:
                        "\(directory) does not hold a node's certificate and key: \(error). Leave the swarm and join again"
                )
            }
            try moveIntoPlace([certificateFile], in: directory)
            return credentials
        }
    }

    /// Whatever happens meanwhile, `load` finds the old ones or the new ones.
    package func write(to directory: String) throws {
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let files: [(name: String, text: String, mode: mode_t)] = [
            (Self.rootFile, rootPEM, 0o644), (Self.keyFile, keyPEM, 0o600),
            (Self.certificateFile, certificatePEM, 0o644),
        ]
        for file in files {
            let path = "\(directory)/\(file.name)\(Self.waiting)"
            try? FileManager.default.removeItem(atPath: path)  // it may have been made with other permissions
            let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, file.mode)
            guard descriptor >= 0 else { throw CredentialsError(path) }
            defer { close(descriptor) }
            let bytes = Array(file.text.utf8)
            guard Foundation.write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0 else {
                throw CredentialsError(path)
            }
        }
        try Self.moveIntoPlace(files.map(\.name), in: directory)
    }

    private static func moveIntoPlace(_ names: [String], in directory: String) throws {
        for name in names {
            let path = "\(directory)/\(name)"
            guard rename(path + waiting, path) == 0 else { throw CredentialsError(path) }
        }
        let folder = open(directory, O_RDONLY | O_CLOEXEC)
        defer { close(folder) }
        guard folder >= 0, fsync(folder) == 0 else { throw CredentialsError(directory) }
    }
}

package struct CredentialsError: Error, CustomStringConvertible {
    var reason: String
    package var description: String { reason }

    init(reason: String) { self.reason = reason }

    /// What the system just said about the file.
    fileprivate init(_ path: String) { reason = "\(path) cannot be written: \(String(cString: strerror(errno)))" }
}

/// What a certificate says of its holder.
struct CertifiedIdentity: Sendable, Equatable {
    var node: Cluster.ID<Cluster.Node>
    var role: Cluster.Role
    var cluster: Cluster.ID<Cluster.Swarm>

    /// - Returns: nil where the subject is not that of a node of a swarm.
    init?(_ certificate: Certificate) {
        var fields: [String: String] = [:]
        for name in certificate.subject {
            for attribute in name {
                let value = String(describing: attribute.value)
                switch attribute.type {
                case .RDNAttributeType.commonName: fields["CN"] = value
                case .RDNAttributeType.organizationalUnitName: fields["OU"] = value
                case .RDNAttributeType.organizationName: fields["O"] = value
                default: break
                }
            }
        }
        guard let node = fields["CN"].flatMap({ Cluster.ID<Cluster.Node>($0) }),
            let unit = fields["OU"],
            let role = [Cluster.Role.worker, .manager].first(where: { unit == "swarm-\($0.rawValue)" }),
            let cluster = fields["O"].flatMap({ Cluster.ID<Cluster.Swarm>($0) })
        else { return nil }
        (self.node, self.role, self.cluster) = (node, role, cluster)
    }
}
