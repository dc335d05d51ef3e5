package main

import (
	"os"
	"strings"
	"testing"
)

// asProgram makes the test binary be the program itself, as the argument hashPasswords does.
const asProgram = "TEST_AS_PROGRAM"

// TestMain keeps the settings of whoever runs the tests out of them.
func TestMain(m *testing.M) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "MANAGER_") {
			_ = os.Unsetenv(name)
		}
	}
	if os.Getenv(asProgram) != "" || len(os.Args) > 1 && os.Args[1] == hashPasswords {
		main()
	}
	os.Exit(m.Run())
}
