// Package e2e tests the product as its users meet it: through the generated
// clients, against the real server on a real database.
package e2e

import (
	"flag"
	"runtime"
	"strconv"
	"testing"

	"github.com/logicspike/manager/internal/testkit"
)

func TestMain(m *testing.M) {
	// Tests wait for mails, jobs and clocks more than they compute: twice as many at once
	// as by default, unless the command line says otherwise.
	parallel := flag.Lookup("test.parallel")
	_ = parallel.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0)))
	testkit.Main(m)
}
