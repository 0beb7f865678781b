extension Cluster {
    /// A moment of the wall clock, in nanoseconds since 1970 (UTC). It always comes in with an input.
    ///
    /// Not `Date`: a `Date` holds seconds as a floating-point number and loses nanoseconds, which clients compare.
    public struct Timestamp: Hashable, Sendable, Comparable, Codable {
        public var nanoseconds: Int64

        public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

        /// Go's zero time, which the API shows where there is none.
        public static let zeroText = "0001-01-01T00:00:00Z"

        public static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }

        /// Stays at the end of time rather than wrapping.
        public func advanced(by nanoseconds: Int64) -> Timestamp {
            let (sum, overflow) = self.nanoseconds.addingReportingOverflow(nanoseconds)
            return Timestamp(nanoseconds: overflow ? (nanoseconds > 0 ? .max : .min) : sum)
        }

        public init(from decoder: any Decoder) throws {
            nanoseconds = try decoder.singleValueContainer().decode(Int64.self)
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            try container.encode(nanoseconds)
        }
    }
}

extension Cluster.Timestamp: CustomStringConvertible {
    /// RFC 3339 with as many decimals as it needs, as Go's `time.RFC3339Nano` writes it.
    public var description: String {
        let second: Int64 = 1_000_000_000
        var (seconds, nanos) = nanoseconds.quotientAndRemainder(dividingBy: second)
        if nanos < 0 { (seconds, nanos) = (seconds - 1, nanos + second) }
        var (days, rest) = seconds.quotientAndRemainder(dividingBy: 86_400)
        if rest < 0 { (days, rest) = (days - 1, rest + 86_400) }
        let (year, month, day) = Self.civil(days: days)
        var text = "\(pad(year, 4))-\(pad(month, 2))-\(pad(day, 2))"
        text += "T\(pad(rest / 3600, 2)):\(pad(rest / 60 % 60, 2)):\(pad(rest % 60, 2))"
        if nanos > 0 {
            var decimals = pad(nanos, 9)
            while decimals.hasSuffix("0") { decimals.removeLast() }
            text += "." + decimals
        }
        return text + "Z"
    }

    private func pad(_ value: Int64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    /// - Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    private static func civil(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}
