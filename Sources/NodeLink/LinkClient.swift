package import ClusterModel
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
package import Logging
import NIOCore
import NIOPosix
import NIOSSL
import SwiftProtobuf
import Synchronization

/// The link to one manager: calls, a worker's session, and the stream of Raft's frames. It connects when there is
/// something to say and reconnects by itself.
package final class LinkClient: Sendable {
    let address: String
    let member: UInt64?
    private let log: Logger
    private let onUp: @Sendable () -> Void
    private let onDown: @Sendable () -> Void
    private let client: GRPCClient<HTTP2ClientTransport.Posix>
    let stub: Apus_V1_Link.Client<HTTP2ClientTransport.Posix>
    /// The queue of the stream that is open now, or will be next.
    private let frames = Mutex(FrameQueue())
    private let refusal = Mutex<String?>(nil)

    /// - Parameters:
    ///   - address: `host:port`.
    ///   - member: this node's number in the consensus; nil for a link that carries none of its frames.
    ///   - onUp: the other manager took the stream of frames.
    ///   - onDown: that stream broke. Called once for each `onUp`.
    package init(
        address: String, tls: TLSState, member: UInt64?, log: Logger, onUp: @escaping @Sendable () -> Void = {},
        onDown: @escaping @Sendable () -> Void = {}
    ) {
        self.address = address
        self.member = member
        self.log = log
        self.onUp = onUp
        self.onDown = onDown
        client = Self.makeClient(to: address, interceptors: [EpochAnnouncement { tls.epoch }]) {
            try NIOSSLClientHandler(context: tls.current.client, serverHostname: TLSState.managerName)
        }
        stub = Apus_V1_Link.Client(wrapping: client)
    }

    /// Holds the connection until cancelled. For one call in a link's life.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.holdConnection() }
            if let member { group.addTask { await self.streamFrames(of: member) } }
        }
    }

    /// A link for one conversation, without a stream of frames.
    package static func once<Result: Sendable>(
        to address: String, tls: TLSState, as member: UInt64? = nil, log: Logger,
        _ body: @escaping @Sendable (LinkClient) async throws -> Result
    ) async throws -> Result {
        let link = LinkClient(address: address, tls: tls, member: member, log: log)
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                await link.holdConnection()
                return nil
            }
            group.addTask { try await body(link) }
            while let result = try await group.next() {
                if let result { return result }
            }
            throw CancellationError()
        }
    }

    private func holdConnection() async {
        try? await abandoning(grace: .seconds(3)) { [client] in try await client.runConnections() }
    }

    // MARK: Frames

    /// Never waits.
    ///
    /// - Returns: false where the frame was dropped: no stream is open, too much waits, or it is too large.
    @discardableResult
    package func sendRaft(_ frame: [UInt8]) -> Bool { frames.withLock { $0 }.put(frame) }

    private func streamFrames(of member: UInt64) async {
        let shortest = Duration.milliseconds(50), longest = Duration.seconds(1)
        var pause = shortest
        while !Task.isCancelled {
            let queue = FrameQueue()
            frames.withLock { $0 = queue }
            let upSince = Mutex<ContinuousClock.Instant?>(nil)
            do {
                try await abandoning { [self] in
                    try await Self.stream(queue, of: member, over: stub) {
                        upSince.withLock { $0 = .now }
                        self.refusal.withLock { $0 = nil }
                        queue.open()
                        self.onUp()
                    }
                }
            } catch {
                note(error)
            }
            queue.close()
            if let since = upSince.withLock({ $0 }) {
                onDown()
                // A stream that worked and broke is tried again at once; one that is refused again and again, less often.
                if since.duration(to: .now) >= longest { pause = shortest }
            }
            guard (try? await Task.sleep(for: pause)) != nil else { return }
            pause = min(pause * 2, longest)
        }
    }

    /// A refusal is worth a word, once; that a stream ended is not.
    private func note(_ error: any Error) {
        let reason = Trouble.text(of: error)
        let isVerdict = (error as? RPCError)?.code == .permissionDenied
        let isNews = refusal.withLock { refusal in
            defer { refusal = isVerdict ? reason : nil }
            return isVerdict && refusal != reason
        }
        if isNews {
            log.warning("another manager refuses this one", metadata: ["peer": "\(address)", "reason": "\(reason)"])
        } else {
            log.debug("the stream to another manager ended", metadata: ["peer": "\(address)", "reason": "\(reason)"])
        }
    }

    /// Why the other manager refuses this one's stream, as it said last; nil where it does not.
    package var lastRefusal: String? { refusal.withLock { $0 } }

    /// One stream, from its beginning to its end.
    private static func stream(
        _ queue: FrameQueue, of member: UInt64, over stub: Apus_V1_Link.Client<HTTP2ClientTransport.Posix>,
        whenAccepted: @escaping @Sendable () -> Void
    ) async throws {
        try await stub.raft(
            options: options(waitForReady: true),
            requestProducer: { writer in
                for await _ in queue.rings {
                    while case let batch = queue.takeBatch(), !batch.isEmpty {
                        try await writer.write(
                            .with {
                                $0.member = member
                                $0.frames = batch.map { Data($0) }
                            })
                    }
                }
            },
            onResponse: { response in
                _ = try response.accepted.get()
                whenAccepted()
                for try await _ in response.messages {}
            })
    }

    // MARK: Calls

    /// - Throws: `.unavailable` if the request never left, so that another manager can be asked; `.outcomeUnknown` if
    ///   it did and no answer came.
    package func submit(
        _ request: Control.Request, timeout: Duration = .seconds(20)
    ) async throws(ControlError) -> Control.Reply {
        let answer = try await call(timeout: timeout, mayRepeat: false) { [stub] options in
            let json = try Wire.write(request)
            return try await stub.submit(.with { $0.json = json }, options: options)
        }
        switch answer.result {
        case .reply(let json):
            do { return try Wire.read(Control.Reply.self, from: json) } catch {
                throw .outcomeUnknown(
                    "The answer of the manager at \(address) cannot be read: \(Trouble.text(of: error)).")
            }
        case .refusal(let refusal): throw Wire.error(refusal)
        case nil: throw .outcomeUnknown("The manager at \(address) gave an empty answer.")
        }
    }

    /// - Parameter own: where this node will listen, `host:port`.
    package func joinManagers(
        address own: String, timeout: Duration = .seconds(10)
    ) async throws(ControlError) -> ManagerSeat {
        let answer = try await call(timeout: timeout, mayRepeat: true) { [stub] options in
            try await stub.joinManagers(.with { $0.address = own }, options: options)
        }
        if answer.hasRefusal { throw Wire.error(answer.refusal) }
        guard let peers = try? Wire.read([ManagerSeat.Place].self, from: answer.peers) else {
            throw .unknown("the manager's answer cannot be read: do both run the same version of apusd?")
        }
        return ManagerSeat(member: answer.member, peers: peers, epoch: answer.epoch)
    }

    package func leaveManagers(timeout: Duration = .seconds(10)) async throws(ControlError) {
        let answer = try await call(timeout: timeout, mayRepeat: true) { [stub] options in
            try await stub.leaveManagers(Apus_V1_Nothing(), options: options)
        }
        if answer.hasRefusal { throw Wire.error(answer.refusal) }
    }

    package func renewCertificate(
        csrPEM: String, timeout: Duration = .seconds(10)
    ) async throws(ControlError) -> CertificateGrant {
        let answer = try await call(timeout: timeout, mayRepeat: true) { [stub] options in
            try await stub.issueCertificate(.with { $0.csr = csrPEM }, options: options)
        }
        return try CertificateGrant(answer)
    }

    private func call<Answer: Sendable>(
        timeout: Duration, mayRepeat: Bool, _ body: @escaping @Sendable (CallOptions) async throws -> Answer
    ) async throws(ControlError) -> Answer {
        var options = Self.options(waitForReady: false)
        options.timeout = timeout
        let departure = Departure()
        do {
            return try await Departure.$current.withValue(departure) { [options] in
                try await abandoning(limit: timeout + .seconds(1)) { try await body(options) }
            }
        } catch {
            if let verdict = ControlError(verdictIn: error) { throw verdict }
            if !departure.recall() { throw .unreachable(address, error) }
            if mayRepeat { throw .unanswered(address, error) }
            throw .outcomeUnknown(
                "The manager at \(address) was asked and did not answer: \(Trouble.text(of: error)).")
        }
    }

    // MARK: Session

    /// A worker's session.
    ///
    /// `body` runs once the manager has taken the session. Its words leave in order and wait where the manager is slow;
    /// its orders end with the session, by an error if it broke. When `body` returns, what it said still arrives.
    ///
    /// - Throws: what `body` throws; `.unavailable` with the reason if there is no session or it broke.
    package func session<Result: Sendable>(
        _ body:
            @Sendable @escaping (
                AsyncThrowingStream<Dispatch.FromManager, any Error>,
                _ send: @escaping @Sendable (Dispatch.FromWorker) async throws -> Void
            ) async throws -> Result
    ) async throws -> Result {
        let (writers, handOver) = AsyncStream.makeStream(of: RPCWriter<Apus_V1_Document>.self)
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        do {
            return try await abandoning { [stub] in
                try await stub.session(
                    options: Self.options(waitForReady: false),
                    requestProducer: { writer in
                        handOver.yield(writer)
                        handOver.finish()
                        for await _ in ends {}
                    },
                    onResponse: { response in
                        _ = try response.accepted.get()
                        guard let writer = await writers.first(where: { _ in true }) else { throw CancellationError() }
                        return try await Self.converse(response.messages, writer, body) { end.finish() }
                    })
            }
        } catch let error as RPCError {
            throw ControlError(verdictIn: error)
                ?? .unavailable("the session with the manager at \(address) ended: \(Trouble.text(of: error))")
        }
    }

    private static func converse<Result: Sendable>(
        _ messages: RPCAsyncSequence<Apus_V1_Document, any Error>, _ writer: RPCWriter<Apus_V1_Document>,
        _ body:
            @Sendable @escaping (
                AsyncThrowingStream<Dispatch.FromManager, any Error>,
                _ send: @escaping @Sendable (Dispatch.FromWorker) async throws -> Void
            ) async throws -> Result,
        sayEnd: () -> Void
    ) async throws -> Result {
        let (orders, orderWriter) = AsyncThrowingStream.makeStream(
            of: Dispatch.FromManager.self, bufferingPolicy: .bufferingOldest(4_096))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                do {
                    for try await document in messages {
                        switch orderWriter.yield(try Wire.read(Dispatch.FromManager.self, from: document.json)) {
                        case .dropped:
                            throw RPCError(
                                code: .aborted, message: "this node does not keep up with the manager's orders")
                        default: break
                        }
                    }
                    orderWriter.finish()
                } catch {
                    orderWriter.finish(throwing: error)
                }
            }
            let result = try await body(orders) { word in
                let json = try Wire.write(word)
                try await writer.write(.with { $0.json = json })
            }
            // The last words are on their way until the manager has closed its side too.
            sayEnd()
            group.addTask { try? await Task.sleep(for: .seconds(1)) }
            try await group.next()
            return result
        }
    }
}

// MARK: - Connecting

extension LinkClient {
    static func options(waitForReady: Bool) -> CallOptions {
        var options = CallOptions.defaults
        options.waitForReady = waitForReady
        options.maxRequestMessageBytes = Wire.mostBytes  // the transport holds answers to it, too
        options.maxResponseMessageBytes = Wire.mostBytes
        return options
    }

    static func makeClient(
        to address: String, interceptors: [any ClientInterceptor] = [],
        tls: @escaping @Sendable () throws -> NIOSSLClientHandler
    ) -> GRPCClient<HTTP2ClientTransport.Posix> {
        let config = HTTP2ClientTransport.Posix.Config.defaults { config in
            config.channelDebuggingCallbacks.onCreateTCPConnection = { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        [try tls(), HandshakeDeadline(.seconds(5))], position: .first)
                }
            }
            config.connection.keepalive = .init(time: .seconds(2), timeout: .seconds(2), allowWithoutCalls: true)
            config.connection.maxIdleTime = nil
            config.backoff = .init(initial: .milliseconds(50), max: .seconds(1), multiplier: 1.6, jitter: 0.2)
        }
        // An address that is none is a name that nobody knows: the first call says so.
        let place = LinkAddress(address, defaultPort: 2377)
        let (host, port) = (place?.host ?? address, place?.port ?? 2377)
        let target: any ResolvableTarget =
            switch try? NIOCore.SocketAddress(ipAddress: host, port: port) {
            case .v4: .ipv4(address: host, port: port)
            case .v6: .ipv6(address: host, port: port)
            default: .dns(host: host, port: port)
            }
        do {
            return GRPCClient(
                transport: try HTTP2ClientTransport.Posix(
                    target: target, transportSecurity: .customSecure, config: config),
                interceptors: interceptors + [DepartureWatch()])
        } catch {
            preconditionFailure("no resolver for \(address): \(error)")
        }
    }
}

/// Whether a call may have reached the other side.
private final class Departure: Sendable {
    private enum State { case waits, left, recalled }

    @TaskLocal static var current: Departure?
    private let state = Mutex(State.waits)

    /// - Throws: if it was recalled before.
    func leave() throws {
        try state.withLock { state in
            if state == .recalled { throw CancellationError() }
            state = .left
        }
    }

    /// From here on it does not leave any more.
    ///
    /// - Returns: whether it has left already.
    func recall() -> Bool {
        state.withLock { state in
            if state == .waits { state = .recalled }
            return state == .left
        }
    }
}

/// gRPC asks for a request's bytes only when it has a stream to write them to: before, nothing has left.
private struct DepartureWatch: ClientInterceptor {
    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingClientRequest<Input>, context: ClientContext,
        next: (StreamingClientRequest<Input>, ClientContext) async throws -> StreamingClientResponse<Output>
    ) async throws -> StreamingClientResponse<Output> {
        guard let departure = Departure.current else { return try await next(request, context) }
        var watched = request
        watched.producer = { writer in
            try departure.leave()
            try await request.producer(writer)
        }
        return try await next(watched, context)
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
