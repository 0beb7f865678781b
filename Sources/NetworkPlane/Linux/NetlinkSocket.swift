import CNetlink

/// What the kernel said to a request.
package struct NetlinkError: Error, Sendable, Equatable, CustomStringConvertible {
    /// As in `errno.h`.
    package var number: Int32
    package var doing: String
    /// What the kernel adds in words, if anything.
    package var words: String?

    package var description: String {
        "\(doing): \(String(cString: cnetlink_words(number)))" + (words.map { " (\($0))" } ?? "")
    }

    static let exists: Int32 = 17
    static let noEntry: Int32 = 2
    static let noProcess: Int32 = 3
    static let noDevice: Int32 = 19
    static let notAvailable: Int32 = 99
    static let timedOut: Int32 = 110
}

/// A socket to one part of the kernel's network, in the namespace of the thread that opened it. For one thread.
final class NetlinkSocket {
    private let descriptor: Int32
    private var sequence: UInt32 = 0
    private var buffer = [UInt8](repeating: 0, count: 256 << 10)
    /// The kernel answers at once; who waits this long waits for ever.
    private static let patience: Int32 = 5_000

    /// - Parameter groups: a mask of the groups whose announcements it hears.
    init(family: Int32, groups: UInt32 = 0) throws(NetlinkError) {
        descriptor = cnetlink_open(family, groups)
        guard descriptor >= 0 else { throw NetlinkError(number: -descriptor, doing: "opening a netlink socket") }
    }

    deinit { cnetlink_close(descriptor) }

    /// Sends a request and waits for the kernel's acknowledgement.
    func perform(_ message: NetlinkMessage, _ doing: @autoclosure () -> String) throws(NetlinkError) {
        _ = try exchange(message, flags: Int32(NLM_F_ACK), doing)
    }

    /// Asks for one object, or with `NLM_F_DUMP` for all; the answers come with their headers.
    func ask(_ message: NetlinkMessage, flags: Int32, _ doing: @autoclosure () -> String) throws(NetlinkError)
        -> [NetlinkAnswer]
    {
        try exchange(message, flags: flags, doing)
    }

    private func exchange(_ message: NetlinkMessage, flags: Int32, _ doing: () -> String) throws(NetlinkError)
        -> [NetlinkAnswer]
    {
        sequence &+= 1
        let bytes = message.finished(sequence: sequence, flags: flags)
        let sent = cnetlink_send(descriptor, bytes, bytes.count)
        guard sent == 0 else { throw NetlinkError(number: -sent, doing: doing()) }
        var answers: [NetlinkAnswer] = []
        while true {
            let count = cnetlink_receive(descriptor, &buffer, buffer.count, Self.patience)
            guard count > 0 else {
                throw NetlinkError(number: count == 0 ? NetlinkError.timedOut : Int32(-count), doing: doing())
            }
            guard count <= buffer.count else {
                buffer = [UInt8](repeating: 0, count: Int(count))
                throw NetlinkError(number: 90, doing: doing())
            }
            for answer in NetlinkAnswer.all(in: buffer[..<Int(count)]) where answer.sequence == sequence {
                switch answer.type {
                case Int(NLMSG_ERROR):
                    let number = answer.body.machineNumber(at: 0, Int32.self) ?? -22
                    if number == 0 { return answers }
                    throw NetlinkError(number: -number, doing: doing(), words: words(of: answer))
                case Int(NLMSG_DONE): return answers
                default:
                    // Its bytes are copied: the buffer is used again.
                    answers.append(
                        NetlinkAnswer(
                            type: answer.type, flags: answer.flags, sequence: answer.sequence,
                            body: ArraySlice(Array(answer.body))))
                    if answer.flags & UInt16(NLM_F_MULTI) == 0, flags & Int32(NLM_F_ACK) == 0 { return answers }
                }
            }
        }
    }

    /// - Source: NLMSGERR_ATTR_MSG, linux/netlink.h; with NETLINK_CAP_ACK only the header of the request comes back.
    private func words(of error: NetlinkAnswer) -> String? {
        guard error.flags & 0x200 != 0 else { return nil }
        return error.attributes(after: 20)[1].map(\.text)
    }

    /// What was announced since, waiting at most so long for the first: nil when nothing was.
    func announcements(within milliseconds: Int32) throws(NetlinkError) -> [NetlinkAnswer]? {
        let count = cnetlink_receive(descriptor, &buffer, buffer.count, milliseconds)
        guard count != 0 else { return nil }
        guard count > 0 else { throw NetlinkError(number: Int32(-count), doing: "hearing of changes") }
        return NetlinkAnswer.all(in: buffer[..<min(Int(count), buffer.count)])
    }
}
