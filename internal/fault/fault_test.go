package fault_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
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

// TestMethodsNameTheirReasons keeps the comments of methods honest: they name reasons
// that exist, those of a CAPTCHA where one is asked for, and all that is said of a new
// password.
func TestMethodsNameTheirReasons(t *testing.T) {
	protos := os.DirFS("../../proto/logicspike")
	method := regexp.MustCompile(`((?:  //.*\n)+)  rpc (\w+)\((?:.|\n)*?\n  }\n`)
	name := regexp.MustCompile(`\b[A-Z]+_[A-Z_]+\b`)
	methods, people := 0, 0
	err := fs.WalkDir(protos, ".", func(at string, _ fs.DirEntry, err error) error {
		if err != nil || path.Ext(at) != ".proto" {
			return err
		}
		text, err := fs.ReadFile(protos, at)
		if err != nil {
			return err
		}
		for _, m := range method.FindAllStringSubmatch(string(text), -1) {
			methods++
			_, failures, _ := strings.Cut(m[1], "Errors")
			said := map[string]bool{}
			for _, reason := range name.FindAllString(failures, -1) {
				said[reason] = true
				if _, ok := faultv1.Reason_value["REASON_"+reason]; !ok {
					t.Errorf("%s: %s names %s, which is no reason", at, m[2], reason)
				}
			}
			var want []string
			if strings.Contains(m[0], "human: true") {
				people++
				want = append(want, "CAPTCHA_REQUIRED", "CAPTCHA_UNAVAILABLE")
			}
			if said["PASSWORD_COMMON"] {
				want = append(want, "PASSWORD_LENGTH", "PASSWORD_LEAKED")
			}
			for _, reason := range want {
				if !said[reason] {
					t.Errorf("%s: %s does not name %s", at, m[2], reason)
				}
			}
		}
		return nil
	})
	if err != nil || methods < 100 || people < 4 {
		t.Errorf("%d methods, %d for people: %v", methods, people, err)
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
