@main struct Apusd { static func main() {} }
