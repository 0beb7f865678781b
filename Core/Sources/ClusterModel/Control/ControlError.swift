/// Why the cluster refused a request.
///
/// Each case is one kind of refusal, which clients see as a status; its message says what happened, to what, and, where
/// clients do not match the whole text, what to do next. Faults of our own are not here: those trap.
///
/// - Source: the codes of google.golang.org/grpc/codes as swarmkit uses them; the words of `docs/compatibility.md`.
public enum ControlError: Error, Sendable, Equatable, Codable {
    case invalidArgument(String)
    /// What cannot even be read as a request. Clients are told without a code, as by dockerd before it asks the cluster.
    case malformed(String)
    case failedPrecondition(String)
    case notFound(kind: String, reference: String)
    case alreadyExists(String)
    case permissionDenied(String)
    case unauthenticated(String)
    /// What this version cannot do; the message names it and says what can be done instead.
    case unimplemented(String)
    /// This node cannot answer now; the request was not carried out.
    case unavailable(String)
    /// A refusal that swarmkit never gave a code of its own.
    case unknown(String)
    case outOfSequence
    case noLeader
    /// The connection broke after a request had left: nobody knows whether it was carried out, so it was not repeated.
    case outcomeUnknown(String)

    /// The name of the code, as the clients' texts show it.
    public var code: String {
        switch self {
        case .invalidArgument, .malformed: "InvalidArgument"
        case .failedPrecondition: "FailedPrecondition"
        case .notFound: "NotFound"
        case .alreadyExists: "AlreadyExists"
        case .permissionDenied: "PermissionDenied"
        case .unauthenticated: "Unauthenticated"
        case .unimplemented: "Unimplemented"
        case .unavailable: "Unavailable"
        case .unknown, .outOfSequence, .noLeader: "Unknown"
        case .outcomeUnknown: "DeadlineExceeded"
        }
    }
}

extension ControlError: CustomStringConvertible {
    /// The message without its code.
    public var description: String {
        switch self {
        case .invalidArgument(let text), .malformed(let text), .failedPrecondition(let text), .alreadyExists(let text),
            .permissionDenied(let text), .unauthenticated(let text), .unimplemented(let text),
            .unavailable(let text), .unknown(let text):
            text
        case .notFound(let kind, let reference): "\(kind) \(reference) not found"
        // docker-py and older tools test that the text *ends* with these four words.
        case .outOfSequence: "update out of sequence"
        case .noLeader:
            """
            The swarm does not have a leader. It's possible that too few managers are online. \
            Make sure more than half of the managers are online.
            """
        case .outcomeUnknown(let text):
            "\(text) Whether the change was made is not known: look (`docker service ls`, `docker node ls`) before you repeat it."
        }
    }
}
