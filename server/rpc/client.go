package rpc

import (
	"crypto/rand"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/logicspike/manager/internal/authz"
)

const (
	maxRequestID = 64
	maxUserAgent = 256 // characters
	maxForwarded = 32  // proxies that are walked through
)

// clients tells which program a request came from.
type clients struct {
	trusted []netip.Prefix // networks of proxies
}

func (c clients) of(r *http.Request) authz.Client {
	client := authz.Client{UserAgent: cleanUserAgent(r.UserAgent()), Device: deviceOf(r.Header)}
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		client.Address = peer.Addr().Unmap()
	}
	if c.trusts(client.Address) {
		if id := r.Header.Get("X-Request-Id"); saneRequestID(id) {
			client.RequestID = id
		}
		client.Address = c.behind(client.Address, r.Header.Values("X-Forwarded-For"))
	}
	if client.RequestID == "" {
		client.RequestID = rand.Text()
	}
	return client
}

func (c clients) trusts(a netip.Addr) bool {
	for _, p := range c.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// behind walks the chain of proxies from the nearest one, the peer, to the
// farthest, as long as each is trusted and wrote down an address: the first that
// is not trusted is the client. What stands before it is the client's own claim.
func (c clients) behind(peer netip.Addr, forwarded []string) netip.Addr {
	address, steps := peer, 0
	for _, line := range slices.Backward(forwarded) {
		for line != "" {
			if steps++; steps > maxForwarded || !c.trusts(address) {
				return address
			}
			var entry string
			if comma := strings.LastIndexByte(line, ','); comma >= 0 {
				line, entry = line[:comma], line[comma+1:]
			} else {
				line, entry = "", line
			}
			next, ok := parseForwarded(strings.TrimSpace(entry))
			if !ok {
				return address
			}
			address = next
		}
	}
	return address
}

// parseForwarded reads an address, which some proxies write with a port.
func parseForwarded(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]")); err == nil {
			return a.Unmap().WithZone(""), true
		}
	}
	return netip.Addr{}, false
}

func saneRequestID(s string) bool {
	if s == "" || len(s) > maxRequestID {
		return false
	}
	for i := range len(s) {
		b := s[i]
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '.' && b != '_' && b != '-' {
			return false
		}
	}
	return true
}

// cleanUserAgent returns at most maxUserAgent characters, none of them control
// characters or broken UTF-8.
func cleanUserAgent(s string) string {
	if len(s) <= maxUserAgent && plainASCII(s) {
		return s
	}
	var b strings.Builder
	left := maxUserAgent
	for _, r := range s {
		if left == 0 {
			break
		}
		if r == unicode.ReplacementChar || forbidden(r) {
			continue
		}
		b.WriteRune(r)
		left--
	}
	return b.String()
}

// deviceOf returns the token of the device that a request came from: that of its own
// header, else the cookie's; "" when there is none, or it is malformed.
func deviceOf(header http.Header) authz.DeviceToken {
	token := ""
	if lines := header[authz.DeviceHeader]; len(lines) > 0 {
		if len(lines) == 1 {
			token = lines[0]
		}
	} else {
		token, _ = cookieOf(header, authz.DeviceCookieName)
	}
	if len(token) > maxTokenBytes || !isToken(token) {
		return ""
	}
	return authz.DeviceToken(token)
}
