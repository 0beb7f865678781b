package import ClusterModel
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
package import Logging
import NIOCore
import NIOSSL
import SwiftProtobuf
import Synchronization

/// The link to one manager: calls, a worker's session, and the stream of Raft's frames. Reconnects by itself.
package final class LinkClient: Sendable {
    private struct Outbox {
        var frames: [[UInt8]] = []
        var bytes = 0
        var bell: AsyncStream<Void>.Continuation?
    }

    /// What may wait for a slow peer. Past it the newest is dropped: Raft repeats what mattered.
    private static let mostFrames = 4_096
    private static let mostBytes = 64 << 20
    private static let callLimit: Duration = .seconds(20)

    private let address: String
    private let member: UInt64?
    private let log: Logger
    private let onUp: @Sendable () -> Void
    private let onDown: @Sendable () -> Void
    private let client: GRPCClient<HTTP2ClientTransport.Posix>
    private let stub: Apus_V1_Link.Client<HTTP2ClientTransport.Posix>
    private let outbox = Mutex(Outbox())

    /// - Parameters:
    ///   - address: `host:port`.
    ///   - member: this node's number in the consensus; nil for a link that carries none of its frames.
    ///   - onUp: the stream of frames is open.
    ///   - onDown: it broke.
    package init(
        address: String, tls: TLSState, member: UInt64?, log: Logger, onUp: @escaping @Sendable () -> Void = {},
        onDown: @escaping @Sendable () -> Void = {}
    ) {
        self.address = address
        self.member = member
        self.log = log
        self.onUp = onUp
        self.onDown = onDown
        client = Self.makeClient(to: address) {
            try NIOSSLClientHandler(context: tls.current.client, serverHostname: TLSState.managerName)
        }
        stub = Apus_V1_Link.Client(wrapping: client)
    }

    static func makeClient(
        to address: String, tls: @escaping @Sendable () throws -> NIOSSLClientHandler
    ) -> GRPCClient<HTTP2ClientTransport.Posix> {
        let (host, port) = split(address)
        let config = HTTP2ClientTransport.Posix.Config.defaults { config in
            config.channelDebuggingCallbacks.onCreateTCPConnection = { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(tls(), position: .first)
                }
            }
            config.connection.keepalive = .init(time: .seconds(2), timeout: .seconds(2), allowWithoutCalls: true)
            config.connection.maxIdleTime = nil
            config.backoff = .init(initial: .milliseconds(50), max: .seconds(1), multiplier: 1.6, jitter: 0.2)
        }
        let target: any ResolvableTarget =
            if host.contains(":") {
                .ipv6(address: host, port: port)
            } else if host.allSatisfy({ $0.isNumber || $0 == "." }) {
                .ipv4(address: host, port: port)
            } else {
                .dns(host: host, port: port)
            }
        do {
            return GRPCClient(
                transport: try HTTP2ClientTransport.Posix(
                    target: target, transportSecurity: .customSecure, config: config),
                interceptors: [DepartureMarker()])
        } catch {
            preconditionFailure("a transport to \(address) cannot be made: \(error)")
        }
    }

    static func split(_ address: String) -> (host: String, port: Int) {
        guard let colon = address.lastIndex(of: ":") else { return (address, 2377) }
        return (
            address[..<colon].trimmingCharacters(in: ["[", "]"]), Int(address[address.index(after: colon)...]) ?? 2377
        )
    }

    // MARK: Life

    /// Holds the connection until cancelled.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { [client] in try? await client.runConnections() }
            if let member { group.addTask { await self.streamFrames(of: member) } }
        }
    }

    private func streamFrames(of member: UInt64) async {
        var options = CallOptions.defaults
        options.waitForReady = true
        while !Task.isCancelled {
            let wasUp = Mutex(false)
            do {
                _ = try await stub.raft(
                    options: options,
                    requestProducer: { [self] writer in
                        let (rings, bell) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
                        outbox.withLock { outbox in
                            // What waited for the old connection is out of date.
                            outbox.frames.removeAll()
                            outbox.bytes = 0
                            outbox.bell = bell
                        }
                        wasUp.withLock { $0 = true }
                        onUp()
                        for await _ in rings {
                            let frames = takeFrames()
                            guard !frames.isEmpty else { continue }
                            try await writer.write(
                                .with {
                                    $0.member = member
                                    $0.frames = frames.map { Data($0) }
                                })
                        }
                    })
            } catch {
                log.debug("the stream to another manager ended", metadata: ["peer": "\(address)", "reason": "\(error)"])
            }
            if wasUp.withLock({ $0 }) { onDown() }
            guard (try? await Task.sleep(for: .milliseconds(50))) != nil else { return }
        }
    }

    private func takeFrames() -> [[UInt8]] {
        outbox.withLock { outbox in
            defer { (outbox.frames, outbox.bytes) = ([], 0) }
            return outbox.frames
        }
    }

    // MARK: Calls

    /// Never waits.
    ///
    /// - Returns: false if there is no room, and the frame was dropped.
    package func sendRaft(_ frame: [UInt8]) -> Bool {
        outbox.withLock { outbox in
            guard let bell = outbox.bell, outbox.frames.count < Self.mostFrames,
                outbox.bytes + frame.count <= Self.mostBytes
            else { return false }
            outbox.frames.append(frame)
            outbox.bytes += frame.count
            bell.yield()
            return true
        }
    }

    /// - Throws: `.unavailable` if the request never left; `.outcomeUnknown` if it did and no answer came.
    package func submit(_ request: Control.Request) async throws(ControlError) -> Control.Reply {
        let answer = try await call(waitForReady: false) { [stub] options in
            let json = try Wire.write(request)
            return try await stub.submit(.with { $0.json = json }, options: options)
        }
        switch answer.result {
        case .reply(let json):
            do { return try Wire.read(Control.Reply.self, from: json) } catch {
                throw .outcomeUnknown("The answer of the manager at \(address) cannot be read: \(error).")
            }
        case .refusal(let refusal): throw Wire.error(refusal)
        case nil: throw .outcomeUnknown("The manager at \(address) gave an empty answer.")
        }
    }

    package func joinManagers(address own: String) async throws(ControlError) -> ManagerSeat {
        let answer = try await call { [stub] options in
            try await stub.joinManagers(.with { $0.address = own }, options: options)
        }
        if answer.hasRefusal { throw Wire.error(answer.refusal) }
        guard let peers = try? Wire.read([ManagerSeat.Place].self, from: answer.peers) else {
            throw .unknown("the manager's answer cannot be read: do both run the same version of apusd?")
        }
        return ManagerSeat(member: answer.member, peers: peers)
    }

    package func renewCertificate(csrPEM: String) async throws(ControlError) -> CertificateGrant {
        let answer = try await call { [stub] options in
            try await stub.issueCertificate(.with { $0.csr = csrPEM }, options: options)
        }
        return try CertificateGrant(answer)
    }

    private func call<Answer: Sendable>(
        waitForReady: Bool = true, _ body: @Sendable (CallOptions) async throws -> Answer
    ) async throws(ControlError) -> Answer {
        var options = CallOptions.defaults
        options.timeout = waitForReady ? .seconds(5) : Self.callLimit
        options.waitForReady = waitForReady
        let departure = Departure()
        do {
            return try await Departure.$current.withValue(departure) { try await body(options) }
        } catch {
            throw ControlError(error, at: address, hasLeft: departure.hasLeft.load(ordering: .acquiring))
        }
    }

    /// A worker's session. It ends when `body` returns, or with the connection.
    package func session(
        _ body: @Sendable @escaping (
            AsyncThrowingStream<Dispatch.FromManager, any Error>,
            _ send: @escaping @Sendable (Dispatch.FromWorker) async throws -> Void
        ) async throws -> Void
    ) async throws {
        let (words, wordWriter) = AsyncStream.makeStream(
            of: Dispatch.FromWorker.self, bufferingPolicy: .bufferingOldest(1_024))
        let (orders, orderWriter) = AsyncThrowingStream.makeStream(
            of: Dispatch.FromManager.self, bufferingPolicy: .bufferingOldest(4_096))
        var options = CallOptions.defaults
        options.waitForReady = false
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { [stub, options] in
                do {
                    // The link may just be connecting.
                    try await stub.session(
                        options: options,
                        requestProducer: { writer in
                            for await word in words {
                                let json = try Wire.write(word)
                                try await writer.write(.with { $0.json = json })
                            }
                        },
                        onResponse: { response in
                            for try await document in response.messages {
                                let order = try Wire.read(Dispatch.FromManager.self, from: document.json)
                                guard case .enqueued = orderWriter.yield(order) else {
                                    throw RPCError(code: .resourceExhausted, message: "too many orders wait")
                                }
                            }
                        })
                    orderWriter.finish()
                } catch {
                    orderWriter.finish(throwing: error)
                    throw error
                }
            }
            group.addTask {
                try await body(orders) { word in
                    guard case .enqueued = wordWriter.yield(word) else {
                        throw RPCError(code: .resourceExhausted, message: "the manager does not read what this node says")
                    }
                }
            }
            try await group.next()
        }
    }
}

/// Whether a request has left: from then on nobody knows what becomes of it until it is answered.
private final class Departure: Sendable {
    @TaskLocal static var current: Departure?
    let hasLeft = Atomic(false)
}

/// Marks a request the moment there is a stream to write it to.
private struct DepartureMarker: ClientInterceptor {
    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingClientRequest<Input>, context: ClientContext,
        next: (StreamingClientRequest<Input>, ClientContext) async throws -> StreamingClientResponse<Output>
    ) async throws -> StreamingClientResponse<Output> {
        guard let departure = Departure.current else { return try await next(request, context) }
        var request = request
        let produce = request.producer
        request.producer = { writer in
            departure.hasLeft.store(true, ordering: .releasing)
            try await produce(writer)
        }
        return try await next(request, context)
    }
}

extension CertificateGrant {
    init(_ answer: Apus_V1_CertificateAnswer) throws(ControlError) {
        if answer.hasRefusal { throw Wire.error(answer.refusal) }
        guard let node = Cluster.ID<Cluster.Node>(answer.node), let role = Cluster.Role(rawValue: answer.role),
            let managers = try? Wire.read([Dispatch.ManagerAddress].self, from: answer.managers)
        else { throw .unknown("the manager's answer cannot be read: do both run the same version of apusd?") }
        self.init(
            node: node, role: role, certificatePEM: answer.certificate, rootPEM: answer.root, managers: managers)
    }
}
