/// What has to be done to a kernel so that it holds what is wanted: computed from two sets of items, wherever they
/// came from (a former plan, or the kernel itself).
public struct Difference: Sendable, Equatable {
    /// One thing to do.
    public enum Step: Sendable, Equatable {
        case add(Item)
        case replace(Item, with: Item)
        case remove(Item)

        /// What it is about, as it is wanted or, if it is not wanted, as it was.
        public var item: Item {
            switch self {
            case .add(let item), .replace(_, with: let item), .remove(let item): item
            }
        }
    }

    /// In an order in which they can be done: what others stand on is made first and removed last.
    public var steps: [Step]

    public var isEmpty: Bool { steps.isEmpty }

    public init(steps: [Step]) { self.steps = steps }

    public init(from present: [Item.Key: Item], to wanted: [Item.Key: Item]) {
        var making: [Step] = []
        var removing: [Step] = []
        for (key, item) in wanted {
            switch present[key] {
            case nil: making.append(.add(item))
            case item?: break
            case let other?: making.append(.replace(other, with: item))
            }
        }
        for (key, item) in present where wanted[key] == nil { removing.append(.remove(item)) }
        steps = Self.sorted(making, by: <) + Self.sorted(removing, by: >)
    }

    private static func sorted(_ steps: [Step], by order: (Int, Int) -> Bool) -> [Step] {
        steps.map { (rank: $0.item.rank, text: $0.item.description, step: $0) }
            .sorted { $0.rank == $1.rank ? $0.text < $1.text : order($0.rank, $1.rank) }
            .map(\.step)
    }
}

extension Difference.Step: CustomStringConvertible {
    public var description: String {
        switch self {
        case .add(let item): "+ \(item)"
        case .replace(let old, with: let new): "- \(old)\n+ \(new)"
        case .remove(let item): "- \(item)"
        }
    }
}

extension Difference: CustomStringConvertible {
    /// A line or more for each step; `+` is what will be there, `-` what will not.
    public var description: String { steps.map(\.description).joined(separator: "\n") }
}
