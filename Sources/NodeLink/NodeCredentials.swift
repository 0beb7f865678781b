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
        notBefore = certificate.notValidBefore
        notAfter = certificate.notValidAfter
        self.certificatePEM = certificatePEM
        self.keyPEM = keyPEM
        self.rootPEM = rootPEM
    }

    // The names that Docker's users and their monitoring know.
    private static let (certificateFile, keyFile, rootFile) = ("swarm-node.crt", "swarm-node.key", "swarm-root-ca.crt")

    package static func load(from directory: String) throws -> NodeCredentials {
        func text(_ name: String) throws -> String {
            do {
                return try String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8)
            } catch {
                throw CredentialsError(
                    reason: "\(directory)/\(name) cannot be read: \(error). Restore it, or leave the swarm and join again")
            }
        }
        return try NodeCredentials(
            certificatePEM: text(certificateFile), keyPEM: text(keyFile), rootPEM: text(rootFile))
    }

    /// Each file is there whole or not at all; the certificate and its key change together.
    package func write(to directory: String) throws {
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let files = [(Self.rootFile, rootPEM, 0o644), (Self.keyFile, keyPEM, 0o600), (Self.certificateFile, certificatePEM, 0o644)]
        for (name, text, mode) in files {
            let path = "\(directory)/\(name).new"
            let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode_t(mode))
            guard file >= 0 else { throw CredentialsError(reason: "\(path): \(String(cString: strerror(errno)))") }
            defer { close(file) }
            let bytes = Array(text.utf8)
            guard Foundation.write(file, bytes, bytes.count) == bytes.count, fsync(file) == 0 else {
                throw CredentialsError(reason: "\(path): \(String(cString: strerror(errno)))")
            }
        }
        for (name, _, _) in files {
            guard rename("\(directory)/\(name).new", "\(directory)/\(name)") == 0 else {
                throw CredentialsError(reason: "\(directory)/\(name): \(String(cString: strerror(errno)))")
            }
        }
        let folder = open(directory, O_RDONLY)
        fsync(folder)
        close(folder)
    }
}

package struct CredentialsError: Error, CustomStringConvertible {
    var reason: String
    package var description: String { reason }
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
            let role = fields["OU"].flatMap({ Cluster.Role(rawValue: String($0.dropFirst("swarm-".count))) }),
            let cluster = fields["O"].flatMap({ Cluster.ID<Cluster.Swarm>($0) })
        else { return nil }
        (self.node, self.role, self.cluster) = (node, role, cluster)
    }
}
