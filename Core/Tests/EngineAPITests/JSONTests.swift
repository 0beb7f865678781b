import Testing

@testable import EngineAPI

@Suite("A JSON document")
struct JSONTests {
    @Test(
        "comes out as it went in",
        arguments: [
            "null", "true", "[]", "{}", #""""#, "0", "-0", "1e400", "18446744073709551615", "0.10000000000000000055",
            #"{"b":1,"a":[null,false,{"c":"d"}]}"#, #"["ü","\ud83d\ude00"]"#, #"{"":{"":""}}"#,
        ])
    func roundTrip(_ text: String) throws {
        let document = try JSON(parsing: text)
        #expect(try JSON(parsing: document.text) == document)
        if !text.contains("\\") { #expect(document.text == text) }
    }

    @Test(
        "is refused where it is none",
        arguments: [
            "", " ", "{", "[", "[1,]", "{\"a\"}", "{\"a\":}", "{,}", "01", "1.", ".5", "1e", "+1", "-", "tru", "nul",
            "\"",
            "\"\\x\"", "\"\\u12\"", "\"\n\"", "1 2", "{} {}", "'a'", "NaN", "\u{FEFF}{}",
        ])
    func refuses(_ text: String) {
        #expect(throws: JSONError.self) { try JSON(parsing: text) }
    }

    @Test func `is refused past the limit of its depth, and read up to it`() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        _ = try JSON(parsing: nested(JSON.depthLimit))
        #expect(throws: JSONError.self) { try JSON(parsing: nested(100_000)) }
        #expect(throws: JSONError.self) { try JSON(parsing: String(repeating: "{\"a\":", count: 100_000)) }
    }

    @Test func `finds members in other letters' case, an exact name first`() throws {
        let document = try JSON(parsing: #"{"image":"a","IMAGE":"b","Image":"c"}"#)
        #expect(document["Image"] == "c")
        #expect(document["iMAGE"] == "c")
        #expect(document["nothing"] == nil)
    }

    @Test func `counts a name that stands twice once, the last time`() throws {
        #expect(try JSON(parsing: #"{"a":1,"b":2,"a":3}"#).text == #"{"a":3,"b":2}"#)
    }

    @Test func `reads whole numbers only when they are whole and fit`() throws {
        #expect(try JSON(parsing: "9223372036854775807").int == .max)
        #expect(try JSON(parsing: "9223372036854775808").int == nil)
        #expect(try JSON(parsing: "1e3").int == 1000)
        #expect(try JSON(parsing: "1.5").int == nil)
        #expect(try JSON(parsing: "1e999").int == nil)
        #expect(JSON.string("1").int == nil)
    }

    @Test func `escapes as Go does`() {
        #expect(JSON.string("<a&b>\u{01}\u{2028}\"\\\n").text == #""\u003ca\u0026b\u003e\u0001\u2028\"\\\n""#)
    }

    @Test func `reads lone surrogates as Go does`() throws {
        #expect(try JSON(parsing: #""\ud800""#) == "\u{FFFD}")
        #expect(try JSON(parsing: #""\ud800\u0041""#) == "\u{FFFD}A")
        #expect(try JSON(parsing: #""\udc00x""#) == "\u{FFFD}x")
    }

    @Test func `survives any bytes`() {
        var random = SystemRandomNumberGenerator()
        let seed = UInt64.random(in: 0...UInt64.max, using: &random)
        var source = Splitmix(state: seed)
        let alphabet = Array(#"{}[]",:\u0eE+-.123tfn"#.utf8)
        for _ in 0..<20_000 {
            let count = Int(source.next() % 40)
            let bytes = (0..<count).map { _ -> UInt8 in
                let word = source.next()
                return word % 8 == 0 ? UInt8(truncatingIfNeeded: word >> 8) : alphabet[Int(word >> 8) % alphabet.count]
            }
            if let document = try? JSON(parsing: bytes) {
                #expect((try? JSON(parsing: document.utf8)) == document, "seed \(seed), bytes \(bytes)")
            }
        }
    }
}

/// - Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
struct Splitmix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
