import EngineAPI
import Testing

@Suite("Base64")
struct Base64Tests {
    /// - Source: RFC 4648, section 10.
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"), ("foo", "Zm9\r\nv\n"),
    ]) func `is read`(plain: String, text: String) {
        #expect(Base64.decode(text) == Array(plain.utf8))
        #expect(Base64.fault(in: text) == nil)
    }

    @Test(arguments: [
        ("a", 1), ("no", 2), ("Zg=", 3), ("Z=g=", 1), ("Zm9v!", 4), ("Zg==Zg==", 4), ("====", 0), ("not-base64", 3),
    ])
    func `says where it is none`(text: String, offset: Int) { #expect(Base64.fault(in: text) == offset) }
}
