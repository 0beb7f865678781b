import ClusterModel
import Foundation
import GRPCCore
import SwiftProtobuf

/// Documents on the wire: made and read here alone.
enum Wire {
    /// The largest message that is taken. Raft's largest command (16 MiB) and what is around it must fit.
    static let mostBytes = 17 << 20

    static func write(_ value: some Encodable) throws -> Data { try JSONEncoder().encode(value) }

    static func read<Value: Decodable>(_ type: Value.Type, from data: Data) throws -> Value {
        do {
            return try JSONDecoder().decode(type, from: data)
        } catch {
            // Where it is wrong, never what is there: it may be a secret.
            throw RPCError(
                code: .invalidArgument,
                message: """
                    this version of apusd cannot read what the other node sent (\(type)\(place(of: error))): \
                    run the same version on both
                    """)
        }
    }

    static func refusal(_ error: ControlError) -> Apus_V1_Refusal {
        let json = (try? write(error)) ?? Data()
        return .with {
            $0.json = json
            $0.text = error.description
        }
    }

    /// A refusal of a kind that this version does not know is still a refusal.
    static func error(_ refusal: Apus_V1_Refusal) -> ControlError {
        if let known = try? JSONDecoder().decode(ControlError.self, from: refusal.json) { return known }
        return .unknown(refusal.text.isEmpty ? "the manager refused and gave no reason" : refusal.text)
    }

    private static func place(of error: any Error) -> String {
        let path: [any CodingKey]? =
            switch error as? DecodingError {
            case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context),
                .dataCorrupted(let context):
                context.codingPath
            default: nil
            }
        guard let path, !path.isEmpty else { return "" }
        return " at " + path.map(\.stringValue).joined(separator: ".")
    }
}
