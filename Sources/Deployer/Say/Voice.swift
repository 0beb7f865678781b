package import Deploy
internal import Synchronization

/// How a deploy talks: a line for what happened on a host, and what is going on right now.
///
/// In a terminal what goes on is one line that is drawn again; in a log it is a line now and then.
package final class Voice: Sendable {
    package struct Look: Sendable {
        package var isTerminal: Bool
        package var colors: Bool
        package var width: Int
        package init(isTerminal: Bool, colors: Bool, width: Int) {
            (self.isTerminal, self.colors, self.width) = (isTerminal, colors, width)
        }
    }
    package enum Tone: String, Sendable {
        case plain = "", good = "32", bad = "31", warning = "33", quiet = "2", add = "32 ", remove = "31 ", change =
            "33 "
    }

    private struct State {
        var running: [String: String] = [:]
        var saidAt: [String: Int] = [:]
        var drawn = false
    }
    private let look: Look
    private let write: @Sendable (String) -> Void
    private let state = Mutex(State())

    package init(_ look: Look, write: @escaping @Sendable (String) -> Void) { (self.look, self.write) = (look, write) }

    package func colored(_ text: String, _ tone: Tone) -> String {
        look.colors && tone != .plain ? "\u{1B}[\(tone.rawValue.trimmed)m\(text)\u{1B}[0m" : text
    }

    /// A whole line.
    package func line(_ text: String, _ tone: Tone = .plain) {
        state.withLock { state in
            erase(&state)
            write(colored(text, tone) + "\n")
            draw(&state)
        }
    }

    /// `[user@host] web: what`.
    package func say(_ host: Machine?, _ application: String?, _ text: String, _ tone: Tone = .plain) {
        let start = (host.map { "[\($0)] " } ?? "") + (application.map { "\($0): " } ?? "")
        for part in text.split(separator: "\n", omittingEmptySubsequences: false) {
            state.withLock { state in
                erase(&state)
                write(colored(start, .quiet) + colored(String(part), tone) + "\n")
                draw(&state)
            }
        }
    }

    /// What goes on, in hundredths where that is known.
    package func progress(_ host: Machine, _ application: String, _ text: String, hundredths: Int? = nil) {
        let key = "\(host) \(application)"
        state.withLock { state in
            if look.isTerminal {
                erase(&state)
                state.running[key] = "\(host) \(text)" + (hundredths.map { " \(Self.bar($0))" } ?? "")
                draw(&state)
            } else if let hundredths {
                let tenth = hundredths / 25
                guard tenth > state.saidAt[key + text] ?? 0 else { return }
                state.saidAt[key + text] = tenth
                write("[\(host)] \(application): \(text) \(hundredths)%\n")
            } else if state.running[key] != text {
                state.running[key] = text
                write("[\(host)] \(application): \(text)\n")
            }
        }
    }

    package func endProgress(_ host: Machine, _ application: String) {
        state.withLock { state in
            erase(&state)
            state.running["\(host) \(application)"] = nil
            state.saidAt = state.saidAt.filter { !$0.key.hasPrefix("\(host) \(application)") }
            draw(&state)
        }
    }

    private static func bar(_ hundredths: Int) -> String {
        let full = max(0, min(10, hundredths / 10))
        return "[" + String(repeating: "█", count: full) + String(repeating: "·", count: 10 - full) + "] \(hundredths)%"
    }

    private func erase(_ state: inout State) {
        if state.drawn { write("\r\u{1B}[K") }
        state.drawn = false
    }

    private func draw(_ state: inout State) {
        guard look.isTerminal, !state.running.isEmpty else { return }
        let text = state.running.sorted { $0.key < $1.key }.map(\.value).joined(separator: "  ")
        write(String(text.prefix(max(20, look.width - 1))))
        state.drawn = true
    }

    /// Columns as wide as they must be.
    package func table(_ rows: [[String]], tones: [Tone] = []) {
        let widths = rows.reduce(into: [Int]()) { widths, row in
            for (place, cell) in row.enumerated() {
                if place < widths.count {
                    widths[place] = max(widths[place], cell.count)
                } else {
                    widths.append(cell.count)
                }
            }
        }
        for (number, row) in rows.enumerated() {
            let cells = row.enumerated().map { place, cell in
                place == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[place] - cell.count)
            }
            line(cells.joined(separator: "  "), number < tones.count ? tones[number] : .plain)
        }
    }
}
