import ClusterModel
import GRPCCore

/// Which beginning of a swarm a manager is part of.
///
/// `docker swarm init --force-new-cluster` lets one survivor go on alone, with a log that those who were lost do not know.
/// Should they come back, they have the same certificates and numbers; what they promised each other must not count any
/// more. So each beginning has a name, drawn at random, and managers of two beginnings do not talk about the log.
enum Epoch {
    static let header = "apus-epoch"

    /// The calls between managers as managers.
    private static let bound: Set<MethodDescriptor> = [
        Apus_V1_Link.Method.Raft.descriptor, Apus_V1_Link.Method.Snapshot.descriptor,
        Apus_V1_Link.Method.Submit.descriptor, Apus_V1_Link.Method.LeaveManagers.descriptor,
        // Of one that is a manager already and has a new address; who becomes one is of no epoch yet.
        Apus_V1_Link.Method.JoinManagers.descriptor,
    ]

    /// Why a call of another epoch is refused; nil where there is nothing to refuse.
    static func refusal(
        of peer: Peer, ofEpoch theirs: String?, asking method: MethodDescriptor, here ours: String?
    ) -> RPCError? {
        guard bound.contains(method), let ours, let theirs, ours != theirs else { return nil }
        return RPCError(
            code: .permissionDenied,
            message: """
                node \(peer.node) and the manager that it called belong to two beginnings of this swarm: it was begun anew \
                with `docker swarm init --force-new-cluster` while one of them was away. Let the one that was left \
                behind leave (`docker swarm leave --force`) and join again
                """)
    }
}

/// Says with each call which epoch this manager is of.
struct EpochAnnouncement: ClientInterceptor {
    let epoch: @Sendable () -> String?

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingClientRequest<Input>, context: ClientContext,
        next: (StreamingClientRequest<Input>, ClientContext) async throws -> StreamingClientResponse<Output>
    ) async throws -> StreamingClientResponse<Output> {
        var request = request
        if let epoch = epoch() { request.metadata.addString(epoch, forKey: Epoch.header) }
        return try await next(request, context)
    }
}
