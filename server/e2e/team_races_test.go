package e2e

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

func TestFiftyAcceptancesOfOneTokenMakeOneMembership(t *testing.T) {
	t.Parallel()
	const many = 50
	s, owner := newTeam(t, testkit.Options{})
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{MaxUses: 3})
	p, q := s.person(t), s.person(t)
	inv := s.invite(t, owner, p.Email, "")
	for what, c := range map[string]struct {
		who   *testkit.Person
		token string
	}{"of an invitation": {p, inv.token}, "of a link": {q, link.Token}} {
		answers := make([]*teamv1.Membership, many)
		var mu sync.Mutex
		if got := atOnce(many, func(i int) error {
			m, err := accept(t, c.who, c.token)
			mu.Lock()
			defer mu.Unlock()
			answers[i] = m
			return err
		}); got[""] != many {
			t.Errorf("%s: %v", what, got)
		}
		for _, m := range answers {
			if diff := cmp.Diff(answers[0], m, protocmp.Transform()); diff != "" {
				t.Fatalf("%s: the answers differ:\n%s", what, diff)
			}
		}
		if n := count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'membership.created' AND details ->> 'user_id' = $1", c.who.User.Id); n != 1 {
			t.Errorf("%s: %d events, want 1", what, n)
		}
	}
	if l := linkOf(t, owner, link.Link.Id); l.UseCount != 1 {
		t.Errorf("the link was used %d times, want once", l.UseCount)
	}
	s.CheckInvariants(t)
}

// race is an acceptance against what ends the invitation.
type race struct {
	owner, inviter, guest *testkit.Person
	inv                   invited
	etag                  string // of what the rival deletes
}

// TestAnAcceptanceRacesWithWhatEndsTheInvitation has an invitation accepted, by who
// has an account and by who has none, while something else happens to it. Whoever
// comes second is told why it did not work, and nothing is half done.
func TestAnAcceptanceRacesWithWhatEndsTheInvitation(t *testing.T) {
	t.Parallel()
	const rounds = 8
	deleteWorkspace := func(r race) error { return remove(t, r.owner, r.owner.Workspace.Id, r.etag) }
	for what, c := range map[string]struct {
		settings func(*config.Settings)
		prepare  func(s *stage, r *race)
		rival    func(s *stage, r race) error
		// What those are told who come second. With no word for the rival, it always
		// succeeds, and with none for who accepts, they do.
		accept, register, second []string
	}{
		"revocation": {
			rival: func(s *stage, r race) error {
				_, err := r.owner.Invitations.RevokeInvitation(t.Context(), &teamv1.RevokeInvitationRequest{WorkspaceId: r.owner.Workspace.Id, InvitationId: r.inv.Id})
				return err
			},
			accept: []string{"INVITATION_REVOKED"}, register: []string{"INVITATION_REVOKED"}, second: []string{"INVITATION_USED"},
		},
		"mailing again": {
			rival: func(s *stage, r race) error {
				_, err := r.owner.Invitations.ResendInvitation(t.Context(), &teamv1.ResendInvitationRequest{WorkspaceId: r.owner.Workspace.Id, InvitationId: r.inv.Id})
				return err
			},
			accept: []string{"CODE_INVALID"}, register: []string{"CODE_INVALID"}, second: []string{"INVITATION_USED"},
		},
		"a new invitation": {
			rival: func(s *stage, r race) error {
				_, err := r.owner.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: r.owner.Workspace.Id, Email: r.inv.Email})
				return err
			},
			accept: []string{"INVITATION_REVOKED"}, register: []string{"INVITATION_REVOKED"}, second: []string{"ALREADY_MEMBER"},
		},
		"declining": {
			rival: func(s *stage, r race) error {
				_, err := s.Client("").Invitations.DeclineInvitation(t.Context(), &teamv1.DeclineInvitationRequest{Token: r.inv.token})
				return err
			},
			accept: []string{"INVITATION_USED"}, register: []string{"INVITATION_USED"}, second: []string{"INVITATION_USED"},
		},
		"removal of the inviter": {
			rival:  func(s *stage, r race) error { return removeMember(t, r.owner, r.inviter.Membership.Id) },
			accept: []string{"INVITATION_REVOKED"}, register: []string{"INVITATION_REVOKED"},
		},
		"deletion of the inviter": {
			rival:  func(s *stage, r race) error { return deleteSelf(t, r.inviter) },
			accept: []string{"INVITATION_REVOKED"}, register: []string{"INVITATION_REVOKED"},
		},
		"deletion of the workspace": {
			prepare: func(s *stage, r *race) { r.etag = s.preview(t, r.owner, r.owner.Workspace.Id) },
			rival:   func(s *stage, r race) error { return deleteWorkspace(r) },
			accept:  []string{"CODE_INVALID"}, register: []string{"CODE_INVALID"}, second: []string{"ETAG_MISMATCH"},
		},
		"deletion of the workspace at once": {
			settings: purgeAtOnce,
			prepare:  func(s *stage, r *race) { r.etag = s.preview(t, r.owner, r.owner.Workspace.Id) },
			rival:    func(s *stage, r race) error { return deleteWorkspace(r) },
			accept:   []string{"CODE_INVALID"}, register: []string{"CODE_INVALID"}, second: []string{"ETAG_MISMATCH"},
		},
		"purge of the workspace, which was deleted": {
			prepare: func(s *stage, r *race) { r.etag = s.delete(t, r.owner, r.owner.Workspace.Id) },
			rival: func(s *stage, r race) error {
				_, err := r.owner.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: r.owner.Workspace.Id, Etag: r.etag})
				return err
			},
			accept: []string{"CODE_INVALID"}, register: []string{"CODE_INVALID"},
		},
		"undeletion of the workspace": {
			prepare: func(s *stage, r *race) { s.delete(t, r.owner, r.owner.Workspace.Id) },
			rival: func(s *stage, r race) error {
				_, err := r.owner.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: r.owner.Workspace.Id})
				return err
			},
			accept: []string{"CODE_INVALID"}, register: []string{"CODE_INVALID"},
		},
		"deletion of who accepts": {
			prepare: func(s *stage, r *race) {
				if r.guest == nil {
					return
				}
				preview, err := r.guest.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
				if err != nil {
					t.Fatal(err)
				}
				r.etag = preview.Etag
			},
			rival: func(s *stage, r race) error {
				if r.guest == nil {
					return deleteSelf(t, r.inviter)
				}
				_, err := r.guest.Users.DeleteMe(t.Context(), &identityv1.DeleteMeRequest{Etag: r.etag, Resolutions: []*identityv1.WorkspaceResolution{
					{WorkspaceId: r.guest.Workspace.Id, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true}},
				}})
				return err
			},
			accept: []string{"SESSION_REQUIRED"}, register: []string{"INVITATION_REVOKED"}, second: []string{"ETAG_MISMATCH"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, c.settings)
			outcomes := map[string]int{}
			for round := range rounds {
				r := race{owner: s.person(t)}
				r.inviter = s.member(t, r.owner, "admin")
				email := testkit.NewEmail()
				words := c.register
				if round%2 == 0 {
					r.guest = s.person(t)
					email, words = r.guest.Email, c.accept
				}
				r.inv = s.invite(t, r.inviter, email, "viewer")
				if c.prepare != nil {
					c.prepare(s, &r)
				}
				var errs [2]error
				atOnce(2, func(i int) error {
					switch {
					case i == 1:
						errs[1] = c.rival(s, r)
					case r.guest != nil:
						_, errs[0] = accept(t, r.guest, r.inv.token)
					default:
						_, errs[0] = s.enter(t, r.inv.token)
					}
					return nil
				})
				got, rival := reasonOf(errs[0]), reasonOf(errs[1])
				outcomes["accept: "+got]++
				outcomes["rival: "+rival]++
				members := count(t, s.Server, `
					SELECT count(*) FROM team.memberships m JOIN identity.emails e USING (user_id)
					WHERE m.workspace_id = $1 AND e.address_key = $2`, uuidOf(t, r.owner.Workspace.Id), email)
				if (got == "") != (members == 1) {
					t.Errorf("accepted: %q, and there are %d memberships", got, members)
				}
				if got == "" && rival == "" && len(c.second) > 0 && r.guest != nil {
					t.Error("both succeeded")
				}
				if got != "" && rival != "" {
					t.Errorf("neither succeeded: %q, %q", got, rival)
				}
				allowed(t, map[string]int{"accept: " + got: 1}, append(words, "")...)
				allowed(t, map[string]int{"rival: " + rival: 1}, append(c.second, "")...)
			}
			t.Log(outcomes)
			s.CheckInvariants(t)
			checkLog(t, s.Server, testkit.Password)
		})
	}
}

// TestATokenThatIsReplacedMeanwhileOpensNothing holds the workspace, so that each call
// has seen the invitation and waits, and gives the invitation another token.
func TestATokenThatIsReplacedMeanwhileOpensNothing(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	p := s.person(t)
	for what, call := range map[string]func(invited) error{
		"AcceptInvitation":       func(i invited) error { _, err := accept(t, p, i.token); return err },
		"RegisterWithInvitation": func(i invited) error { _, err := s.enter(t, i.token); return err },
		"RegisterWithInvitation by code": func(i invited) error {
			_, err := s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
				Email: i.Email, Code: i.code, Password: testkit.Password,
			})
			return err
		},
		"DeclineInvitation": func(i invited) error {
			_, err := s.Client("").Invitations.DeclineInvitation(t.Context(), &teamv1.DeclineInvitationRequest{Token: i.token})
			return err
		},
	} {
		email := p.Email
		if what != "AcceptInvitation" {
			email = testkit.NewEmail()
		}
		inv := s.invite(t, owner, email, "")
		err := whileItWaits(t, s.Server, "tenant.workspaces", owner.Workspace.Id, func() error { return call(inv) },
			"UPDATE team.invitations SET token_hash = sha256(token_hash) WHERE id = $1", inv.Id)
		because(t, what, err, "CODE_INVALID")
		if state := s.stateOf(t, inv.Invitation); state != "pending" {
			t.Errorf("%s: the invitation is %s", what, state)
		}
	}
	s.CheckInvariants(t)
}
