import EngineAPI
import Testing

@Suite("The API's version")
struct APIVersionTests {
    @Test func `is read and compared by number`() throws {
        let version = try #require(APIVersion("1.9"))
        #expect(version < APIVersion(1, 10))
        #expect(APIVersion("1") == APIVersion(1, 0))
        #expect(
            APIVersion("x") == nil && APIVersion("1.x") == nil && APIVersion("") == nil && APIVersion("1.-2") == nil)
        #expect(APIVersion("99999999999999999999.1") == nil)
    }

    @Test func `is refused in dockerd's words`() {
        #expect(APIVersion(1, 24).refusal == nil && APIVersion(1, 50).refusal == nil)
        #expect(
            APIVersion(1, 51).refusal == "client version 1.51 is too new. Maximum supported API version is 1.50")
        #expect(
            APIVersion("1")?.refusal
                == """
                client version 1 is too old. Minimum supported API version is 1.24, \
                please upgrade your client to a newer version
                """)
    }
}

@Suite("A query")
struct QueryTests {
    @Test func `is taken apart and decoded`() {
        let query = Query("a=1&b=x%20y+z&c&a=2&=&d=a=b&%zz=%4")
        #expect(query["a"] == "1" && query["b"] == "x y z" && query["c"] == "" && query["d"] == "a=b")
        #expect(query["%zz"] == "%4")
        #expect(query["none"] == nil)
    }

    @Test func `reads the older switches as Docker does`() {
        for text in ["force=1", "force=maybe", "force=TRUE"] { #expect(Query(text).flag("force")) }
        for text in ["", "force", "force=", "force=0", "force=No", "force=false", "force=none"] {
            #expect(!Query(text).flag("force"))
        }
    }

    @Test func `names what is no switch`() throws {
        #expect(try Query("status=1").strictFlag("status"))
        #expect(
            throws: WordError(
                "invalid value for status: maybe: strconv.ParseBool: parsing \"maybe\": invalid syntax")
        ) { try Query("status=maybe").strictFlag("status") }
    }

    @Test(arguments: ["", "a", "-1", "1.0", "+1"])
    func `names what is no version`(_ text: String) {
        #expect(
            throws: WordError("invalid swarm version '\(text)': strconv.ParseUint: parsing \"\(text)\": invalid syntax")
        ) { try Query("version=\(text == "+1" ? "%2B1" : text)").objectVersion(of: "swarm") }
    }

    @Test func `survives any bytes`() {
        var source = Splitmix(state: 7)
        for _ in 0..<2_000 {
            let bytes = (0..<Int(source.next() % 30)).map { _ in UInt8(truncatingIfNeeded: source.next() >> 5) }
            _ = Query(String(decoding: bytes, as: UTF8.self))
        }
    }

    private struct Splitmix: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 11
        }
    }
}

@Suite("Filters")
struct FiltersTests {
    @Test func `are read in both forms`() throws {
        let new = try Filters(parsing: #"{"label":["a=b","c"]}"#, allowed: ["label"])
        let old = try Filters(parsing: #"{"label":{"c":true,"a=b":true}}"#, allowed: ["label"])
        #expect(new == old)
        #expect(try Filters(parsing: "", allowed: []) == Filters())
        #expect(try Filters(parsing: "null", allowed: []) == Filters())
    }

    @Test func `are refused when they are unknown or none`() {
        #expect(throws: WordError("Invalid filter 'x'")) { try Filters(parsing: #"{"x":["y"]}"#, allowed: ["label"]) }
        #expect(throws: WordError("json: cannot unmarshal string into Go value of type map[string]bool")) {
            try Filters(parsing: #"{"name":"a"}"#, allowed: ["name"])
        }
        #expect(throws: WordError("json: cannot unmarshal array into Go value of type map[string]map[string]bool")) {
            try Filters(parsing: "[1]", allowed: ["name"])
        }
        #expect(throws: WordError.self) { try Filters(parsing: "{", allowed: []) }
    }

    @Test func `ask for every label, and for one of the names`() throws {
        let filters = try Filters(
            parsing: #"{"label":["a=b","c","d="],"name":["x","y"]}"#, allowed: ["label", "name"])
        #expect(filters.allowsLabels("label", ["a": "b", "c": "anything", "d": "too"]))
        #expect(!filters.allowsLabels("label", ["a": "B", "c": "", "d": ""]))
        #expect(!filters.allowsLabels("label", ["a": "b", "c": ""]))
        #expect(filters.allows("name") { $0 == "y" })
        #expect(!filters.allows("name") { $0 == "z" })
        #expect(filters.allows("other") { _ in false })
    }
}

@Suite("A wish to begin or join a swarm")
struct SwarmRequestsTests {
    @Test func `is read with Go's zero values for what is missing`() throws {
        let wish = try SwarmInitRequest(parsing: ["ListenAddr": "0.0.0.0:2377", "SubnetSize": nil])
        #expect(wish.listenAddress == "0.0.0.0:2377" && wish.advertiseAddress == "" && wish.subnetSize == 0)
        #expect(wish.spec == [:] && !wish.forceNewCluster)
        let join = try SwarmJoinRequest(parsing: ["RemoteAddrs": ["10.0.0.1:2377"], "JoinToken": "t"])
        #expect(join.remoteAddresses == ["10.0.0.1:2377"] && join.joinToken == "t")
    }

    @Test func `names the field that has the wrong type`() {
        #expect(
            throws: WordError(
                "json: cannot unmarshal number into Go struct field InitRequest.ListenAddr of type string")
        ) { try SwarmInitRequest(parsing: ["ListenAddr": 5]) }
        #expect(throws: WordError.self) { try SwarmInitRequest(parsing: ["DataPathPort": -1]) }
        #expect(throws: WordError.self) { try SwarmInitRequest(parsing: []) }
        #expect(throws: WordError.self) { try SwarmJoinRequest(parsing: ["RemoteAddrs": [1]]) }
    }
}
