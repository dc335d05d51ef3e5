package e2e

import (
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logicspike/manager/client"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
)

func TestARenewalIsAskedOfTheInviterOrOfTheOwnersOnceADay(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	admin := s.member(t, owner, "admin")
	renew := func(token string) error {
		_, err := s.Client("").Invitations.RequestInvitationRenewal(t.Context(), &teamv1.RequestInvitationRenewalRequest{Token: token})
		return err
	}
	asked := func(p *testkit.Person) (n int) {
		for _, m := range s.queue(t, p.Email) {
			if m.Template == mail.InvitationRenewal {
				n++
			}
		}
		return n
	}
	mailed := func(what string, ofAdmin, ofOwner int) {
		t.Helper()
		if a, o := asked(admin), asked(owner); a != ofAdmin || o != ofOwner {
			t.Errorf("%s: %d mails to the inviter, %d to the owner, want %d and %d", what, a, o, ofAdmin, ofOwner)
		}
	}
	inv := s.invite(t, admin, testkit.NewEmail(), "")
	s.refuses(t, "one that can be used", "INVITATION_PENDING", func() error { return renew(inv.token) })
	s.Clock.Advance(7 * 24 * time.Hour)
	for range 3 {
		because(t, "expired", renew(inv.token), "")
	}
	mailed("three times on one day", 1, 0)
	if m := s.queue(t, admin.Email)[0]; m.Data["email"] != inv.Email || m.Data["workspace"] != owner.Workspace.Name {
		t.Errorf("the mail: %v", m)
	}
	s.Clock.Advance(24*time.Hour - time.Minute)
	s.refuses(t, "a minute before the day is over", "", func() error { return renew(inv.token) })
	s.Clock.Advance(time.Minute)
	because(t, "the day after", renew(inv.token), "")
	mailed("the day after", 2, 0)

	if err := removeMember(t, owner, admin.Membership.Id); err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(24 * time.Hour)
	because(t, "revoked with its inviter", renew(inv.token), "")
	mailed("once the inviter is removed", 2, 1)

	p := s.person(t)
	used := s.invite(t, owner, p.Email, "")
	mustAccept(t, p, used.token)
	s.refuses(t, "one that was used", "INVITATION_USED", func() error { return renew(used.token) })
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{})
	s.refuses(t, "a link", "CODE_INVALID", func() error { return renew(link.Token) })
	s.refuses(t, "no token at all", "CODE_INVALID", func() error { return renew(inv.token + "x") })
	s.CheckInvariants(t)
}

// spoofed calls as if to another host.
type spoofed struct{}

func (spoofed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = "evil.example"
	r.Header.Set("X-Forwarded-Host", "evil.example")
	r.Header.Set("X-Forwarded-Proto", "http")
	r.Header.Set("Forwarded", "host=evil.example")
	return http.DefaultTransport.RoundTrip(r)
}

func TestNamesInTheMailOfAnInvitationAreHarmless(t *testing.T) {
	t.Parallel()
	const public = "https://accounts.example.com/manager"
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) { s.PublicURL = public }})
	owner := srv.Register(t)
	const name = "Acme\r\nBcc: all@evil.example <script>alert(1)</script> <a href=\"https://evil.example/\">win</a> {{.token}}"
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE identity.users SET display_name = left($1, 100)", "Eve "+name); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE tenant.workspaces SET name = left($1, 100)", name); err != nil {
		t.Fatal(err)
	}
	role := roleOf(t, owner, "<b>https://evil.example/role</b>")
	email := testkit.NewEmail()
	caller := srv.Client("", client.WithSession(owner.Token), client.WithHTTPClient(&http.Client{Transport: spoofed{}}))
	if _, err := caller.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{
		WorkspaceId: owner.Workspace.Id, Email: email, Role: role,
	}); err != nil {
		t.Fatal(err)
	}
	m := srv.Mail(t, email, 1)
	if strings.ContainsAny(m.Subject, "\r\n") || !strings.Contains(m.Subject, "Acme") {
		t.Errorf("subject %q", m.Subject)
	}
	text := html.UnescapeString(regexp.MustCompile("<[^>]*>").ReplaceAllString(m.HTML, ""))
	for what, part := range map[string]string{"subject": m.Subject, "text": m.Text, "text of the HTML": text} {
		if link := regexp.MustCompile(`(?i)https?://[^\s"]*evil|evil\.example|(?m)^Bcc`).FindString(part); link != "" {
			t.Errorf("the %s has %q:\n%s", what, link, part)
		}
		if strings.Contains(part, "lsmi_") && what == "subject" {
			t.Errorf("the subject has the token: %q", part)
		}
	}
	for _, tag := range []string{"<script", "<b>", "<a href=\"https://evil"} {
		if strings.Contains(m.HTML, tag) {
			t.Errorf("the HTML part has %q:\n%s", tag, m.HTML)
		}
	}
	token := testkit.TokenIn(t, m)
	for what, part := range map[string]string{"text": m.Text, "HTML": m.HTML} {
		links := regexp.MustCompile(`https?://[^\s"<>]+`).FindAllString(html.UnescapeString(part), -1)
		for _, link := range links {
			if !strings.HasPrefix(link, public+"/") && link != public {
				t.Errorf("the %s links to %s", what, link)
			}
		}
		if want := public + "/accept-invitation#token=" + token; !slices.Contains(links, want) {
			t.Errorf("the %s links to %v, want %s", what, links, want)
		}
	}
	link, err := caller.Invitations.CreateInvitationLink(t.Context(), &teamv1.CreateInvitationLinkRequest{WorkspaceId: owner.Workspace.Id})
	if err != nil || link.Url != public+"/accept-invitation#token="+link.Token {
		t.Errorf("CreateInvitationLink = %v, %v", link, err)
	}
	if got, err := srv.Client("").Invitations.GetInvitationByToken(t.Context(), &teamv1.GetInvitationByTokenRequest{Token: token}); err != nil || got.Invitation.RoleName == role {
		t.Errorf("GetInvitationByToken = %v, %v", got, err)
	}
}
