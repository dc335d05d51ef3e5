package rpc

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	_ "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	_ "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
	_ "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	_ "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	_ "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
)

func TestCompileReadsTheRulesOfTheProtos(t *testing.T) {
	rules, err := Compile("logicspike.tenant.v1.WorkspaceService")
	if err != nil {
		t.Fatal(err)
	}
	want := []authz.Permission{
		{Name: "workspace.delete", Description: "Delete, undelete and purge the workspace", LeastRole: authz.Owner},
		{Name: "workspace.get", Description: "See the workspace and its settings", LeastRole: authz.Viewer},
		{Name: "workspace.update", Description: "Change the workspace's name, slug and settings", LeastRole: authz.Admin},
	}
	if diff := cmp.Diff(want, rules.Permissions()); diff != "" {
		t.Error(diff)
	}
	if got := rules.Procedures(); len(got) != 10 || got[0] != "/logicspike.tenant.v1.WorkspaceService/CheckSlugAvailability" {
		t.Errorf("procedures %v", got)
	}
	for procedure, want := range map[string]string{
		"/logicspike.tenant.v1.WorkspaceService/PurgeWorkspace": "workspace.delete",
		"/logicspike.tenant.v1.WorkspaceService/ListWorkspaces": "", // of which any signed-in user asks
		"/logicspike.tenant.v1.WorkspaceService/Nothing":        "",
	} {
		if p, ok := rules.Permission(procedure); p.Name != want || ok != (want != "") {
			t.Errorf("%s asks for %q (%t), want %q", procedure, p.Name, ok, want)
		}
	}
	for _, unknown := range []string{"logicspike.tenant.v1.Nothing", "logicspike.tenant.v1.Workspace"} {
		if _, err := Compile(unknown); err == nil || !strings.Contains(err.Error(), unknown) {
			t.Errorf("%s: %v", unknown, err)
		}
	}
}

// made describes a method of a service that is made for a test.
type made struct {
	name      string
	rule      *authzv1.Rule
	streaming bool // of answers
	requests  bool // streaming of requests
}

// service makes a service test.v1.S whose requests have the fields id, labels,
// others (of the same message) and number.
func service(t *testing.T, rules *validate.FieldRules, methods ...made) *protoregistry.Files {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, repeated bool) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{
			Name: proto.String(name), Number: proto.Int32(number), Type: kind.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		if repeated {
			f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
		return f
	}
	nested := field("others", 3, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, true)
	nested.TypeName = proto.String(".test.v1.R")
	labels := field("labels", 5, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, true)
	labels.TypeName = proto.String(".test.v1.R.LabelsEntry")
	plain := field("plain", 6, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, false)
	plain.TypeName = proto.String(".test.v1.Plain")
	request := &descriptorpb.DescriptorProto{Name: proto.String("R"), Field: []*descriptorpb.FieldDescriptorProto{
		field("id", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING, false),
		field("names", 2, descriptorpb.FieldDescriptorProto_TYPE_STRING, true),
		nested,
		field("number", 4, descriptorpb.FieldDescriptorProto_TYPE_INT32, false),
		labels,
		plain,
	}, NestedType: []*descriptorpb.DescriptorProto{{
		Name: proto.String("LabelsEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
		Field: []*descriptorpb.FieldDescriptorProto{
			field("key", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING, false),
			field("value", 2, descriptorpb.FieldDescriptorProto_TYPE_STRING, false),
		},
	}}}
	plainMessage := &descriptorpb.DescriptorProto{Name: proto.String("Plain"), Field: []*descriptorpb.FieldDescriptorProto{
		field("number", 1, descriptorpb.FieldDescriptorProto_TYPE_INT32, false),
	}}
	if rules != nil {
		options := &descriptorpb.FieldOptions{}
		proto.SetExtension(options, validate.E_Field, rules)
		plainMessage.Field[0].Options = options
	}
	s := &descriptorpb.ServiceDescriptorProto{Name: proto.String("S")}
	for _, m := range methods {
		options := &descriptorpb.MethodOptions{}
		if m.rule != nil {
			proto.SetExtension(options, authzv1.E_Rule, m.rule)
		}
		s.Method = append(s.Method, &descriptorpb.MethodDescriptorProto{
			Name: proto.String(m.name), InputType: proto.String(".test.v1.R"), OutputType: proto.String(".test.v1.R"),
			Options: options, ServerStreaming: proto.Bool(m.streaming), ClientStreaming: proto.Bool(m.requests),
		})
	}
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("test.proto"), Package: proto.String("test.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{request, plainMessage}, Service: []*descriptorpb.ServiceDescriptorProto{s},
	}
	files, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func openTo(caller any, recent bool) *authzv1.Rule {
	r := &authzv1.Rule{RecentAuthentication: recent}
	switch c := caller.(type) {
	case *authzv1.Public:
		r.Caller = &authzv1.Rule_Public{Public: c}
	case *authzv1.Authenticated:
		r.Caller = &authzv1.Rule_Authenticated{Authenticated: c}
	case *authzv1.Workspace:
		r.Caller = &authzv1.Rule_Workspace{Workspace: c}
	}
	return r
}

func sized(r *authzv1.Rule, bytes uint32) *authzv1.Rule {
	r.MaxRequestBytes = bytes
	return r
}

func impersonated(r *authzv1.Rule) *authzv1.Rule {
	r.Impersonation = true
	return r
}

func TestCompileRefusesWhatIsNotSound(t *testing.T) {
	sound := func(change func(*authzv1.Workspace)) *authzv1.Rule {
		w := &authzv1.Workspace{Permission: "a.b", Description: "c", Field: "id", LeastRole: authzv1.Role_ROLE_ADMIN}
		if change != nil {
			change(w)
		}
		return openTo(w, false)
	}
	good := made{name: "Good", rule: sound(nil)}
	if _, err := compile(service(t, nil, good), []string{"test.v1.S"}); err != nil {
		t.Fatal(err)
	}
	for want, bad := range map[string]made{
		"has no rule":              {},
		"names no caller":          {rule: &authzv1.Rule{}},
		"stream answers":           {rule: openTo(&authzv1.Public{}, false), streaming: true},
		"may stream requests":      {rule: openTo(&authzv1.Public{}, false), requests: true},
		"signed-in user may strea": {rule: sound(nil), requests: true},
		"recent authentication":    {rule: openTo(&authzv1.Public{}, true)},
		"authenticated recently":   {rule: impersonated(openTo(&authzv1.Authenticated{}, true))},
		"not speak of impersonati": {rule: impersonated(&authzv1.Rule{Caller: &authzv1.Rule_Operator{}})},
		"names no permission":      {rule: sound(func(w *authzv1.Workspace) { w.Permission = "" })},
		"has no description":       {rule: sound(func(w *authzv1.Workspace) { w.Description = "" })},
		"has no least role":        {rule: sound(func(w *authzv1.Workspace) { w.LeastRole = 0 })},
		`"nothing", which test`:    {rule: sound(func(w *authzv1.Workspace) { w.Field = "nothing" })},
		`"", which test`:           {rule: sound(func(w *authzv1.Workspace) { w.Field = "" })},
		`"number", which is not`:   {rule: sound(func(w *authzv1.Workspace) { w.Field = "number" })},
		`"names", which is not`:    {rule: sound(func(w *authzv1.Workspace) { w.Field = "names" })},
		"another description":      {rule: sound(func(w *authzv1.Workspace) { w.Description = "d" })},
		"or least role elsewhere":  {rule: sound(func(w *authzv1.Workspace) { w.LeastRole = authzv1.Role_ROLE_OWNER })},
		"of 65535 bytes, which is": {rule: sized(sound(nil), 64<<10-1)},
		"of 524289 bytes, which i": {rule: sized(sound(nil), 512<<10+1)},
		"ask for larger requests":  {rule: sized(openTo(&authzv1.Public{}, false), 512<<10)},
		"ask for larger ones":      {rule: sized(openTo(&authzv1.Authenticated{}, false), 512<<10), requests: true},
		"permission a.c has no de": {rule: sound(func(w *authzv1.Workspace) { w.Permission, w.Description = "a.c", "" })},
	} {
		bad.name = "Bad"
		_, err := compile(service(t, nil, good, bad), []string{"test.v1.S"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "method test.v1.S.Bad: ") {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestOperatorsAndSignedInUsersMayStreamRequests(t *testing.T) {
	rules, err := compile(service(t, nil,
		made{name: "User", rule: openTo(&authzv1.Authenticated{}, false), requests: true},
		made{name: "Operator", rule: &authzv1.Rule{Caller: &authzv1.Rule_Operator{Operator: &authzv1.Operator{}}}, requests: true},
		made{name: "Plain", rule: openTo(&authzv1.Authenticated{}, false)},
	), []string{"test.v1.S"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"User": true, "Operator": true, "Plain": false, "Nothing": false} {
		if got := rules.Streams("/test.v1.S/" + name); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}

func TestOnlyAPublicMethodThatSaysSoLooksAtTheSession(t *testing.T) {
	rules, err := compile(service(t, nil,
		made{name: "Plain", rule: openTo(&authzv1.Public{}, false)},
		made{name: "Session", rule: openTo(&authzv1.Public{Session: true}, false)},
		made{name: "Own", rule: openTo(&authzv1.Authenticated{}, false)},
	), []string{"test.v1.S"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"Plain": false, "Session": true, "Own": false} {
		if got := rules.methods["/test.v1.S/"+name].session; got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}

// compileValidation compiles the validation rules of all requests. It fails when one
// does not compile.
func compileValidation(rules *Rules) error {
	v := newValidator()
	known := map[protoreflect.FullName]protoreflect.MessageDescriptor{}
	for _, m := range rules.methods {
		reachable(m.request, known)
	}
	for _, d := range known {
		var broken *protovalidate.CompilationError
		if err := v.Validate(dynamicpb.NewMessage(d)); errors.As(err, &broken) {
			return fmt.Errorf("validation of %s: %w", d.FullName(), err)
		}
	}
	return nil
}

// reachable adds the message, and those that its fields hold, to known.
func reachable(d protoreflect.MessageDescriptor, known map[protoreflect.FullName]protoreflect.MessageDescriptor) {
	if _, ok := known[d.FullName()]; ok {
		return
	}
	if !d.IsMapEntry() {
		known[d.FullName()] = d
	}
	for i := range d.Fields().Len() {
		if nested := d.Fields().Get(i).Message(); nested != nil {
			reachable(nested, known)
		}
	}
}

func TestAllValidationRulesCompile(t *testing.T) {
	var names []string
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(f.Package()), "logicspike.") {
			for i := range f.Services().Len() {
				names = append(names, string(f.Services().Get(i).FullName()))
			}
		}
		return true
	})
	rules, err := Compile(names...)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 20 {
		t.Errorf("only %d services are linked in", len(names))
	}
	if err := compileValidation(rules); err != nil {
		t.Error(err)
	}
}

func TestABrokenValidationRuleIsFound(t *testing.T) {
	method := made{name: "M", rule: openTo(&authzv1.Authenticated{}, false)}
	for name, rules := range map[string]*validate.FieldRules{
		"syntax":     {Cel: []*validate.Rule{{Id: proto.String("x"), Message: proto.String("x"), Expression: proto.String("this ==")}}},
		"wrong type": {Type: &validate.FieldRules_String_{String_: &validate.StringRules{MinLen: proto.Uint64(1)}}},
	} {
		compiled, err := compile(service(t, rules, method), []string{"test.v1.S"})
		if err != nil {
			t.Fatal(err)
		}
		if err := compileValidation(compiled); err == nil || !strings.Contains(err.Error(), "test.v1.Plain") {
			t.Errorf("%s: %v", name, err)
		}
	}
	compiled, _ := compile(service(t, nil, method), []string{"test.v1.S"})
	if err := compileValidation(compiled); err != nil {
		t.Error(err)
	}
}
