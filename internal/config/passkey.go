package config

import (
	"net"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// PasskeyParty returns of which domain passkeys are, and the origins whose pages may
// use them; "" and nil where no page can, since browsers ask for TLS and a host name
// (WebAuthn Level 3, 5.1.3; localhost is enough). The public URL must be known.
func (s Settings) PasskeyParty() (id string, origins []string) {
	own := s.PublicURL.named()
	if id = s.PasskeyRPID; id == "" {
		id = own.host()
	}
	list := s.PasskeyOrigins
	if len(list) == 0 {
		list = append([]Origin{own}, s.AllowedOrigins...)
	}
	for _, origin := range list {
		if origin.passkeys() && of(id, origin.host()) {
			origins = append(origins, string(origin))
		}
	}
	if len(origins) == 0 {
		return "", nil
	}
	return id, origins
}

// named returns the origin with the name localhost in place of an address of this
// machine: passkeys are of names only.
func (o Origin) named() Origin {
	u, err := url.Parse(string(o))
	if ip := net.ParseIP(o.host()); err != nil || ip == nil || !ip.IsLoopback() {
		return o
	}
	if port := u.Port(); port != "" {
		return Origin(u.Scheme + "://localhost:" + port)
	}
	return Origin(u.Scheme + "://localhost")
}

// host returns the origin's host, without its port.
func (o Origin) host() string {
	u, err := url.Parse(string(o))
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// passkeys reports whether browsers let the pages of the origin use passkeys at all.
func (o Origin) passkeys() bool {
	host := o.host()
	return host != "" && net.ParseIP(host) == nil && (o.Secure() || of("localhost", host))
}

// of reports whether a host is a domain or below it.
func of(domain, host string) bool { return host == domain || strings.HasSuffix(host, "."+domain) }

func (s Settings) passkeys(c *check) {
	id := s.PasskeyRPID
	if id != "" {
		if ascii, err := idna.Lookup.ToASCII(id); err != nil || ascii != id || net.ParseIP(id) != nil || strings.ContainsAny(id, ":/ ") {
			c.fail("passkey-rp-id", "a domain like example.com is expected, in lower-case ASCII")
			return
		}
	} else {
		id = s.PublicURL.named().host()
	}
	for _, origin := range s.PasskeyOrigins {
		c.origin("passkey-origins", origin)
		switch {
		case !origin.passkeys():
			c.fail("passkey-origins", "%s: browsers have passkeys for https:// and a host name only (and for http://localhost)", origin)
		case id != "" && !of(id, origin.host()):
			c.fail("passkey-origins", "%s is not of %s, of which passkeys are: see passkey-rp-id", origin, id)
		}
	}
	if s.PasskeyRPID == "" || s.PublicURL == "" && len(s.PasskeyOrigins) == 0 {
		return
	}
	party, origins := s.PasskeyParty()
	if party == "" {
		c.fail("passkey-rp-id", "no page that can have passkeys is of %s: neither public-url nor one of allowed-origins", id)
	}
	for _, origin := range origins {
		if suffix, _ := publicsuffix.PublicSuffix(id); suffix == id && Origin(origin).host() != id && id != "localhost" {
			c.fail("passkey-rp-id", "%s is a domain below which anybody can have one", id)
			break
		}
	}
}
