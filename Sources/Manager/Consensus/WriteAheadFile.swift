import Foundation

/// What was committed to the log's write-ahead file and cannot be read any more.
struct DamagedWriteAheadFile: Error, CustomStringConvertible {
    var path: String
    var frame: Int
    var laterCommits: Int

    var description: String {
        "\(path) is damaged at frame \(frame), and \(laterCommits) commits stand behind it that would be lost"
    }
}

/// Tells a write that was cut short from damage to what was written.
///
/// After a crash SQLite takes its write-ahead file up to the first frame whose checksum is wrong, and forgets the rest
/// without a word. Right for a write that was cut short; but if the disk lost a block in the middle, commits that had
/// returned, and so were promised, would go with it. One commit at most can be under way (each is synced before the
/// next begins), so two commits behind a bad frame prove damage. Of damage to the very last commit nothing can be known.
///
/// - Source: https://www.sqlite.org/fileformat2.html, "The Write-Ahead Log".
enum WriteAheadFile {
    private static let headerSize = 32
    private static let frameHeaderSize = 24

    /// - Throws: `DamagedWriteAheadFile`.
    static func check(_ path: String) throws {
        guard let file = FileHandle(forReadingAtPath: path) else { return }  // closed in peace
        defer { try? file.close() }
        guard let header = try file.read(upToCount: headerSize), header.count == headerSize else { return }
        let words = Words(Array(header), isBigEndian: true)
        guard words[0] & ~1 == 0x377f_0682 else { throw DamagedWriteAheadFile(path: path, frame: 0, laterCommits: 0) }
        let isBigEndian = words[0] & 1 == 1
        let pageSize = words[2] == 1 ? 65_536 : Int(words[2])
        var sum = Checksum(first: 0, second: 0)
        sum.add(Array(header[..<24]), isBigEndian: isBigEndian)
        guard sum == Checksum(first: words[6], second: words[7]), pageSize >= 512, pageSize <= 65_536 else {
            throw DamagedWriteAheadFile(path: path, frame: 0, laterCommits: 0)
        }

        let salts = (words[4], words[5])
        var frame = 0
        var firstBad: Int?
        var commits = 0
        var lastCommittedPage: UInt32?
        while let bytes = try file.read(upToCount: frameHeaderSize + pageSize),
            bytes.count == frameHeaderSize + pageSize
        {
            frame += 1
            let array = Array(bytes)
            let head = Words(array[..<frameHeaderSize], isBigEndian: true)
            let said = Checksum(first: head[4], second: head[5])
            // Other salts: left over from before the file was begun anew.
            guard (head[2], head[3]) == salts else {
                firstBad = firstBad ?? frame
                sum = said
                continue
            }
            sum.add(array[..<8], isBigEndian: isBigEndian)
            sum.add(array[frameHeaderSize...], isBigEndian: isBigEndian)
            if sum != said {
                firstBad = firstBad ?? frame
                sum = said  // each frame's sum goes on from the one before: so the next can be judged by itself
                lastCommittedPage = nil
            } else if head[1] == 0 {
                lastCommittedPage = nil
            } else {
                // SQLite may repeat the last frame of a commit, to fill a sector.
                if firstBad != nil, head[0] != lastCommittedPage { commits += 1 }
                lastCommittedPage = head[0]
            }
        }
        if let firstBad, commits >= 2 {
            throw DamagedWriteAheadFile(path: path, frame: firstBad, laterCommits: commits)
        }
    }

    private struct Words {
        private let bytes: ArraySlice<UInt8>
        private let isBigEndian: Bool

        init(_ bytes: ArraySlice<UInt8>, isBigEndian: Bool) { (self.bytes, self.isBigEndian) = (bytes, isBigEndian) }
        init(_ bytes: [UInt8], isBigEndian: Bool) { self.init(bytes[...], isBigEndian: isBigEndian) }

        subscript(index: Int) -> UInt32 {
            let start = bytes.startIndex + 4 * index
            let word = bytes.withUnsafeBytes {
                $0.loadUnaligned(fromByteOffset: start - bytes.startIndex, as: UInt32.self)
            }
            return isBigEndian ? UInt32(bigEndian: word) : UInt32(littleEndian: word)
        }
    }

    private struct Checksum: Equatable {
        var first: UInt32
        var second: UInt32

        mutating func add(_ bytes: some Collection<UInt8>, isBigEndian: Bool) {
            let array = Array(bytes)
            array.withUnsafeBytes { raw in
                var position = 0
                while position + 8 <= raw.count {
                    let one = raw.loadUnaligned(fromByteOffset: position, as: UInt32.self)
                    let two = raw.loadUnaligned(fromByteOffset: position + 4, as: UInt32.self)
                    first &+= (isBigEndian ? UInt32(bigEndian: one) : UInt32(littleEndian: one)) &+ second
                    second &+= (isBigEndian ? UInt32(bigEndian: two) : UInt32(littleEndian: two)) &+ first
                    position += 8
                }
            }
        }
    }
}
