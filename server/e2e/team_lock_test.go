package e2e

import (
	"testing"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// TestWhatACallerLosesWhileTheirCallWaitsCounts holds the workspace's row, so that a
// call which the rule has let through waits for it, and takes away meanwhile what the
// rule was about.
func TestWhatACallerLosesWhileTheirCallWaitsCounts(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	etag := func() string { return preview(t, owner, owner.Workspace.Id).Etag }
	for _, c := range []struct {
		what, role string
		call       func(*testkit.Person, string) error
	}{
		{"UpdateWorkspace", "admin", func(p *testkit.Person, _ string) error {
			_, err := p.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: owner.Workspace.Id, Name: "Theirs"})
			return err
		}},
		{"DeleteWorkspace", "owner", func(p *testkit.Person, etag string) error {
			_, err := p.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: owner.Workspace.Id, Etag: etag})
			return err
		}},
		{"CreateInvitation", "admin", func(p *testkit.Person, _ string) error {
			_, err := p.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: owner.Workspace.Id, Email: testkit.NewEmail()})
			return err
		}},
	} {
		p := s.member(t, owner, c.role)
		tag := etag()
		err := whileItWaits(t, s.Server, "tenant.workspaces", owner.Workspace.Id, func() error { return c.call(p, tag) },
			"UPDATE team.memberships SET deactivate_time = now() WHERE id = $1", p.Membership.Id)
		because(t, c.what, err, "NOT_FOUND")

		// Or the workspace is closed to them meanwhile, by a session and by a key.
		p = s.member(t, owner, c.role)
		for _, by := range []string{p.Token, keyOf(t, p, "workspace.update", "invitation.create").Token} {
			caller := *p
			caller.Client = s.Client("").As(by)
			if by != p.Token && c.what == "DeleteWorkspace" {
				continue // which no key does
			}
			tag = etag()
			err = whileItWaits(t, s.Server, "tenant.workspaces", owner.Workspace.Id, func() error { return c.call(&caller, tag) },
				"UPDATE tenant.workspaces SET second_factor_required = true WHERE id = $1", owner.Workspace.Id)
			because(t, c.what+" where a second factor is required", err, closedByPolicy)
			if _, err := s.SQL.Exec(t.Context(), "UPDATE tenant.workspaces SET second_factor_required = false"); err != nil {
				t.Fatal(err)
			}
		}
	}
	w, err := owner.Workspaces.GetWorkspace(t.Context(), &tenantv1.GetWorkspaceRequest{WorkspaceId: owner.Workspace.Id})
	if err != nil || w.Workspace.State != tenantv1.WorkspaceState_WORKSPACE_STATE_ACTIVE || w.Workspace.Name == "Theirs" {
		t.Errorf("the workspace: %v, %v", w, err)
	}
}
