package import Raft

/// Why a proposal or a read came to nothing.
package enum ProposeError: Error, Sendable, Equatable {
    /// Nothing happened; ask the one that `hint` names.
    case notLeader(hint: MemberID?)
    /// Nothing happened; too much is waiting, another membership change is under way, or the office is being handed over.
    case busy
    /// Nothing happened, and nothing will, for this reason.
    case refused(String)
    /// Another leader's entry took its place: it will never be carried out.
    case lost
    /// This node lost its office first, or stopped waiting. It may be carried out yet, or never.
    case outcomeUnknown
    /// This manager has stopped, or the asker did. Nothing happened.
    case stopped

    init(_ refusal: Refusal) {
        self =
            switch refusal {
            case .notLeader(let hint): .notLeader(hint: hint)
            case .busy, .changeInProgress, .transferring: .busy
            case .invalid(let reason): .refused(reason)
            }
    }
}

typealias Answer = Result<LogIndex, ProposeError>
typealias Waiter = CheckedContinuation<Answer, Never>

/// What an asker waits for.
enum Ticket: Hashable, Sendable {
    case proposal(ProposalToken)
    case read(ReadToken)
    case watch(UInt64)

    var isRead: Bool { if case .proposal = self { false } else { true } }
}

/// Who has asked something and was not answered yet.
struct Desk {
    struct Handover {
        var waiter: CheckedContinuation<Void, Never>
        /// Set when the loop first sees it.
        var ticksLeft: Int?
    }

    /// More are refused as busy.
    static let limit = 65_536

    var isOpen = true
    var waiters: [Ticket: Waiter] = [:]
    /// How far the log must be applied for those who wait for that alone.
    var watched: [Ticket: LogIndex] = [:]
    var applied: LogIndex = 0
    var handovers: [UInt64: Handover] = [:]

    mutating func takeWatchers(upTo index: LogIndex) -> [(Waiter, Answer)] {
        guard !watched.isEmpty else { return [] }
        var done: [(Waiter, Answer)] = []
        for (ticket, wanted) in watched where wanted <= index {
            watched[ticket] = nil
            if let waiter = waiters.removeValue(forKey: ticket) { done.append((waiter, .success(wanted))) }
        }
        return done
    }

    /// - Parameter neverTaken: whose question the loop has not seen, so that certainly nothing happened.
    mutating func takeAll(
        neverTaken: [Ticket]
    ) -> (waiters: [(Waiter, Answer)], handovers: [CheckedContinuation<Void, Never>]) {
        var left: [(Waiter, Answer)] = []
        for ticket in neverTaken {
            if let waiter = waiters.removeValue(forKey: ticket) { left.append((waiter, .failure(.stopped))) }
        }
        for (ticket, waiter) in waiters {
            left.append((waiter, .failure(ticket.isRead ? .stopped : .outcomeUnknown)))
        }
        let handovers = handovers.values.map(\.waiter)
        (waiters, watched, self.handovers) = ([:], [:], [:])
        return (left, handovers)
    }
}
