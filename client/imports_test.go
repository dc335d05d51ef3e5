package client_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestTheClientNeedsNothingOfTheServer lists all that a program gets by importing the
// client: of this repository the generated code, and of others these modules.
func TestTheClientNeedsNothingOfTheServer(t *testing.T) {
	t.Parallel()
	const own = "github.com/logicspike/manager"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		"{{with .Module}}{{.Path}} {{end}}{{.ImportPath}}", own+"/client", own+"/client/token").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	modules := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		module, path, ok := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case !ok: // of the standard library
			if module == "database/sql" {
				t.Errorf("the client needs %s", module)
			}
		case module != own:
			modules[module] = true
		case path != own+"/client" && path != own+"/client/token" && !strings.HasPrefix(path, own+"/gen/go/"):
			t.Errorf("the client needs %s", path)
		}
	}
	may := []string{
		"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go", // rules, in the generated code
		"connectrpc.com/connect",
		"github.com/go-jose/go-jose/v4",
		"github.com/google/uuid",
		"google.golang.org/genproto/googleapis/rpc",
		"google.golang.org/protobuf",
	}
	for module := range modules {
		if !slices.Contains(may, module) {
			t.Errorf("the client needs the module %s", module)
		}
	}
	if !modules["connectrpc.com/connect"] {
		t.Errorf("the list is not that of the client:\n%s", out)
	}
}
