import ClusterModel
import NetworkPlan
import Testing

/// A question as a resolver would send it.
func question(_ name: String, _ kind: UInt16 = 1, id: UInt16 = 0x1234, size: UInt16? = nil) -> [UInt8] {
    var bytes: [UInt8] = [UInt8(id >> 8), UInt8(id & 255), 1, 0, 0, 1, 0, 0, 0, 0, 0, size == nil ? 0 : 1]
    for label in name.split(separator: ".") { bytes += [UInt8(label.utf8.count)] + Array(label.utf8) }
    bytes += [0, UInt8(kind >> 8), UInt8(kind & 255), 0, 1]
    if let size { bytes += [0, 0, 41, UInt8(size >> 8), UInt8(size & 255), 0, 0, 0, 0, 0, 0] }
    return bytes
}

@Suite("Names")
struct NameTests {
    private let table: NameTable = {
        var view = World.small()
        view.endpoints.append(World.endpoint(3, on: World.backend, at: 3, "10.0.1.13", state: .starting))
        view.endpoints.append(World.endpoint(4, on: World.backend, at: 1, "10.0.1.14", of: 2))
        view.endpoints.append(World.endpoint(5, on: World.backend, at: 2, "10.0.1.15", of: 2))
        view.services.append(NetworkedService(id: World.service(2), name: "Queue"))
        return NameTable(view)
    }()

    /// The code, and the addresses or names that the answer holds; nil if the question goes on.
    private func ask(
        _ name: String, _ kind: UInt16 = 1, from asker: String = "10.0.1.12", turn: Int = 0, in table: NameTable? = nil
    ) throws -> (code: UInt8, records: [String])? {
        let query = try DNSQuery(question(name, kind), over: .udp)
        guard case .reply(let bytes) = (table ?? self.table).outcome(of: query, from: World.address(asker), turn: turn)
        else { return nil }
        return (bytes[3] & 15, records(in: bytes))
    }

    private func records(in bytes: [UInt8]) -> [String] {
        var at = 12
        while bytes[at] != 0 { at += Int(bytes[at]) + 1 }
        at += 5
        return (0..<Int(bytes[7])).map { _ in
            let length = Int(bytes[at + 10]) << 8 | Int(bytes[at + 11])
            let data = bytes[at + 12..<at + 12 + length]
            defer { at += 12 + length }
            if let address = IPAddress(bytes: data) { return "\(address)" }
            return String(decoding: data.map { $0 < 32 ? 46 : $0 }, as: UTF8.self)
        }
    }

    @Test("a service is its virtual IP, under its name and its aliases, in any case of letters")
    func services() throws {
        for name in ["web", "WEB", "www"] {
            let heard = try #require(try ask(name))
            #expect(heard.code == 0 && heard.records == ["10.0.1.200"])
        }
        let sixth = try #require(try ask("web", 28))
        #expect(sixth.code == 0 && sixth.records == [], "a name that is there, without such an address")
        #expect(try #require(try ask("web", 15)).records == [])
    }

    @Test("tasks of a service, by all and by slot; only those that serve")
    func tasks() throws {
        #expect(try #require(try ask("tasks.web")).records == ["10.0.1.11", "10.0.1.12"])
        #expect(try #require(try ask("2.web")).records == ["10.0.1.12"])
        #expect(try #require(try ask("3.web")).records == [], "it is starting")
        #expect(try #require(try ask("container-1")).records == ["10.0.1.11"])
        #expect(try #require(try ask("container-3")).records == [])
    }

    @Test("without a virtual IP a service is its tasks, from another one at each turn")
    func roundRobin() throws {
        #expect(try #require(try ask("queue")).records == ["10.0.1.14", "10.0.1.15"])
        #expect(try #require(try ask("queue", turn: 1)).records == ["10.0.1.15", "10.0.1.14"])
        #expect(try #require(try ask("queue", turn: -1)).records == ["10.0.1.15", "10.0.1.14"])
    }

    @Test("a container hears of its own networks alone")
    func scope() throws {
        var view = World.small()
        view.endpoints.append(World.endpoint(9, on: World.ingress, at: 1, "10.0.0.19", of: nil))
        let table = NameTable(view)
        #expect(try ask("web", from: "10.0.1.12", in: table) != nil)
        #expect(try ask("web", from: "10.0.0.19", in: table) == nil, "the ingress network has no names")
        #expect(try #require(try ask("web", from: "203.0.113.9", in: table)).code == 5, "a stranger")
        #expect(try ask("example.org", in: table) == nil, "goes on")
    }

    @Test("who is on internal networks alone hears nothing of the world")
    func internalOnly() throws {
        var view = World.small()
        view.networks[1].isInternal = true
        view.endpoints.append(World.endpoint(9, on: World.backend, at: 1, "10.0.1.19", of: nil))
        let table = NameTable(view)
        #expect(try #require(try ask("example.org", from: "10.0.1.19", in: table)).code == 2)
        #expect(try ask("example.org", from: "10.0.1.12", in: table) == nil, "it is on ingress too")
    }

    @Test("addresses have names, and those of nobody have none")
    func reverse() throws {
        #expect(try #require(try ask("11.1.0.10.in-addr.arpa", 12)).records == [".container-1.backend."])
        #expect(try #require(try ask("99.1.0.10.in-addr.arpa", 12)).code == 3)
        #expect(try ask("8.8.8.8.in-addr.arpa", 12) == nil)
    }

    @Test("an answer that is too long for UDP says so; TCP has it all, and who can take more hears more")
    func truncation() throws {
        var view = World.small()
        for number in 3...62 {
            view.endpoints.append(World.endpoint(number, on: World.backend, at: 1, "10.0.1.\(number + 60)"))
        }
        let table = NameTable(view)
        let answer: (DNSQuery) throws -> [UInt8] = { query in
            guard case .reply(let bytes) = table.outcome(of: query, from: World.address("10.0.1.12"), turn: 0) else {
                throw DNSQuery.Problem.dropped
            }
            return bytes
        }
        let short = try answer(DNSQuery(question("tasks.web"), over: .udp))
        #expect(short[2] & 2 == 2 && short[7] == 0 && short.count <= 512)
        #expect(try answer(DNSQuery(question("tasks.web", size: 1232), over: .udp))[7] == 62)
        #expect(try answer(DNSQuery(question("tasks.web"), over: .tcp))[7] == 62)
        let most = try DNSQuery(question("tasks.web", size: 65_535), over: .udp)
        #expect(most.limit == 1232)
    }

    @Test(
        "what is no question is refused or met with silence",
        arguments: [
            ([], nil), ([0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0], nil),
            ([0, 1, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0], 4),
            ([0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0], 1), ([0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], 1),
            ([0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1], 1),
            ([0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5, 97], 1),
            ([0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 3], 5),
        ] as [([UInt8], UInt8?)])
    func malformed(bytes: [UInt8], code: UInt8?) {
        do {
            _ = try DNSQuery(bytes, over: .udp)
            Issue.record("read as a question")
        } catch {
            switch error {
            case .dropped: #expect(code == nil)
            case .answered(let answer):
                #expect(code == answer[3] & 15 && answer[2] & 0x80 != 0)
                #expect(answer.count == 12 && answer[5] == 0, "an error of ours is never longer than a question")
            }
        }
    }

    @Test("no bytes trap the reader, and no answer is longer than its limit", arguments: UInt64(1)...20)
    func fuzz(seed: UInt64) {
        var random = Seeded(seed)
        let askers = ["10.0.1.12", "10.0.0.11", "192.0.2.77"].map(World.address)
        for round in 0..<1_500 {
            var bytes = question(
                ["web", "tasks.web", "1.web", "", "11.1.0.10.in-addr.arpa", String(repeating: "a.", count: 120)]
                    .randomElement(using: &random)!, [1, 28, 12, 255, 6].randomElement(using: &random)!,
                size: Bool.random(using: &random) ? .random(in: 0 ... .max, using: &random) : nil)
            if round % 3 == 0 {
                bytes = (0..<Int.random(in: 0...80, using: &random)).map { _ in .random(in: 0...255, using: &random) }
            }
            for _ in 0..<Int.random(in: 0...6, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = .random(in: 0...255, using: &random)
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(.random(in: 0...255, using: &random), at: place)
                default: bytes = Array(bytes[..<place])
                }
            }
            let transport: DNSQuery.Transport = Bool.random(using: &random) ? .udp : .tcp
            guard let query = try? DNSQuery(bytes, over: transport) else { continue }
            let outcome = table.outcome(of: query, from: askers.randomElement(using: &random)!, turn: round)
            if case .reply(let answer) = outcome {
                #expect(answer.count <= query.limit && answer.count >= 12)
                #expect(answer[0] == bytes[0] && answer[1] == bytes[1])
            }
        }
    }

    @Test("after any changes the names are those of a table made at once", arguments: UInt64(1)...8)
    func incremental(seed: UInt64) throws {
        var random = Seeded(seed)
        var view = World.small()
        var table = NameTable(view)
        for _ in 0..<25 {
            let number = Int.random(in: 1...6, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0, 1:
                let (network, third) = Bool.random(using: &random) ? (World.ingress, 0) : (World.backend, 1)
                let endpoint = World.endpoint(
                    number, on: network, at: 1, "10.0.\(third).\(100 + number)",
                    of: [nil, 1, 2].randomElement(using: &random)!,
                    state: [.serving, .draining].randomElement(using: &random)!)
                view.endpoints.removeAll { $0.id == endpoint.id }
                view.endpoints.append(endpoint)
                table.apply([.endpoint(endpoint)])
            case 2:
                guard let id = view.endpoints.randomElement(using: &random)?.id else { continue }
                view.endpoints.removeAll { $0.id == id }
                table.apply([.endpointRemoved(id)])
            default:
                let service = NetworkedService(
                    id: World.service(2), name: ["api", "db"].randomElement(using: &random)!,
                    virtualIPs: Bool.random(using: &random) ? [World.backend: [World.address("10.0.1.201")]] : [:])
                view.services.removeAll { $0.id == service.id }
                view.services.append(service)
                table.apply([.service(service)])
            }
            let once = NameTable(view)
            for name in ["web", "tasks.web", "api", "db", "tasks.db", "3.api"] + (1...6).map({ "container-\($0)" }) {
                for asker in view.endpoints.flatMap(\.addresses) + [World.address("10.0.1.77")] {
                    let query = try DNSQuery(question(name), over: .tcp)
                    #expect(
                        table.outcome(of: query, from: asker, turn: 0) == once.outcome(of: query, from: asker, turn: 0),
                        "seed \(seed)")
                }
            }
        }
    }
}
