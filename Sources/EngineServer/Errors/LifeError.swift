/// Why this node itself, not the cluster, refuses.
///
/// Clients and scripts match these texts, so they are dockerd's to the letter; only the text in a case of our own says more.
///
/// - Source: moby daemon/cluster/errors.go, swarm.go, cluster.go.
package enum LifeError: Error, Sendable, Equatable {
    case notInSwarm
    case isWorker
    case managerStarting
    case alreadyInSwarm
    /// There is no swarm to leave.
    case notPartOfSwarm
    case locked
    /// There is nothing to unlock.
    case notLocked
    case wrongUnlockKey
    case certificatesExpired
    case joinTimedOut
    case malformedJoinToken
    case wrongJoinToken
    case noRemoteAddress
    case managerLeaves(ManagerLeaves)
    case lockedLeaves
    /// What was sent cannot be carried out by anybody: 400.
    case invalid(String)
    /// Not here, not now, and perhaps later: 503.
    case unavailable(String)
    /// Not allowed, whoever asks: 403.
    case forbidden(String)
    /// This version cannot: 501.
    case unimplemented(String)
    /// It was tried and it failed: 500.
    case failed(String)

    /// What a manager's leaving without `--force` would do to the swarm.
    package enum ManagerLeaves: Sendable, Equatable {
        case asTheLast
        case withoutQuorum(remaining: Int, managers: Int)
        case withQuorum
    }

    package var status: Int {
        switch self {
        case .notInSwarm, .isWorker, .managerStarting, .alreadyInSwarm, .notPartOfSwarm, .locked, .certificatesExpired,
            .joinTimedOut, .managerLeaves, .lockedLeaves, .unavailable:
            503
        case .notLocked: 409
        case .wrongUnlockKey: 401
        case .malformedJoinToken, .wrongJoinToken, .noRemoteAddress, .invalid: 400
        case .forbidden: 403
        case .unimplemented: 501
        case .failed: 500
        }
    }
}

extension LifeError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notInSwarm:
            """
            This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node \
            to swarm and try again.
            """
        case .isWorker:
            """
            This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. \
            Please run this command on a manager node or promote the current node to a manager.
            """
        case .managerStarting:
            "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster."
        case .alreadyInSwarm:
            """
            This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.
            """
        case .notPartOfSwarm: "This node is not part of a swarm"
        case .locked:
            """
            Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.
            """
        case .notLocked: "swarm is not locked"
        case .wrongUnlockKey: "swarm could not be unlocked: invalid key provided"
        case .certificatesExpired:
            "Swarm certificates have expired. To replace them, leave the swarm and join again."
        case .joinTimedOut:
            """
            Timeout was reached before node joined. The attempt to join the swarm will continue in the background. \
            Use the "docker info" command to see the current swarm status of your node.
            """
        case .malformedJoinToken: "invalid join token"
        case .wrongJoinToken:
            "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster"
        case .noRemoteAddress: "at least 1 RemoteAddr is required to join"
        case .managerLeaves(let how):
            "You are attempting to leave the swarm on a node that is participating as a manager. " + how.words
        case .lockedLeaves:
            "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message."
        case .invalid(let text), .unavailable(let text), .forbidden(let text), .unimplemented(let text),
            .failed(let text):
            text
        }
    }
}

extension LifeError.ManagerLeaves {
    fileprivate var words: String {
        let lastWords = """
            The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. \
            Use `--force` to suppress this message.
            """
        return switch self {
        case .asTheLast:
            // The space at the end is dockerd's.
            "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. "
        case .withoutQuorum(let remaining, let managers):
            """
            Removing this node leaves \(remaining) managers out of \(managers). \
            Without a Raft quorum your swarm will be inaccessible. 
            """ + lastWords
        case .withQuorum: lastWords
        }
    }
}
