// Package e2e tests the product as its users meet it: through the generated
// clients, against the real server on a real database.
package e2e

import (
	"testing"

	"github.com/logicspike/manager/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }
