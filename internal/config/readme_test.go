package config_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/logicspike/manager/internal/config"
)

func TestTheReadmeListsEverySetting(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.Contains(string(text), "\n| `"+name+"` | ") {
			t.Errorf("the README does not list %s", name)
		}
	}
}

func TestMisspeltVariablesAreFound(t *testing.T) {
	environ := []string{"HOME=/root", "MANAGER_LISTN=x", "MANAGERS=x"}
	for _, name := range names {
		environ = append(environ, config.Variable(name)+"=x")
	}
	if got := config.Unknown(environ); !slices.Equal(got, []string{"MANAGER_LISTN"}) {
		t.Errorf("Unknown = %v", got)
	}
}
