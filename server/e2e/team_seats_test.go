package e2e

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/testkit"
)

func TestASeatIsReservedTakenAndFreed(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	s.seats(t, 3, owner)
	workspace := owner.Workspace.Id
	p, q := s.person(t), s.person(t)
	invite := func(email string) error {
		_, err := owner.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: workspace, Email: email})
		return err
	}
	full := func(what string) {
		t.Helper()
		s.refuses(t, what, "SEATS_EXHAUSTED", func() error { return invite("one@more.example") })
	}
	resend := func(i invited) error {
		_, err := owner.Invitations.ResendInvitation(t.Context(), &teamv1.ResendInvitationRequest{WorkspaceId: workspace, InvitationId: i.Id})
		return err
	}
	first, second := s.invite(t, owner, p.Email, ""), s.invite(t, owner, q.Email, "")
	full("an owner and two invitations")
	first = s.invite(t, owner, p.Email, "viewer") // needs no second seat
	because(t, "mailed again", resend(second), "")
	res, err := owner.Invitations.BatchCreateInvitations(t.Context(), &teamv1.BatchCreateInvitationsRequest{
		WorkspaceId: workspace, Emails: []string{"three@example.com", p.Email, "four@example.com"},
	})
	if err != nil || res.Results[0].GetFailure().GetReason() != "SEATS_EXHAUSTED" || res.Results[1].GetInvitation() == nil || res.Results[2].GetFailure().GetReason() != "SEATS_EXHAUSTED" {
		t.Errorf("a batch with one who has a seat: %v, %v", res, err)
	}
	first = s.mailed(t, res.Results[1].GetInvitation())

	if _, err := s.Client("").Invitations.DeclineInvitation(t.Context(), &teamv1.DeclineInvitationRequest{Token: first.token}); err != nil {
		t.Fatal(err)
	}
	third := s.invite(t, owner, testkit.NewEmail(), "")
	full("declined, and another one invited")
	if _, err := owner.Invitations.RevokeInvitation(t.Context(), &teamv1.RevokeInvitationRequest{WorkspaceId: workspace, InvitationId: third.Id}); err != nil {
		t.Fatal(err)
	}
	fourth := s.invite(t, owner, testkit.NewEmail(), "")
	full("revoked, and another one invited")
	s.Clock.Advance(7 * 24 * time.Hour)
	first, _ = s.invite(t, owner, p.Email, ""), s.invite(t, owner, testkit.NewEmail(), "")
	full("expired, and two others invited")
	s.refuses(t, "one that expired, mailed again", "SEATS_EXHAUSTED", func() error { return resend(fourth) })
	m := mustAccept(t, p, first.token)
	full("one of the two has accepted")

	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{})
	s.refuses(t, "by a link", "SEATS_EXHAUSTED", func() error { _, err := accept(t, q, link.Token); return err })
	late := s.byLink(t, link.Token, testkit.NewEmail())
	s.refuses(t, "registered by a link", "SEATS_EXHAUSTED", func() error {
		_, err := s.Client("").Registration.VerifyRegistration(t.Context(), late)
		return err
	})
	if err := deactivate(t, owner, m.Id); err != nil {
		t.Fatal(err)
	}
	again := mustAccept(t, q, link.Token)
	s.refuses(t, "reactivated", "SEATS_EXHAUSTED", func() error { return reactivate(t, owner, m.Id) })
	because(t, "a deactivated one removed", removeMember(t, owner, m.Id), "")
	if err := deactivate(t, owner, again.Id); err != nil {
		t.Fatal(err)
	}
	because(t, "reactivated, when there is a seat", reactivate(t, owner, again.Id), "")

	// Fewer seats than members keep nobody from leaving.
	s.seats(t, 10, owner)
	a, b, c := s.member(t, owner, "owner"), s.member(t, owner, "admin"), s.member(t, owner, "viewer")
	fifth := s.invite(t, owner, testkit.NewEmail(), "")
	s.seats(t, 1, owner)
	s.refuses(t, "whose seat is gone", "SEATS_EXHAUSTED", func() error { _, err := s.enter(t, fifth.token); return err })
	because(t, "another role", setRole(t, owner, b.Membership.Id, "viewer"), "")
	_, err = owner.Memberships.TransferOwnership(t.Context(), &teamv1.TransferOwnershipRequest{WorkspaceId: workspace, MembershipId: a.Membership.Id})
	because(t, "transferred", err, "REAUTHENTICATION_REQUIRED") // of a session that is 7 days old
	because(t, "deactivated", deactivate(t, owner, b.Membership.Id), "")
	because(t, "removed", removeMember(t, owner, b.Membership.Id), "")
	because(t, "left", leave(t, c, workspace), "")
	because(t, "the owner left", leave(t, owner, workspace), "")
	s.CheckInvariants(t)
}

func TestExactlyAsManyJoinAsThereAreSeats(t *testing.T) {
	t.Parallel()
	const many, fit = 50, 4
	s, owner := newTeam(t, testkit.Options{})
	second, third := s.person(t), s.person(t)
	var people []*testkit.Person
	var tokens []string
	for range many {
		p := s.person(t)
		people = append(people, p)
		tokens = append(tokens, s.invite(t, owner, p.Email, "").token)
	}
	link := linkTo(t, second, &teamv1.CreateInvitationLinkRequest{MaxUses: 45})
	var fresh []string
	for range 20 {
		fresh = append(fresh, s.invite(t, third, testkit.NewEmail(), "").token)
	}
	s.seats(t, 1+fit, owner, third)
	if _, err := buySeats(t, second, 1+fit); err != nil { // what was bought is a limit, too
		t.Fatal(err)
	}
	active := func(p *testkit.Person) int {
		return count(t, s.Server, "SELECT count(*) FROM team.memberships WHERE workspace_id = $1 AND deactivate_time IS NULL", uuidOf(t, p.Workspace.Id))
	}
	check := func(what string, p *testkit.Person, got map[string]int, all int) {
		t.Helper()
		if diff := cmp.Diff(map[string]int{"": fit, "SEATS_EXHAUSTED": all - fit}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		if n := active(p); n != 1+fit {
			t.Errorf("%s: %d members, want %d", what, n, 1+fit)
		}
	}
	check("50 invitations", owner, atOnce(many, func(i int) error { _, err := accept(t, people[i], tokens[i]); return err }), many)
	if n := count(t, s.Server, "SELECT count(*) FROM team.invitations WHERE workspace_id = $1 AND state = 'pending'", uuidOf(t, owner.Workspace.Id)); n != many-fit {
		t.Errorf("%d of the invitations are pending, want %d", n, many-fit)
	}
	check("one link", second, atOnce(many, func(i int) error { _, err := accept(t, people[i], link.Token); return err }), many)
	if l := linkOf(t, second, link.Link.Id); l.UseCount != fit {
		t.Errorf("the link was used %d times, want %d", l.UseCount, fit)
	}
	users := count(t, s.Server, "SELECT count(*) FROM identity.users")
	check("registrations", third, atOnce(len(fresh), func(i int) error { _, err := s.enter(t, fresh[i]); return err }), len(fresh))
	if n := count(t, s.Server, "SELECT count(*) FROM identity.users") - users; n != fit {
		t.Errorf("%d accounts were made, want %d", n, fit)
	}
	// With more seats the others fit.
	s.seats(t, 1000, owner, third)
	if _, err := buySeats(t, second, 0); err != nil {
		t.Fatal(err)
	}
	if got := atOnce(many, func(i int) error { _, err := accept(t, people[i], tokens[i]); return err }); got[""] != many {
		t.Errorf("with more seats: %v", got)
	}
	s.CheckInvariants(t)
	checkLog(t, s.Server, testkit.Password)
}
