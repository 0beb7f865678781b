internal import Deployer
internal import Dispatch
internal import Glibc
internal import Synchronization

/// The terminal that this runs in, or the log.
enum Terminal {
    static func voice(json: Bool) -> Voice {
        let isTerminal = isatty(1) == 1
        let colors = isTerminal && getenv("NO_COLOR") == nil
        var size = winsize()
        let width = ioctl(1, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 100
        return Voice(Voice.Look(isTerminal: isTerminal && !json, colors: colors && !json, width: width)) { text in
            // With --json, standard output is for the document alone.
            let isDocument = text.hasPrefix("{") || text.hasPrefix("[{") || text == "[]\n"
            put(text, on: json && !isDocument ? 2 : 1)
        }
    }

    private static func put(_ text: String, on descriptor: Int32) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            guard written > 0 else { return }
            bytes = bytes.dropFirst(written)
        }
    }

    @Sendable static func confirm(_ question: String) -> Bool {
        put(question + " [y/N] ", on: 1)
        return ["y", "yes"].contains((readLine() ?? "").lowercased())
    }

    /// Kept for the life of the process.
    nonisolated(unsafe) private static var sources: [any DispatchSourceSignal] = []

    /// The first interrupt asks, a second one insists.
    static func onInterrupt(_ body: @escaping @Sendable () -> Void) {
        let once = Once(Atomic(false))
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                guard once.take() else { _exit(130) }
                body()
            }
            source.resume()
            sources.append(source)
        }
    }

    private final class Once: Sendable {
        private let taken: Atomic<Bool>
        init(_ taken: consuming Atomic<Bool>) { self.taken = taken }
        func take() -> Bool { taken.exchange(true, ordering: .relaxed) == false }
    }
}
