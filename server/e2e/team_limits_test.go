package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/logicspike/manager/client"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
)

func TestMailsOfInvitationsAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{Limited: true})
	from := func(network string) *client.Client { return s.Client(network, client.WithSession(owner.Token)) }
	invite := func(network, email string) error {
		_, err := from(network).Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: owner.Workspace.Id, Email: email})
		return err
	}
	const email = "ann@example.com"
	for range 6 {
		because(t, "one of six from one network", invite("192.0.2.1", email), "")
	}
	inv := s.queue(t, email)
	if len(inv) != 6 {
		t.Errorf("%d mails, want 6", len(inv))
	}
	s.refuses(t, "the seventh", "RATE_LIMITED", func() error {
		err := invite("192.0.2.1", "ANN@example.com")
		if client.RetryAfter(err) <= 0 {
			t.Error("it does not say when to try again")
		}
		return err
	})
	list, err := owner.Invitations.ListInvitations(t.Context(), &teamv1.ListInvitationsRequest{
		WorkspaceId: owner.Workspace.Id, State: teamv1.InvitationState_INVITATION_STATE_PENDING,
	})
	if err != nil || len(list.Invitations) != 1 {
		t.Fatalf("ListInvitations = %v, %v", list, err)
	}
	s.refuses(t, "mailed again", "RATE_LIMITED", func() error {
		_, err := from("192.0.2.1").Invitations.ResendInvitation(t.Context(), &teamv1.ResendInvitationRequest{
			WorkspaceId: owner.Workspace.Id, InvitationId: list.Invitations[0].Id,
		})
		return err
	})
	res, err := from("192.0.2.1").Invitations.BatchCreateInvitations(t.Context(), &teamv1.BatchCreateInvitationsRequest{
		WorkspaceId: owner.Workspace.Id, Emails: []string{"bob@example.com", email, "carl@example.com"},
	})
	if err != nil || res.Results[0].GetInvitation() == nil || res.Results[1].GetFailure().GetReason() != "RATE_LIMITED" || res.Results[2].GetInvitation() == nil {
		t.Errorf("in a batch: %v, %v", res, err)
	}
	// From everywhere together: 20 an hour.
	for i := range 13 {
		because(t, "from other networks", invite(fmt.Sprintf("192.0.2.%d", 2+i/5), email), "")
	}
	got := 0
	for i := range 5 {
		if err := invite(fmt.Sprintf("198.51.100.%d", i), email); err == nil {
			got++
		} else {
			because(t, "from everywhere", err, "RATE_LIMITED")
		}
	}
	if n := len(s.queue(t, email)); n > 20 || n < 19 {
		t.Errorf("%d mails within an hour, want at most 20", n)
	}
	s.Clock.Advance(time.Hour)
	because(t, "an hour later", invite("192.0.2.1", email), "")
	s.CheckInvariants(t)
}

func TestMailsOfInvitationsAreLimitedByWorkspace(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{Limited: true})
	batch := func(p *testkit.Person, first, many int) error {
		emails := make([]string, many)
		for i := range emails {
			emails[i] = fmt.Sprintf("guest%d@example.com", first+i)
		}
		_, err := p.Invitations.BatchCreateInvitations(t.Context(), &teamv1.BatchCreateInvitationsRequest{WorkspaceId: p.Workspace.Id, Emails: emails})
		return err
	}
	for i := range 5 {
		because(t, "190 of 1000", batch(owner, 200*i, 190), "")
	}
	s.refuses(t, "too many for the day", "RATE_LIMITED", func() error { return batch(owner, 2000, 60) })
	because(t, "as many as are left", batch(owner, 2000, 50), "")
	s.refuses(t, "one more", "RATE_LIMITED", func() error {
		_, err := owner.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: owner.Workspace.Id, Email: "one@more.example"})
		return err
	})
	because(t, "of another workspace", batch(s.person(t), 3000, 10), "")
	s.Clock.Advance(24 * time.Hour)
	because(t, "the day after", batch(owner, 4000, 200), "")
	s.CheckInvariants(t)
}

func TestMailsThatOthersCauseAreLimited(t *testing.T) {
	t.Parallel()
	s, owner, _ := newEnrolment(t, testkit.Options{Limited: true}, "acme.com", request)
	renew := func(token string) error {
		_, err := s.Client("").Invitations.RequestInvitationRenewal(t.Context(), &teamv1.RequestInvitationRenewalRequest{Token: token})
		return err
	}
	var tokens []string
	for i := range 25 {
		tokens = append(tokens, s.invite(t, owner, fmt.Sprintf("guest%d@example.com", i), "").token)
	}
	s.Clock.Advance(7 * 24 * time.Hour)
	outcomes := map[string]int{}
	for _, token := range tokens {
		outcomes[reasonOf(renew(token))]++
	}
	if outcomes[""] != 20 || outcomes["RATE_LIMITED"] != 5 {
		t.Errorf("25 renewals of a workspace on one day: %v", outcomes)
	}
	if n := s.mails(t, owner, mail.InvitationRenewal); n != 20 {
		t.Errorf("%d mails to the inviter, want 20", n)
	}
	p := s.at(t, "joe@acme.com")
	outcomes = map[string]int{}
	for range 25 {
		_, err := ask(t, p, owner.Workspace.Id)
		outcomes[reasonOf(err)]++
	}
	if outcomes[""] != 20 || outcomes["RATE_LIMITED"] != 5 {
		t.Errorf("25 requests to join on one day: %v", outcomes)
	}
	if n := s.mails(t, owner, mail.JoinRequested); n != 1 {
		t.Errorf("%d mails to the owner, want 1", n)
	}
	s.CheckInvariants(t)
}
