package e2e

import (
	"testing"

	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

func TestInv(t *testing.T) {
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	q := srv.Register(t)
	srv.Join(t, q, p.Workspace.Id, "member")
	srv.CheckInvariants(t)
	preview, err := p.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: preview.Etag}); err != nil {
		t.Fatal(err)
	}
	srv.CheckInvariants(t)
	if _, err := p.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: preview.Etag}); err != nil {
		t.Fatal(err)
	}
	srv.CheckInvariants(t)
	srv.CheckPurged(t, p.Workspace.Id, p.User.Id)
}
