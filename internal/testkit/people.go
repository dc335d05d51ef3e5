package testkit

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/team"
)

// Password is everybody's in tests, unless they change it: a short one, whose strength is soon judged.
const Password = "Xk4!qPz9vR2m"

// Person is somebody with an account, signed in.
type Person struct {
	*client.Client
	Email      string
	User       *identityv1.User
	Workspace  *tenantv1.Workspace
	Membership *teamv1.Membership
	Session    *authv1.Session
	Token      string
}

var people atomic.Int64

// NewEmail returns an address that nobody has.
func NewEmail() string { return fmt.Sprintf("person%d@example.com", people.Add(1)) }

// Register makes a person with a workspace through the API, code and all.
func (s *Server) Register(t testing.TB) *Person {
	t.Helper()
	return s.RegisterAs(t, NewEmail(), "Acme "+fmt.Sprint(people.Load()))
}

// RegisterAs is Register with an address and a name for the workspace.
func (s *Server) RegisterAs(t testing.TB, email, workspace string) *Person {
	t.Helper()
	c := s.Client("")
	before := len(s.Mails(t, email))
	began, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: Password, WorkspaceName: workspace})
	if err != nil {
		t.Fatalf("Register: %v", err)
	}
	verified, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
		RegistrationId: began.Registration.Id, Code: CodeIn(t, s.Mail(t, email, before+1)),
	})
	if err != nil {
		t.Fatalf("VerifyRegistration: %v", err)
	}
	return s.Person(email, verified.Account)
}

// Person returns the person of a new account.
func (s *Server) Person(email string, a *authv1.Account) *Person {
	return &Person{
		Client: s.Client("").As(a.SessionToken), Email: email, User: a.User, Workspace: a.Workspace,
		Membership: a.Membership, Session: a.Session, Token: a.SessionToken,
	}
}

// SignIn gives a person a new session.
func (s *Server) SignIn(t testing.TB, p *Person) {
	t.Helper()
	res, err := s.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: Password})
	if err != nil {
		t.Fatalf("SignInWithPassword: %v", err)
	}
	p.Token, p.Session = res.SessionToken, res.Session
	p.Client = s.Client("").As(p.Token)
}

// Join makes a person a member of another one's workspace, as the product does.
func (s *Server) Join(t testing.TB, p *Person, workspace string, role authz.Role) ids.Membership {
	t.Helper()
	id, err := s.TryJoin(t.Context(), p.User.Id, workspace, role)
	if err == nil && id.IsZero() {
		err = fmt.Errorf("%s cannot join %s", p.User.Id, workspace)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TryJoin makes a user a member of a workspace, if both are still there. It returns
// the zero ID when they are not, or the user belongs to it.
func (s *Server) TryJoin(ctx context.Context, user, workspace string, role authz.Role) (id ids.Membership, err error) {
	u, err := ids.Parse[ids.User](user)
	if err != nil {
		return id, err
	}
	w, err := ids.Parse[ids.Workspace](workspace)
	if err != nil {
		return id, err
	}
	err = pgx.BeginFunc(ctx, s.SQL, func(tx pgx.Tx) error {
		live, err := tx.Exec(ctx, "SELECT 1 FROM tenant.workspaces WHERE id = $1 AND delete_time IS NULL FOR NO KEY UPDATE", w.UUID())
		if err != nil || live.RowsAffected() == 0 {
			return err
		}
		there, err := tx.Exec(ctx, "SELECT 1 FROM identity.users WHERE id = $1 FOR NO KEY UPDATE", u.UUID())
		if err != nil || there.RowsAffected() == 0 {
			return err
		}
		var name, address string
		if err := tx.QueryRow(ctx, "SELECT display_name, coalesce(address_key, '') FROM identity.profiles WHERE user_id = $1", u.UUID()).
			Scan(&name, &address); err != nil {
			return err
		}
		m, keys, now := ids.New[ids.Membership](), team.KeysOf(w, name, address), s.Clock.Now()
		joined, err := tx.Exec(ctx, `
			INSERT INTO team.memberships (id, workspace_id, user_id, role, create_time, update_time, name_key, address_key, terms)
			VALUES ($1, $2, $3, $4, $5, $5, $6, $7, array_to_tsvector($8)) ON CONFLICT DO NOTHING`,
			m.UUID(), w.UUID(), u.UUID(), string(role), now, keys.Name, keys.Address, keys.Terms)
		if err != nil || joined.RowsAffected() == 0 {
			return err
		}
		id = m
		if _, err := tx.Exec(ctx, countSeats+" AND workspace_id = $1", w.UUID()); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO audit.events (id, workspace_id, actor_kind, action, target_id, details, create_time)
			VALUES ($1, $2, 'system', 'membership.created', $3, jsonb_build_object('user_id', $4::text, 'role', $5::text), $6)`,
			ids.New[ids.Event]().UUID(), w.UUID(), m.String(), user, string(role), now)
		return err
	})
	return id, err
}

const countSeats = `
	UPDATE billing.subscriptions s SET seats = (
		SELECT count(*) FROM team.memberships m WHERE m.workspace_id = s.workspace_id AND m.deactivate_time IS NULL)
	WHERE cancel_time IS NULL`

// CountSeats counts the seats of all workspaces anew, for tests that changed members
// behind the product's back.
func (s *Server) CountSeats(t testing.TB) {
	t.Helper()
	if _, err := s.SQL.Exec(t.Context(), countSeats); err != nil {
		t.Fatal(err)
	}
}

// Mails returns what was mailed to an address, the newest first, but for what Alerts
// returns.
func (s *Server) Mails(t testing.TB, email string) []mail.StoredMessage {
	t.Helper()
	return s.mails(t, email, false)
}

// Alerts returns the mails to an address that tell of a sign-in from a new device, as
// nearly every one in a test is: the newest first.
func (s *Server) Alerts(t testing.TB, email string) []mail.StoredMessage {
	t.Helper()
	return s.mails(t, email, true)
}

func (s *Server) mails(t testing.TB, email string, alerts bool) []mail.StoredMessage {
	t.Helper()
	all, err := s.Mailbox.List(1000)
	if err != nil {
		t.Fatal(err)
	}
	var list []mail.StoredMessage
	for _, m := range all {
		if strings.EqualFold(m.To, email) && alerts == strings.Contains(strings.Join(strings.Fields(m.Text), " "), string(mail.NewDevice)) {
			list = append(list, m)
		}
	}
	return list
}

// Mail waits until count mails were sent to an address, and returns the last.
func (s *Server) Mail(t testing.TB, email string, count int) mail.StoredMessage {
	t.Helper()
	var list []mail.StoredMessage
	Eventually(t, fmt.Sprintf("%d mails to %s", count, email), func() bool {
		list = s.Mails(t, email)
		return len(list) >= count
	})
	return list[0]
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// Code waits for a mail with a code to an address, and returns the newest one's.
func (s *Server) Code(t testing.TB, email string) string {
	t.Helper()
	var code string
	Eventually(t, "a code mailed to "+email, func() bool {
		for _, m := range s.Mails(t, email) {
			if code = sixDigits.FindString(m.Text); code != "" {
				return true
			}
		}
		return false
	})
	return code
}

// CodeIn returns the code in a mail.
func CodeIn(t testing.TB, m mail.StoredMessage) string {
	t.Helper()
	code := sixDigits.FindString(m.Text)
	if code == "" {
		t.Fatalf("no code in the mail %q:\n%s", m.Subject, m.Text)
	}
	return code
}

var tokenInLink = regexp.MustCompile(`#token=([A-Za-z0-9_-]+)`)

// TokenIn returns the token of the link in a mail.
func TokenIn(t testing.TB, m mail.StoredMessage) string {
	t.Helper()
	match := tokenInLink.FindStringSubmatch(m.Text)
	if match == nil {
		t.Fatalf("no link in the mail %q:\n%s", m.Subject, m.Text)
	}
	return match[1]
}

// Eventually waits until something is so, for 20 seconds at most.
func Eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("waited in vain for: %s", what)
}

// Cookies returns an HTTP client that keeps cookies as a browser does over
// HTTPS: secure ones too, though the tests' server speaks plain HTTP.
func Cookies() *http.Client { return &http.Client{Transport: &cookieJar{}} }

type cookieJar struct {
	mu     sync.Mutex
	values map[string]string
}

func (j *cookieJar) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	j.mu.Lock()
	for name, value := range j.values {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	j.mu.Unlock()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range res.Cookies() {
		if j.values == nil {
			j.values = map[string]string{}
		}
		if c.MaxAge < 0 {
			delete(j.values, c.Name)
		} else {
			j.values[c.Name] = c.Value
		}
	}
	return res, nil
}
