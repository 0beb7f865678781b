internal import NIOCore
internal import NIOPosix
internal import Subprocess

/// A socket of ours, each connection of which is carried by a command's standard input and output.
final class EngineBridge: Sendable {
    private let serving: Task<Void, any Error>

    /// - Parameter carrier: run once for each connection.
    init(socketPath: String, carrier: [String]) async throws {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(unixDomainSocketPath: socketPath, cleanupExistingSocketFile: true) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        serving = Task {
            try await withThrowingDiscardingTaskGroup { group in
                try await server.executeThenClose { connections in
                    for try await connection in connections {
                        group.addTask { try? await Self.carry(connection, by: carrier) }
                    }
                }
            }
        }
    }

    func close() async {
        serving.cancel()
        _ = await serving.result
    }

    private static func carry(_ connection: NIOAsyncChannel<ByteBuffer, ByteBuffer>, by carrier: [String]) async throws
    {
        try await connection.executeThenClose { inbound, outbound in
            _ = try await Subprocess.run(
                .name(carrier[0]), arguments: Arguments(Array(carrier.dropFirst())), platformOptions: Local.options,
                input: .inputWriter, output: .sequence, error: .discarded
            ) { execution in
                let writer = execution.standardInputWriter
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        for try await part in inbound { _ = try await writer.write(Array(part.readableBytesView)) }
                        try await writer.finish()
                    }
                    for try await part in execution.standardOutput {
                        try await outbound.write(ByteBuffer(bytes: part.bytes.withUnsafeBytes { Array($0) }))
                    }
                    outbound.finish()
                    group.cancelAll()
                }
            }
        }
    }
}
