internal import Crypto

enum Digest {
    /// SHA-256, in 64 hexadecimal digits.
    static func hexadecimal(of text: String) -> String {
        SHA256.hash(data: Array(text.utf8)).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}
