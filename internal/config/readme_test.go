package config_test

import (
	"os"
	"strings"
	"testing"
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
