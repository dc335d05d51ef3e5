package e2e

import (
	"testing"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// TestTour goes once through what the README shows.
func TestTour(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.RegisterAs(t, "ann@example.com", "Acme Inc.")

	if p.User.Email != "ann@example.com" || !p.User.EmailVerified || p.Workspace.Slug != "acme-inc" || p.Membership.Role != "owner" {
		t.Fatalf("registered %v %v %v", p.User, p.Workspace, p.Membership)
	}
	srv.SignIn(t, p)
	session, err := p.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
	if err != nil || session.Session.UserId != p.User.Id || len(session.Requirements) != 0 {
		t.Fatalf("GetSession = %v, %v", session, err)
	}
	me, err := p.Users.GetMe(t.Context(), &identityv1.GetMeRequest{})
	if err != nil || me.User.Id != p.User.Id {
		t.Fatalf("GetMe = %v, %v", me, err)
	}
	renamed, err := p.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: p.Workspace.Id, Name: "Acme Ltd."})
	if err != nil || renamed.Workspace.Name != "Acme Ltd." {
		t.Fatalf("UpdateWorkspace = %v, %v", renamed, err)
	}
	preview, err := p.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id})
	if err != nil || preview.DeletedUserCount != 1 || preview.SessionCount != 2 || preview.MembershipCount != 1 || preview.Etag == "" {
		t.Fatalf("PreviewDeleteWorkspace = %v, %v", preview, err)
	}
	deleted, err := p.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: preview.Etag})
	if err != nil || deleted.Workspace.State != tenantv1.WorkspaceState_WORKSPACE_STATE_DELETED {
		t.Fatalf("DeleteWorkspace = %v, %v", deleted, err)
	}
	undeleted, err := p.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id})
	if err != nil || undeleted.Workspace.State != tenantv1.WorkspaceState_WORKSPACE_STATE_ACTIVE {
		t.Fatalf("UndeleteWorkspace = %v, %v", undeleted, err)
	}
	if _, err = p.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: preview.Etag}); err != nil {
		t.Fatal(err)
	}
	purged, err := p.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: preview.Etag})
	if err != nil || purged.DeletedUserCount != 1 || purged.MembershipCount != 1 {
		t.Fatalf("PurgeWorkspace = %v, %v", purged, err)
	}
	_, err = p.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
	if connect.CodeOf(err) != connect.CodeUnauthenticated || client.Reason(err) != faultv1.Reason_REASON_SESSION_REQUIRED {
		t.Fatalf("GetSession after the purge: %v", err)
	}
}
