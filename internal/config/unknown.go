package config

import (
	"reflect"
	"strings"
)

// Unknown returns the variables of an environment that look like settings and are
// none: misspelt ones.
func Unknown(environ []string) []string {
	known := map[string]bool{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Settings]()) {
		known[field.Tag.Get("env")] = true
	}
	var unknown []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "MANAGER_") && !known[name] {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
