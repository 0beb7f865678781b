package import ClusterModel
package import ClusterStore
package import EngineAPI

/// What the front asks of this machine's life in the swarm. The room above answers.
package protocol SwarmLife: Sendable {
    /// Where this node stands now. Never waits for another node.
    func local() async -> LocalSwarm

    /// The cluster, on a manager that is up.
    ///
    /// - Throws: the reason why this node cannot answer for the cluster.
    func cluster() async throws(LifeError) -> any ClusterAccess

    /// The cluster's events, on a manager that is up; nil on any other node.
    func events() async -> ClusterEventFeed?

    /// Begins a swarm here.
    ///
    /// - Returns: the ID of this node.
    func initialize(_ request: SwarmInit) async throws(LifeError) -> String

    func join(_ request: SwarmJoin) async throws(LifeError)
    func leave(force: Bool) async throws(LifeError)

    /// New secrets for the join tokens: drawn at the edge, because decisions draw nothing.
    func newTokens(worker: Bool, manager: Bool) async throws(LifeError) -> Control.TokenRotation

    /// Role, term, indexes, queues: for people and for the lab, at `GET /apus/debug`.
    func debugDump() async -> JSON
}

/// This node's place in the swarm, as it knows it by itself.
package struct LocalSwarm: Sendable, Equatable {
    package enum State: String, Sendable { case inactive, pending, active, error, locked }

    package var state: State
    package var nodeID: Cluster.ID<Cluster.Node>?
    package var nodeAddress: String
    /// It is a manager: cluster requests may be sent to it.
    package var controlAvailable: Bool
    package var error: String
    package var remoteManagers: [Dispatch.ManagerAddress]

    package init(
        state: State = .inactive, nodeID: Cluster.ID<Cluster.Node>? = nil, nodeAddress: String = "",
        controlAvailable: Bool = false, error: String = "", remoteManagers: [Dispatch.ManagerAddress] = []
    ) {
        self.state = state
        self.nodeID = nodeID
        self.nodeAddress = nodeAddress
        self.controlAvailable = controlAvailable
        self.error = error
        self.remoteManagers = remoteManagers
    }
}

/// A swarm to begin. Addresses are as the user wrote them: an address, an interface's name, with or without a port.
package struct SwarmInit: Sendable, Equatable {
    package var listenAddress: String
    package var advertiseAddress: String
    package var dataPathAddress: String
    package var dataPathPort: Int
    package var defaultAddressPools: [String]
    package var subnetSize: Int
    package var forceNewCluster: Bool
    package var autoLock: Bool
    package var availability: Cluster.Availability
    package var spec: Cluster.SwarmSpec

    package init(
        listenAddress: String, advertiseAddress: String = "", dataPathAddress: String = "", dataPathPort: Int = 4789,
        defaultAddressPools: [String] = [], subnetSize: Int = 24, forceNewCluster: Bool = false, autoLock: Bool = false,
        availability: Cluster.Availability = .active, spec: Cluster.SwarmSpec
    ) {
        self.listenAddress = listenAddress
        self.advertiseAddress = advertiseAddress
        self.dataPathAddress = dataPathAddress
        self.dataPathPort = dataPathPort
        self.defaultAddressPools = defaultAddressPools
        self.subnetSize = subnetSize
        self.forceNewCluster = forceNewCluster
        self.autoLock = autoLock
        self.availability = availability
        self.spec = spec
    }
}

/// A swarm to join. The token is not looked at here: it is good or bad at the manager.
package struct SwarmJoin: Sendable, Equatable {
    package var listenAddress: String
    package var advertiseAddress: String
    package var dataPathAddress: String
    /// At least one.
    package var remoteAddresses: [String]
    package var joinToken: String
    package var availability: Cluster.Availability

    package init(
        listenAddress: String, advertiseAddress: String = "", dataPathAddress: String = "", remoteAddresses: [String],
        joinToken: String, availability: Cluster.Availability = .active
    ) {
        self.listenAddress = listenAddress
        self.advertiseAddress = advertiseAddress
        self.dataPathAddress = dataPathAddress
        self.remoteAddresses = remoteAddresses
        self.joinToken = joinToken
        self.availability = availability
    }
}
