internal import Deploy
internal import Foundation
internal import Subprocess
internal import Synchronization

/// A Deployfile on disk, and the program made of it.
package struct Deployfile: Sendable {
    package var path: String
    package var folder: String { (path as NSString).deletingLastPathComponent }

    /// - Parameter named: what was said with `--file`; else `Deployfile.swift` here or in a folder above.
    package init(_ named: String?) throws {
        let manager = FileManager.default
        if let named {
            let full = named.hasPrefix("/") ? named : manager.currentDirectoryPath + "/" + named
            var isFolder: ObjCBool = false
            guard manager.fileExists(atPath: full, isDirectory: &isFolder) else { throw DeployfileError.missing(named) }
            path = isFolder.boolValue ? full + "/Deployfile.swift" : full
            guard manager.fileExists(atPath: path) else { throw DeployfileError.missing(path) }
            return
        }
        var folder = manager.currentDirectoryPath
        while true {
            let here = (folder as NSString).appendingPathComponent("Deployfile.swift")
            if manager.fileExists(atPath: here) {
                path = here
                return
            }
            guard folder != "/", !folder.isEmpty else { throw DeployfileError.missing(nil) }
            folder = (folder as NSString).deletingLastPathComponent
        }
    }

    /// The program, made anew only if the file, the compiler or our words have changed.
    ///
    /// - Parameter cache: where programs are kept.
    package func program(cache: String, toolchain: Toolchain) async throws -> String {
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let key = Digest.hexadecimal(of: "\(path)\n\(toolchain.identity)\n\(text)")
        let made = "\(cache)/\(key.prefix(32))"
        let binary = made + "/Deployfile"
        if FileManager.default.isExecutableFile(atPath: binary) { return binary }
        guard let compiler = toolchain.compiler else { throw DeployfileError.noCompiler }
        try FileManager.default.createDirectory(
            atPath: made, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let source = made + "/main.swift"
        // Messages of the compiler name the Deployfile and its lines.
        let quoted = path.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\"")
        let whole =
            "#sourceLocation(file: \"\(quoted)\", line: 1)\n\(text)\n#sourceLocation()\nDeploy.serve(deployment)\n"
        try whole.write(toFile: source, atomically: true, encoding: .utf8)
        let fresh = binary + ".\(ProcessInfo.processInfo.processIdentifier)"
        let done = try await Local.run([
            compiler, "-swift-version", "5", "-Onone", "-module-name", "Deployfile", "-I", toolchain.modules, "-L",
            toolchain.libraries, "-lDeploy",
            "-Xlinker", "-rpath", "-Xlinker", toolchain.libraries, source, "-o", fresh,
        ])
        guard done.succeeded else {
            if done.errors.contains("cannot find 'deployment' in scope") { throw DeployfileError.noDeployment(path) }
            throw DeployfileError.doesNotCompile(path, done.errors.trimmed)
        }
        // In one step, so that a second run never starts half a program.
        _ = try? FileManager.default.removeItem(atPath: binary)
        try FileManager.default.moveItem(atPath: fresh, toPath: binary)
        return binary
    }
}

/// The compiler, and the module that Deployfiles import.
package struct Toolchain: Sendable {
    /// nil where there is none; a program that was made before still runs.
    package var compiler: String?
    package var modules: String
    package var libraries: String
    /// Of our words, not of the compiler: a program that is made needs none.
    package var identity: String

    /// Looks beside the binary (`lib/apus`), then in a build folder.
    package init(binary: String, searchPath: String, override: String?) throws {
        let manager = FileManager.default
        let folder = (binary as NSString).deletingLastPathComponent
        let places = [
            override.map { ($0, $0) }, (folder + "/../lib/apus", folder + "/../lib/apus"),
            (folder + "/Modules", folder),
        ].compactMap(\.self)
        guard
            let place = places.first(where: {
                manager.fileExists(atPath: $0.0 + "/Deploy.swiftmodule")
                    && manager.fileExists(atPath: $0.1 + "/libDeploy.so")
            })
        else { throw DeployfileError.noModule(places.map(\.0)) }
        (modules, libraries) = place
        compiler = searchPath.split(separator: ":").map { $0 + "/swiftc" }.first {
            manager.isExecutableFile(atPath: $0)
        }
        func stamp(_ path: String) -> String {
            let known = try? manager.attributesOfItem(atPath: (path as NSString).resolvingSymlinksInPath)
            return "\(path) \(known?[.size] ?? 0) \((known?[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0)"
        }
        identity = [libraries + "/libDeploy.so", modules + "/Deploy.swiftmodule"].map(stamp).joined(
            separator: "\n")
    }
}

package enum DeployfileError: Error, CustomStringConvertible {
    case missing(String?)
    case noCompiler
    case noModule([String])
    case noDeployment(String)
    case doesNotCompile(String, String)
    case ended(String)

    package var description: String {
        switch self {
        case .missing(let name?): "there is no \(name)"
        case .missing(nil): "there is no Deployfile.swift here or in a folder above; make one, or name it with --file"
        case .noCompiler:
            """
            A Deployfile is compiled, and no swiftc is in PATH. Install Swift 6.3 (https://swift.org/install) and put its usr/bin into PATH; \
            a Deployfile that has been compiled here before needs none until it changes.
            """
        case .noModule(let places):
            "the module Deploy is not installed: it is not in \(places.joined(separator: ", ")); `make install` puts it there"
        case .noDeployment(let path):
            "\(path) declares no `deployment`: it ends with `let deployment = Deployment { … }`"
        case .doesNotCompile(let path, let errors): "\(path) does not compile:\n\(errors)"
        case .ended(let why): "the Deployfile's program ended: \(why)"
        }
    }
}
