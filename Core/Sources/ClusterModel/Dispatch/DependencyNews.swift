extension Dispatch {
    /// What secrets and configs hold, for a node that has tasks which use them, and for no other.
    public struct DependencyNews: Sendable, Equatable, Codable {
        /// Nothing that was sent before is kept.
        public var isWhole: Bool
        public var put: [Cluster.Dependency]
        /// No task of the node uses these any more: they are to be forgotten.
        public var gone: [Cluster.ID<Cluster.Dependency>]

        public init(isWhole: Bool, put: [Cluster.Dependency], gone: [Cluster.ID<Cluster.Dependency>] = []) {
            self.isWhole = isWhole
            self.put = put
            self.gone = gone
        }
    }
}
