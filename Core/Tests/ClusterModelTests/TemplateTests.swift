import ClusterModel
import EngineAPI
import Testing

@Suite("A template")
struct TemplateTests {
    private static let context: TemplateContext = {
        var context = TemplateContext()
        (context.serviceID, context.serviceName, context.serviceLabels) = ("s1", "web", ["tier": "front", "a.b": "c"])
        (context.nodeID, context.nodeHostname) = ("n1", "host1")
        context.platform = .init(os: "linux", architecture: "x86_64")
        (context.taskID, context.taskName, context.taskSlot) = ("t1", "web.1.t1", "1")
        return context
    }()

    @Test(arguments: [
        ("plain", "plain"),
        ("{{.Service.Name}}-{{.Task.Slot}}", "web-1"),
        ("{{ .Node.Hostname }}/{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}", "host1/linux/x86_64"),
        (#"{{index .Service.Labels "a.b"}}{{index .Service.Labels "none"}}"#, "c"),
        (#"{{if eq .Task.Slot "1"}}first{{else}}other{{end}}"#, "first"),
        (#"{{if eq .Task.Slot "2"}}a{{else if .Service.Labels.tier}}b{{else}}c{{end}}"#, "b"),
        (#"{{if and (eq .Service.Name "web") (not false)}}yes{{end}}"#, "yes"),
        (#"{{join "," .Task.ID .Node.ID}}"#, "t1,n1"),
        (#"{{printf "%s-%03d|%5s|%-3s|" .Service.Name 7 "x" "y"}}"#, "web-007|    x|y  |"),
        ("{{.Task.Slot | printf \"%q\"}}", "\"1\""),
        ("a {{- /* no */ -}} b", "ab"),
        ("a {{- .Task.Slot -}} b", "a1b"),
        ("{{$x := .Task.ID}}{{$x}}{{$x = .Node.ID}}{{$x}}{{$.Service.Name}}", "t1n1web"),
        ("{{range $k, $v := .Service.Labels}}{{$k}}={{$v}};{{end}}", "a.b=c;tier=front;"),
        ("{{with .Service.Labels.tier}}[{{.}}]{{end}}", "[front]"),
        ("{{len .Service.Labels}}{{len \"ab\"}}", "22"),
        ("{{`{{`}}", "{{"),
        ("{{lt 1 2}} {{ge \"b\" \"a\"}} {{ne 1 1}}", "true true false"),
        ("}} {", "}} {"),
    ])
    func `is filled in`(text: String, expected: String) throws {
        #expect(try GoTemplate(parsing: text).expand(Self.context.root) == expected)
    }

    /// What dockerd 20.10.24 said to `docker service create` of each.
    @Test(arguments: [
        (
            #"{"Hostname":"{{.Foo}}"}"#,
            #"expanding hostname failed: template: expansion:1:2: executing "expansion" at <.Foo>: can't evaluate field Foo in type *template.Context"#
        ),
        (
            #"{"Hostname":"{{foo}}"}"#,
            #"expanding hostname failed: template: expansion:1: function "foo" not defined"#
        ),
        (
            #"{"Env":["A={{.Task.Foo}}"]}"#,
            #"expanding env failed: expanding env "A={{.Task.Foo}}": template: expansion:1:7: executing "expansion" at <.Task.Foo>: can't evaluate field Foo in type struct { ID string; Name string; Slot string }"#
        ),
        (
            #"{"Env":["A={{.Service.Labels.nope}}"]}"#,
            #"expanding env failed: expanding env "A={{.Service.Labels.nope}}": template: expansion:1:10: executing "expansion" at <.Service.Labels.nope>: map has no entry for key "nope""#
        ),
        (
            #"{"Env":["A={{"]}"#,
            #"expanding env failed: expanding env "A={{": template: expansion:1: unclosed action"#
        ),
        (
            #"{"Env":["A={{.Node.Hostname"]}"#,
            #"expanding env failed: expanding env "A={{.Node.Hostname": template: expansion:1: unclosed action"#
        ),
        (
            #"{"Mounts":[{"Type":"volume","Source":"{{.Bar}}","Target":"/x"}]}"#,
            #"expanding mounts failed: expanding mount source "{{.Bar}}": template: expansion:1:2: executing "expansion" at <.Bar>: can't evaluate field Bar in type *template.Context"#
        ),
        (
            #"{"Mounts":[{"Type":"volume","Source":"x","Target":"/x/{{.Bar}}"}]}"#,
            #"expanding mounts failed: expanding mount target "/x/{{.Bar}}": template: expansion:1:5: executing "expansion" at <.Bar>: can't evaluate field Bar in type *template.Context"#
        ),
        (
            #"{"Mounts":[{"Target":"/x","VolumeOptions":{"Labels":{"a":"{{.Bar}}"}}}]}"#,
            #"expanding mounts failed: expanding volume labels: expanding map entry "a"="{{.Bar}}": template: expansion:1:2: executing "expansion" at <.Bar>: can't evaluate field Bar in type *template.Context"#
        ),
        (
            #"{"Mounts":[{"Target":"/x","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{"a":"{{.Bar}}"}}}}]}"#,
            #"expanding mounts failed: expanding volume driver config: expanding map entry "a"="{{.Bar}}": template: expansion:1:2: executing "expansion" at <.Bar>: can't evaluate field Bar in type *template.Context"#
        ),
        (
            #"{"Env":["A={{ if eq .Task.Slot 1 }}x{{ end }}"]}"#,
            #"expanding env failed: expanding env "A={{ if eq .Task.Slot 1 }}x{{ end }}": template: expansion:1:6: executing "expansion" at <eq .Task.Slot 1>: error calling eq: incompatible types for comparison"#
        ),
        (
            #"{"Hostname":"{{env \"x\"}}"}"#,
            #"expanding hostname failed: template: expansion:1: function "env" not defined"#
        ),
        (
            #"{"Env":["A={{}}"]}"#,
            #"expanding env failed: expanding env "A={{}}": template: expansion:1: missing value for command"#
        ),
    ])
    func `is refused in dockerd's words`(container: String, words: String) throws {
        let document = try JSON(
            parsing: #"{"Name":"tpl","TaskTemplate":{"ContainerSpec":{"Image":"busybox",\#(container.dropFirst())}}"#)
        #expect(throws: ControlError.invalidArgument(words)) { try Cluster.ServiceSpec(parsing: document) }
    }

    @Test(arguments: [
        "{{if}}", "{{if true}}", "{{end}}", "{{else}}", "{{range .}}{{end}}", "{{.Task | .Node}}", "{{\"a}}", "{{(}}",
        "{{1.5}}", "{{$x}}", "{{template \"a\"}}", "{{/* }}", "{{ -}}", "{{-}}", "{{.}", "{{|}}", "{{index}}", "{{eq}}",
        "{{printf}}", "{{len 1}}", "{{.Task.ID.More}}", "{{with $x := }}{{end}}", "{{nil}}", "{{-3-}}",
        String(repeating: "{{if true}}", count: 5_000), "{{" + String(repeating: "(", count: 5_000),
        "{{if true}}" + String(repeating: "{{else if true}}", count: 5_000),
    ])
    func `that is broken is refused and breaks nothing`(text: String) {
        #expect(throws: GoTemplate.Trouble.self) { try GoTemplate(parsing: text).expand(Self.context.root) }
    }

    @Test func `leaves what stands before the equals sign`() throws {
        let document = try JSON(
            parsing: #"{"Name":"tpl","TaskTemplate":{"ContainerSpec":{"Image":"busybox","Env":["{{.Foo}}=x","Y"]}}}"#)
        #expect(throws: Never.self) { try Cluster.ServiceSpec(parsing: document) }
    }

    @Test(arguments: [
        (#""Isolation":"hyperv""#, "isolation"), (#""Privileges":{"CredentialSpec":{"File":"x"}}"#, "credential spec"),
        (#""Mounts":[{"Type":"npipe","Target":"/p"}]"#, "npipe"),
    ])
    func `of Windows is refused with that reason`(container: String, word: String) throws {
        let document = try JSON(
            parsing: #"{"Name":"tpl","TaskTemplate":{"ContainerSpec":{"Image":"busybox",\#(container)}}}"#)
        let refusal = #expect(throws: ControlError.self) { try Cluster.ServiceSpec(parsing: document) }
        #expect(refusal?.description.contains("Windows") == true)
        #expect(refusal?.description.contains(word) == true)
    }
}
