package archtest

import (
	"fmt"
	"strings"
)

// module is the module's path.
const module = "github.com/logicspike/manager"

// row says what the packages of a pattern may import.
type row struct {
	// packages are the patterns of the packages that the row is for. The first
	// row with a pattern that matches counts.
	packages []string
	// may are the patterns of the packages of this repository that they may
	// import; "$" stands for what "*" matched in the pattern of the row.
	may []string
	// never are the beginnings of import paths outside this repository that they
	// may not import.
	never []string
}

// In a pattern, * stands for one element of the path, ** at the end for any
// number of them, none included.

// What belongs to one side of the program only.
var (
	database = []string{"github.com/uptrace/bun", "github.com/jackc/pgx", "database/sql", "github.com/riverqueue/river"}
	protocol = []string{"connectrpc.com/", "google.golang.org/protobuf", "google.golang.org/grpc", "buf.build/"}
	wire     = append([]string{"net/http"}, protocol...)
)

// stubs are the generated packages of the API.
const stubs = "gen/go/**"

// table is the import table of the architecture. Test files are free.
var table = []row{
	{packages: []string{"gen/**"}, may: []string{stubs}, never: database},

	{packages: []string{"store/migrations"}},
	{packages: []string{"store/postgres/embedded"}, never: wire},
	{
		packages: []string{"store/postgres"},
		may:      []string{"store/postgres/**", "internal/ids", "internal/fault", "internal/clock", "internal/secret"},
		never:    wire,
	},
	{packages: []string{"store/billing/pricing"}, never: append(database, wire...)},
	{
		packages: []string{"store/*"},
		may:      []string{"store/postgres", "store/$/**", "internal/ids", "internal/fault", "internal/clock", "internal/secret", "internal/email", "internal/authz"},
		never:    wire,
	},
	{
		packages: []string{"store"},
		may: []string{
			"store/*", "store/billing/pricing", "internal/ids", "internal/fault", "internal/clock", "internal/secret", "internal/email",
			"internal/authz", "internal/mail",
		},
		never: wire,
	},

	{
		packages: []string{"server/rpc"},
		may: []string{
			"gen/go/logicspike/authz/v1", "gen/go/logicspike/fault/v1", // options, and the reasons of errors
			"internal/authz", "internal/ids", "internal/fault", "internal/clock",
		},
		never: database,
	},
	{
		packages: []string{"server/convert"}, // what several modules answer with
		may:      []string{stubs, "store/auth", "store/identity", "store/team", "store/tenant", "internal/authz", "internal/fault"},
		never:    database,
	},
	{packages: []string{"server/pages"}, never: append(database, protocol...)}, // calls the API from the browser
	{packages: []string{"console"}, never: append(database, protocol...)},      // the same, and has files only
	{
		packages: []string{"server/*", "server/*/**"},
		may: []string{
			stubs, "store", "store/$/**", "server/$/**", "server/convert",
			"internal/authz", "internal/ids", "internal/fault", "internal/clock", "internal/secret", "internal/email",
		},
		never: database,
	},
	{
		packages: []string{"server"},
		may:      []string{"server/**", "console", "store", stubs, "internal/*"},
		never:    database,
	},

	{packages: []string{"client", "client/**"}, may: []string{stubs, "client"}, never: database},

	{packages: []string{"cmd/*", "internal/testkit", "bench"}, may: []string{"**"}},
	{packages: []string{"internal/testkit/fake"}, never: append(database, protocol...)}, // nor anything of the product

	{packages: []string{"internal/ids"}, never: wire}, // an id says how it is stored: database/sql/driver
	{packages: []string{"internal/fault", "internal/clock", "internal/secret", "internal/email"}, never: append(database, wire...)},
	{packages: []string{"internal/authz"}, may: []string{"internal/ids"}, never: append(database, wire...)},
	{packages: []string{"internal/mail"}, may: []string{"internal/email", "internal/secret", "internal/clock"}, never: append(database, protocol...)},
	{
		packages: []string{"internal/jobs"},
		may:      []string{"store", "internal/mail", "internal/clock", "internal/ids", "internal/fault"}, // above the store: works its queue
		never:    protocol,
	},
	{packages: []string{"internal/config"}, may: []string{"internal/secret", "internal/email"}},
	{packages: []string{"internal/archtest"}, may: []string{stubs}, never: database},
}

// check returns why a package of this repository may not import a path, or nil.
// The package is given without the module's path ("." for the root).
func check(pkg, imported string) error {
	r, star, ok := find(pkg)
	if !ok {
		return fmt.Errorf("no row of the import table covers the package %s", pkg)
	}
	if imported == module || strings.HasPrefix(imported, module+"/") {
		target := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
		for _, pattern := range r.may {
			if star == "" && strings.Contains(pattern, "$") {
				continue
			}
			if _, ok := match(strings.ReplaceAll(pattern, "$", star), target); ok {
				return nil
			}
		}
		return fmt.Errorf("%s may not import %s", pkg, target)
	}
	for _, never := range r.never {
		if imported == never || strings.HasPrefix(imported, strings.TrimSuffix(never, "/")+"/") {
			return fmt.Errorf("%s may not import %s", pkg, imported)
		}
	}
	return nil
}

// find returns the row for a package, and what * matched in its pattern.
func find(pkg string) (row, string, bool) {
	for _, r := range table {
		for _, pattern := range r.packages {
			if star, ok := match(pattern, pkg); ok {
				return r, star, true
			}
		}
	}
	return row{}, "", false
}

// match reports whether a path matches a pattern, and what the first * matched.
func match(pattern, path string) (star string, ok bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, element := range want {
		switch {
		case element == "**" && i == len(want)-1:
			return star, true
		case i >= len(got):
			return "", false
		case element == "*":
			if star == "" {
				star = got[i]
			}
		case element != got[i]:
			return "", false
		}
	}
	return star, len(want) == len(got)
}
