import ClusterModel
import GRPCCore
import NIOCore
import NIOPosix
import NIOSSL

// What is said when a link does not work: what happened, at which address, and what to do next.

extension ControlError {
    /// The other manager was not reached, so nothing was asked of it.
    static func unreachable(_ address: String, _ error: any Error) -> ControlError {
        .unavailable("could not reach the manager at \(address): \(Trouble.text(of: error))")
    }

    /// Repeating the question does no harm.
    static func unanswered(_ address: String, _ error: any Error) -> ControlError {
        .unavailable("the manager at \(address) did not answer: \(Trouble.text(of: error)). Try again")
    }

    /// What the other side said about the call itself; nil where it said nothing.
    init?(verdictIn error: any Error) {
        switch error {
        case let error as ControlError: self = error
        case let error as RPCError where error.code == .unauthenticated || error.code == .permissionDenied:
            self = .permissionDenied(error.message)
        case let error as RPCError where error.code == .unimplemented || error.code == .invalidArgument:
            self = .unimplemented(
                error.message.isEmpty
                    ? "the other manager runs a version that cannot do this: upgrade it" : error.message)
        case let error as RPCError where error.code == .resourceExhausted: self = .malformed(error.message)
        default: return nil
        }
    }
}

enum Trouble {
    /// The innermost reason, in words, with the next step where we know one.
    static func text(of error: any Error) -> String {
        switch error {
        case let error as RPCError:
            if let cause = error.cause { return text(of: cause) }
            return switch error.code {
            case .deadlineExceeded: "no answer in time: check that both machines can reach each other there"
            default: error.message.isEmpty ? "\(error.code)" : error.message
            }
        case let error as RuntimeError: return error.cause.map(text(of:)) ?? error.message
        case let error as NIOConnectionError:
            if let dns = error.dnsAError ?? error.dnsAAAAError, error.connectionErrors.isEmpty {
                return "\(error.host) is not a known name: \(text(of: dns))"
            }
            return error.connectionErrors.last.map { text(of: $0.error) } ?? "\(error)"
        case let error as IOError: return text(of: error)
        case ChannelError.connectTimeout(let limit):
            return
                "no answer within \(limit.nanoseconds / 1_000_000_000) s: check the address, and that the port is open"
        case is CancellationError: return "this node is stopping"
        case is HandshakeTimeout: return "it did not complete the TLS handshake: is it an Apus manager?"
        case NIOSSLError.handshakeFailed, is NIOSSLExtraError, is BoringSSLError:
            return """
                the TLS handshake failed (\(error)): are both in the same swarm, is the other end a manager, \
                and do the clocks agree?
                """
        default: return "\(error)"
        }
    }

    private static func text(of error: IOError) -> String {
        switch error.errnoCode {
        case 111: "connection refused: check that apusd runs there and that the node is a manager"
        case 110, 113, 101: "no way there (\(error)): check the address, and that the port is open"
        case 104: "the connection was reset"
        default: "\(error)"
        }
    }
}

struct HandshakeTimeout: Error {}
