package archtest

import (
	"fmt"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	_ "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
	_ "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	_ "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	_ "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	_ "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	_ "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
)

// methods returns every method of the API. It fails if a proto file is not linked
// into this test.
func methods(t *testing.T) []protoreflect.MethodDescriptor {
	t.Helper()
	files, err := sourceFiles()
	if err != nil {
		t.Fatal(err)
	}
	var all []protoreflect.MethodDescriptor
	for _, file := range files {
		name, ok := strings.CutPrefix(file, "proto/")
		if !ok || !strings.HasSuffix(name, ".proto") {
			continue
		}
		descriptor, err := protoregistry.GlobalFiles.FindFileByPath(name)
		if err != nil {
			t.Fatalf("%s: %v; import its generated package in this test", file, err)
		}
		for i := range descriptor.Services().Len() {
			service := descriptor.Services().Get(i)
			for j := range service.Methods().Len() {
				all = append(all, service.Methods().Get(j))
			}
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d methods were found", len(all))
	}
	return all
}

func TestEveryMethodHasARule(t *testing.T) {
	for _, method := range methods(t) {
		if err := checkRule(method); err != nil {
			t.Errorf("%s: %v", method.FullName(), err)
		}
	}
}

// checkRule returns what is wrong with a method's rule.
func checkRule(method protoreflect.MethodDescriptor) error {
	if !proto.HasExtension(method.Options(), authzv1.E_Rule) {
		return fmt.Errorf("it has no rule")
	}
	rule := proto.GetExtension(method.Options(), authzv1.E_Rule).(*authzv1.Rule)
	if rule.GetCaller() == nil {
		return fmt.Errorf("its rule names no caller")
	}
	if rule.GetPublic() != nil && rule.GetRecentAuthentication() {
		return fmt.Errorf("it is public, but asks for a recent sign-in")
	}
	workspace := rule.GetWorkspace()
	if workspace == nil {
		return nil
	}
	if workspace.GetPermission() == "" || workspace.GetDescription() == "" || workspace.GetLeastRole() == authzv1.Role_ROLE_UNSPECIFIED {
		return fmt.Errorf("its rule lacks permission, description or least_role")
	}
	field := method.Input().Fields().ByName(protoreflect.Name(workspace.GetField()))
	if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
		return fmt.Errorf("its rule names the field %q, which is no string of the request", workspace.GetField())
	}
	return nil
}

// TestOnePermissionOneMeaning: two methods with one permission say the same of it.
func TestOnePermissionOneMeaning(t *testing.T) {
	seen := map[string]*authzv1.Workspace{}
	for _, method := range methods(t) {
		rule, _ := proto.GetExtension(method.Options(), authzv1.E_Rule).(*authzv1.Rule)
		workspace := rule.GetWorkspace()
		if workspace == nil {
			continue
		}
		first, ok := seen[workspace.GetPermission()]
		if !ok {
			seen[workspace.GetPermission()] = workspace
			continue
		}
		if first.GetDescription() != workspace.GetDescription() || first.GetLeastRole() != workspace.GetLeastRole() {
			t.Errorf("%s: %s is described in two ways", method.FullName(), workspace.GetPermission())
		}
	}
}

func TestEveryRequestFieldIsBounded(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	for _, method := range methods(t) {
		for _, problem := range unbounded(method.Input(), seen) {
			t.Error(problem)
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d messages were checked", len(seen))
	}
}

// unbounded returns what is without a bound in a request message and in the
// messages of this API within it.
func unbounded(message protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) []string {
	if seen[message.FullName()] || !strings.HasPrefix(string(message.FullName()), "logicspike.") {
		return nil // well-known types are bounded by the request's size
	}
	seen[message.FullName()] = true
	var problems []string
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		if problem := fieldProblem(field); problem != "" {
			problems = append(problems, fmt.Sprintf("%s: %s", field.FullName(), problem))
		}
		if field.IsMap() {
			field = field.MapValue()
		}
		if field.Message() != nil {
			problems = append(problems, unbounded(field.Message(), seen)...)
		}
	}
	return problems
}

// fieldProblem returns which bound a request field lacks.
func fieldProblem(field protoreflect.FieldDescriptor) string {
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	element := rules
	switch {
	case field.IsMap():
		limits := rules.GetMap()
		if !limits.HasMaxPairs() {
			return "a map without max_pairs"
		}
		if problem := valueProblem(field.MapKey(), limits.GetKeys()); problem != "" {
			return "its keys: " + problem
		}
		field, element = field.MapValue(), limits.GetValues()
	case field.IsList():
		if !rules.GetRepeated().HasMaxItems() {
			return "repeated without max_items"
		}
		element = rules.GetRepeated().GetItems()
	}
	return valueProblem(field, element)
}

// valueProblem returns which bound a single value lacks.
func valueProblem(field protoreflect.FieldDescriptor, rules *validate.FieldRules) string {
	switch field.Kind() {
	case protoreflect.StringKind:
		s := rules.GetString()
		if !(s.HasMaxLen() || s.HasLen() || s.HasMaxBytes() || s.HasLenBytes() || s.GetUuid() || s.GetTuuid() || s.GetUlid() ||
			s.HasConst() || len(s.GetIn()) > 0 || bounded(s.GetPattern())) {
			return "a string without max_len, uuid or a bounded pattern"
		}
	case protoreflect.BytesKind:
		b := rules.GetBytes()
		if !(b.HasMaxLen() || b.HasLen()) {
			return "bytes without max_len"
		}
	case protoreflect.EnumKind:
		if !rules.GetEnum().GetDefinedOnly() {
			return "an enum without defined_only"
		}
	case protoreflect.Int32Kind:
		if field.Name() == "page_size" {
			limit := rules.GetInt32()
			if !limit.HasGte() || limit.GetGte() < 0 || !limit.HasLte() || limit.GetLte() > 1000 {
				return "a page_size that is not between 0 and at most 1000"
			}
		}
	default:
		if field.Name() == "page_size" {
			return "a page_size that is not an int32"
		}
	}
	return ""
}

// bounded reports whether a pattern matches texts up to some length only.
func bounded(pattern string) bool {
	return strings.HasPrefix(pattern, "^") && strings.HasSuffix(pattern, "$") &&
		!strings.ContainsAny(pattern, "*+|") && !strings.Contains(pattern, ",}")
}

// TestBoundsAreFound proves that the checks above find what they look for.
func TestBoundsAreFound(t *testing.T) {
	defined := proto.Bool(true)
	for _, c := range []struct {
		name  string
		field *descriptorpb.FieldDescriptorProto
		rules *validate.FieldRules
		ok    bool
	}{
		{"string", text(), nil, false},
		{"min_len", text(), validate.FieldRules_builder{String: validate.StringRules_builder{MinLen: proto.Uint64(1)}.Build()}.Build(), false},
		{"max_len", text(), validate.FieldRules_builder{String: validate.StringRules_builder{MaxLen: proto.Uint64(1)}.Build()}.Build(), true},
		{"uuid", text(), validate.FieldRules_builder{String: validate.StringRules_builder{Uuid: proto.Bool(true)}.Build()}.Build(), true},
		{"pattern", text(), validate.FieldRules_builder{String: validate.StringRules_builder{Pattern: proto.String("^[a-z]{1,9}$")}.Build()}.Build(), true},
		{"open pattern", text(), validate.FieldRules_builder{String: validate.StringRules_builder{Pattern: proto.String("^[a-z]+$")}.Build()}.Build(), false},
		{"open count", text(), validate.FieldRules_builder{String: validate.StringRules_builder{Pattern: proto.String("^[a-z]{1,}$")}.Build()}.Build(), false},
		{"loose pattern", text(), validate.FieldRules_builder{String: validate.StringRules_builder{Pattern: proto.String("[a-z]{1,9}")}.Build()}.Build(), false},
		{"list", list(text()), validate.FieldRules_builder{String: validate.StringRules_builder{MaxLen: proto.Uint64(1)}.Build()}.Build(), false},
		{"list of unbounded", list(text()), validate.FieldRules_builder{Repeated: validate.RepeatedRules_builder{MaxItems: proto.Uint64(1)}.Build()}.Build(), false},
		{"bounded list", list(text()), validate.FieldRules_builder{Repeated: validate.RepeatedRules_builder{
			MaxItems: proto.Uint64(1),
			Items:    validate.FieldRules_builder{String: validate.StringRules_builder{MaxLen: proto.Uint64(1)}.Build()}.Build(),
		}.Build()}.Build(), true},
		{"enum", enum(), nil, false},
		{"defined_only", enum(), validate.FieldRules_builder{Enum: validate.EnumRules_builder{DefinedOnly: defined}.Build()}.Build(), true},
		{"page_size", pageSize(), nil, false},
		{"capped page_size", pageSize(), validate.FieldRules_builder{Int32: validate.Int32Rules_builder{Gte: proto.Int32(0), Lte: proto.Int32(200)}.Build()}.Build(), true},
		{"page_size capped too high", pageSize(), validate.FieldRules_builder{Int32: validate.Int32Rules_builder{Gte: proto.Int32(0), Lte: proto.Int32(9999)}.Build()}.Build(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.rules != nil {
				c.field.Options = &descriptorpb.FieldOptions{}
				proto.SetExtension(c.field.Options, validate.E_Field, c.rules)
			}
			message := synthetic(t, c.field)
			if problems := unbounded(message, map[protoreflect.FullName]bool{}); (len(problems) == 0) != c.ok {
				t.Errorf("problems: %q", problems)
			}
		})
	}
}

// TestRulesAreFound proves that checkRule finds what it looks for.
func TestRulesAreFound(t *testing.T) {
	good := func() *authzv1.Workspace {
		return &authzv1.Workspace{Permission: "x.get", Description: "See x", Field: "workspace_id", LeastRole: authzv1.Role_ROLE_VIEWER}
	}
	workspace := func(change func(*authzv1.Workspace)) *authzv1.Rule {
		w := good()
		change(w)
		return &authzv1.Rule{Caller: &authzv1.Rule_Workspace{Workspace: w}}
	}
	public := &authzv1.Rule_Public{Public: &authzv1.Public{}}
	for _, c := range []struct {
		name string
		rule *authzv1.Rule
		ok   bool
	}{
		{"none", nil, false},
		{"empty", &authzv1.Rule{}, false},
		{"public", &authzv1.Rule{Caller: public}, true},
		{"public and recent", &authzv1.Rule{Caller: public, RecentAuthentication: true}, false},
		{"workspace", workspace(func(*authzv1.Workspace) {}), true},
		{"no permission", workspace(func(w *authzv1.Workspace) { w.Permission = "" }), false},
		{"no role", workspace(func(w *authzv1.Workspace) { w.LeastRole = 0 }), false},
		{"wrong field", workspace(func(w *authzv1.Workspace) { w.Field = "workspace" }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			field := text()
			field.Name = proto.String("workspace_id")
			method := synthetic(t, field, c.rule).ParentFile().Services().Get(0).Methods().Get(0)
			if err := checkRule(method); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func text() *descriptorpb.FieldDescriptorProto {
	return &descriptorpb.FieldDescriptorProto{Name: proto.String("field"), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()}
}

func enum() *descriptorpb.FieldDescriptorProto {
	return &descriptorpb.FieldDescriptorProto{
		Name: proto.String("field"), Type: descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum(), TypeName: proto.String(".logicspike.synthetic.Choice"),
	}
}

func pageSize() *descriptorpb.FieldDescriptorProto {
	return &descriptorpb.FieldDescriptorProto{Name: proto.String("page_size"), Type: descriptorpb.FieldDescriptorProto_TYPE_INT32.Enum()}
}

func list(field *descriptorpb.FieldDescriptorProto) *descriptorpb.FieldDescriptorProto {
	field.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	return field
}

// synthetic builds a request message of one field, and a service with one method
// that takes it, by the rule given, if any.
func synthetic(t *testing.T, field *descriptorpb.FieldDescriptorProto, rule ...*authzv1.Rule) protoreflect.MessageDescriptor {
	t.Helper()
	field.Number = proto.Int32(1)
	if field.Label == nil {
		field.Label = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
	}
	method := &descriptorpb.MethodDescriptorProto{
		Name:      proto.String("Do"),
		InputType: proto.String(".logicspike.synthetic.Request"), OutputType: proto.String(".logicspike.synthetic.Request"),
	}
	if len(rule) > 0 && rule[0] != nil {
		method.Options = &descriptorpb.MethodOptions{}
		proto.SetExtension(method.Options, authzv1.E_Rule, rule[0])
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Syntax:  proto.String("proto3"),
		Name:    proto.String("synthetic.proto"),
		Package: proto.String("logicspike.synthetic"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Request"), Field: []*descriptorpb.FieldDescriptorProto{field}},
		},
		EnumType: []*descriptorpb.EnumDescriptorProto{
			{Name: proto.String("Choice"), Value: []*descriptorpb.EnumValueDescriptorProto{{Name: proto.String("CHOICE_UNSPECIFIED"), Number: proto.Int32(0)}}},
		},
		Service: []*descriptorpb.ServiceDescriptorProto{
			{Name: proto.String("Service"), Method: []*descriptorpb.MethodDescriptorProto{method}},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("Request")
}
