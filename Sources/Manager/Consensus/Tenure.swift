package import Raft

/// One stay in office.
package struct Tenure: Sendable {
    package let term: Term
    /// Finishes the moment this node no longer leads.
    package let ended: AsyncStream<Never>
}

extension RaftDriver {
    /// Does the leader's work for exactly as long as this node leads.
    ///
    /// Losing the office cancels everything inside and waits for it to end before the next one can begin. Work that
    /// returns while this node still leads is begun anew, a tick later: a leader without an office would hold the place
    /// and do nothing. An error in the work ends the whole.
    package func serve(_ work: @escaping @Sendable (Term) async throws -> Void) async throws {
        for await tenure in tenures {
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                group.addTask { for await _ in tenure.ended {} }
                group.addTask { [clock, tick] in
                    while !Task.isCancelled {
                        try await work(tenure.term)
                        try? await clock.sleep(for: tick)
                    }
                }
                try await group.next()
            }
        }
    }
}
