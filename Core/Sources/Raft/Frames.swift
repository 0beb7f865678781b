// How messages and entries are written as bytes: version, kind, fixed-width little-endian fields, byte strings with
// their length before them. What goes to disk ends with a CRC-32C. Nothing here traps, whatever the bytes are.

/// Why bytes are not what they should be.
public enum FrameError: Error, Sendable, Equatable {
    case truncated(needed: Int, left: Int)
    case unknownVersion(UInt8)
    /// Written by a newer program than this.
    case unknownKind(UInt8)
    case badChecksum(expected: UInt32, found: UInt32)
    case trailingBytes(Int)
    case notText
    /// Members without order, or one twice.
    case badMembership
    /// Entries that do not follow each other.
    case badEntries
    /// A flag that is neither 0 nor 1.
    case badFlag(UInt8)
}

let frameVersion: UInt8 = 1

// MARK: - Writing

struct FrameWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put(_ byte: UInt8) { bytes.append(byte) }
    mutating func put(_ flag: Bool) { bytes.append(flag ? 1 : 0) }
    mutating func put(_ id: MemberID) { put(id.rawValue) }
    mutating func put(_ number: UInt64) { withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) } }
    mutating func put(_ number: UInt32) { withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) } }
    mutating func put(_ text: String) {
        put(UInt32(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }
    mutating func put(_ string: [UInt8]) {
        put(UInt32(string.count))
        bytes.append(contentsOf: string)
    }
    mutating func put(_ membership: Membership) {
        put(UInt32(membership.members.count))
        for member in membership.members {
            put(member.id)
            put(member.isLearner)
            put(member.address)
            put(member.context)
        }
    }
    mutating func put(_ meta: SnapshotMeta) {
        put(meta.index)
        put(meta.term)
        put(meta.membership)
    }
    /// Kind, index, term, payload.
    mutating func put(_ entry: Entry) {
        switch entry.payload {
        case .command: put(UInt8(1))
        case .membership: put(UInt8(2))
        case .noop: put(UInt8(3))
        }
        put(entry.index)
        put(entry.term)
        switch entry.payload {
        case .command(let command): put(command)
        case .membership(let membership): put(membership)
        case .noop: break
        }
    }
    mutating func putChecksum(from start: Int) { put(CRC32C.checksum(bytes[start...])) }
    mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }
}

// MARK: - Reading

struct FrameReader {
    private let bytes: [UInt8]
    private(set) var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var left: Int { bytes.count - position }

    mutating func byte() throws(FrameError) -> UInt8 {
        try need(1)
        defer { position += 1 }
        return bytes[position]
    }
    mutating func flag() throws(FrameError) -> Bool {
        let byte = try byte()
        guard byte <= 1 else { throw .badFlag(byte) }
        return byte == 1
    }
    mutating func uint64() throws(FrameError) -> UInt64 {
        try need(8)
        defer { position += 8 }
        return bytes.withUnsafeBytes {
            UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: position, as: UInt64.self))
        }
    }
    mutating func uint32() throws(FrameError) -> UInt32 {
        try need(4)
        defer { position += 4 }
        return bytes.withUnsafeBytes {
            UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: position, as: UInt32.self))
        }
    }
    mutating func id() throws(FrameError) -> MemberID { MemberID(try uint64()) }
    mutating func string() throws(FrameError) -> [UInt8] {
        let count = Int(try uint32())
        try need(count)
        defer { position += count }
        return Array(bytes[position..<position + count])
    }
    mutating func text() throws(FrameError) -> String {
        guard let text = String(validating: try string(), as: UTF8.self) else { throw .notText }
        return text
    }
    /// How many things follow that take at least `size` bytes each; more than can be there are refused at once.
    mutating func count(ofSize size: Int) throws(FrameError) -> Int {
        let count = Int(try uint32())
        try need(count * size)
        return count
    }
    mutating func membership() throws(FrameError) -> Membership {
        let count = try count(ofSize: 17)
        var members: [Member] = []
        members.reserveCapacity(count)
        for _ in 0..<count {
            let id = try id()
            if let last = members.last, last.id >= id { throw .badMembership }
            let isLearner = try flag()
            members.append(Member(id: id, address: try text(), isLearner: isLearner, context: try text()))
        }
        return Membership(members)
    }
    mutating func meta() throws(FrameError) -> SnapshotMeta {
        SnapshotMeta(index: try uint64(), term: try uint64(), membership: try membership())
    }
    mutating func entry() throws(FrameError) -> Entry {
        let kind = try byte()
        guard (1...3).contains(kind) else { throw .unknownKind(kind) }
        let index = try uint64()
        let term = try uint64()
        let payload: Payload =
            switch kind {
            case 1: .command(try string())
            case 2: .membership(try membership())
            default: .noop
            }
        return Entry(index: index, term: term, payload: payload)
    }
    mutating func checksum(from start: Int) throws(FrameError) {
        let expected = CRC32C.checksum(bytes[start..<position])
        let found = try uint32()
        guard expected == found else { throw .badChecksum(expected: expected, found: found) }
    }
    mutating func version() throws(FrameError) {
        let version = try byte()
        guard version == frameVersion else { throw .unknownVersion(version) }
    }
    func end() throws(FrameError) {
        guard left == 0 else { throw .trailingBytes(left) }
    }

    private func need(_ count: Int) throws(FrameError) {
        guard count <= left else { throw .truncated(needed: count, left: left) }
    }
}

// MARK: - Entries and snapshots, for the disk

extension Entry {
    public func encoded() -> [UInt8] { Entry.encoded([self]) }

    /// A batch as one string of bytes: one frame after another, each with its checksum.
    public static func encoded(_ entries: [Entry]) -> [UInt8] {
        var writer = FrameWriter()
        writer.reserve(entries.reduce(0) { $0 + $1.weight })
        for entry in entries {
            let start = writer.bytes.count
            writer.put(frameVersion)
            writer.put(entry)
            writer.putChecksum(from: start)
        }
        return writer.bytes
    }

    public init(decoding bytes: [UInt8]) throws(FrameError) {
        var reader = FrameReader(bytes)
        self = try Entry(from: &reader)
        try reader.end()
    }

    /// All entries of a batch.
    public static func decodeAll(_ bytes: [UInt8]) throws(FrameError) -> [Entry] {
        var reader = FrameReader(bytes)
        var entries: [Entry] = []
        while reader.left > 0 { entries.append(try Entry(from: &reader)) }
        return entries
    }

    private init(from reader: inout FrameReader) throws(FrameError) {
        let start = reader.position
        try reader.version()
        self = try reader.entry()
        try reader.checksum(from: start)
    }
}

extension SnapshotMeta {
    public func encoded() -> [UInt8] {
        var writer = FrameWriter()
        writer.put(frameVersion)
        writer.put(self)
        writer.putChecksum(from: 0)
        return writer.bytes
    }

    public init(decoding bytes: [UInt8]) throws(FrameError) {
        var reader = FrameReader(bytes)
        try reader.version()
        self = try reader.meta()
        try reader.checksum(from: 0)
        try reader.end()
    }
}

/// CRC-32C (Castagnoli), eight bytes at a time.
///
/// - Source: RFC 3720, appendix B.4 (polynomial and examples); Kounavis and Berry, "Novel Table Lookup-Based
///   Algorithms for High-Performance CRC Generation", 2008 (slicing by eight).
public enum CRC32C {
    /// Table `k` holds, at `256 * k`, the effect of a byte that `k` more bytes follow.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var value = UInt32(byte)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
            tables[byte] = value
        }
        for index in 256..<8 * 256 {
            let before = tables[index - 256]
            tables[index] = before >> 8 ^ tables[Int(before & 0xFF)]
        }
        return tables
    }()

    public static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        tables.withUnsafeBufferPointer { tables in
            bytes.withUnsafeBytes { bytes in
                var crc = ~UInt32(0)
                var position = 0
                while position + 8 <= bytes.count {
                    let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
                    let mixed = word ^ UInt64(crc)
                    crc = 0
                    for lane in 0..<8 {
                        crc ^= tables[(7 - lane) * 256 + Int(mixed >> UInt64(8 * lane) & 0xFF)]
                    }
                    position += 8
                }
                while position < bytes.count {
                    crc = crc >> 8 ^ tables[Int((crc ^ UInt32(bytes[position])) & 0xFF)]
                    position += 1
                }
                return ~crc
            }
        }
    }

    public static func checksum(_ bytes: [UInt8]) -> UInt32 { checksum(bytes[...]) }
}
