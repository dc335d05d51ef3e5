package config

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Origin is a web origin as browsers write it (RFC 6454, 6.2): scheme, host in
// lower-case ASCII, and the port unless it is the scheme's own.
type Origin string

// defaultPorts are the ports that an origin does not show.
var defaultPorts = map[string]uint64{"http": 80, "https": 443}

// ParseOrigin reads an origin in any spelling. It refuses what is more than one:
// a path (but a single / at the end is ignored), a query, a user.
func ParseOrigin(s string) (Origin, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return "", errors.New("scheme://host or scheme://host:port is expected")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("http:// or https:// is expected")
	case u.User != nil:
		return "", errors.New("a user name or password is not allowed")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "", errors.New("only scheme and host are expected, without path, query and fragment")
	}
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	} else if host, err = idna.Lookup.ToASCII(host); err != nil {
		return "", errors.New("the host is not a host name")
	}
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return "", errors.New("the port is not between 1 and 65535")
		}
		if n != defaultPorts[u.Scheme] {
			host += ":" + strconv.FormatUint(n, 10)
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return "", errors.New("the port is missing")
	}
	return Origin(u.Scheme + "://" + host), nil
}

// UnmarshalText is ParseOrigin.
func (o *Origin) UnmarshalText(text []byte) error {
	parsed, err := ParseOrigin(string(text))
	if err != nil {
		return err
	}
	*o = parsed
	return nil
}

// Secure reports whether the origin is reached over TLS.
func (o Origin) Secure() bool { return strings.HasPrefix(string(o), "https://") }
