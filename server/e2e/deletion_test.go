package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

func preview(t testing.TB, p *testkit.Person, workspace string) *tenantv1.PreviewDeleteWorkspaceResponse {
	t.Helper()
	res, err := p.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: workspace})
	if err != nil {
		t.Fatalf("PreviewDeleteWorkspace: %v", err)
	}
	return res
}

func remove(t testing.TB, p *testkit.Person, workspace, etag string) error {
	t.Helper()
	_, err := p.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: workspace, Etag: etag})
	return err
}

func get(t testing.TB, p *testkit.Person, workspace string) (*tenantv1.Workspace, error) {
	t.Helper()
	res, err := p.Workspaces.GetWorkspace(t.Context(), &tenantv1.GetWorkspaceRequest{WorkspaceId: workspace})
	return res.GetWorkspace(), err
}

func notFound(t testing.TB, what string, err error) {
	t.Helper()
	refused(t, what, err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
}

// lone makes a person who belongs to one workspace only, not their own.
func lone(t testing.TB, srv *testkit.Server, workspace string, role authz.Role) *testkit.Person {
	t.Helper()
	p := srv.Register(t)
	srv.Join(t, p, workspace, role)
	if err := remove(t, p, p.Workspace.Id, preview(t, p, p.Workspace.Id).Etag); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{
		WorkspaceId: p.Workspace.Id, Etag: preview(t, p, p.Workspace.Id).Etag,
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheDeletionOfAWorkspaceIsExactlyThePreview(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	owner := srv.Register(t)
	elsewhere := srv.Register(t) // has a workspace of their own
	srv.Join(t, elsewhere, owner.Workspace.Id, authz.Admin)
	only := lone(t, srv, owner.Workspace.Id, authz.Member) // has none
	signIn(t, srv, only.Email, testkit.Password)

	p := preview(t, owner, owner.Workspace.Id)
	if p.MembershipCount != 3 || p.DeletedUserCount != 2 || p.RemainingUserCount != 1 || p.SessionCount != 3 {
		t.Errorf("preview counts: %v", p)
	}
	if len(p.Memberships) != 3 || len(p.DeletedUsers) != 2 || len(p.RemainingUsers) != 1 || len(p.Sessions) != 3 ||
		p.RemainingUsers[0].Email != elsewhere.Email || p.DeletedUsers[1].UserId != only.User.Id {
		t.Errorf("preview lists: %v", p)
	}

	// The set changes: what was seen no longer counts.
	late := srv.Register(t)
	srv.Join(t, late, owner.Workspace.Id, authz.Viewer)
	refused(t, "an old etag", remove(t, owner, owner.Workspace.Id, p.Etag), connect.CodeAborted, faultv1.Reason_REASON_ETAG_MISMATCH)

	p = preview(t, owner, owner.Workspace.Id)
	if err := remove(t, owner, owner.Workspace.Id, p.Etag); err != nil {
		t.Fatal(err)
	}
	if err := remove(t, owner, owner.Workspace.Id, p.Etag); err != nil {
		t.Errorf("repeated: %v", err)
	}
	refused(t, "deleted again", remove(t, owner, owner.Workspace.Id, "another"), connect.CodeFailedPrecondition, faultv1.Reason_REASON_WORKSPACE_DELETED)

	// Everybody's access has ended, and the sessions of who belongs to nothing else.
	for who, person := range map[string]*testkit.Person{"an admin": elsewhere, "a viewer": late} {
		_, err := get(t, person, owner.Workspace.Id)
		notFound(t, who, err)
		lives(t, who, person.Client)
	}
	ended(t, "who belongs to nothing else", only.Client)
	if w, err := get(t, owner, owner.Workspace.Id); err != nil || w.State != tenantv1.WorkspaceState_WORKSPACE_STATE_DELETED ||
		w.PurgeTime.AsTime().Sub(w.DeleteTime.AsTime()) != 14*24*time.Hour {
		t.Fatalf("the owner sees %v, %v", w, err)
	}
	_, err := owner.Memberships.ListMemberships(t.Context(), &teamv1.ListMembershipsRequest{WorkspaceId: owner.Workspace.Id})
	notFound(t, "the members of a deleted workspace", err)
	for shown, want := range map[bool]int{false: 0, true: 1} {
		list, err := owner.Workspaces.ListWorkspaces(t.Context(), &tenantv1.ListWorkspacesRequest{ShowDeleted: shown})
		if err != nil || len(list.Workspaces) != want {
			t.Errorf("ListWorkspaces(show_deleted %t) = %v, %v", shown, list, err)
		}
	}
	slug, err := late.Workspaces.CheckSlugAvailability(t.Context(), &tenantv1.CheckSlugAvailabilityRequest{Slug: owner.Workspace.Slug})
	if err != nil || slug.Available || slug.Suggestion == owner.Workspace.Slug {
		t.Errorf("CheckSlugAvailability = %v, %v", slug, err)
	}

	// Undeleting brings back everything.
	if _, err := owner.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: owner.Workspace.Id}); err != nil {
		t.Fatal(err)
	}
	if w, err := get(t, elsewhere, owner.Workspace.Id); err != nil || w.State != tenantv1.WorkspaceState_WORKSPACE_STATE_ACTIVE || w.PurgeTime != nil {
		t.Fatalf("an admin sees %v, %v", w, err)
	}
	srv.SignIn(t, only)
	_, err = owner.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: owner.Workspace.Id, Etag: p.Etag})
	refused(t, "purging a live workspace", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_WORKSPACE_NOT_DELETED)
	_, err = owner.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: owner.Workspace.Id})
	refused(t, "undeleting a live workspace", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_WORKSPACE_NOT_DELETED)

	// The purge removes exactly what the preview said.
	if err := remove(t, owner, owner.Workspace.Id, preview(t, owner, owner.Workspace.Id).Etag); err != nil {
		t.Fatal(err)
	}
	purged, err := owner.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: owner.Workspace.Id, Etag: p.Etag})
	if err != nil || purged.MembershipCount != p.MembershipCount || purged.DeletedUserCount != p.DeletedUserCount {
		t.Fatalf("PurgeWorkspace = %v, %v, want %v", purged, err, p)
	}
	ended(t, "the owner", owner.Client)
	lives(t, "who belongs elsewhere", elsewhere.Client)
	srv.CheckPurged(t, owner.Workspace.Id, owner.User.Id, only.User.Id)
	slug, err = late.Workspaces.CheckSlugAvailability(t.Context(), &tenantv1.CheckSlugAvailabilityRequest{Slug: owner.Workspace.Slug})
	if err != nil || !slug.Available {
		t.Errorf("CheckSlugAvailability after the purge = %v, %v", slug, err)
	}
	srv.CheckInvariants(t)
}

func TestThePreviewCountsWhatElseOfATeamEnds(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	w := newWorld(t, srv, "owner")
	counts := func() [4]int32 {
		p := w.preview()
		return [...]int32{p.InvitationCount, p.InvitationLinkCount, p.RoleCount, p.JoinRequestCount}
	}
	if got := counts(); got != [4]int32{} {
		t.Errorf("of a new workspace: %v", got)
	}
	etag := w.preview().Etag
	var invitations, links, requests []string
	for range 5 {
		invitations = append(invitations, w.invitation(w.owner, testkit.NewEmail()))
		links = append(links, w.link(w.owner))
		requests = append(requests, w.joinRequest(w.owner))
	}
	w.role(w.owner, "workspace.get")
	w.role(w.owner)
	elsewhere := newPerson(t, srv)
	w.invitation(elsewhere, testkit.NewEmail())
	w.link(elsewhere)
	if got := counts(); got != [...]int32{5, 5, 2, 5} {
		t.Errorf("of a team: %v", got)
	}
	// What has ended cannot end.
	w.sql("UPDATE team.invitations SET expire_time = create_time WHERE id = $1", uuidOf(t, invitations[0]))
	_, err := w.owner.Invitations.RevokeInvitation(t.Context(), &teamv1.RevokeInvitationRequest{WorkspaceId: w.workspace, InvitationId: invitations[1]})
	w.must(err)
	w.sql("UPDATE team.invitation_links SET max_uses = 1, use_count = 1 WHERE id = $1", uuidOf(t, links[0]))
	_, err = w.owner.Invitations.RevokeInvitationLink(t.Context(), &teamv1.RevokeInvitationLinkRequest{WorkspaceId: w.workspace, LinkId: links[1]})
	w.must(err)
	_, err = w.owner.JoinRequests.RejectJoinRequest(t.Context(), &teamv1.RejectJoinRequestRequest{WorkspaceId: w.workspace, JoinRequestId: requests[0]})
	w.must(err)
	if got := counts(); got != [...]int32{3, 3, 2, 4} {
		t.Errorf("once some have ended: %v", got)
	}
	if got := w.preview().Etag; got != etag {
		t.Error("the etag, which names who belongs to the workspace, has changed")
	}
	w.delete()
	if got := counts(); got != [...]int32{3, 3, 2, 4} {
		t.Errorf("once it is deleted: %v", got)
	}
	if _, err := w.owner.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: w.workspace, Etag: etag}); err != nil {
		t.Fatal(err)
	}
	srv.CheckPurged(t, w.workspace, w.owner.User.Id)
	srv.CheckInvariants(t)
}

// removed counts, by table, the rows that a call takes away.
func (s *stage) removed(t *testing.T, tables []string, call func() error) []int32 {
	t.Helper()
	before := s.contents(t)
	if err := call(); err != nil {
		t.Fatal(err)
	}
	after, rows := s.contents(t), make([]int32, len(tables))
	for i, table := range tables {
		if _, ok := before[table]; !ok {
			t.Fatalf("there is no table %s", table)
		}
		rows[i] = int32(before[table].Rows - after[table].Rows)
	}
	return rows
}

// TestPreviewsCountTheRowsThatAreRemoved compares each count of both previews with
// what its table loses, where others have rows in all of them as well.
func TestPreviewsCountTheRowsThatAreRemoved(t *testing.T) {
	t.Parallel()
	s := newStage(t, purgeAtOnce)
	owner, elsewhere, admin := s.person(t), s.person(t), s.person(t)
	home := *admin // in their own workspace, and not in the owner's
	s.admit(t, admin, owner, "admin")
	sole := s.soleMember(t, owner.Workspace.Id)
	signIn(t, s.Server, sole.Email, testkit.Password)
	heir := s.Join(t, s.person(t), home.Workspace.Id, authz.Member)
	programs := func(p *testkit.Person) {
		for i := range 3 {
			robot := serviceAccountOf(t, p, fmt.Sprint("Robot ", i, " of ", p.Membership.Id))
			keyOfAccount(t, p, robot, "workspace.get")
			keyOfAccount(t, p, robot, "workspace.get")
		}
		keyOf(t, p, "workspace.get")
	}
	for i, p := range []*testkit.Person{owner, elsewhere, &home} {
		programs(p)
		roleOf(t, p, "Custom", "workspace.get")
		s.invite(t, p, testkit.NewEmail(), "")
		s.invite(t, p, testkit.NewEmail(), "")
		linkTo(t, p, &teamv1.CreateInvitationLinkRequest{})
		for sql, args := range map[string][]string{
			"INSERT INTO tenant.domains (id, workspace_id, domain, record_value, create_time) VALUES (gen_random_uuid(), $1, $2, '', now())": {fmt.Sprint("a", i, ".example.org")},
			"INSERT INTO team.join_requests (id, workspace_id, user_id, message, state, create_time) SELECT gen_random_uuid(), $1, user_id, '', 'pending', now() FROM identity.emails WHERE address = $2": {
				s.person(t).Email, s.person(t).Email,
			},
		} {
			for _, arg := range args {
				if _, err := s.SQL.Exec(t.Context(), sql, uuidOf(t, p.Workspace.Id), arg); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	programs(admin)
	signIn(t, s.Server, admin.Email, testkit.Password)
	// A key whose time is over does not end.
	ended := keyOf(t, admin, "workspace.get").ApiKey.Id
	me := func() *identityv1.PreviewDeleteMeResponse {
		t.Helper()
		res, err := admin.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	before := me()
	if _, err := s.SQL.Exec(t.Context(), "UPDATE auth.api_keys SET expire_time = create_time WHERE id = $1", uuidOf(t, ended)); err != nil {
		t.Fatal(err)
	}
	mine := me()
	if before.ApiKeyCount != 3 || mine.ApiKeyCount != 2 || before.Etag != mine.Etag {
		t.Errorf("with a key more %v, and then %v", before, mine)
	}
	if _, err := s.SQL.Exec(t.Context(), "DELETE FROM auth.api_keys WHERE id = $1", uuidOf(t, ended)); err != nil {
		t.Fatal(err)
	}

	got := s.removed(t, []string{"identity.users", "team.memberships", "auth.sessions", "auth.api_keys", "auth.service_accounts", "tenant.workspaces"}, func() error {
		_, err := admin.Users.DeleteMe(t.Context(), &identityv1.DeleteMeRequest{Etag: mine.Etag, Resolutions: []*identityv1.WorkspaceResolution{{
			WorkspaceId: home.Workspace.Id, Resolution: &identityv1.WorkspaceResolution_TransferToMembershipId{TransferToMembershipId: heir.String()},
		}}})
		return err
	})
	if want := []int32{1, mine.MembershipCount, mine.SessionCount, mine.ApiKeyCount, 0, 0}; !slices.Equal(got, want) || want[1] != 2 || want[2] != 2 || want[3] != 2 {
		t.Errorf("DeleteMe removed %v, the preview was %v", got, want)
	}

	p := preview(t, owner, owner.Workspace.Id)
	got = s.removed(t, []string{
		"identity.users", "team.memberships", "auth.sessions", "team.invitations", "team.invitation_links", "team.roles", "team.join_requests",
		"tenant.domains", "auth.api_keys", "auth.service_accounts", "tenant.workspaces",
	}, func() error { return remove(t, owner, owner.Workspace.Id, p.Etag) })
	want := []int32{
		p.DeletedUserCount, p.MembershipCount, p.SessionCount, p.InvitationCount, p.InvitationLinkCount, p.RoleCount, p.JoinRequestCount,
		p.DomainCount, p.ApiKeyCount, p.ServiceAccountCount, 1,
	}
	if !slices.Equal(got, want) || !slices.Equal(want, []int32{2, 2, 3, 2, 1, 1, 2, 1, 13, 6, 1}) {
		t.Errorf("the purge removed %v, the preview was %v", got, want)
	}
	s.CheckPurged(t, owner.Workspace.Id, owner.User.Id, sole.User.Id, admin.User.Id)
	s.CheckInvariants(t)
}

func TestAWorkspaceIsPurgedWhenItsTimeHasCome(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	owner := srv.Register(t)
	if err := remove(t, owner, owner.Workspace.Id, preview(t, owner, owner.Workspace.Id).Etag); err != nil {
		t.Fatal(err)
	}
	if n, err := srv.Store.PurgeDue(t.Context()); err != nil || n != 0 {
		t.Fatalf("PurgeDue before the time = %d, %v", n, err)
	}
	srv.Clock.Advance(13 * 24 * time.Hour)
	srv.SignIn(t, owner)
	if _, err := get(t, owner, owner.Workspace.Id); err != nil {
		t.Fatal(err)
	}
	srv.Clock.Advance(24 * time.Hour)
	_, err := get(t, owner, owner.Workspace.Id)
	notFound(t, "a workspace that is due", err)
	_, err = owner.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: owner.Workspace.Id})
	notFound(t, "undeleting a workspace that is due", err)
	if n, err := srv.Store.PurgeDue(t.Context()); err != nil || n != 1 {
		t.Fatalf("PurgeDue = %d, %v", n, err)
	}
	srv.CheckPurged(t, owner.Workspace.Id, owner.User.Id)
}

func TestWithoutGraceDeletionIsThePurge(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) { s.DeletionGrace = 0 }})
	owner := srv.Register(t)
	elsewhere := srv.Register(t)
	srv.Join(t, elsewhere, owner.Workspace.Id, authz.Member)
	refused(t, "another etag", remove(t, owner, owner.Workspace.Id, "another"), connect.CodeAborted, faultv1.Reason_REASON_ETAG_MISMATCH)
	if err := remove(t, owner, owner.Workspace.Id, preview(t, owner, owner.Workspace.Id).Etag); err != nil {
		t.Fatal(err)
	}
	ended(t, "the owner", owner.Client)
	for email, want := range map[string]string{owner.Email: "your account was deleted with it", elsewhere.Email: "Your account stays"} {
		if m := srv.Mail(t, email, 2); !strings.Contains(m.Text, want) || !strings.Contains(m.Text, owner.Workspace.Name) {
			t.Errorf("mailed to %s: %s", email, m.Text)
		}
	}
	srv.CheckPurged(t, owner.Workspace.Id, owner.User.Id)
	srv.CheckInvariants(t)
}

func TestWhoJoinsAnotherWorkspaceDuringTheGraceStays(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	owner, other := srv.Register(t), srv.Register(t)
	if err := remove(t, owner, owner.Workspace.Id, preview(t, owner, owner.Workspace.Id).Etag); err != nil {
		t.Fatal(err)
	}
	srv.Join(t, owner, other.Workspace.Id, authz.Member)
	srv.Clock.Advance(14 * 24 * time.Hour)
	if n, err := srv.Store.PurgeDue(t.Context()); err != nil || n != 1 {
		t.Fatalf("PurgeDue = %d, %v", n, err)
	}
	srv.CheckPurged(t, owner.Workspace.Id)
	signIn(t, srv, owner.Email, testkit.Password)
	srv.CheckInvariants(t)
}

func TestThePreviewOfDeletingOneselfIsNobodyElses(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	host := srv.Register(t)
	one, other := lone(t, srv, host.Workspace.Id, authz.Member), lone(t, srv, host.Workspace.Id, authz.Member)
	var etag string
	for _, p := range []*testkit.Person{one, other} {
		if _, err := p.Memberships.LeaveWorkspace(t.Context(), &teamv1.LeaveWorkspaceRequest{WorkspaceId: host.Workspace.Id}); err != nil {
			t.Fatal(err)
		}
		res, err := p.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
		if err != nil || res.MembershipCount != 0 {
			t.Fatalf("PreviewDeleteMe = %v, %v", res, err)
		}
		if p == one {
			etag = res.Etag
		}
	}
	_, err := other.Users.DeleteMe(t.Context(), &identityv1.DeleteMeRequest{Etag: etag})
	refused(t, "somebody else's etag", err, connect.CodeAborted, faultv1.Reason_REASON_ETAG_MISMATCH)
	if _, err := one.Users.DeleteMe(t.Context(), &identityv1.DeleteMeRequest{Etag: etag}); err != nil {
		t.Fatal(err)
	}
}

func TestDeletingOneselfResolvesEveryWorkspaceThatOneOwnsAlone(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	me, heir, host := srv.Register(t), srv.Register(t), srv.Register(t)
	second, err := me.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Second"})
	if err != nil {
		t.Fatal(err)
	}
	successor := srv.Join(t, heir, me.Workspace.Id, authz.Member)
	only := lone(t, srv, second.Workspace.Id, authz.Member)
	srv.Join(t, me, host.Workspace.Id, authz.Admin)

	look := func() *identityv1.PreviewDeleteMeResponse {
		t.Helper()
		res, err := me.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	p := look()
	if p.MembershipCount != 3 || p.SessionCount != 1 || len(p.SoleOwnedWorkspaces) != 2 {
		t.Fatalf("PreviewDeleteMe = %v", p)
	}
	for _, w := range p.SoleOwnedWorkspaces {
		deleted := int32(0)
		if w.WorkspaceId == second.Workspace.Id {
			deleted = 1
		}
		if w.OtherMemberCount != 1 || w.DeletedUserCount != deleted {
			t.Errorf("sole-owned: %v", w)
		}
	}
	transfer := func(workspace, membership string) *identityv1.WorkspaceResolution {
		return &identityv1.WorkspaceResolution{WorkspaceId: workspace, Resolution: &identityv1.WorkspaceResolution_TransferToMembershipId{TransferToMembershipId: membership}}
	}
	purge := func(workspace string) *identityv1.WorkspaceResolution {
		return &identityv1.WorkspaceResolution{WorkspaceId: workspace, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true}}
	}
	try := func(etag string, resolutions ...*identityv1.WorkspaceResolution) error {
		_, err := me.Users.DeleteMe(t.Context(), &identityv1.DeleteMeRequest{Etag: etag, Resolutions: resolutions})
		return err
	}
	give, drop := transfer(me.Workspace.Id, successor.String()), purge(second.Workspace.Id)
	refused(t, "no resolutions", try(p.Etag), connect.CodeFailedPrecondition, faultv1.Reason_REASON_OWNER_REQUIRED)
	refused(t, "one resolution", try(p.Etag, give), connect.CodeFailedPrecondition, faultv1.Reason_REASON_OWNER_REQUIRED)
	for what, resolution := range map[string]*identityv1.WorkspaceResolution{
		"somebody else's workspace":       purge(host.Workspace.Id),
		"a workspace that is not":         purge(ids.New[ids.Workspace]().String()),
		"a transfer to oneself":           transfer(second.Workspace.Id, second.Membership.Id),
		"a transfer to another workspace": transfer(second.Workspace.Id, successor.String()),
		"a workspace named twice":         give,
	} {
		refused(t, what, try(p.Etag, give, resolution), connect.CodeInvalidArgument, faultv1.Reason_REASON_FIELD_INVALID)
		if p.Etag != look().Etag {
			t.Fatalf("%s: something was changed", what)
		}
	}
	late := srv.Register(t)
	srv.Join(t, late, second.Workspace.Id, authz.Viewer)
	refused(t, "an old etag", try(p.Etag, give, drop), connect.CodeAborted, faultv1.Reason_REASON_ETAG_MISMATCH)
	if err := try(look().Etag, give, drop); err != nil {
		t.Fatal(err)
	}

	ended(t, "the deleted user", me.Client)
	ended(t, "who belonged to the purged workspace only", only.Client)
	srv.CheckPurged(t, second.Workspace.Id, me.User.Id, only.User.Id)
	mine, err := heir.Memberships.GetMembership(t.Context(), &teamv1.GetMembershipRequest{WorkspaceId: me.Workspace.Id, MembershipId: successor.String()})
	if err != nil || mine.Membership.Role != "owner" {
		t.Errorf("the heir's membership: %v, %v", mine, err)
	}
	list, err := host.Memberships.ListMemberships(t.Context(), &teamv1.ListMembershipsRequest{WorkspaceId: host.Workspace.Id})
	if err != nil || len(list.Memberships) != 1 {
		t.Errorf("the host's members: %v, %v", list, err)
	}
	lives(t, "who belonged elsewhere too", late.Client)
	srv.Mail(t, me.Email, 3) // of the registration, the workspace and the account
	srv.CheckInvariants(t)

	// The address is free again.
	srv.RegisterAs(t, me.Email, "New beginning")
}

// TestAPurgeOfACrowdEndsWithinSeconds also looks at what others
// notice of it.
func TestAPurgeOfACrowdEndsWithinSeconds(t *testing.T) {
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) { s.RequestTimeout = 5 * time.Minute }})
	owner, bystander := srv.Register(t), srv.Register(t)
	members := sized(100_000)
	workspace, err := ids.Parse[ids.Workspace](owner.Workspace.Id)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := ids.Parse[ids.Workspace](bystander.Workspace.Id)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := srv.SQL.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release() // also before a failure closes the pool, which waits for it
	for _, sql := range []string{
		`CREATE TEMP TABLE crowd AS SELECT gen_random_uuid() AS id, n FROM generate_series(1, %[3]d) n`,
		`INSERT INTO identity.users SELECT id, 'member ' || n, 1, now(), now() FROM crowd`,
		`INSERT INTO identity.emails SELECT id, 'm' || n || '@crowd.example', 'm' || n || '@crowd.example', now() FROM crowd`,
		`INSERT INTO auth.credentials SELECT id, 'x', now(), now() FROM crowd`,
		`INSERT INTO auth.sessions SELECT gen_random_uuid(), id, sha256(id::text::bytea), 'bearer', now(), now(), now(), now() + interval '1 day', now() + interval '1 day', '', '', '{password}' FROM crowd`,
		`INSERT INTO team.memberships (id, workspace_id, user_id, role, create_time, update_time, name_key, address_key, terms)
		 SELECT gen_random_uuid(), w::uuid, id, 'member', now(), now(), 'member ' || n, 'm' || n || '@crowd.example',
		        array_to_tsvector(ARRAY[replace(w, '-', '') || '/member', replace(w, '-', '') || '/' || n])
		 FROM crowd, (VALUES ('%[1]s', 1), ('%[2]s', 10)) AS of (w, each) WHERE n %% each = 0`,
		`INSERT INTO audit.events (id, user_id, actor_kind, action, target_id, create_time) SELECT gen_random_uuid(), id, 'system', 'user.registered', id, now() FROM crowd`,
	} {
		if _, err := conn.Exec(t.Context(), fmt.Sprintf("/* %[1]s %[2]s %[3]d */ "+sql, workspace.UUID(), elsewhere.UUID(), members)); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	srv.CountSeats(t)
	if _, err := srv.SQL.Exec(t.Context(), "ANALYZE"); err != nil {
		t.Fatal(err)
	}
	p := preview(t, owner, owner.Workspace.Id)
	if int(p.MembershipCount) != members+1 || int(p.DeletedUserCount) != members*9/10+1 || len(p.DeletedUsers) != 100 || len(p.Sessions) != 100 {
		t.Fatalf("preview: %d memberships, %d deleted, %d sessions", p.MembershipCount, p.DeletedUserCount, p.SessionCount)
	}
	if err := remove(t, owner, owner.Workspace.Id, p.Etag); err != nil {
		t.Fatal(err)
	}

	stop, slowest := make(chan struct{}), make(chan time.Duration)
	go func() {
		var worst time.Duration
		for {
			select {
			case <-stop:
				slowest <- worst
				return
			default:
			}
			began := time.Now()
			if _, err := bystander.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: bystander.Workspace.Id, Name: "Going on"}); err != nil {
				t.Errorf("another workspace during the purge: %v", err)
			}
			if _, err := bystander.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{}); err != nil {
				t.Errorf("another session during the purge: %v", err)
			}
			worst = max(worst, time.Since(began))
			time.Sleep(20 * time.Millisecond)
		}
	}()
	began := time.Now()
	purged, err := owner.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: owner.Workspace.Id, Etag: p.Etag})
	took := time.Since(began)
	close(stop)
	worst := <-slowest
	if err != nil || purged.DeletedUserCount != p.DeletedUserCount || purged.MembershipCount != p.MembershipCount {
		t.Fatalf("PurgeWorkspace = %v, %v", purged, err)
	}
	t.Logf("purged %d members in %v; the slowest call beside it took %v", members, took, worst)
	if took > 2*time.Minute { // far above what it is: machines differ
		t.Errorf("the purge took %v", took)
	}
	if worst > 2*time.Second {
		t.Errorf("another workspace waited %v", worst)
	}
	srv.CheckPurged(t, owner.Workspace.Id, owner.User.Id)
}

// TestOfTwoPurgesAtOnceTheSecondSeesTheFirst has users who belong to nothing but
// the two workspaces that are purged: each purge alone would leave them to the
// other.
func TestOfTwoPurgesAtOnceTheSecondSeesTheFirst(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	for range 10 {
		owner := srv.Register(t)
		second, err := owner.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Second"})
		if err != nil {
			t.Fatal(err)
		}
		user, err := ids.Parse[ids.User](owner.User.Id)
		if err != nil {
			t.Fatal(err)
		}
		ctx := authz.WithSession(t.Context(), &authz.Session{User: user})
		workspaces := []string{owner.Workspace.Id, second.Workspace.Id}
		for _, w := range workspaces {
			if err := remove(t, owner, w, preview(t, owner, w).Etag); err != nil {
				t.Fatal(err)
			}
		}
		var group sync.WaitGroup
		for _, w := range workspaces {
			id, err := ids.Parse[ids.Workspace](w)
			if err != nil {
				t.Fatal(err)
			}
			etag := preview(t, owner, w).Etag
			group.Go(func() {
				// The second one may find that the set has changed: then it asks again.
				_, err := srv.Store.PurgeWorkspace(ctx, id, etag)
				for fault.Has(err, fault.ETagMismatch) {
					var p *store.DeletionPreview
					if p, err = srv.Store.PreviewDeleteWorkspace(ctx, id); err == nil {
						_, err = srv.Store.PurgeWorkspace(ctx, id, p.ETag)
					}
				}
				if err != nil {
					t.Errorf("PurgeWorkspace: %v", err)
				}
			})
		}
		group.Wait()
		srv.CheckPurged(t, workspaces[0], owner.User.Id)
		srv.CheckPurged(t, workspaces[1], owner.User.Id)
	}
}
