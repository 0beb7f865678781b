import ClusterModel
import GRPCCore
import SwiftProtobuf

/// Between the wire and the handler: documents into values, refusals into answers.
struct LinkService: Apus_V1_Link.SimpleServiceProtocol {
    let handler: any LinkHandler

    func caller() throws -> Peer {
        guard let peer = Caller.peer else { throw RPCError(code: .unauthenticated, message: "a certificate is needed") }
        return peer
    }

    func issueCertificate(
        request: Apus_V1_CertificateAsk, context: ServerContext
    ) async throws -> Apus_V1_CertificateAnswer {
        let ask = CertificateRequest(
            csrPEM: request.csr, token: request.token.isEmpty ? nil : request.token,
            availability: Cluster.Availability(rawValue: request.availability) ?? .active)
        do {
            let grant = try await handler.issueCertificate(
                ask, from: ask.token == nil ? try caller() : nil, address: Caller.address)
            let managers = try Wire.write(grant.managers)
            return .with {
                $0.node = grant.node.description
                $0.role = grant.role.rawValue
                $0.certificate = grant.certificatePEM
                $0.root = grant.rootPEM
                $0.managers = managers
            }
        } catch let error as ControlError {
            return .with { $0.refusal = Wire.refusal(error) }
        }
    }

    func joinManagers(request: Apus_V1_SeatAsk, context: ServerContext) async throws -> Apus_V1_SeatAnswer {
        do {
            let seat = try await handler.joinManagers(address: request.address, from: try caller())
            let peers = try Wire.write(seat.peers)
            return .with {
                $0.member = seat.member
                $0.peers = peers
                $0.epoch = seat.epoch
            }
        } catch let error as ControlError {
            return .with { $0.refusal = Wire.refusal(error) }
        }
    }

    func leaveManagers(request: Apus_V1_Nothing, context: ServerContext) async throws -> Apus_V1_LeaveAnswer {
        do {
            try await handler.leaveManagers(from: try caller())
            return Apus_V1_LeaveAnswer()
        } catch let error as ControlError {
            return .with { $0.refusal = Wire.refusal(error) }
        }
    }

    func submit(request: Apus_V1_Document, context: ServerContext) async throws -> Apus_V1_Outcome {
        let asked = try Wire.read(Control.Request.self, from: request.json)
        do {
            let reply = try Wire.write(try await handler.submit(asked, from: try caller()))
            return .with { $0.reply = reply }
        } catch let error as ControlError {
            return .with { $0.refusal = Wire.refusal(error) }
        }
    }

    func raft(
        request: RPCAsyncSequence<Apus_V1_Frames, any Error>, response: RPCWriter<Apus_V1_Nothing>,
        context: ServerContext
    ) async throws {
        let peer = try caller()
        for try await batch in request {
            handler.raft(batch.frames.map { Array($0) }, from: peer, member: batch.member)
        }
    }

    func session(
        request: RPCAsyncSequence<Apus_V1_Document, any Error>, response: RPCWriter<Apus_V1_Document>,
        context: ServerContext
    ) async throws {
        do {
            try await handler.session(from: try caller(), inbound: WorkerWords(documents: request)) { message in
                let json = try Wire.write(message)
                try await response.write(.with { $0.json = json })
            }
        } catch let error as ControlError {
            throw RPCError(code: .failedPrecondition, message: error.description)
        }
    }

    func logs(
        request: Apus_V1_Document, response: RPCWriter<Apus_V1_LogBatch>, context: ServerContext
    ) async throws {
        let wish = try Wire.read(Dispatch.LogWish.self, from: request.json)
        do {
            try await handler.logs(wish, from: try caller()) { batch in
                try await response.write(Apus_V1_LogBatch(batch, order: 0))
            }
        } catch let error as ControlError {
            throw RPCError(code: .failedPrecondition, message: error.description)
        }
    }

    func publishLogs(
        request: RPCAsyncSequence<Apus_V1_LogBatch, any Error>, context: ServerContext
    ) async throws -> Apus_V1_Nothing {
        do {
            try await handler.publishLogs(LogBatches(messages: request), from: try caller())
        } catch let error as ControlError {
            throw RPCError(code: .failedPrecondition, message: error.description)
        }
        return Apus_V1_Nothing()
    }
}

/// A worker's words, read as they come.
private struct WorkerWords: AsyncSequence, Sendable {
    typealias Element = Dispatch.FromWorker
    let documents: RPCAsyncSequence<Apus_V1_Document, any Error>

    struct AsyncIterator: AsyncIteratorProtocol {
        var documents: RPCAsyncSequence<Apus_V1_Document, any Error>.AsyncIterator

        mutating func next() async throws -> Dispatch.FromWorker? {
            guard let document = try await documents.next() else { return nil }
            return try Wire.read(Dispatch.FromWorker.self, from: document.json)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(documents: documents.makeAsyncIterator()) }
}
