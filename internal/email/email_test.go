package email_test

import (
	"strings"
	"testing"

	"github.com/logicspike/manager/internal/email"
)

func TestSpellingsOfOneAddressHaveOneKey(t *testing.T) {
	for want, spellings := range map[string][]string{
		"ann@example.com":              {"ann@example.com", "Ann@Example.COM", "ANN@EXAMPLE.com"},
		"ann+tag@example.com":          {"ann+tag@example.com", "Ann+Tag@example.com"},
		"ann@xn--bcher-kva.example":    {"ann@bücher.example", "ann@BÜCHER.example", "ann@xn--bcher-kva.example", "Ann@XN--BCHER-KVA.example"},
		"jörg@example.com":             {"jörg@example.com", "JÖRG@example.com"},
		"o'neil@sub.mail.example.test": {"O'Neil@sub.mail.example.test"},
	} {
		for _, s := range spellings {
			a, err := email.Parse(s)
			if err != nil || a.Key != want || a.Display != s {
				t.Errorf("Parse(%q) = %+v, %v, want key %q", s, a, err, want)
			}
		}
	}
}

func TestWhatIsNotOneAddressIsRefused(t *testing.T) {
	for _, s := range []string{
		"", "a", "@", "a@", "@b.example", "a@b", "a@b.", "a@.example", "a@b..example", "a b@c.example", " a@b.example", "a@b.example ",
		"Ann <ann@example.com>", "<ann@example.com>", "ann@example.com, bob@example.com", "ann@example.com;bob@example.com",
		"ann@example.com\x00", "ann\r\nBcc: x@example.com", "a@b.example\n", "\"quoted\"@example.com", "ann@[127.0.0.1]",
		"ａnn@example.com",        // full-width a: NFKC makes it ASCII
		"ﬁn@example.com",         // ligature
		"\u212Aate@example.com",  // Kelvin sign
		"ann@e\u2024xample.com",  // one dot leader
		"a\u200Bnn@example.com",  // zero width space
		"a\u202Enn@example.com",  // right-to-left override
		"ann@-example.com",       // label begins with a hyphen
		"ann@exa_mple.com",       // underscore in a host name
		"\xff\xfe@example.com",   // broken UTF-8
		"ann(comment)@mail.test", // comment
		strings.Repeat("a", 65) + "@example.com",
		"a@" + strings.Repeat("b", 64) + ".example",
		strings.Repeat("a", 60) + "@" + strings.Repeat(strings.Repeat("b", 60)+".", 4) + "example",
	} {
		if a, err := email.Parse(s); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", s, a)
		}
	}
}
