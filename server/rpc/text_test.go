package rpc

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"

	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
)

func TestControlCharactersAreFoundWhereverTheyAre(t *testing.T) {
	rules, err := compile(service(t, nil, made{name: "M", rule: openTo(&authzv1.Public{}, false)}), []string{"test.v1.S"})
	if err != nil {
		t.Fatal(err)
	}
	m := rules.methods["/test.v1.S/M"]
	if len(m.text.fields) != 4 {
		t.Errorf("%d fields are looked at, want id, names, others, labels", len(m.text.fields))
	}
	for request, want := range map[string]string{
		`{}`:                                      "",
		`{"id":"a","names":["b"],"number":1}`:     "",
		`{"id":"a\u0000"}`:                        "id",
		`{"names":["a","b\n"]}`:                   "names[1]",
		`{"labels":{"a":"b","c":"\u202e"}}`:       `labels["c"]`,
		`{"labels":{"a\u0007":"b"}}`:              `labels["a\a"]`,
		`{"others":[{},{"names":["\u0085"]}]}`:    "others[1].names[0]",
		`{"others":[{"others":[{"id":"\t"}]}]}`:   "others[0].others[0].id",
		`{"others":[{"labels":{"\"":"\u001f"}}]}`: `others[0].labels["\""]`,
		`{"plain":{"number":3}}`:                  "",
	} {
		message := dynamicpb.NewMessage(m.request)
		if err := protojson.Unmarshal([]byte(request), message); err != nil {
			t.Fatalf("%s: %v", request, err)
		}
		if got, found := m.text.violation(message); got != want || found != (want != "") {
			t.Errorf("%s: %q, want %q", request, got, want)
		}
	}
}

func TestRecursiveMessagesAreWalked(t *testing.T) {
	value, err := structpb.NewStruct(map[string]any{"a": []any{map[string]any{"b": "\x1b"}}})
	if err != nil {
		t.Fatal(err)
	}
	fields := textFieldsOf(value.ProtoReflect().Descriptor(), map[protoreflect.FullName]*textFields{})
	if got, _ := fields.violation(value.ProtoReflect()); got != `fields["a"].list_value.values[0].struct_value.fields["b"].string_value` {
		t.Errorf("%q", got)
	}
}
