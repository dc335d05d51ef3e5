package config

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
)

// ReturnURL is where a browser may go after a sign-in by an identity provider: a URL of
// https, or of http on this machine, or with a scheme of an application, which has a dot
// (RFC 8252, 7.1).
type ReturnURL string

// ReturnURLs are several.
type ReturnURLs []ReturnURL

// List returns the URLs.
func (r ReturnURLs) List() []string {
	list := make([]string, len(r))
	for i, u := range r {
		list[i] = string(u)
	}
	return list
}

// ParseReturnURL reads a URL, which it does not change: it is compared exactly.
func ParseReturnURL(s string) (ReturnURL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || !u.IsAbs() || len(s) > 2000 || strings.Contains(s, `\`) ||
		strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsSpace(r) || unicode.IsControl(r) }):
		return "", errors.New("a URL in ASCII is expected")
	case u.User != nil:
		return "", errors.New("a user name or password is not allowed")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "", errors.New("https:// is expected, or http:// on this machine")
	case (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() == "":
		return "", errors.New("the host is missing")
	case u.Scheme != "https" && u.Scheme != "http" && !strings.Contains(u.Scheme, "."):
		return "", errors.New("https:// is expected, or the scheme of an application, such as com.example.app")
	}
	return ReturnURL(s), nil
}

// UnmarshalText is ParseReturnURL.
func (r *ReturnURL) UnmarshalText(text []byte) error {
	parsed, err := ParseReturnURL(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}
