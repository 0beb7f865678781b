import ClusterModel
import Foundation
import GRPCCore
import SwiftProtobuf

/// Documents on the wire: made and read here alone.
enum Wire {
    static func write(_ value: some Encodable) throws -> Data { try JSONEncoder().encode(value) }

    static func read<Value: Decodable>(_ type: Value.Type, from data: Data) throws -> Value {
        do {
            return try JSONDecoder().decode(type, from: data)
        } catch {
            throw RPCError(
                code: .invalidArgument,
                message: "this version of apusd cannot read what the other node sent (\(type)): \(error)")
        }
    }

    static func refusal(_ error: ControlError) -> Apus_V1_Refusal {
        .with { $0.json = (try? write(error)) ?? Data() }
    }

    /// A refusal of a kind that this version does not know is still a refusal.
    static func error(_ refusal: Apus_V1_Refusal) -> ControlError {
        (try? JSONDecoder().decode(ControlError.self, from: refusal.json))
            ?? .unknown("the manager refused, for a reason that this version of apusd does not know: upgrade this node")
    }
}

extension ControlError {
    /// - Parameter hasLeft: the request may have reached the other side.
    init(_ error: any Error, at address: String, hasLeft: Bool) {
        switch error {
        case let error as ControlError: self = error
        case let error as RPCError where error.code == .unauthenticated || error.code == .permissionDenied:
            self = .permissionDenied(error.message)
        case let error as RPCError where error.code == .unimplemented || error.code == .invalidArgument:
            self = .unimplemented(error.message)
        case is CancellationError where !hasLeft: self = .unavailable("this node is stopping")
        default:
            let reason = (error as? RPCError).map { "\($0.message)\($0.cause.map { ": \($0)" } ?? "")" } ?? "\(error)"
            self =
                hasLeft
                ? .outcomeUnknown("The connection to the manager at \(address) broke: \(reason).")
                : .unavailable("could not reach the manager at \(address): \(reason)")
        }
    }
}
