import CNetlink
import ClusterModel
import NetworkPlan

/// The connections that the packet filter remembers.
///
/// - Source: linux/netfilter/nfnetlink_conntrack.h; `IPS_DST_NAT` of nf_conntrack_common.h.
final class Connections {
    private let socket: NetlinkSocket
    private static let udp: UInt8 = 17

    init() throws(NetlinkError) { socket = try NetlinkSocket(family: NETLINK_NETFILTER) }

    private func type(_ message: UInt32) -> Int { Int(NFNL_SUBSYS_CTNETLINK) << 8 | Int(message) }
    private func body(_ family: IPAddress.Family) -> [UInt8] { [family == .v4 ? 2 : 10, 0, 0, 0] }

    /// Forgets what a change has made wrong; nothing else is touched.
    ///
    /// - Returns: how many were forgotten.
    func forget(_ aftermath: Planner.Aftermath) throws(NetlinkError) -> Int {
        guard !aftermath.isEmpty else { return 0 }
        var count = 0
        for family in [IPAddress.Family.v4, .v6] {
            let all = try socket.ask(
                NetlinkMessage(type(IPCTNL_MSG_CT_GET.rawValue), body: body(family)), flags: Int32(NLM_F_DUMP),
                "reading the connections")
            for answer in all {
                let attributes = answer.attributes(after: 4)
                guard let original = attributes[Int(CTA_TUPLE_ORIG.rawValue)], let known = Connection(attributes),
                    Self.isWrong(known, after: aftermath)
                else { continue }
                var message = NetlinkMessage(type(IPCTNL_MSG_CT_DELETE.rawValue), body: body(family))
                message.attribute(Int(CTA_TUPLE_ORIG.rawValue) | Int(NLA_F_NESTED), Array(original))
                do {
                    try socket.perform(message, "forgetting a connection")
                    count += 1
                } catch  where error.number == NetlinkError.noEntry {
                    // It ended by itself.
                }
            }
        }
        return count
    }

    static func isWrong(_ connection: Connection, after aftermath: Planner.Aftermath) -> Bool {
        if let answering = connection.replySource, aftermath.gone.contains(answering) { return true }
        guard connection.transport == udp, !connection.isTranslated else { return false }
        if let port = connection.port, aftermath.opened.contains(port) { return true }
        return connection.destination.map(aftermath.openedVIPs.contains) ?? false
    }
}

/// What matters of one connection.
struct Connection: Equatable {
    var transport: UInt8
    /// Whom the first packet was for, and whose answer is expected.
    var destination: IPAddress?
    var port: UInt16?
    var replySource: IPAddress?
    var isTranslated: Bool

    init?(_ attributes: [Int: ArraySlice<UInt8>]) {
        guard let original = attributes[Int(CTA_TUPLE_ORIG.rawValue)]?.netlinkAttributes,
            let reply = attributes[Int(CTA_TUPLE_REPLY.rawValue)]?.netlinkAttributes,
            let transport = original[Int(CTA_TUPLE_PROTO.rawValue)]?.netlinkAttributes
        else { return nil }
        self.transport = transport[Int(CTA_PROTO_NUM.rawValue)]?.first ?? 0
        port = transport[Int(CTA_PROTO_DST_PORT.rawValue)]?.networkNumber(at: 0, UInt16.self)
        let status = attributes[Int(CTA_STATUS.rawValue)]?.networkNumber(at: 0, UInt32.self) ?? 0
        isTranslated = status & IPS_DST_NAT.rawValue != 0
        destination = Self.address(original, CTA_IP_V4_DST.rawValue, CTA_IP_V6_DST.rawValue)
        replySource = Self.address(reply, CTA_IP_V4_SRC.rawValue, CTA_IP_V6_SRC.rawValue)
    }

    private static func address(_ tuple: [Int: ArraySlice<UInt8>], _ v4: UInt32, _ v6: UInt32) -> IPAddress? {
        let addresses = tuple[Int(CTA_TUPLE_IP.rawValue)]?.netlinkAttributes
        return (addresses?[Int(v4)] ?? addresses?[Int(v6)]).flatMap { IPAddress(bytes: $0) }
    }
}
