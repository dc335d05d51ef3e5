package e2e

import (
	"net/http"
	"testing"

	"github.com/logicspike/manager/internal/authz"
)

// cookieToken checks a Set-Cookie header, and returns the session's token in it.
func cookieToken(t testing.TB, header string) string {
	t.Helper()
	c, err := http.ParseSetCookie(header)
	if err != nil || c.Name != authz.CookieName || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Value == "" {
		t.Fatalf("Set-Cookie: %q (%v)", header, err)
	}
	return c.Value
}
