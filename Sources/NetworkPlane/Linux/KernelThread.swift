import CNetlink
import Foundation

/// One thread on which all calls to one network namespace run, in order: they wait for the kernel, so they must not hold
/// up the pool, and a socket belongs to the namespace of the thread that opens it.
final class KernelThread: SerialExecutor {
    private let condition = NSCondition()
    // Both are read and written with the condition locked.
    nonisolated(unsafe) private var jobs: [UnownedJob] = []
    nonisolated(unsafe) private var isEnding = false

    /// - Parameter namespace: the path of a network namespace; nil for the process's own.
    static func started(in namespace: String?) throws(NetlinkError) -> KernelThread {
        let executor = KernelThread()
        let entered = NSCondition()
        nonisolated(unsafe) var result: Int32?
        let thread = Thread {
            let outcome = namespace.map { cnetlink_enter($0) } ?? 0
            entered.lock()
            result = outcome
            entered.signal()
            entered.unlock()
            if outcome == 0 { executor.run() }
        }
        thread.name = "apus-network"
        thread.stackSize = 1 << 20
        thread.start()
        entered.lock()
        while result == nil { entered.wait() }
        entered.unlock()
        if let result, result != 0 {
            throw NetlinkError(number: -result, doing: "entering the network namespace \(namespace ?? "")")
        }
        return executor
    }

    private func run() {
        while true {
            condition.lock()
            while jobs.isEmpty, !isEnding { condition.wait() }
            let batch = jobs
            jobs.removeAll(keepingCapacity: true)
            let ending = isEnding
            condition.unlock()
            for job in batch { job.runSynchronously(on: asUnownedSerialExecutor()) }
            if ending, batch.isEmpty { return }
        }
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        condition.lock()
        jobs.append(job)
        condition.signal()
        condition.unlock()
    }

    /// What waits is still done; then the thread ends.
    func end() {
        condition.lock()
        isEnding = true
        condition.signal()
        condition.unlock()
    }
}
