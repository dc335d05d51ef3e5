// Package email reads e-mail addresses and says when two are the same.
package email

import (
	"errors"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// MaxLength is the longest address in bytes (RFC 5321, 4.5.3.1.3, less the
// angle brackets).
const MaxLength = 254

// Address is an e-mail address.
type Address struct {
	// Display is the address as it was written: where mail is sent to.
	Display string
	// Key is the same for all spellings of one address: in small letters, with
	// the domain in ASCII form.
	Key string
}

// domains maps domain names to their ASCII form (RFC 5891), as for a look-up, and
// refuses what cannot be a host name.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// Parse reads one address without a display name. It refuses an address that
// Unicode NFKC would change, since two such can look the same.
func Parse(s string) (Address, error) {
	if len(s) > MaxLength {
		return Address{}, errors.New("is longer than an e-mail address can be")
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}) {
		return Address{}, errors.New("holds a character that an e-mail address cannot have")
	}
	if !norm.NFKC.IsNormalString(s) {
		return Address{}, errors.New("holds a character that can be written in a simpler form; use that")
	}
	parsed, err := mail.ParseAddress(s)
	if err != nil || parsed.Name != "" || parsed.Address != s {
		return Address{}, errors.New("is not an e-mail address")
	}
	at := strings.LastIndexByte(s, '@')
	local, domain := s[:at], s[at+1:]
	if len(local) > 64 {
		return Address{}, errors.New("has more than 64 bytes before the @")
	}
	ascii, err := Domain(domain)
	if err != nil {
		return Address{}, errors.New("has no valid domain after the @")
	}
	return Address{Display: s, Key: strings.Map(lower, local) + "@" + ascii}, nil
}

// Domain returns the form that all spellings of one domain have in the keys of
// addresses: ASCII, in small letters. It refuses what is no domain of at least two
// labels.
func Domain(s string) (string, error) {
	ascii, err := domains.ToASCII(s)
	if err != nil || !strings.Contains(ascii, ".") || strings.HasSuffix(ascii, ".") {
		return "", errors.New("is not a domain such as example.com")
	}
	return ascii, nil
}

// lower returns the small form of a letter, if the two are one letter and no more:
// not i for a dotted capital I, and not ss for a sharp s.
func lower(r rune) rune {
	if small := unicode.ToLower(r); unicode.ToUpper(small) == r {
		return small
	}
	return r
}

// String returns the address as it was written.
func (a Address) String() string { return a.Display }

// LocalPart returns what stands before the @.
func (a Address) LocalPart() string {
	return a.Display[:strings.LastIndexByte(a.Display, '@')]
}
