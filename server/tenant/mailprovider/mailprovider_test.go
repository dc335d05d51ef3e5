package mailprovider_test

import (
	"testing"

	"github.com/logicspike/manager/server/tenant/mailprovider"
)

func TestDomainsOfMailProvidersAreKnown(t *testing.T) {
	for _, test := range []struct {
		domain, registrable string
		want                bool
	}{
		{"gmail.com", "gmail.com", true},
		{"googlemail.com", "googlemail.com", true},
		{"outlook.com", "outlook.com", true},
		{"hotmail.com", "hotmail.com", true},
		{"yahoo.co.uk", "yahoo.co.uk", true},
		{"icloud.com", "icloud.com", true},
		{"proton.me", "proton.me", true},
		{"gmx.de", "gmx.de", true},
		{"web.de", "web.de", true},
		{"qq.com", "qq.com", true},
		{"mail.ru", "mail.ru", true},
		{"mailinator.com", "mailinator.com", true}, // addresses for some minutes
		{"mail.gmail.com", "gmail.com", true},
		{"a.b.c.gmail.com", "gmail.com", true},

		{"example.com", "example.com", false},
		{"notgmail.com", "notgmail.com", false},
		{"gmail.com.example.com", "example.com", false},
		{"google.com", "google.com", false},
		// A provider on the list, and a public suffix as well.
		{"acme.net.ua", "acme.net.ua", false},
	} {
		if got := mailprovider.Owns(test.domain, test.registrable); got != test.want {
			t.Errorf("Owns(%q, %q) = %v", test.domain, test.registrable, got)
		}
	}
	if !mailprovider.Owns("net.ua", "net.ua") {
		t.Error("net.ua is no longer on the list; the test of acme.net.ua needs another public suffix that is")
	}
}
