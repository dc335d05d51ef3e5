package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// schemas are the modules' schemas, and exported what each module may read of the
// others.
var (
	schemas  = []string{"identity", "tenant", "team", "auth", "billing", "audit"}
	exported = []string{"identity.profiles", "identity.proofs", "tenant.directory", "tenant.enrollments", "team.roster", "team.authority", "auth.programs"}
)

// now is when everything in these tests happens.
var now = clock.System{}.Now()

// module is a database as one module sees it: through a role that may use the
// module's own schema and the views that others export, and nothing else.
type module struct {
	*postgres.DB
	admin *pgx.Conn // may do everything
	role  string
}

func asModule(t *testing.T, name string) module {
	t.Helper()
	m := module{role: "module_" + name + "_" + uuid.NewString()[:8]}
	address := testkit.NewDatabase(t)
	m.admin = connect(t, address)
	run(t, m.admin, "CREATE ROLE "+m.role+" LOGIN")
	t.Cleanup(func() {
		if _, err := m.admin.Exec(context.WithoutCancel(t.Context()), "DROP OWNED BY "+m.role+"; DROP ROLE "+m.role); err != nil {
			t.Error(err)
		}
	})
	run(t, m.admin, fmt.Sprintf("GRANT USAGE ON SCHEMA %[1]s TO %[2]s; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %[1]s TO %[2]s", name, m.role))
	for _, view := range exported {
		schema, _, _ := strings.Cut(view, ".")
		run(t, m.admin, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s TO %[2]s", schema, m.role, view))
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(m.role)
	if m.DB, err = postgres.Open(postgres.Options{URL: u.String(), MaxConnections: 2}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// seed puts a user with a workspace into the database.
func (m module) seed(t *testing.T, address string) (ids.User, ids.Workspace) {
	t.Helper()
	user, workspace := ids.New[ids.User](), ids.New[ids.Workspace]()
	if err := pgx.BeginFunc(t.Context(), m.admin, func(tx pgx.Tx) error {
		for sql, args := range map[string][]any{
			"INSERT INTO identity.users VALUES ($1, 'Ann', 1, $2, $2)":                                                 {user.UUID(), now},
			"INSERT INTO tenant.workspaces (id, name, slug, create_time, update_time) VALUES ($1, 'Acme', $2, $3, $3)": {workspace.UUID(), address, now},
		} {
			if _, err := tx.Exec(t.Context(), sql, args...); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(t.Context(), "INSERT INTO identity.emails VALUES ($1, $2, $2, $3)", user.UUID(), address, now); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `
			INSERT INTO team.memberships (id, workspace_id, user_id, role, name_key, address_key, create_time, update_time)
			VALUES ($1, $2, $3, 'owner', 'ann', $4, $5, $5)`,
			ids.New[ids.Membership]().UUID(), workspace.UUID(), user.UUID(), address, now)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return user, workspace
}

// exercise calls the methods of a repository, and knows which it has not called.
type exercise struct {
	t          *testing.T
	repository reflect.Value
	open       map[string]bool
}

func newExercise(t *testing.T, repository any) *exercise {
	e := &exercise{t, reflect.ValueOf(repository), map[string]bool{}}
	for method := range e.repository.Type().Methods() {
		e.open[method.Name] = true
	}
	return e
}

// call calls a method, which must not fail, and returns what it returns but the
// error.
func (e *exercise) call(name string, args ...any) []any {
	e.t.Helper()
	method := e.repository.MethodByName(name)
	if !method.IsValid() {
		e.t.Fatalf("%s has no method %s", e.repository.Type(), name)
	}
	delete(e.open, name)
	in := []reflect.Value{reflect.ValueOf(e.t.Context())}
	for i, arg := range args {
		value := reflect.ValueOf(arg)
		if want := method.Type().In(min(i+1, method.Type().NumIn()-1)); value.CanConvert(want) {
			value = value.Convert(want)
		}
		in = append(in, value)
	}
	var out []any
	for _, value := range method.Call(in) {
		out = append(out, value.Interface())
	}
	last := len(out) - 1
	if err, _ := out[last].(error); err != nil {
		e.t.Fatalf("%s: %v", name, err)
	}
	return out[:last]
}

// everything makes comparisons see unexported fields.
var everything = cmp.Exporter(func(reflect.Type) bool { return true })

// want calls a method, and compares the first of what it returns.
func (e *exercise) want(want any, name string, args ...any) {
	e.t.Helper()
	if diff := cmp.Diff(want, e.call(name, args...)[0], everything); diff != "" {
		e.t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// finish checks that no method was left out.
func (e *exercise) finish() {
	e.t.Helper()
	for name := range e.open {
		e.t.Errorf("%s.%s is exercised by no test", e.repository.Type(), name)
	}
}

func TestIdentityNeedsItsOwnSchemaOnly(t *testing.T) {
	t.Parallel()
	m := asModule(t, "identity")
	e := newExercise(t, identity.New(m.Bun))
	u := &identity.User{ID: ids.New[ids.User](), DisplayName: "Ann", Version: 1, CreateTime: now, UpdateTime: now}
	u.Email = &identity.Email{UserID: u.ID, Address: "Ann@example.com", AddressKey: "ann@example.com"}
	e.call("InsertUser", u)
	e.want([]identity.User{*u}, "Find", "nn@Exam", ids.User{}, 10)
	e.want([]identity.User(nil), "Find", "ann", u.ID, 10)
	e.want(u, "User", u.ID)
	e.want(u, "LockUser", u.ID)
	e.call("HoldUser", u.ID)
	e.want(u.Email, "Address", "ann@example.com")
	e.want(u.Email, "LockAddress", "ann@example.com")
	e.call("Rename", u, "Anna", now)
	e.call("MarkVerified", u, now)
	e.want(u, "User", u.ID)

	c := &identity.EmailChange{
		ID: ids.New[ids.EmailChange](), UserID: u.ID, Address: "anna@example.com", AddressKey: "anna@example.com",
		CodeHash: []byte{1}, TokenHash: []byte{2}, CreateTime: now, ExpireTime: now,
	}
	e.call("InsertEmailChange", c)
	e.call("CountEmailChangeAttempt", c.ID)
	c.Attempts = 1
	e.want(c, "LockEmailChange", u.ID, c.ID, secret.Hash{})
	e.call("SetAddress", u, c.Email(), now, now)
	e.want(u, "User", u.ID)
	e.call("DeleteEmailChanges", u.ID)
	e.want((*identity.EmailChange)(nil), "LockEmailChange", u.ID, c.ID, secret.Hash{})
	e.call("InsertEmailChange", c)
	e.call("DeleteExpired", now.Add(time.Second))
	e.want((*identity.EmailChange)(nil), "LockEmailChange", u.ID, c.ID, secret.Hash{})

	e.call("TakeAddress", u.ID)
	u.Email = nil
	e.want(u, "User", u.ID)
	e.call("LockMembers", []ids.User{u.ID})
	e.call("LockUsers", []ids.User{u.ID})
	e.call("DeleteUsers", []ids.User{u.ID})
	e.want((*identity.Email)(nil), "Address", "anna@example.com")
	e.finish()
}

func TestTenantNeedsItsOwnSchemaOnly(t *testing.T) {
	t.Parallel()
	m := asModule(t, "tenant")
	user, _ := m.seed(t, "ann@example.com")
	elsewhere, _ := m.seed(t, "ann@sub.example.com")
	tx, err := m.Bun.BeginTx(t.Context(), nil) // at whose end the workspaces are gone that have no owner
	if err != nil {
		t.Fatal(err)
	}
	e := newExercise(t, tenant.New(tx))
	creator, request := ids.New[ids.User](), uuid.New()
	w := &tenant.Workspace{
		ID: ids.New[ids.Workspace](), Name: "Acme", Version: 1, CreateTime: now, UpdateTime: now,
		CreatorID: creator, CreateRequestID: uuid.NullUUID{UUID: request, Valid: true}, CreateRequestDigest: []byte{1},
	}
	e.call("Insert", w)
	e.want(w, "Workspace", w.ID)
	e.want(w, "LockWorkspace", w.ID)
	e.want(w, "LockWorkspaceToPurge", w.ID)
	e.want(w, "HoldWorkspace", w.ID)
	e.want(w, "CreatedBy", creator, request)
	e.want([]tenant.Workspace{*w}, "Workspaces", []ids.Workspace{w.ID, ids.New[ids.Workspace]()})
	e.want(false, "SlugFree", "acme")

	second := &tenant.Workspace{ID: ids.New[ids.Workspace](), Name: "Acme", Version: 1, CreateTime: now, UpdateTime: now}
	e.call("Insert", second)
	if !strings.HasPrefix(second.Slug, "acme-") {
		t.Errorf("the second workspace of one name has the slug %q", second.Slug)
	}
	w.Name = "Acme Ltd."
	e.call("Update", w, now)
	e.call("MarkDeleted", w, "etag", now, now)
	e.want(w, "Workspace", w.ID)
	e.want([]ids.Workspace{w.ID}, "Due", now, 0)
	e.call("BeginDeletionNotice", w.ID)
	n := &tenant.DeletionNotice{WorkspaceID: w.ID, Pending: true}
	e.want(n, "DeletionNotice", w.ID)
	e.want([]ids.Workspace{w.ID}, "PendingDeletionNotices", ids.Workspace{})
	e.want([]ids.Workspace{}, "PendingDeletionNotices", w.ID)
	n.Last, n.Pending = ids.New[ids.Membership](), false
	e.call("UpdateDeletionNotice", n)
	e.want(n, "DeletionNotice", w.ID)
	e.want([]ids.Workspace{}, "PendingDeletionNotices", ids.Workspace{})
	e.call("MarkUndeleted", w, now)
	e.call("RevertDeletionNotice", w.ID)
	n.Undeleted, n.Until, n.Last, n.Pending = true, n.Last, ids.Membership{}, true
	e.want(n, "DeletionNotice", w.ID)
	e.call("BeginDeletionNotice", w.ID) // before anybody was told of the restoration
	e.call("RevertDeletionNotice", w.ID)
	e.want(n, "DeletionNotice", w.ID)
	e.call("DeleteDeletionNotice", w.ID)
	e.want((*tenant.DeletionNotice)(nil), "DeletionNotice", w.ID)
	e.call("BeginDeletionNotice", w.ID)
	e.call("RevertDeletionNotice", w.ID) // before anybody was told of the deletion
	e.want((*tenant.DeletionNotice)(nil), "DeletionNotice", w.ID)
	e.call("BeginPolicyNotice", w.ID)
	p := &tenant.PolicyNotice{WorkspaceID: w.ID}
	e.want(p, "PolicyNotice", w.ID)
	e.want([]ids.Workspace{w.ID}, "PolicyNotices", ids.Workspace{})
	p.Last = n.Until
	e.call("UpdatePolicyNotice", p)
	e.want(p, "PolicyNotice", w.ID)
	e.call("DeletePolicyNotice", w.ID)
	e.want((*tenant.PolicyNotice)(nil), "PolicyNotice", w.ID)
	e.call("ForgetUsers", []ids.User{creator})
	w.CreatorID = ids.User{}
	e.want(w, "Workspace", w.ID)

	d := &tenant.Domain{
		ID: ids.New[ids.Domain](), WorkspaceID: w.ID, Domain: "example.com", RecordValue: "value", Enrollment: tenant.Off, Role: authz.Member,
		CreateTime: now,
	}
	e.call("InsertDomain", d)
	e.want(d, "Domain", w.ID, d.ID)
	e.want(d, "DomainNamed", w.ID, "example.com")
	e.want((*tenant.Domain)(nil), "DomainNamed", second.ID, "example.com")
	e.want((*tenant.Domain)(nil), "VerifiedDomain", "example.com")
	e.call("VerifyDomain", d, now)
	e.want(d, "VerifiedDomain", "example.com")
	e.want((*tenant.Enrollment)(nil), "Enrollment", "example.com")
	e.call("SetEnrollment", d, tenant.Automatic, authz.Viewer)
	e.want(d, "Domain", w.ID, d.ID)
	enrollment := &tenant.Enrollment{
		Domain: "example.com", WorkspaceID: w.ID, WorkspaceName: w.Name, Enrollment: tenant.Automatic, Role: authz.Viewer,
	}
	e.want(enrollment, "Enrollment", "example.com")
	e.want(enrollment, "EnrollmentOf", user)
	e.want((*tenant.Enrollment)(nil), "EnrollmentOf", elsewhere)
	e.want((*tenant.Enrollment)(nil), "EnrollmentOf", ids.New[ids.User]())
	run(t, m.admin, "UPDATE identity.emails SET verified_time = NULL WHERE address_key = 'ann@example.com'")
	e.want((*tenant.Enrollment)(nil), "EnrollmentOf", user) // whose address is not proven any more
	run(t, m.admin, "UPDATE identity.emails SET verified_time = create_time FROM identity.users WHERE id = user_id")
	e.call("SetEnrollment", d, tenant.Request, authz.Viewer)
	enrollment.Enrollment = tenant.Request
	e.want(enrollment, "EnrollmentOf", user)
	e.call("SetEnrollment", d, tenant.Off, authz.Viewer)
	e.want((*tenant.Enrollment)(nil), "EnrollmentOf", user)
	e.call("SetEnrollment", d, tenant.Automatic, authz.Viewer)
	e.call("MarkDeleted", w, "etag", now, now)
	e.want((*tenant.Enrollment)(nil), "EnrollmentOf", user)
	e.call("MarkUndeleted", w, now)
	enrollment.Enrollment = tenant.Automatic
	e.want(enrollment, "EnrollmentOf", user)
	other := &tenant.Domain{
		ID: ids.New[ids.Domain](), WorkspaceID: w.ID, Domain: "a.example.com", RecordValue: "value", Enrollment: tenant.Off, Role: authz.Member,
		CreateTime: now,
	}
	e.call("InsertDomain", other)
	e.want([]tenant.Domain{*other, *d}, "Domains", w.ID)
	e.want(2, "CountDomains", w.ID)
	e.call("DeleteDomain", other.ID)
	e.want([]tenant.Domain{*d}, "Domains", w.ID)
	e.call("DeleteDomains", w.ID)
	e.want(0, "CountDomains", w.ID)

	e.call("Delete", w.ID)
	e.call("Delete", second.ID)
	e.finish()
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
}

func TestAuthNeedsItsOwnSchemaOnly(t *testing.T) {
	t.Parallel()
	m := asModule(t, "auth")
	user, w := m.seed(t, "ann@example.com")
	repository := auth.New(m.Bun, postgres.NewPager(secret.NewKey()))
	e := newExercise(t, repository)

	e.call("SetPassword", user, "first", now)
	e.want(true, "HoldPassword", user, "first")
	e.want(true, "ReplacePassword", user, "first", "second", now)
	e.want("second", "PasswordHash", user)
	if got := e.call("PasswordHashAt", "ann@example.com"); got[0] != user || got[1] != "second" {
		t.Errorf("PasswordHashAt = %v", got)
	}
	e.call("DeletePassword", user)
	e.want("", "PasswordHash", user)

	e.want(false, "Disabled", user)
	e.want(false, "Operator", user)
	e.want(auth.SecondFactors{}, "SecondFactors", user)
	exerciseOperators(e, user)
	exerciseFactors(t, e, repository, user)
	exerciseDevices(e, m, user)

	token := secret.HashOf("test", "token")
	s := &auth.Session{
		ID: ids.New[ids.Session](), UserID: user, TokenHash: []byte{1}, Transport: authz.Bearer, CreateTime: now, AuthTime: now,
		LastUseTime: now, IdleExpireTime: now.Add(time.Hour), ExpireTime: now.Add(time.Hour), ClientAddress: "::1", UserAgent: "test",
		Methods: []authz.Method{authz.ByPassword},
	}
	e.call("InsertSession", s)
	s.TokenHash = token[:]
	e.want(s, "Renew", s.ID, auth.Renewal{Token: token, Method: authz.ByPassword, IdleExpire: now.Add(2 * time.Hour)}, now)
	e.want([]auth.Session{*s}, "ListSessions", user, now, postgres.Page{})
	exerciseTokens(e, m, s, w)
	e.want(1, "CountSessions", user, now)
	e.want([]auth.Session{*s}, "SoleSessions", w, now, 10)

	exercisePasskeys(t, e, repository, user, s.ID)

	f := newExercise(t, auth.NewSessions(m.Pool))
	found := f.call("Find", token, authz.Bearer, now)[0].(*authz.Session)
	if found == nil || found.User != user || !found.EmailVerified || !found.HasWorkspace {
		t.Errorf("Find = %+v", found)
	}
	f.call("Touch", s.ID, "::2", now.Add(time.Minute), now.Add(time.Hour))
	f.finish()
	exercisePrograms(t, e, auth.NewKeys(auth.NewSessions(m.Pool)), user, w)

	e.want(true, "DeleteSession", user, s.ID, now)
	e.call("InsertSession", s)
	e.call("ForgetSecondFactor", user)
	e.want(1, "DeleteSessions", user, ids.Session{})
	e.call("InsertSession", s)
	e.call("DeleteSoleSessions", w, ids.Session{})
	e.want(0, "CountSessions", user, now)

	reg := &auth.Registration{
		ID: ids.New[ids.Registration](), Address: "bob@example.com", AddressKey: "bob@example.com", DisplayName: "Bob", WorkspaceName: "Bob's",
		RequestID: uuid.NullUUID{UUID: uuid.New(), Valid: true}, RequestDigest: []byte{1}, CodeHash: []byte{2}, TokenHash: []byte{3},
		CodeCreateTime: now, CodeExpireTime: now, CodeCount: 1, CreateTime: now, ExpireTime: now,
	}
	e.want(true, "InsertRegistration", reg)
	e.want(false, "InsertRegistration", reg)
	e.want(reg, "RegistrationOf", reg.RequestID.UUID)
	e.want(reg, "Registration", reg.ID)
	e.want((*auth.Registration)(nil), "RegistrationByToken", secret.Hash{})
	e.want(reg, "LockRegistration", reg.ID)
	e.want(reg, "LockToVerify", reg.ID, secret.Hash{})
	reg.UserID, reg.WorkspaceID, reg.VerifyTime = user, w, now
	e.call("UpdateRegistration", reg)
	e.want(reg, "RegistrationOf", reg.RequestID.UUID)
	e.call("EndRegistrations", reg.AddressKey, ids.New[ids.Registration]()) // those that created nothing
	e.want(reg, "RegistrationOf", reg.RequestID.UUID)
	e.call("ForgetWorkspace", w)
	reg.WorkspaceID = ids.Workspace{}
	e.want(reg, "RegistrationOf", reg.RequestID.UUID)

	p := &auth.PasswordReset{
		ID: ids.New[ids.PasswordReset](), AddressKey: "ann@example.com", CodeHash: []byte{1}, TokenHash: []byte{2}, CreateTime: now, ExpireTime: now,
	}
	e.call("InsertPasswordReset", p)
	e.call("CountPasswordResetAttempt", p.ID)
	p.Attempts = 1
	e.want(p, "LockPasswordReset", p.ID, secret.Hash{})
	e.want(p.AddressKey, "PasswordResetAddress", p.ID, secret.Hash{})
	e.want("", "PasswordResetAddress", ids.PasswordReset{}, secret.HashOf("test", "nothing"))
	e.call("DeletePasswordResets", "ann@example.com")
	e.want((*auth.PasswordReset)(nil), "LockPasswordReset", p.ID, secret.Hash{})

	throttle := newExercise(t, auth.NewThrottle(repository, clock.System{}))
	limit := auth.Limit{Burst: 1, Interval: time.Hour}
	throttle.call("Take", "key", limit)
	if err := auth.NewThrottle(repository, clock.System{}).Take(t.Context(), "key", limit); !fault.Has(err, fault.RateLimited) {
		t.Errorf("Take over the limit: %v", err)
	}
	throttle.call("Return", "key", limit)
	throttle.call("Take", "key", limit)
	throttle.call("Release", "key")
	throttle.call("TakeMany", "key", 1, limit)
	throttle.want([]error{nil}, "TakeEach", []string{"another key"}, limit)
	throttle.finish()

	exerciseExternalIdentities(t, e, user)

	for _, kind := range []string{"Sessions", "Registrations", "PasswordResets", "Throttles"} {
		e.call("DeleteExpired"+kind, now.Add(24*time.Hour))
	}
	e.call("DeleteUsers", []ids.User{user})
	e.finish()
}

func TestAuditNeedsItsOwnSchemaOnly(t *testing.T) {
	t.Parallel()
	m := asModule(t, "audit")
	user, w := m.seed(t, "ann@example.com")
	e := newExercise(t, audit.New(m.Bun, postgres.NewPager(secret.NewKey())))
	e.call("Insert",
		&audit.Event{ID: ids.New[ids.Event](), WorkspaceID: w, ActorKind: audit.User, ActorUserID: user, Action: "test", CreateTime: now},
		&audit.Event{ID: ids.New[ids.Event](), UserID: user, ActorKind: audit.System, Action: "test", CreateTime: now})
	for _, filter := range []audit.Filter{{WorkspaceID: w}, {UserID: user, Action: "test", OldestFirst: true}} {
		// Older transactions of other databases keep events back, too.
		testkit.Eventually(t, "the event to be listed", func() bool {
			return len(e.call("List", filter, postgres.Page{})[0].([]audit.Event)) == 1
		})
	}
	e.call("DeleteOfWorkspace", w)
	e.call("DeleteOfUsers", []ids.User{user})
	for _, filter := range []audit.Filter{{WorkspaceID: w}, {UserID: user}} {
		if rows := e.call("List", filter, postgres.Page{})[0].([]audit.Event); len(rows) != 0 {
			t.Errorf("%d events are left", len(rows))
		}
	}
	e.finish()
}

// TestModulesCannotTouchEachOther proves that the roles of the tests above refuse
// what they should.
func TestModulesCannotTouchEachOther(t *testing.T) {
	t.Parallel()
	for _, name := range schemas {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := asModule(t, name)
			rows, err := m.admin.Query(t.Context(), `
				SELECT table_schema || '.' || table_name FROM information_schema.tables
				WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_schema <> $1`, name)
			if err != nil {
				t.Fatal(err)
			}
			relations, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			if len(relations) < 10 {
				t.Fatalf("only %v were found", relations)
			}
			for _, relation := range relations {
				refused := []string{"INSERT INTO %s DEFAULT VALUES", "DELETE FROM %s WHERE false"}
				if read := "SELECT FROM %s"; slices.Contains(exported, relation) {
					if _, err := m.Pool.Exec(t.Context(), fmt.Sprintf(read, relation)); err != nil {
						t.Errorf("%s cannot read %s: %v", name, relation, err)
					}
				} else {
					refused = append(refused, read)
				}
				for _, sql := range refused {
					sql = fmt.Sprintf(sql, relation)
					_, err := m.Pool.Exec(t.Context(), sql)
					var denied *pgconn.PgError // insufficient_privilege, or a view that nobody can write to
					if !errors.As(err, &denied) || denied.Code != "42501" && denied.Code != "55000" {
						t.Errorf("%s: %s: %v, want permission denied", name, sql, err)
					}
				}
			}
		})
	}
}

// TestForeignKeysCrossModulesToUsersAndWorkspacesOnly also checks that none writes
// by itself, but for what ends with a session, and that the store has a fault for
// each that crosses.
func TestForeignKeysCrossModulesToUsersAndWorkspacesOnly(t *testing.T) {
	t.Parallel()
	address := testkit.NewDatabase(t)
	s, err := store.Open(t.Context(), store.Options{URL: address, Key: secret.NewKey(), MaxConnections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows, err := connect(t, address).Query(t.Context(), `
		SELECT conname, conrelid::regclass::text, confrelid::regclass::text, confdeltype::text || confupdtype::text,
		       child.relnamespace <> parent.relnamespace
		FROM pg_constraint
		JOIN pg_class child ON child.oid = conrelid
		JOIN pg_class parent ON parent.oid = confrelid
		WHERE contype = 'f' AND child.relnamespace <> to_regnamespace('river')`)
	if err != nil {
		t.Fatal(err)
	}
	var name, from, to, actions string
	var crosses bool
	count := 0
	_, err = pgx.ForEachRow(rows, []any{&name, &from, &to, &actions, &crosses}, func() error {
		ofSession := to == "auth.sessions" && actions == "ca" // deleted with it
		if actions != "aa" && !ofSession {
			t.Errorf("%s of %s writes by itself (%s)", name, from, actions)
		}
		if !crosses {
			return nil
		}
		count++
		if to != "identity.users" && to != "tenant.workspaces" {
			t.Errorf("%s points from %s to %s", name, from, to)
		}
		if fault.As(s.Fault(&pgconn.PgError{Code: "23503", ConstraintName: name})) == nil {
			t.Errorf("the store has no fault for %s of %s", name, from)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count < 8 {
		t.Errorf("only %d foreign keys between modules were found", count)
	}
}

func TestConstraintsWithAFaultExist(t *testing.T) {
	t.Parallel()
	conn := connect(t, testkit.NewDatabase(t))
	for schema, constraints := range map[string]postgres.Constraints{
		"identity": identity.Constraints, "tenant": tenant.Constraints, "team": team.Constraints,
	} {
		if len(constraints) == 0 {
			t.Errorf("%s has no faults", schema)
		}
		for name, f := range constraints {
			var count int
			if err := conn.QueryRow(t.Context(), `
				SELECT count(*) FROM (
					SELECT conname FROM pg_constraint WHERE connamespace = to_regnamespace($2)
					UNION
					SELECT relname FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid
					WHERE indisunique AND relnamespace = to_regnamespace($2)) AS all_of_them (name)
				WHERE name = $1`, name, schema).Scan(&count); err != nil {
				t.Fatal(err)
			}
			if count != 1 {
				t.Errorf("%d constraints of %s are named %s, whose violation means %v", count, schema, name, f)
			}
		}
	}
}
