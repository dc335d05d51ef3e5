package password

import (
	_ "embed"
	"strings"
	"sync"
)

// The most common passwords; COMMON.md tells where they come from.
//
//go:embed common.txt
var commonList string

// common are those of the list.
var common = sync.OnceValue(func() map[string]bool {
	set := make(map[string]bool, strings.Count(commonList, "\n"))
	for line := range strings.Lines(commonList) {
		set[strings.TrimSuffix(line, "\n")] = true
	}
	return set
})

// isCommon reports whether the list has a password, whatever its case.
func isCommon(password string) bool { return common()[strings.ToLower(password)] }
