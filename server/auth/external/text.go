package external

import (
	"errors"
	"net"
	"net/url"
	"unicode"
)

// printable drops what a name must not hold: control and format characters, such as
// those that turn the direction of writing. Every kind of space becomes one.
func printable(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case !unicode.IsPrint(r):
		return -1
	}
	return r
}

// checkURL refuses to speak to another machine without TLS.
func checkURL(u *url.URL) error {
	if u.Hostname() == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return errors.New("an https URL is required")
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
