package archtest

import (
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestImports(t *testing.T) {
	files, err := sourceFiles()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, file := range goFiles(files, true) {
		// Not the build list: its cache does not notice every change.
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ImportsOnly)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		pkg := path.Dir(file)
		if _, _, ok := find(pkg); !ok {
			t.Errorf("%s: no row of the import table covers the package %s", file, pkg)
			continue
		}
		generated := strings.HasPrefix(pkg+"/", "gen/")
		if strings.HasSuffix(file, "_test.go") && !generated {
			continue
		}
		checked++
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if err := check(pkg, imported); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d files were checked", checked)
	}
}

// TestCheck proves that the table allows and refuses what the architecture does.
func TestCheck(t *testing.T) {
	const (
		api   = module + "/gen/go/logicspike/auth/v1"
		rules = module + "/gen/go/logicspike/authz/v1"
		bun   = "github.com/uptrace/bun"
	)
	in := func(pkg string) string { return module + "/" + pkg }
	for _, c := range []struct {
		pkg, imported string
		allowed       bool
	}{
		{"store/auth", in("store/postgres"), true},
		{"store/auth", in("internal/ids"), true},
		{"store/auth", in("internal/secret"), true},
		{"store/auth", bun, true},
		{"store/auth", "fmt", true},
		{"store/auth", in("store/tenant"), false},
		{"store/auth", in("store"), false},
		{"store/auth", in("store/postgres/embedded"), false},
		{"store/auth", in("internal/authz"), true},
		{"store/auth", in("internal/mail"), false},
		{"store/auth", in("internal/config"), false},
		{"store/auth", api, false},
		{"store/auth", in("server/auth"), false},
		{"store/auth", "connectrpc.com/connect", false},
		{"store/auth", "google.golang.org/protobuf/proto", false},
		{"store/auth", "net/http", false},

		{"store", in("store/auth"), true},
		{"store", in("store/postgres"), true},
		{"store", in("store/migrations"), true},
		{"store", in("internal/mail"), true},
		{"store", in("internal/authz"), true},
		{"store", in("store/postgres/embedded"), false},
		{"store", in("internal/config"), false},
		{"store", in("internal/jobs"), false},
		{"store", in("internal/testkit"), false},
		{"store", in("server"), false},
		{"store", api, false},
		{"store", "connectrpc.com/connect", false},

		{"store/postgres", in("internal/fault"), true},
		{"store/postgres", in("store"), false},
		{"store/postgres", in("store/auth"), false},
		{"store/postgres/embedded", in("internal/ids"), false},
		{"store/postgres/embedded", "github.com/jackc/pgx/v5", true},
		{"store/migrations", "embed", true},
		{"store/migrations", in("store/postgres"), false},

		{"server/auth", api, true},
		{"server/auth", in("store"), true},
		{"server/auth", in("store/auth"), true},
		{"server/auth", in("server/auth/password"), true},
		{"server/auth", in("internal/authz"), true},
		{"server/auth", in("internal/email"), true},
		{"server/auth", "connectrpc.com/connect", true},
		{"server/auth", in("server/convert"), true},
		{"server/auth", in("store/tenant"), false},
		{"server/auth", in("server/tenant"), false},
		{"server/auth", in("server/rpc"), false},
		{"server/auth", in("server"), false},
		{"server/auth", in("store/postgres"), false},
		{"server/auth", in("internal/mail"), false},
		{"server/auth", in("internal/config"), false},
		{"server/auth", bun, false},
		{"server/auth", "github.com/jackc/pgx/v5/pgxpool", false},
		{"server/auth", "database/sql", false},
		{"server/auth/password", in("internal/secret"), true},
		{"server/auth/password", in("server/auth/token"), true},
		{"server/auth/password", in("server/tenant"), false},
		{"server/auth/password", bun, false},

		{"server/convert", api, true},
		{"server/convert", in("store/team"), true},
		{"server/convert", in("store"), false},
		{"server/convert", in("server/auth"), false},

		{"server/pages", "net/http", true},
		{"server/pages", in("internal/mail"), false},
		{"server/pages", in("server/convert"), false},
		{"server/pages", in("store"), false},
		{"server/pages", api, false},
		{"server/pages", "connectrpc.com/connect", false},
		{"server/pages", bun, false},
		{"console", "net/http", true},
		{"console", in("internal/config"), false},
		{"console", "connectrpc.com/connect", false},
		{"server/tenant", in("console"), false},

		{"server/rpc", rules, true},
		{"server/rpc", in("internal/clock"), true},
		{"server/rpc", in("internal/fault"), true},
		{"server/rpc", api, false},
		{"server/rpc", in("store"), false},
		{"server/rpc", in("server/auth"), false},
		{"server/rpc", "database/sql", false},

		{"server", in("server/auth"), true},
		{"server", in("server/rpc"), true},
		{"server", in("internal/mail"), true},
		{"server", in("store"), true},
		{"server", in("store/auth"), false},
		{"server", in("cmd/manager"), false},
		{"server", bun, false},

		{"client", api, true},
		{"client", "connectrpc.com/connect", true},
		{"client", in("internal/ids"), false},
		{"client", in("server"), false},
		{"client/example", in("client"), true},
		{"client/example", in("store"), false},

		{"cmd/manager", in("store/postgres/embedded"), true},
		{"cmd/manager", in("internal/config"), true},
		{"internal/testkit", in("server"), true},
		{"internal/testkit", bun, true},
		{"internal/testkit/fake", in("internal/testkit"), false},
		{"internal/testkit/fake", in("internal/clock"), false},

		{"internal/ids", in("internal/fault"), false},
		{"internal/fault", in("internal/ids"), false},
		{"internal/fault", "connectrpc.com/connect", false},
		{"internal/clock", in("internal/ids"), false},
		{"internal/secret", in("internal/ids"), false},
		{"internal/email", in("internal/fault"), false},
		{"internal/authz", in("internal/ids"), true},
		{"internal/authz", in("store"), false},
		{"internal/authz", api, false},
		{"internal/mail", in("internal/email"), true},
		{"internal/mail", in("store"), false},
		{"internal/mail", bun, false},
		{"internal/jobs", in("internal/mail"), true},
		{"internal/jobs", "github.com/riverqueue/river", true},
		{"internal/jobs", in("store"), true},
		{"internal/jobs", in("store/auth"), false},
		{"internal/jobs", in("server"), false},
		{"internal/jobs", in("internal/config"), false},
		{"internal/config", in("internal/secret"), true},
		{"internal/config", in("store"), false},

		{"gen/go/logicspike/auth/v1", rules, true},
		{"gen/go/logicspike/auth/v1", in("internal/ids"), false},

		{"internal/elsewhere", "fmt", false},
		{"elsewhere", "fmt", false},
		{".", "fmt", false},
	} {
		if err := check(c.pkg, c.imported); (err == nil) != c.allowed {
			t.Errorf("%s imports %s: allowed is %v, got %v", c.pkg, c.imported, c.allowed, err)
		}
	}
}
