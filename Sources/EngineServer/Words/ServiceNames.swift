/// Names for services that were given none: two words that people can say to each other.
enum ServiceNames {
    private static let manners = [
        "able", "bold", "brave", "brisk", "calm", "clever", "curious", "deft", "eager", "early", "fleet", "fond",
        "free",
        "gentle", "glad", "golden", "high", "jolly", "keen", "kind", "light", "lively", "lucky", "merry", "nimble",
        "noble", "proud", "quick", "quiet", "ready", "silver", "steady", "sunny", "swift", "tireless", "wakeful",
        "warm",
        "wild", "wise", "young",
    ]
    private static let birds = [
        "albatross", "avocet", "bittern", "bluethroat", "bunting", "chough", "condor", "cormorant", "crane", "curlew",
        "dipper", "dunlin", "eagle", "egret", "falcon", "fieldfare", "finch", "fulmar", "gannet", "goldcrest",
        "goshawk",
        "grebe", "guillemot", "harrier", "heron", "hobby", "hoopoe", "ibis", "jackdaw", "jay", "kestrel", "kingfisher",
        "kite", "kittiwake", "lapwing", "lark", "linnet", "magpie", "martin", "merlin", "nightjar", "nuthatch",
        "oriole",
        "osprey", "ouzel", "owl", "petrel", "pipit", "plover", "puffin", "quail", "raven", "redstart", "robin", "rook",
        "sanderling", "shearwater", "shrike", "siskin", "skua", "snipe", "starling", "stonechat", "stork", "swallow",
        "tern", "thrush", "turnstone", "wagtail", "warbler", "waxwing", "wheatear", "whinchat", "woodcock", "wren",
    ]

    /// One of three thousand; if it is taken the client is told so, and asks again.
    static func random() -> String { "\(manners.randomElement()!)_\(birds.randomElement()!)" }
}
