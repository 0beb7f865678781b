// swift-tools-version: 6.2
import PackageDescription

// Upstairs: the floors with hands. Read it as the plan of the house, with Core/Package.swift below it.
// A room may use rooms on lower floors, never one above or beside it.

// ── Floor 3 · Hands ── one kind of outside world each ───────────────────────────────────────────
let hands = [
    room("EngineClient", core: ["EngineAPI"], uses: [.httpClient, .http1, .nio, .nioCore, .logging]),
    room(
        "NodeLink", core: ["ClusterModel", "Raft"],
        uses: [
            .grpc, .grpcNIO, .grpcProtobuf, .protobuf, .nio, .nioCore, .nioTLS, .tls, .x509, .asn1, .crypto, .logging,
        ]),
    // The words of a Deployfile. Whoever compiles one waits for nothing else.
    room("Deploy", core: [], uses: []),
    room(
        "NetworkPlane", core: ["NetworkPlan", "ClusterModel", "EngineAPI"],
        uses: ["CNetlink", "CNFTables", .nio, .nioCore, .logging]),
]

// What the kernel's interfaces are called in C; no code of ours but a socket.
let shims: [Target] = [
    .target(name: "CNetlink"),
    .systemLibrary(name: "CNFTables", pkgConfig: "libnftables", providers: [.apt(["libnftables-dev"])]),
]

// ── Floor 4 · Roles ── own their I/O: feed a decision, perform its effects with hands ────────────
let roles = [
    room(
        "Manager", core: ["Orchestration", "Raft", "ClusterStore", "ClusterModel", "EngineAPI"],
        uses: ["NodeLink", .crypto, .sqlite, .logging]),
    room(
        "Agent", core: ["Orchestration", "NetworkPlan", "ClusterModel", "EngineAPI"],
        uses: ["EngineClient", "NetworkPlane", .logging]),
    room(
        "EngineServer", core: ["ClusterStore", "ClusterModel", "EngineAPI"],
        uses: [.nio, .nioCore, .http1, .logging]),
    room(
        "Deployer", core: ["EngineAPI"],
        uses: ["Deploy", "EngineClient", .subprocess, .systemPackage, .crypto, .nio, .nioCore, .logging]),
]

// ── Floor 5 · Life ── one machine in the swarm; Manager and Agent are scopes inside it ───────────
let life = [
    room(
        "Node", core: ["ClusterModel", "ClusterStore", "EngineAPI", "Orchestration", "Raft"],
        uses: ["Manager", "Agent", "EngineServer", "NodeLink", "EngineClient", .nioCore, .logging])
]

let rooms = hands + roles + life

// ── Doors ── read the command line, start a life; no decisions here ──────────────────────────────
let doors: [Target] = [
    .executableTarget(name: "apusd", dependencies: ["Node", .arguments, .logging], swiftSettings: .strict),
    .executableTarget(
        name: "apus", dependencies: ["Deployer", "Deploy", .arguments, .logging], swiftSettings: .strict),
    .executableTarget(
        name: "apusnet",
        dependencies: [
            "NetworkPlane", .product(name: "NetworkPlan", package: "Core"),
            .product(name: "ClusterModel", package: "Core"), .arguments, .logging, .nio, .nioCore,
        ],
        swiftSettings: .strict),
]

let package = Package(
    name: "apus",
    products: [
        .executable(name: "apusd", targets: ["apusd"]),
        .executable(name: "apus", targets: ["apus"]),
        // What a Deployfile is linked with.
        .library(name: "Deploy", type: .dynamic, targets: ["Deploy"]),
    ],
    dependencies: [
        .package(path: "Core"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.0"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.0"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.6.0"),
    ],
    targets: shims + rooms + doors + rooms.map(unitTests) + [
        // A disk that writes down what reaches it, for the tests of the log.
        .target(name: "CRecordingVFS", path: "Tests/CRecordingVFS", linkerSettings: [.linkedLibrary("sqlite3")])
    ]
)

// ── Only how the above is spelled, from here on ──────────────────────────────────────────────────

func room(_ name: String, core: [String], uses: [Target.Dependency]) -> Target {
    .target(
        name: name, dependencies: core.map { .product(name: $0, package: "Core") } + uses, swiftSettings: .strict)
}

func unitTests(of room: Target) -> Target {
    .testTarget(
        name: room.name + "Tests",
        dependencies: [.byName(name: room.name)] + room.dependencies
            + (room.name == "Manager" ? ["CRecordingVFS"] : []),
        swiftSettings: .strict)
}

extension [SwiftSetting] {
    static var strict: Self {
        [
            .swiftLanguageMode(.v6),
            .enableUpcomingFeature("ExistentialAny"),
            .enableUpcomingFeature("InternalImportsByDefault"),
            .enableUpcomingFeature("MemberImportVisibility"),
            .treatAllWarnings(as: .error),
        ]
    }
}

extension Target.Dependency {
    static var arguments: Self { .product(name: "ArgumentParser", package: "swift-argument-parser") }
    static var asn1: Self { .product(name: "SwiftASN1", package: "swift-asn1") }
    static var crypto: Self { .product(name: "Crypto", package: "swift-crypto") }
    static var grpc: Self { .product(name: "GRPCCore", package: "grpc-swift-2") }
    static var grpcNIO: Self { .product(name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport") }
    static var grpcProtobuf: Self { .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf") }
    static var http1: Self { .product(name: "NIOHTTP1", package: "swift-nio") }
    static var httpClient: Self { .product(name: "AsyncHTTPClient", package: "async-http-client") }
    static var logging: Self { .product(name: "Logging", package: "swift-log") }
    static var nio: Self { .product(name: "NIOPosix", package: "swift-nio") }
    static var nioCore: Self { .product(name: "NIOCore", package: "swift-nio") }
    static var nioTLS: Self { .product(name: "NIOTLS", package: "swift-nio") }
    static var protobuf: Self { .product(name: "SwiftProtobuf", package: "swift-protobuf") }
    static var sqlite: Self { .product(name: "GRDB", package: "GRDB.swift") }
    static var subprocess: Self { .product(name: "Subprocess", package: "swift-subprocess") }
    static var systemPackage: Self { .product(name: "SystemPackage", package: "swift-system") }
    static var tls: Self { .product(name: "NIOSSL", package: "swift-nio-ssl") }
    static var x509: Self { .product(name: "X509", package: "swift-certificates") }
}
