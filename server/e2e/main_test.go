// Package e2e tests the product as its users meet it: through the generated
// clients, against the real server on a real database.
package e2e

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/logicspike/manager/internal/testkit"
)

var large = flag.Bool("large", false, "run the tests of size with all that the product is made for, and not a tenth")

// sized is a number of members, events, rounds or such that a test takes: all of them
// with -large, and a tenth otherwise.
func sized(all int) int {
	if *large {
		return all
	}
	return all / 10
}

// sampled are the first and the step of a test that breaks one write after another: all of
// them with -large, and an eighth otherwise, each time others.
func sampled() (first, step int) {
	if *large {
		return 1, 1
	}
	return 1 + rand.IntN(8), 8
}

func TestMain(m *testing.M) {
	// Tests wait for mails, jobs and clocks more than they compute: twice as many at once
	// as by default, unless the command line says otherwise.
	parallel := flag.Lookup("test.parallel")
	_ = parallel.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0)))
	flag.Parse()
	// So many random runs of so many steps, each time others; -large makes enough of them
	// for all that should be met to be met.
	checks := "6"
	if *large {
		checks = "60"
	}
	for name, value := range map[string]string{"rapid.checks": checks, "rapid.steps": "40"} {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			_ = f.Value.Set(value)
		}
	}
	debug.SetGCPercent(gcPercent)
	testkit.Main(m)
}

// gcPercent is how much garbage is collected at once: there is more memory than time.
const gcPercent = 400
