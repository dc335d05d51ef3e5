package config_test

import (
	"slices"
	"testing"

	"github.com/logicspike/manager/internal/config"
)

func TestPasskeysAreOfThePublicURLsHost(t *testing.T) {
	for name, c := range map[string]struct {
		settings config.Settings
		id       string
		origins  []string
	}{
		"the public URL's host": {
			config.Settings{PublicURL: "https://accounts.example.com"}, "accounts.example.com", []string{"https://accounts.example.com"},
		},
		"and the allowed origins that are below it": {
			config.Settings{PublicURL: "https://example.com", AllowedOrigins: []config.Origin{
				"https://app.example.com", "https://example.com:8443", "https://badexample.com", "https://example.org", "http://app.example.com",
			}},
			"example.com", []string{"https://example.com", "https://app.example.com", "https://example.com:8443"},
		},
		"a parent": {
			config.Settings{PublicURL: "https://accounts.example.com", PasskeyRPID: "example.com", AllowedOrigins: []config.Origin{"https://app.example.com"}},
			"example.com", []string{"https://accounts.example.com", "https://app.example.com"},
		},
		"origins that are named, and no other": {
			config.Settings{PublicURL: "https://accounts.example.com", PasskeyRPID: "example.com", PasskeyOrigins: []config.Origin{"https://app.example.com"}},
			"example.com", []string{"https://app.example.com"},
		},
		"this machine by name":    {config.Settings{PublicURL: "http://localhost:8080"}, "localhost", []string{"http://localhost:8080"}},
		"this machine by address": {config.Settings{PublicURL: "http://127.0.0.1:8080"}, "localhost", []string{"http://localhost:8080"}},
		"in IPv6":                 {config.Settings{PublicURL: "http://[::1]"}, "localhost", []string{"http://localhost"}},
		"a host without TLS":      {config.Settings{PublicURL: "http://accounts.example.com"}, "", nil},
		"an address":              {config.Settings{PublicURL: "https://192.0.2.1"}, "", nil},
		"another's parent":        {config.Settings{PublicURL: "https://accounts.example.com", PasskeyRPID: "example.org"}, "", nil},
	} {
		if id, origins := c.settings.PasskeyParty(); id != c.id || !slices.Equal(origins, c.origins) {
			t.Errorf("%s: %q, %q", name, id, origins)
		}
	}
}
