// Package mailprovider knows the domains at which anybody can get a mail address,
// for good or for some minutes.
//
// They are the list of the npm package free-email-domains, whose file domains.json
// is taken over as it is (`make mail-providers`); its license is beside it.
package mailprovider

import (
	_ "embed"
	"encoding/json"
	"strings"
	"sync"
)

//go:embed domains.json
var list []byte

// domains are those of the list.
var domains = sync.OnceValue(func() map[string]bool {
	var names []string
	if err := json.Unmarshal(list, &names); err != nil {
		panic(err) // never fails: the file is part of the program, and tested
	}
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
})

// Owns reports whether a domain is a mail provider's, or below one that is. The
// domain is in ASCII form and lower case, and registrable is the part of it that
// somebody registered: nothing above that is looked at, so that a provider which
// sits right below a public suffix does not stand for the whole of it.
func Owns(domain, registrable string) bool {
	for len(domain) >= len(registrable) {
		if domains()[domain] {
			return true
		}
		_, parent, ok := strings.Cut(domain, ".")
		if !ok {
			return false
		}
		domain = parent
	}
	return false
}
