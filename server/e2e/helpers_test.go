package e2e

import (
	"net/http"
	"testing"

	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/testkit"
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

// deleteSelf deletes somebody's account, with the workspaces that are theirs alone.
func deleteSelf(t testing.TB, p *testkit.Person) error {
	t.Helper()
	preview, err := p.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
	if err != nil {
		return err
	}
	req := &identityv1.DeleteMeRequest{Etag: preview.Etag}
	for _, w := range preview.SoleOwnedWorkspaces {
		req.Resolutions = append(req.Resolutions, &identityv1.WorkspaceResolution{
			WorkspaceId: w.WorkspaceId, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true},
		})
	}
	_, err = p.Users.DeleteMe(t.Context(), req)
	return err
}
