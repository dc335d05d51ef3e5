package rpc

import (
	"context"
	"net/http"
	"strings"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
)

// maxTokenBytes is the length above which a token is refused unseen.
const maxTokenBytes = 256

// errSessionRequired is what every caller without a live session gets, whatever
// was wrong with what they sent.
var errSessionRequired = fault.New(fault.Unauthenticated, fault.SessionRequired, "sign in first")

// authenticate returns the session that the request came with.
func (s *Stack) authenticate(ctx context.Context, header http.Header) (*authz.Session, error) {
	token, transport := tokenOf(header)
	if token == "" || len(token) > maxTokenBytes {
		return nil, errSessionRequired
	}
	session, err := s.options.Sessions.Authenticate(ctx, token, transport)
	if f := fault.As(err); f != nil && f.Kind == fault.Unauthenticated {
		return nil, errSessionRequired
	}
	if err == nil && session == nil {
		return nil, errSessionRequired
	}
	return session, err
}

// tokenOf returns the token of the Authorization header if there is one, else of
// the cookie; "" when it is malformed or there is neither.
func tokenOf(header http.Header) (string, authz.Transport) {
	if lines := header["Authorization"]; len(lines) > 0 {
		if scheme, token, ok := strings.Cut(lines[0], " "); ok && len(lines) == 1 && strings.EqualFold(scheme, "Bearer") && isToken(token) {
			return token, authz.Bearer
		}
		return "", authz.Bearer
	}
	if token, ok := cookieOf(header, authz.CookieName); ok && isToken(token) {
		return token, authz.Cookie
	}
	return "", authz.Cookie
}

// cookieOf returns the first cookie of a name, and whether there is one.
func cookieOf(header http.Header, name string) (string, bool) {
	for _, line := range header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			if key, value, _ := strings.Cut(strings.TrimSpace(pair), "="); key == name {
				return value, true
			}
		}
	}
	return "", false
}

// isToken reports whether the string is made of the characters of a token
// (RFC 9110, 11.2: token68).
func isToken(s string) bool {
	for i := range len(s) {
		b := s[i]
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && strings.IndexByte("-._~+/=", b) < 0 {
			return false
		}
	}
	return s != ""
}
