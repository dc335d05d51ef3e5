package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/postgres/embedded"
)

// TestKilledPostgresLosesNothingAcknowledged kills PostgreSQL, twice, while people
// register, verify and purge. Each call that it cuts short says `unavailable`, and
// succeeds when it is repeated. The server recovers by itself, its queue too.
func TestKilledPostgresLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	pg := newMortal(t)
	srv := testkit.New(t, testkit.Options{URL: pg.URL("postgres")})
	stop := make(chan struct{})
	var all sync.WaitGroup
	clients := make([]*survivor, 6)
	for i := range clients {
		clients[i] = &survivor{server: srv}
		all.Go(func() { clients[i].live(t, stop, i%2 == 0) })
	}
	for range 2 {
		time.Sleep(300 * time.Millisecond)
		pg.crash(t)
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	all.Wait()

	srv.CheckInvariants(t)
	accounts, repeated := 0, 0
	for _, c := range clients {
		accounts, repeated = accounts+len(c.accounts)+len(c.purged), repeated+c.repeated
		for _, a := range c.accounts {
			a.check(t, srv)
		}
		for i, p := range c.purged {
			if i == 0 { // one of each: it looks at every table
				srv.CheckPurged(t, p.Workspace.Id, p.User.Id)
			}
			if err := p.signIn(t.Context(), srv); client.Reason(err) != faultv1.Reason_REASON_CREDENTIALS_INVALID {
				t.Errorf("%s was purged, and signing in says: %v", p.email, err)
			}
		}
	}
	t.Logf("%d accounts, %d calls repeated", accounts, repeated)
	if repeated < 2 || accounts < 2 {
		t.Errorf("%d accounts were made and %d calls cut short: too few to tell", accounts, repeated)
	}
	srv.Register(t) // by a code from the queue
	srv.CheckInvariants(t)
}

// mortal is a PostgreSQL server that crashes and is started again.
type mortal struct {
	*embedded.Server
	dir string
}

func newMortal(t *testing.T) *mortal {
	t.Helper()
	m := new(mortal)
	m.Server, m.dir = testkit.NewPostgres(t)
	t.Cleanup(func() { // of the one that runs in the end
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Stop(ctx); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	if err := store.Migrate(t.Context(), m.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	return m
}

// crash kills the server as a crash of the machine would, and starts it again.
func (m *mortal) crash(t *testing.T) {
	t.Helper()
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	<-m.Done()
	time.Sleep(50 * time.Millisecond) // somebody shall notice
	next, err := embedded.Start(t.Context(), embedded.Options{Dir: m.dir})
	if err != nil {
		t.Fatalf("start PostgreSQL again: %v", err)
	}
	m.Server = next
}

// survivor registers one person after the other, and repeats each call until it is
// answered.
type survivor struct {
	server   *testkit.Server
	accounts []acknowledged
	purged   []acknowledged
	repeated int
}

// acknowledged is an account of which the server has said that it exists.
type acknowledged struct {
	*authv1.Account
	email    string
	register *authv1.RegisterRequest
	reg      string
	verify   *authv1.VerifyRegistrationRequest
}

// live goes on until it is told to stop. Every second account is purged, if purges
// is set.
func (s *survivor) live(t *testing.T, stop <-chan struct{}, purges bool) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		a, err := s.register(t.Context())
		if err != nil {
			t.Errorf("register: %v", err)
			return
		}
		if !purges || n%2 == 0 {
			s.accounts = append(s.accounts, a)
			continue
		}
		if err := s.purge(t.Context(), a); err != nil {
			t.Errorf("purge: %v", err)
			return
		}
		s.purged = append(s.purged, a)
	}
}

func (s *survivor) register(ctx context.Context) (acknowledged, error) {
	a := acknowledged{email: testkit.NewEmail()}
	a.register = newRegistration(a.email)
	c := s.server.Client("").Registration
	if err := s.insist(ctx, func() error {
		res, err := c.Register(ctx, a.register)
		a.reg = res.GetRegistration().GetId()
		return err
	}); err != nil {
		return a, err
	}
	var code string
	for deadline := time.Now().Add(20 * time.Second); code == ""; time.Sleep(time.Millisecond) {
		var err error
		if code, err = queuedCode(ctx, s.server, a.email); err != nil && time.Now().After(deadline) {
			return a, err
		}
	}
	a.verify = &authv1.VerifyRegistrationRequest{RegistrationId: a.reg, Code: code, RequestId: uuid.NewString()}
	return a, s.insist(ctx, func() error {
		res, err := c.VerifyRegistration(ctx, a.verify)
		a.Account = res.GetAccount()
		return err
	})
}

// purge deletes and purges an account's workspace, and so the account.
func (s *survivor) purge(ctx context.Context, a acknowledged) error {
	c := s.server.Client("", client.WithSession(a.SessionToken)).Workspaces
	etag := ""
	if err := s.insist(ctx, func() error {
		res, err := c.PreviewDeleteWorkspace(ctx, &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: a.Workspace.Id})
		etag = res.GetEtag()
		return err
	}); err != nil {
		return err
	}
	if err := s.insist(ctx, func() error {
		_, err := c.DeleteWorkspace(ctx, &tenantv1.DeleteWorkspaceRequest{WorkspaceId: a.Workspace.Id, Etag: etag})
		return err
	}); err != nil {
		return err
	}
	tries := 0
	err := s.insist(ctx, func() error {
		tries++
		_, err := c.PurgeWorkspace(ctx, &tenantv1.PurgeWorkspaceRequest{WorkspaceId: a.Workspace.Id, Etag: etag})
		return err
	})
	if tries > 1 && client.Reason(err) == faultv1.Reason_REASON_SESSION_REQUIRED {
		return nil // the call whose answer was lost removed the caller
	}
	return err
}

// insist makes a call until it is answered. Only `unavailable` may stand in the
// way.
func (s *survivor) insist(ctx context.Context, call func() error) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := call()
		switch {
		case connect.CodeOf(err) != connect.CodeUnavailable:
			return err // or nil
		case client.Reason(err) != faultv1.Reason_REASON_UNAVAILABLE:
			return fmt.Errorf("unavailable without its reason: %w", err)
		case time.Now().After(deadline):
			return errors.Join(err, errors.New("for 20 seconds"))
		}
		s.repeated++
	}
}

// check signs in, and repeats the calls that made the account.
func (a acknowledged) check(t *testing.T, srv *testkit.Server) {
	t.Helper()
	if err := a.signIn(t.Context(), srv); err != nil {
		t.Errorf("%s was acknowledged, and cannot sign in: %v", a.email, err)
	}
	c := srv.Client("").Registration
	if res, err := c.Register(t.Context(), a.register); err != nil || res.Registration.Id != a.reg {
		t.Errorf("Register repeated: %v, %v, want %s", res, err, a.reg)
	}
	if res, err := c.VerifyRegistration(t.Context(), a.verify); err != nil || accountIDs(res.Account) != accountIDs(a.Account) {
		t.Errorf("VerifyRegistration repeated: %v, %v, want %s", res, err, accountIDs(a.Account))
	}
}

func (a acknowledged) signIn(ctx context.Context, srv *testkit.Server) error {
	_, err := srv.Client("").Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{Email: a.email, Password: testkit.Password})
	return err
}
