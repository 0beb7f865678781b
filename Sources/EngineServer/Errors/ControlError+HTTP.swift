import ClusterModel
import EngineAPI

/// Any refusal as a client hears it: a status and `{"message": …}`.
///
/// What the cluster refused is told with its code in front, as dockerd passes swarmkit's errors on; what this node
/// refused, and what was no request at all, is told plainly.
struct Refusal: Error, Equatable {
    var status: Int
    var message: String

    init(_ status: Int, _ message: String) {
        self.status = status
        self.message = message
    }

    init(_ error: any Error) {
        switch error {
        case let refusal as Refusal: self = refusal
        case let error as LifeError: self.init(error.status, error.description)
        case ControlError.malformed(let text): self.init(400, text)
        case let error as ControlError: self.init(error.status, "rpc error: code = \(error.code) desc = \(error)")
        case let error as WordError: self.init(400, error.description)
        case let error as EngineUnreachable: self.init(503, error.description)
        case is TimeLimitExceeded:
            self.init(503, "The answer took too long. Look what happened before you repeat the request.")
        case is CancellationError: self.init(503, "This daemon is shutting down.")
        default: self.init(500, "\(error)")
        }
    }
}

extension ControlError {
    /// - Source: moby api/server/httpstatus/status.go, the mapping of gRPC codes.
    var status: Int {
        switch self {
        case .invalidArgument, .malformed, .failedPrecondition: 400
        case .unauthenticated: 401
        case .permissionDenied: 403
        case .notFound: 404
        case .alreadyExists: 409
        case .unimplemented: 501
        case .unavailable: 503
        case .unknown, .outOfSequence, .noLeader, .outcomeUnknown: 500
        }
    }
}
