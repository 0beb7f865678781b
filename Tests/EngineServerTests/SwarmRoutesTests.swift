import ClusterModel
import ClusterStore
import EngineAPI
import Synchronization
import Testing

@testable import EngineServer

@Suite("The routes about the swarm")
struct SwarmRoutesTests {
    let fixture = Fixture()

    @Test func `show it with its tokens and settings, in dockerd's order`() async throws {
        try fixture.addSwarm()
        let answer = await fixture.send("GET", "/swarm")
        #expect(
            answer.text == """
                {"ID":"0000000000000000000000005","Version":{"Index":1},"CreatedAt":"2017-07-14T02:40:00.123456789Z",\
                "UpdatedAt":"1970-01-01T00:00:00.000000001Z","Spec":{"Name":"default","Labels":{},\
                "Orchestration":{"TaskHistoryRetentionLimit":5},"Raft":{"SnapshotInterval":10000,"KeepOldSnapshots":0,\
                "LogEntriesForSlowFollowers":500,"ElectionTick":10,"HeartbeatTick":1},\
                "Dispatcher":{"HeartbeatPeriod":5000000000},"CAConfig":{"NodeCertExpiry":7776000000000000},\
                "TaskDefaults":{},"EncryptionConfig":{"AutoLockManagers":false}},"TLSInfo":{"TrustRoot":"PEM",\
                "CertIssuerSubject":"U1VC","CertIssuerPublicKey":"S0VZ"},"RootRotationInProgress":false,\
                "DefaultAddrPool":["10.0.0.0/8"],"SubnetSize":24,"DataPathPort":4789,\
                "JoinTokens":{"Worker":"SWMTKN-w","Manager":"SWMTKN-m"}}

                """)
    }

    @Test(
        "tell where there is none why",
        arguments: [LifeError.notInSwarm, .isWorker, .managerStarting, .locked, .certificatesExpired])
    func refusals(_ error: LifeError) async {
        fixture.state.withLock { $0.refusal = error }
        for path in ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs/x", "/swarm/unlockkey"] {
            let answer = await fixture.send("GET", path)
            #expect(answer.status == 503)
            #expect(answer.message == error.description)
        }
    }

    @Test func `begin one with every default filled in`() async throws {
        let answer = await fixture.send(
            "POST", "/swarm/init", #"{"ListenAddr":"0.0.0.0:2377","AdvertiseAddr":"eth0","Spec":{"Labels":{"a":"b"}}}"#)
        #expect(answer.text == "\"0000000000000000000000001\"\n")
        let wish = try #require(fixture.state.withLock { $0.initialized.first })
        #expect(wish.advertiseAddress == "eth0" && wish.dataPathPort == 4789 && wish.subnetSize == 24)
        #expect(wish.availability == .active && wish.spec.labels == ["a": "b"] && wish.spec.taskHistoryLimit == 5)
    }

    @Test(
        "refuse to begin what cannot be",
        arguments: [
            ("", 400, "got EOF while reading request body"),
            ("{}", 400, #"invalid ListenAddr "": invalid empty address"#),
            (#"{"ListenAddr":"a","Spec":{"Name":"x"}}"#, 400, #"swarm spec must be named "default""#),
            (#"{"ListenAddr":"a","Availability":"x"}"#, 400, #"invalid Availability: "x""#),
            (
                #"{"ListenAddr":"a","DataPathPort":80}"#, 400,
                "Datapath port number is not in valid range (1024-49151) : 80"
            ),
            (#"{"ListenAddr":"a","DefaultAddrPool":["x"]}"#, 400, "invalid CIDR address: x"),
            (
                #"{"ListenAddr":"a","Spec":{"CAConfig":{"NodeCertExpiry":5}}}"#, 400,
                "minimum certificate expiry time is: 1h0m0s"
            ),
        ])
    func badInit(_ body: String, _ status: Int, _ message: String) async {
        let answer = await fixture.send("POST", "/swarm/init", body)
        #expect(answer.status == status)
        #expect(answer.message == message)
    }

    @Test func `say what autolock waits for`() async {
        let wishes = [
            #"{"ListenAddr":"a","AutoLockManagers":true}"#,
            #"{"ListenAddr":"a","Spec":{"EncryptionConfig":{"AutoLockManagers":true}}}"#,
        ]
        for wish in wishes {
            let answer = await fixture.send("POST", "/swarm/init", wish)
            #expect(answer.status == 501 && answer.message?.contains("autolock is not supported yet") == true)
        }
    }

    @Test func `join one`() async throws {
        #expect(
            await fixture.send("POST", "/swarm/join", #"{"ListenAddr":"a"}"#).message
                == "at least 1 RemoteAddr is required to join")
        let answer = await fixture.send(
            "POST", "/swarm/join",
            #"{"ListenAddr":"a","RemoteAddrs":["b:1"],"JoinToken":"t","Availability":"drain"}"#)
        #expect(answer.status == 200 && answer.text == "")
        let wish = try #require(fixture.state.withLock { $0.joined.first })
        #expect(wish.remoteAddresses == ["b:1"] && wish.joinToken == "t" && wish.availability == .drain)
    }

    @Test func `leave it, by force or not`() async {
        let answer = await fixture.send("POST", "/swarm/leave")
        #expect(answer.status == 503)
        #expect(answer.message?.hasSuffix("Use `--force` to ignore this message. ") == true)
        #expect(await fixture.send("POST", "/swarm/leave?force=1").status == 200)
        #expect(fixture.state.withLock { $0.left } == [false, true])
    }

    @Test func `change its settings and tokens`() async throws {
        let answer = await fixture.send(
            "POST", "/swarm/update?version=7&rotateWorkerToken=true",
            #"{"Name":"default","Orchestration":{"TaskHistoryRetentionLimit":2},"Dispatcher":{"HeartbeatPeriod":0}}"#)
        #expect(answer.status == 200)
        var spec = try Cluster.SwarmSpec(parsing: [:])
        spec.taskHistoryLimit = 2
        guard case .updateSwarm(7, let sent, rotate: .init(worker: "new-worker")) = fixture.submitted.first else {
            Issue.record("not sent: \(fixture.submitted)")
            return
        }
        #expect(sent.taskHistoryLimit == 2 && sent.heartbeatPeriod == 5_000_000_000)
    }

    @Test(
        "refuse settings that cannot be",
        arguments: [
            ("", "{}", "invalid swarm version '': strconv.ParseUint: parsing \"\": invalid syntax"),
            ("version=1", #"{"Name":"x"}"#, #"swarm spec must be named "default""#),
            ("version=1&rotateWorkerToken=maybe", "{}", "invalid value for rotateWorkerToken: maybe"),
            (
                "version=1", #"{"Dispatcher":{"HeartbeatPeriod":-5}}"#,
                "rpc error: code = InvalidArgument desc = heartbeat time period cannot be a negative duration"
            ),
            (
                "version=1", #"{"CAConfig":{"NodeCertExpiry":5}}"#,
                "rpc error: code = InvalidArgument desc = minimum certificate expiry time is: 1h0m0s"
            ),
        ])
    func badUpdate(_ query: String, _ body: String, _ message: String) async {
        let answer = await fixture.send("POST", "/swarm/update?\(query)", body)
        #expect(answer.status == 400)
        #expect(answer.message == message)
    }

    @Test func `have no key and nothing to unlock`() async {
        #expect(await fixture.send("GET", "/swarm/unlockkey").text == "{\"UnlockKey\":\"\"}\n")
        let answer = await fixture.send("POST", "/swarm/unlock", #"{"UnlockKey":"x"}"#)
        #expect(answer.status == 409 && answer.message == "swarm is not locked")
    }

    @Test(
        "pass the cluster's refusals on with their code",
        arguments: [
            (ControlError.outOfSequence, 500, "rpc error: code = Unknown desc = update out of sequence"),
            (.alreadyExists("x"), 409, "rpc error: code = AlreadyExists desc = x"),
            (.notFound(kind: "node", reference: "n"), 404, "rpc error: code = NotFound desc = node n not found"),
            (.unimplemented("u"), 501, "rpc error: code = Unimplemented desc = u"),
            (.unavailable("v"), 503, "rpc error: code = Unavailable desc = v"),
            (.permissionDenied("p"), 403, "rpc error: code = PermissionDenied desc = p"),
            (.unauthenticated("a"), 401, "rpc error: code = Unauthenticated desc = a"),
            (.failedPrecondition("f"), 400, "rpc error: code = FailedPrecondition desc = f"),
        ])
    func codes(_ error: ControlError, _ status: Int, _ message: String) async {
        fixture.state.withLock { $0.outcome = .failure(error) }
        let answer = await fixture.send("POST", "/swarm/update?version=1", "{}")
        #expect(answer.status == status)
        #expect(answer.message == message)
    }

    @Test func `say in full what a manager's leaving would do`() {
        #expect(
            LifeError.managerLeaves(.withoutQuorum(remaining: 1, managers: 2)).description == """
                You are attempting to leave the swarm on a node that is participating as a manager. \
                Removing this node leaves 1 managers out of 2. Without a Raft quorum your swarm will be inaccessible. \
                The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. \
                Use `--force` to suppress this message.
                """)
    }

    @Test func `take networks that span nodes, and leave the others to the engine`() async throws {
        let router = fixture.router
        #expect(router.owner(of: "POST", RequestTarget("/v1.41/networks/create")) == .bodyDecides)
        for body in [#"{"Driver":"overlay"}"#, #"{"Scope":"swarm"}"#, #"{"driver":"Overlay"}"#] {
            #expect(router.answers(Request("POST", "/networks/create", body: body)))
        }
        for body in [#"{"Driver":"bridge"}"#, "{}", "", "x", "[]"] {
            #expect(!router.answers(Request("POST", "/networks/create", body: body)))
        }
        let answer = await fixture.send("POST", "/networks/create", #"{"Driver":"overlay"}"#)
        #expect(answer.status == 400 && answer.message?.hasSuffix("meta: name must be provided") == true)
    }

}
