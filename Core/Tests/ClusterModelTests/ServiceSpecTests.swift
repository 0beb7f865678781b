import ClusterModel
import EngineAPI
import Testing

@Suite("A service's spec")
struct ServiceSpecTests {
    static let container = #""TaskTemplate":{"ContainerSpec":{"Image":"nginx"}}"#

    static func parse(_ json: String) throws -> Cluster.ServiceSpec {
        try Cluster.ServiceSpec(parsing: JSON(parsing: json))
    }

    @Test func `has swarm mode's defaults`() throws {
        let spec = try Self.parse(#"{"Name":"web",\#(Self.container)}"#)
        #expect(spec.mode == .replicated(1))
        #expect(spec.stopGracePeriod == 10_000_000_000)
        #expect(spec.restart == Cluster.RestartPolicy())
        #expect(spec.update.monitor == 5_000_000_000)
        #expect(spec.update.order == .stopFirst)
    }

    @Test func `keeps what it does not know`() throws {
        let text =
            #"{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"nginx","NewField":[1,2.50]}},"Other":9007199254740993}"#
        #expect(try Self.parse(text).document == text)
    }

    @Test func `has the same template when only what concerns no container changes`() throws {
        let one = try Self.parse(#"{"Name":"web",\#(Self.container),"Mode":{"Replicated":{"Replicas":1}}}"#)
        let two = try Self.parse(
            #"{"Name":"web",\#(Self.container),"Mode":{"Replicated":{"Replicas":9}},"Labels":{"a":"b"}}"#)
        let three = try Self.parse(
            #"{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"nginx"},"ForceUpdate":1}}"#)
        #expect(one.template == two.template)
        #expect(one.template != three.template)
    }

    @Test(
        "is refused in swarm mode's words",
        arguments: [
            (#"{\#(container)}"#, "meta: name must be provided"),
            (#"{"Name":"a b",\#(container)}"#, "name must be valid as a DNS name component"),
            (#"{"Name":"-a",\#(container)}"#, "name must be valid as a DNS name component"),
            (#"{"Name":"\#(String(repeating: "a", count: 64))",\#(container)}"#, "name must be 63 characters or fewer"),
            (#"{"Name":"a","TaskTemplate":{"ContainerSpec":{}}}"#, "ContainerSpec: image reference must be provided"),
            (
                #"{"Name":"a","TaskTemplate":{"ContainerSpec":{"Image":"A B"}}}"#,
                #"ContainerSpec: "A B" is not a valid repository/tag"#
            ),
            (
                #"{"Name":"a","TaskTemplate":{"ContainerSpec":{"Image":"x","Mounts":[{"Target":"/d"},{"Target":"/d"}]}}}"#,
                "ContainerSpec: duplicate mount point: /d"
            ),
            (
                #"{"Name":"a","TaskTemplate":{"ContainerSpec":{"Image":"x"},"Resources":{"Limits":{"NanoCPUs":100000}}}}"#,
                "invalid cpu value 0.0001: Must be at least 0.001"
            ),
            (
                #"{"Name":"a","TaskTemplate":{"ContainerSpec":{"Image":"x"},"Resources":{"Limits":{"MemoryBytes":1024}}}}"#,
                "invalid memory value 1024: Must be at least 4MiB"
            ),
            (
                #"{"Name":"a",\#(container),"UpdateConfig":{"Delay":-1}}"#, "TaskSpec: update-delay cannot be negative"
            ),
            (
                #"{"Name":"a",\#(container),"UpdateConfig":{"MaxFailureRatio":1.5}}"#,
                "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1"
            ),
        ] as [(String, String)])
    func refused(json: String, message: String) throws {
        #expect(throws: ControlError.invalidArgument(message)) { try Self.parse(json) }
    }

    @Test(
        "is no spec at all, in the words with which dockerd reads",
        arguments: [
            (#"{"Name":"a"}"#, "mismatched Runtime and *Spec fields"),
            (#"{"Name":"a",\#(container),"Mode":{"Replicated":{},"Global":{}}}"#, "must specify only one service mode"),
            (#"{"Name":"a",\#(container),"UpdateConfig":{"Order":"odd"}}"#, "unrecognized update order odd"),
            (#"{"Name":7}"#, "json: cannot unmarshal number into Go struct field ServiceSpec.Name of type string"),
            ("[]", "json: cannot unmarshal array into Go value of type swarm.ServiceSpec"),
        ] as [(String, String)])
    func malformed(json: String, message: String) throws {
        #expect(throws: ControlError.malformed(message)) { try Self.parse(json) }
    }

    @Test(
        "never leaves out in silence what this version cannot do",
        arguments: [
            #""Mode":{"ReplicatedJob":{}}"#
        ])
    func unimplemented(member: String) {
        do {
            _ = try Self.parse(#"{"Name":"a",\#(Self.container),\#(member)}"#)
            Issue.record("it was accepted")
        } catch let error as ControlError {
            #expect(error.code == "Unimplemented")
        } catch { Issue.record(error) }
    }

    @Test(
        "tells an image's name from what is none",
        arguments: [
            ("nginx", true), ("nginx:stable-alpine", true), ("localhost:5000/a/b:1", true),
            ("a@sha256:\(String(repeating: "0", count: 64))", true), ("Nginx", false), ("a:b:c", false), ("", false),
            ("a//b", false), ("a:", false), ("a@b", false), ("registry.example.com/Team/web", false),
        ] as [(String, Bool)])
    func image(text: String, isValid: Bool) {
        #expect(ImageReference.isValid(text) == isValid)
    }
}
