package import ClusterModel
import Foundation

/// The wall clock as one stay in office sees it: read once, then moved on by the monotonic clock.
///
/// A leader whose clock is set back or forth in the middle must not think that all its workers fell silent.
package struct OfficeClock: Sendable {
    private let start = ContinuousClock.now
    private let startedAt = Cluster.Timestamp.now()

    package init() {}

    package var now: Cluster.Timestamp {
        let (seconds, attoseconds) = (ContinuousClock.now - start).components
        return startedAt.advanced(by: seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}

extension Cluster.Timestamp {
    /// The edge of time: only rooms with hands may ask.
    package static func now() -> Cluster.Timestamp {
        Cluster.Timestamp(nanoseconds: Int64(Date().timeIntervalSince1970 * 1e9))
    }
}
