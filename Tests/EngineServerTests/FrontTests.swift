import EngineAPI
import Foundation
import Logging
import NIOCore
import Synchronization
import Testing

@testable import EngineServer

@Suite("The front, over a socket", .serialized)
struct FrontTests {
    let fixture = Fixture()
    let directory = "/tmp/apus-front-\(UInt32.random(in: 0...UInt32.max))"
    var socket: String { "\(directory)/run/docker.sock" }
    static let list = "GET /v1.41/services HTTP/1.1\r\nHost: d\r\n\r\n"

    /// Serves while `body` runs, with `engine` behind.
    private func withFront(
        limits: Reception.Limits = .init(), engine: (@Sendable (Wire) -> Void)? = nil,
        _ body: @escaping @Sendable (String) async throws -> Void
    ) async throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let fake = engine.map { FakeEngine("\(directory)/engine.sock", serve: $0) }
        defer { fake?.stop() }
        var log = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        log.logLevel = .critical
        var front = EngineFront(
            listen: ["unix://\(socket)"], engine: "\(directory)/engine.sock", life: fixture, log: log)
        front.limits = limits
        let running = front, socket = socket
        try await withThrowingTaskGroup { group in
            group.addTask { try await running.run() }
            while Wire(connectingTo: socket) == nil { try await Task.sleep(for: .milliseconds(10)) }
            defer { group.cancelAll() }
            try await body(socket)
            let start = ContinuousClock.now
            group.cancelAll()
            try? await group.waitForAll()
            #expect(ContinuousClock.now - start < .seconds(3), "did not end when it was told to")
            #expect(!FileManager.default.fileExists(atPath: socket), "left its socket behind")
        }
    }

    @Test func `answers several requests on one connection`() async throws {
        try await withFront { path in
            let answers = try await blocking { () -> [String] in
                let wire = Wire(connectingTo: path)!
                return (0..<3).map { _ in
                    wire.send(Self.list)
                    return wire.receive(until: "[]\n")
                }
            }
            for answer in answers {
                #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
                #expect(answer.contains("Content-Length: 3\r\n") && !answer.contains("Connection: close"))
            }
        }
    }

    @Test func `answers requests that come all at once, in order`() async throws {
        try await withFront { path in
            let text = try await blocking {
                let wire = Wire(connectingTo: path)!
                wire.send(Self.list + Self.list + "GET /nodes/x HTTP/1.1\r\nConnection: close\r\n\r\n")
                return String(decoding: wire.receiveAll(), as: UTF8.self)
            }
            #expect(text.components(separatedBy: "HTTP/1.1 200 OK").count == 3)
            #expect(text.contains("HTTP/1.1 404 Not Found") && text.hasSuffix("{\"message\":\"node x not found\"}\n"))
            #expect(text.contains("Connection: close\r\n"))
        }
    }

    @Test func `passes a request and its answer on byte for byte`() async throws {
        let request =
            "POST /v1.41/build?t=a HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nConnection: close\r\n\r\nab\0\r\n"
        let seen = Mutex<String>("")
        let answer = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try await withFront(
            engine: { wire in
                let text = wire.receive(until: "ab\0\r\n")
                seen.withLock { $0 = text }
                wire.send(answer)
            }
        ) { path in
            let got = try await blocking {
                let wire = Wire(connectingTo: path)!
                wire.send(request)
                return wire.receiveAll()
            }
            #expect(got == answer)
        }
        #expect(seen.withLock { $0 } == request)
    }

    @Test func `gives the connection away after a local request, and asks for one answer only`() async throws {
        let seen = Mutex<String>("")
        try await withFront(
            engine: { wire in
                let text = wire.receiveHead()
                seen.withLock { $0 = text }
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
            }
        ) { path in
            let text = try await blocking {
                let wire = Wire(connectingTo: path)!
                wire.send(Self.list)
                _ = wire.receive(until: "[]\n")
                wire.send("GET /containers/json HTTP/1.1\r\nHost: d\r\n\r\n")
                return String(decoding: wire.receiveAll(), as: UTF8.self)
            }
            #expect(text.hasSuffix("\r\n\r\nhi"))
        }
        #expect(seen.withLock { $0 } == "GET /containers/json HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
    }

    @Test func `lets a connection become another protocol, and each side end by itself`() async throws {
        try await withFront(
            engine: { wire in
                _ = wire.receiveHead()
                wire.send("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
                wire.send("got:")
                // Only when the client has finished its input does this end: `docker run -i … wc`.
                wire.send(wire.receiveAll())
            }
        ) { path in
            let text = try await blocking {
                let wire = Wire(connectingTo: path)!
                wire.send("POST /exec/x/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
                let head = wire.receive(until: "got:")
                wire.send("one ")
                wire.send("two")
                wire.finishSending()
                return head + String(decoding: wire.receiveAll(), as: UTF8.self)
            }
            #expect(text.hasPrefix("HTTP/1.1 101 UPGRADED") && text.hasSuffix("got:one two"))
        }
    }

    @Test func `gives a slow client all of an answer, though the engine has long gone`() async throws {
        let size = 3 << 20
        try await withFront(
            engine: { wire in
                _ = wire.receiveHead()
                wire.send([UInt8](repeating: 7, count: size))
            }
        ) { path in
            let count = try await blocking { () -> Int in
                let wire = Wire(connectingTo: path)!
                wire.send("GET /images/x/get HTTP/1.1\r\nHost: d\r\n\r\n")
                var count = 0
                while case let bytes = wire.receive(), !bytes.isEmpty {
                    count += bytes.count
                    if count > size - (1 << 20) { Thread.sleep(forTimeInterval: 0.02) }
                }
                return count
            }
            #expect(count == size)
        }
    }

    @Test func `sends a long answer whole to a client that wants no other`() async throws {
        for number in 1...3000 { fixture.addNode(UInt128(number), "host-\(number)") }
        try await withFront { path in
            let text = try await blocking { () -> String in
                let wire = Wire(connectingTo: path)!
                wire.send("GET /nodes HTTP/1.1\r\nConnection: close\r\n\r\n")
                wire.finishSending()
                Thread.sleep(forTimeInterval: 0.3)
                return String(decoding: wire.receiveAll(), as: UTF8.self)
            }
            #expect(text.utf8.count > 1 << 20 && text.hasSuffix("]\n"))
        }
    }

    @Test func `does not take in more than the other side takes`() async throws {
        let taken = Mutex(0)
        let mayRead = DispatchSemaphore(value: 0)
        try await withFront(
            engine: { wire in
                _ = wire.receiveHead()
                mayRead.wait()
                while case let bytes = wire.receive(), !bytes.isEmpty { taken.withLock { $0 += bytes.count } }
                wire.send("done")
            }
        ) { path in
            let size = 64 << 20
            let (sent, answer) = try await blocking { () -> (Int, String) in
                let wire = Wire(connectingTo: path)!
                wire.send("POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: \(size)\r\n\r\n")
                let sent = Mutex(0)
                let sender = Thread {
                    let piece = [UInt8](repeating: 7, count: 1 << 20)
                    for _ in 0..<(size >> 20) where wire.send(piece) { sent.withLock { $0 += piece.count } }
                    wire.finishSending()
                }
                sender.start()
                Thread.sleep(forTimeInterval: 0.5)
                let before = sent.withLock { $0 }
                mayRead.signal()
                return (before, String(decoding: wire.receiveAll(), as: UTF8.self))
            }
            #expect(sent < 8 << 20, "\(sent) bytes were taken in while nobody read them")
            #expect(answer == "done")
            #expect(taken.withLock { $0 } == size)
        }
    }

    @Test func `refuses a body of 100 MB in time, and still tells why`() async throws {
        try await withFront { path in
            for framing in ["Content-Length: 104857600", "Transfer-Encoding: chunked"] {
                let text = try await blocking {
                    let wire = Wire(connectingTo: path)!
                    wire.send("POST /services/create HTTP/1.1\r\n\(framing)\r\n\r\n")
                    let chunk = Array("100000\r\n".utf8) + [UInt8](repeating: 65, count: 1 << 20) + Array("\r\n".utf8)
                    for _ in 0..<100 where !wire.send(chunk) { break }
                    return String(decoding: wire.receiveAll(), as: UTF8.self)
                }
                #expect(text.hasPrefix("HTTP/1.1 413 Payload Too Large"), "\(framing): \(text)")
                #expect(text.contains("is longer than the 8388608 bytes"))
            }
        }
    }

    @Test func `takes a chunked body, and one that waits to be asked for`() async throws {
        try await withFront { path in
            let text = try await blocking {
                let wire = Wire(connectingTo: path)!
                wire.send(
                    "POST /swarm/unlock HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")
                let first = wire.receive(until: "}\n")
                wire.send("POST /swarm/unlock HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
                let second = wire.receive(until: "\r\n\r\n")
                wire.send("{}")
                return first + second + wire.receive(until: "}\n")
            }
            #expect(text.components(separatedBy: "swarm is not locked").count == 3)
            #expect(text.contains("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 409 Conflict"))
        }
    }

    @Test func `does not wait for ever for the rest of a request`() async throws {
        var limits = Reception.Limits()
        limits.head = .milliseconds(200)
        limits.bodyTime = .milliseconds(200)
        try await withFront(limits: limits) { path in
            for start in ["GET /serv", "POST /services/create HTTP/1.1\r\nContent-Length: 5\r\n\r\n{"] {
                let text = try await blocking {
                    let wire = Wire(connectingTo: path)!
                    wire.send(start)
                    return String(decoding: wire.receiveAll(), as: UTF8.self)
                }
                #expect(text.hasPrefix("HTTP/1.1 408 Request Timeout"))
            }
            // A connection on which nothing was begun is left alone.
            let answer = try await blocking {
                let wire = Wire(connectingTo: path)!
                Thread.sleep(forTimeInterval: 0.5)
                wire.send(Self.list)
                return wire.receive(until: "[]\n")
            }
            #expect(answer.hasPrefix("HTTP/1.1 200 OK"))
        }
    }

    @Test func `bears a thousand connections that say nothing`() async throws {
        allowManyOpenFiles()
        try await withFront { path in
            let (open, answer) = try await blocking { () -> (Int, String) in
                let idle = (0..<1000).compactMap { _ in Wire(connectingTo: path) }
                let wire = Wire(connectingTo: path)!
                wire.send(Self.list)
                let answer = wire.receive(until: "[]\n")
                return (idle.count, answer)
            }
            #expect(open == 1000 && answer.hasPrefix("HTTP/1.1 200 OK"))
        }
    }

    @Test func `says when the engine does not answer`() async throws {
        try await withFront { path in
            let text = try await blocking {
                let wire = Wire(connectingTo: path)!
                wire.send("GET /containers/json HTTP/1.1\r\n\r\n")
                return String(decoding: wire.receiveAll(), as: UTF8.self)
            }
            #expect(text.hasPrefix("HTTP/1.1 503 Service Unavailable"))
            #expect(text.contains("The container engine of this node does not answer at unix://"))
        }
    }

    @Test func `gives the engine a network that it can make, body and all`() async throws {
        let seen = Mutex<String>("")
        try await withFront(
            engine: { wire in
                let head = wire.receiveHead()
                guard head.hasPrefix("POST") else { return }
                let text = head + wire.receive(until: #"{"Driver":"bridge"}"#)
                seen.withLock { $0 = text }
                wire.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            }
        ) { path in
            let (bridge, overlay) = try await blocking { () -> (String, String) in
                let one = Wire(connectingTo: path)!, two = Wire(connectingTo: path)!
                one.send("POST /networks/create HTTP/1.1\r\nContent-Length: 19\r\n\r\n{\"Driver\":")
                Thread.sleep(forTimeInterval: 0.1)
                one.send("\"bridge\"}")
                two.send("POST /networks/create HTTP/1.1\r\nContent-Length: 20\r\n\r\n{\"Driver\":\"overlay\"}")
                return (String(decoding: one.receiveAll(), as: UTF8.self), two.receive(until: "}\n"))
            }
            #expect(bridge.hasPrefix("HTTP/1.1 201 Created"))
            #expect(overlay.hasPrefix("HTTP/1.1 400 Bad Request"))
        }
        #expect(
            seen.withLock { $0 }
                == "POST /networks/create HTTP/1.1\r\nContent-Length: 19\r\nConnection: close\r\n\r\n{\"Driver\":\"bridge\"}"
        )
    }

    @Test func `asks the engine itself for ping, and answers HEAD without a body`() async throws {
        try await withFront(
            engine: { wire in
                _ = wire.receiveHead()
                wire.send("HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK")
            }
        ) { path in
            let (get, head) = try await blocking { () -> (String, String) in
                let wire = Wire(connectingTo: path)!
                wire.send("GET /_ping HTTP/1.1\r\n\r\n")
                let get = wire.receive(until: "\r\n\r\nOK")
                wire.send("HEAD /_ping HTTP/1.1\r\nConnection: close\r\n\r\n")
                return (get, String(decoding: wire.receiveAll(), as: UTF8.self))
            }
            #expect(get.contains("Api-Version: 1.41\r\n") && get.contains("Swarm: active/manager\r\n"))
            #expect(head.hasSuffix("Content-Length: 0\r\n\r\n"))
        }
    }

    @Test(
        "refuses what is no request, and goes on with the next client",
        arguments: [
            "\r\n\r\n", "GET /\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n",
            "POST /swarm/init HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        ])
    func nonsense(_ text: String) async throws {
        try await withFront { path in
            let answer = try await blocking {
                let wire = Wire(connectingTo: path)!
                wire.send(text)
                return String(decoding: wire.receiveAll(), as: UTF8.self)
            }
            #expect(answer.hasPrefix("HTTP/1.1 400 Bad Request"))
        }
    }

    @Test func `takes the place of a socket that nobody answers at, and of no other`() async throws {
        try FileManager.default.createDirectory(atPath: "\(directory)/run", withIntermediateDirectories: true)
        // What a daemon leaves that was killed: a bound socket whose owner is gone.
        let dead = FakeEngine(socket) { _ in }
        let moved = "\(directory)/moved"
        rename(socket, moved)
        dead.stop()
        rename(moved, socket)
        try await withFront { [fixture] path in
            var log = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
            log.logLevel = .critical
            await #expect(throws: ListenError.somebodyAnswers(path)) {
                try await EngineFront(listen: ["unix://\(path)"], engine: "/e", life: fixture, log: log).run()
            }
            await #expect(throws: ListenError.tcpIsNotSupported("tcp://0.0.0.0:2375")) {
                try await EngineFront(listen: ["tcp://0.0.0.0:2375"], engine: "/e", life: fixture, log: log).run()
            }
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect(mode == 0o660)
        }
    }
}
