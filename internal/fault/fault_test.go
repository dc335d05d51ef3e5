package fault_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/fault"
)

// TestReasonsAreThoseOfTheProto keeps the constants and the published enum the
// same set.
func TestReasonsAreThoseOfTheProto(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var constants []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Reason" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			constants = append(constants, value)
		}
		return true
	})
	var enum []string
	for _, name := range faultv1.Reason_name {
		if reason := strings.TrimPrefix(name, "REASON_"); reason != "UNSPECIFIED" {
			enum = append(enum, reason)
		}
	}
	if diff := cmp.Diff(enum, constants, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("reasons of the proto (-) and of the package (+):\n%s", diff)
	}
}

func TestFaultKeepsItsCauseAndIdentity(t *testing.T) {
	cause := errors.New("cause")
	base := fault.New(fault.Aborted, fault.ETagMismatch, "changed")
	err := fmt.Errorf("deeper: %w", base.WithField("etag").WithMetadata("a", "b").WithCause(cause))
	if !errors.Is(err, cause) || !errors.Is(err, base) || !fault.Has(err, fault.ETagMismatch) {
		t.Errorf("%v lost its cause or identity", err)
	}
	if errors.Is(err, fault.NotFoundFault()) {
		t.Errorf("%v is taken for another fault", err)
	}
	if f := fault.As(err); f.Field != "etag" || f.Metadata["a"] != "b" || base.Field != "" || base.Metadata != nil {
		t.Errorf("a copy changed its origin: %+v %+v", f, base)
	}
}
