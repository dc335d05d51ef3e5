package e2e

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/internal/testkit"
)

// deaf is a network that loses the answers of the first calls. The server has
// carried them out.
type deaf struct{ answers atomic.Int64 }

func newDeaf(answers int64) *deaf {
	d := new(deaf)
	d.answers.Store(answers)
	return d
}

var errLost = errors.New("the answer was lost")

func (d *deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || d.answers.Add(-1) < 0 {
		return res, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return nil, errors.Join(errLost, err, res.Body.Close())
}

// client returns the client that an attempt calls with, over the network.
func (d *deaf) client(s *stage, a attempt) *client.Client {
	return s.client(a, client.WithHTTPClient(&http.Client{Transport: d}))
}

// once are the tables in which a call, however often it is repeated, leaves what
// it leaves once; each call has a session of its own.
var once = []string{
	"identity.users", "identity.emails", "auth.credentials", "auth.registrations", "tenant.workspaces", "team.memberships", "river.river_job",
}

func (s *stage) onceOnly(t *testing.T) map[string]int {
	t.Helper()
	all, rows := s.contents(t), map[string]int{}
	for _, table := range once {
		rows[table] = all[table].Rows
	}
	return rows
}

// repeatables runs a test for each operation with a request id. It gets the call,
// and a function that checks in the end what the calls have left: as much as one.
func repeatables(t *testing.T, test func(t *testing.T, s *stage, a attempt)) {
	for _, op := range operations {
		if !op.repeatable {
			continue
		}
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, op.settings)
			a := op.prepare(t, s)
			before := s.onceOnly(t)
			if _, err := a.call(t.Context(), s.client(a)); err != nil {
				t.Fatal(err)
			}
			want := s.onceOnly(t)
			for table := range want {
				want[table] -= before[table]
			}

			a = op.prepare(t, s)
			before = s.onceOnly(t)
			test(t, s, a)
			got := s.onceOnly(t)
			for table := range got {
				got[table] -= before[table]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the calls left more or less than one does (-one +all):\n%s", diff)
			}
			s.CheckInvariants(t)
		})
	}
}

// TestCallIsRepeatedAfterItsAnswerWasLost loses the answer after the commit. The
// same call with the same request id gives what the lost one made.
func TestCallIsRepeatedAfterItsAnswerWasLost(t *testing.T) {
	t.Parallel()
	repeatables(t, func(t *testing.T, s *stage, a attempt) {
		c := newDeaf(1).client(s, a)
		if _, err := a.call(t.Context(), c); connect.CodeOf(err) != connect.CodeUnavailable {
			t.Fatalf("the call whose answer is lost: %v, want unavailable", err)
		}
		after := s.onceOnly(t)
		var made []string
		for range 3 {
			result, err := a.call(t.Context(), c)
			if err != nil {
				t.Fatalf("repeated: %v", err)
			}
			made = append(made, result)
		}
		requireSame(t, made)
		if diff := cmp.Diff(after, s.onceOnly(t)); diff != "" {
			t.Errorf("the repetition made something (-before +after):\n%s", diff)
		}
	})
}

// TestCallIsRepeatedInParallel makes the same call 20 times at once, and loses half
// of the answers.
func TestCallIsRepeatedInParallel(t *testing.T) {
	t.Parallel()
	repeatables(t, func(t *testing.T, s *stage, a attempt) {
		c := newDeaf(10).client(s, a)
		var all sync.WaitGroup
		var mu sync.Mutex
		var made []string
		for range 20 {
			all.Go(func() {
				result, err := a.call(t.Context(), c)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					made = append(made, result)
				case !errors.Is(err, errLost):
					t.Errorf("one of 20 at once: %v", err)
				}
			})
		}
		all.Wait()
		if len(made) != 10 {
			t.Errorf("%d answers arrived, want 10", len(made))
		}
		requireSame(t, made)
	})
}

// requireSame checks that all calls made the same, and something.
func requireSame(t *testing.T, made []string) {
	t.Helper()
	for _, m := range made {
		if m != made[0] || len(m) < 26 {
			t.Fatalf("the calls made %q", made)
		}
	}
}

// TestRequestIDIsForOneContent repeats calls with the same request id and another
// content, before and after the address is proven.
func TestRequestIDIsForOneContent(t *testing.T) {
	t.Parallel()
	reused := func(t *testing.T, what string, err error) {
		t.Helper()
		if connect.CodeOf(err) != connect.CodeFailedPrecondition || client.Reason(err) != faultv1.Reason_REASON_REQUEST_ID_REUSED {
			t.Errorf("%s: %v (%v), want failed_precondition REQUEST_ID_REUSED", what, err, client.Reason(err))
		}
	}
	for _, op := range []operation{{name: "Register"}, {name: "Register at once", settings: provenLater}} {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, op.settings)
			c := s.Client("").Registration
			req := newRegistration(testkit.NewEmail())
			if _, err := c.Register(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			before := s.contents(t)
			for what, change := range map[string]func(*authv1.RegisterRequest){
				"address":      func(r *authv1.RegisterRequest) { r.Email = testkit.NewEmail() },
				"password":     func(r *authv1.RegisterRequest) { r.Password = "another horse, another staple" },
				"display name": func(r *authv1.RegisterRequest) { r.DisplayName = "Somebody" },
				"workspace":    func(r *authv1.RegisterRequest) { r.WorkspaceName = "Another" },
			} {
				other := proto.CloneOf(req)
				change(other)
				_, err := c.Register(t.Context(), other)
				reused(t, what, err)
			}
			s.requireContents(t, before)
		})
	}
	t.Run("CreateWorkspace", func(t *testing.T) {
		t.Parallel()
		s := newStage(t, nil)
		p, other := s.person(t), s.person(t)
		req := &tenantv1.CreateWorkspaceRequest{Name: "Second", RequestId: uuid.NewString()}
		first, err := p.Workspaces.CreateWorkspace(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		before := s.contents(t)
		_, err = p.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Third", RequestId: req.RequestId})
		reused(t, "name", err)
		_, err = p.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Second", Slug: "third", RequestId: req.RequestId})
		reused(t, "slug", err)
		s.requireContents(t, before)
		// Another user's request ids are their own.
		theirs, err := other.Workspaces.CreateWorkspace(t.Context(), req)
		if err != nil || theirs.Workspace.Id == first.Workspace.Id {
			t.Errorf("another user's request with the same id: %v, %v", theirs, err)
		}
	})
	t.Run("VerifyRegistration", func(t *testing.T) {
		t.Parallel()
		s := newStage(t, nil)
		c := s.Client("").Registration
		email := testkit.NewEmail()
		began, err := c.Register(t.Context(), newRegistration(email))
		if err != nil {
			t.Fatal(err)
		}
		req := &authv1.VerifyRegistrationRequest{RegistrationId: began.Registration.Id, Code: s.code(t, email), RequestId: uuid.NewString()}
		if _, err := c.VerifyRegistration(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		// A code is used once, except by the call that is repeated.
		for what, id := range map[string]string{"another request id": uuid.NewString(), "no request id": ""} {
			other := proto.CloneOf(req)
			other.RequestId = id
			if _, err := c.VerifyRegistration(t.Context(), other); client.Reason(err) != faultv1.Reason_REASON_CODE_INVALID {
				t.Errorf("the used code with %s: %v, want CODE_INVALID", what, err)
			}
		}
	})
}

// registerAgainOnceProven registers, proves the address by a call with a request id, and
// repeats the call that registered.
func (s *stage) registerAgainOnceProven(t *testing.T, request string) (first, again *authv1.RegisterResponse, err error) {
	t.Helper()
	c := s.Client("").Registration
	req := newRegistration(testkit.NewEmail())
	first, err = c.Register(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
		RegistrationId: first.Registration.Id, Code: s.code(t, req.Email), RequestId: request,
	}); err != nil {
		t.Fatal(err)
	}
	again, err = c.Register(t.Context(), req)
	return first, again, err
}

// TestRegisterIsRepeatedAfterTheAddressWasProven loses the answer of a Register that
// created an account; its link is opened before the call is repeated.
func TestRegisterIsRepeatedAfterTheAddressWasProven(t *testing.T) {
	t.Parallel()
	s := newStage(t, provenLater)
	for name, request := range map[string]string{"with a request id": uuid.NewString(), "without": ""} {
		t.Run(name, func(t *testing.T) {
			first, again, err := s.registerAgainOnceProven(t, request)
			if err != nil || accountIDs(again.Account) != accountIDs(first.Account) {
				t.Errorf("repeated: %v, %v, want the account of %v", again.GetAccount(), err, accountIDs(first.Account))
			}
			s.CheckInvariants(t)
		})
	}
}

// TestRegisterIsRepeatedWithTheSameAnswer repeats, where the address is proven
// first, a Register whose address was proven meanwhile: the answer tells as little
// as the first one.
func TestRegisterIsRepeatedWithTheSameAnswer(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	for name, request := range map[string]string{"with a request id": uuid.NewString(), "without": ""} {
		t.Run(name, func(t *testing.T) {
			first, again, err := s.registerAgainOnceProven(t, request)
			if err != nil || !proto.Equal(again, first) {
				t.Errorf("repeated: %v, %v, want %v", again, err, first)
			}
		})
	}
}
