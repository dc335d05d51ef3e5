package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/logicspike/manager/client"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// The limits of the model's server. The model's clock moves by multiples of 4
// minutes, and each limit lies 2 minutes beside one, so that the seconds which a
// run itself takes decide nothing.
const (
	modelCode   = store.CodeLifetime // 10 minutes
	modelRecent = 10 * time.Minute
	modelIdle   = 14*24*time.Hour + 2*time.Minute
	modelLife   = 90*24*time.Hour + 2*time.Minute
	modelGrace  = 7*24*time.Hour + 2*time.Minute
)

// TestTheServerDoesWhatAPlainModelDoes lets random people do random things while
// time goes by, and compares each answer, and after each step the database, with
// a model in a few hundred lines of plain Go.
//
// The database's state is read by SQL, since reading it by the API would use
// the sessions, and so keep them from becoming idle.
func TestTheServerDoesWhatAPlainModelDoes(t *testing.T) {
	t.Parallel()
	runModel(t, 1, modelMeets, func(m *model, rt *rapid.T) map[string]func(*rapid.T) {
		m.begin(rt, 2)
		return map[string]func(*rapid.T){
			"":                 m.compare,
			"register":         m.register,
			"verify":           m.verify,
			"sign in":          m.signIn,
			"sign out":         m.signOut,
			"reauthenticate":   m.reauthenticate,
			"look around":      m.lookAround,
			"create workspace": m.createWorkspace,
			"delete workspace": m.deleteWorkspace,
			"undelete":         m.undelete,
			"purge":            m.purgeWorkspace,
			"delete me":        m.deleteMe,
			"join":             m.join,
			"time goes by":     m.advance,
			"purge what's due": m.purgeDue,
			"clean up":         m.cleanUp,
		}
	})
}

// runModel lets people do what begin returns, for a while as long as length says, on
// a server of the model's own, and checks that all that should be met was met.
func runModel(t *testing.T, length int, meets []string, begin func(*model, *rapid.T) map[string]func(*rapid.T)) {
	t.Helper()
	runModelOn(t, testkit.New(t, testkit.Options{WithoutJobs: true, Settings: modelSettings}), length, meets, begin)
}

func modelSettings(s *config.Settings) {
	s.SessionIdleTimeout, s.SessionLifetime, s.DeletionGrace, s.ReauthenticationAge = modelIdle, modelLife, modelGrace, modelRecent
}

// runModelOn is runModel on a server that has modelSettings.
func runModelOn(t *testing.T, srv *testkit.Server, length int, meets []string, begin func(*model, *rapid.T) map[string]func(*rapid.T)) {
	t.Helper()
	anon := srv.Client("")
	seen := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: t, srv: srv, anon: anon, seen: seen}
		for range 4 {
			m.emails = append(m.emails, testkit.NewEmail())
		}
		steps := begin(m, rt)
		for range length {
			rt.Repeat(steps)
		}
	})
	for _, outcome := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("%5d %s", seen[outcome], outcome)
	}
	for _, outcome := range meets {
		if *large && seen[outcome] == 0 {
			t.Errorf("%s: it never came to that", outcome)
		}
	}
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password)
}

// modelMeets are the outcomes without which the runs would prove little. Each is
// met a dozen times, or much more often, by the runs of one test.
var modelMeets = []string{
	"Register", "VerifyRegistration", "VerifyRegistration CODE_INVALID",
	"SignInWithPassword", "SignInWithPassword CREDENTIALS_INVALID", "SignOut", "SignOut SESSION_REQUIRED", "Reauthenticate",
	"GetSession", "ListWorkspaces", "CreateWorkspace",
	"DeleteWorkspace", "DeleteWorkspace ETAG_MISMATCH", "DeleteWorkspace REAUTHENTICATION_REQUIRED", "DeleteWorkspace SESSION_REQUIRED",
	"UndeleteWorkspace", "UndeleteWorkspace WORKSPACE_NOT_DELETED", "PurgeWorkspace", "PurgeWorkspace WORKSPACE_NOT_DELETED", "PurgeDue",
	"DeleteMe", "DeleteMe OWNER_REQUIRED", "DeleteMe REAUTHENTICATION_REQUIRED",
}

// model is what there should be. Times are counted from the run's beginning.
// Whatever was is kept, so that what has ended can be used, too.
type model struct {
	t    *testing.T
	srv  *testkit.Server
	anon *client.Client

	seen map[string]int // how often each outcome was met, in all runs

	now           time.Duration
	emails        []string
	users         []*modelUser
	sessions      []*modelSession
	workspaces    []*modelWorkspace
	registrations []*modelRegistration
	keys          []*modelKey
	lines         []*modelLine

	permissions map[string]authz.Role // the least role of each
	names       int                   // how many names were given
	shared      *modelWorkspace       // where most happens, or nil
}

type modelUser struct {
	id, email string
	password  string // "" for none
	gone      bool
	disabled  bool
	mailed    []time.Duration // when a mail was asked for that is limited
	factors   modelFactors
	passkeys  []*modelPasskey // all that there were
}

type modelSession struct {
	id, token             string
	user                  *modelUser
	by                    *modelSession // the operator's, who acts in the user's name; or nil
	ended                 bool
	owes                  bool          // its second factor: it can do nothing else
	proven                bool          // a second factor, that the account still has
	auth, use, idle, life time.Duration // when it was begun and used, and when it ends
}

type modelWorkspace struct {
	id            string
	members       []*modelMember // in the order in which they joined
	team          modelTeam
	deleted, gone bool
	purge         time.Duration // when it is due to be purged
	etag          string        // of the deletion
	robot         string        // its service account; "" for none
	secondFactor  bool          // whether it requires one
	former        string        // the one before that was deleted; "" for none
}

type modelMember struct {
	id          string
	user        *modelUser
	role        authz.Role
	deactivated bool
}

// newMember is an active member.
func newMember(id string, u *modelUser, role authz.Role) *modelMember {
	return &modelMember{id: id, user: u, role: role}
}

type modelRegistration struct {
	id, email string
	code      string // "" when nobody was told
	expire    time.Duration
	attempts  int
	over      bool // it was verified, or another one of its address was
	// The link that it came by; nil when it is to found a workspace.
	workspace *modelWorkspace
	link      *modelLink
}

// The reasons that the model foresees; "" is an answer.
const (
	signInFirst  = "SESSION_REQUIRED"
	wrongSignIn  = "CREDENTIALS_INVALID"
	wrongCode    = "CODE_INVALID"
	unknownHere  = "NOT_FOUND"
	noPermission = "PERMISSION_MISSING"
	proveAgain   = "REAUTHENTICATION_REQUIRED"
	changed      = "ETAG_MISMATCH"
	isDeleted    = "WORKSPACE_DELETED"
	isNotDeleted = "WORKSPACE_NOT_DELETED"
	needsOwner   = "OWNER_REQUIRED"

	accountDisabled = "ACCOUNT_DISABLED"
)

// begin makes accounts, so that there is something of every kind.
func (m *model) begin(rt *rapid.T, count int) {
	for i := range count {
		m.registerAt(rt, m.emails[i])
		m.verifyBy(rt, m.registrations[i], m.registrations[i].code)
	}
}

// join makes somebody a member, as an accepted invitation would.
func (m *model) join(rt *rapid.T) {
	u := likely(rt, "user", m.users, func(u *modelUser) bool { return !u.gone })
	w := likely(rt, "workspace", m.workspaces, func(w *modelWorkspace) bool { return !w.gone && !w.deleted && w.member(u) == nil })
	role := pick(rt, "role", []authz.Role{authz.Owner, authz.Admin, authz.Viewer})
	if u.gone || w.gone || w.deleted || w.member(u) != nil {
		return
	}
	id := m.srv.Join(m.t, &testkit.Person{User: &identityv1.User{Id: u.id}}, w.id, role)
	w.members = append(w.members, newMember(id.String(), u, role))
}

func (m *model) advance(rt *rapid.T) {
	const day = 24 * time.Hour
	d := pick(rt, "by", []time.Duration{
		4 * time.Minute, 4 * time.Minute, 8 * time.Minute, 8 * time.Minute, 12 * time.Minute, day, 6 * day, 8 * day, 12 * day, 16 * day, 60 * day,
	})
	m.srv.Clock.Advance(d)
	m.now += d
}

func (m *model) purgeDue(rt *rapid.T) {
	for more := true; more; { // what other runs left is due, too
		n, err := m.srv.Store.PurgeDue(m.t.Context())
		m.answered(rt, "PurgeDue", err, "")
		more = n > 0
	}
	for _, w := range m.workspaces {
		if w.deleted && !w.gone && m.now >= w.purge {
			m.purge(w)
		}
	}
}

// cleanUp changes nothing that anybody could see, but for invitations and links that
// ended long ago.
func (m *model) cleanUp(rt *rapid.T) {
	m.answered(rt, "DeleteExpired", m.srv.Store.DeleteExpired(m.t.Context()), "")
	for _, w := range m.workspaces {
		w.team.cleanUp(m.now)
	}
}

// compare compares what is in the database with the model.
func (m *model) compare(rt *rapid.T) {
	var want []string
	var users, workspaces, sessions []uuid.UUID
	for _, u := range m.users {
		users = append(users, uuidOf(m.t, u.id))
		if !u.gone {
			want = append(want, fmt.Sprint("user ", uuidOf(m.t, u.id), " ", u.email))
		}
	}
	for _, w := range m.workspaces {
		workspaces = append(workspaces, uuidOf(m.t, w.id))
		if !w.gone {
			want = append(want, fmt.Sprint("workspace ", uuidOf(m.t, w.id), " deleted: ", w.deleted))
		}
		for _, member := range w.members {
			want = append(want, fmt.Sprint("membership ", uuidOf(m.t, member.id), " of ", uuidOf(m.t, member.user.id), " in ", uuidOf(m.t, w.id), " as ", member.role, " deactivated: ", member.deactivated))
		}
		want = append(want, w.team.rows(m.t)...)
	}
	for _, s := range m.sessions {
		sessions = append(sessions, uuidOf(m.t, s.id))
		if m.alive(s) {
			want = append(want, fmt.Sprint("session ", uuidOf(m.t, s.id)))
		}
	}
	sameRows(rt, m.srv, "the database", want, `
		SELECT 'user ' || u.id || ' ' || e.address FROM identity.users u LEFT JOIN identity.emails e ON e.user_id = u.id WHERE u.id = ANY ($1)
		UNION ALL
		SELECT 'workspace ' || id || ' deleted: ' || (delete_time IS NOT NULL) FROM tenant.workspaces WHERE id = ANY ($2)
		UNION ALL
		SELECT 'membership ' || id || ' of ' || user_id || ' in ' || workspace_id || ' as ' || role || ' deactivated: ' || (deactivate_time IS NOT NULL)
		FROM team.memberships WHERE workspace_id = ANY ($2) OR user_id = ANY ($1)
		UNION ALL
		SELECT 'role ' || id || ': ' || array_to_string(permissions, ', ') FROM team.roles WHERE workspace_id = ANY ($2)
		UNION ALL
		SELECT 'invitation ' || id || ' as ' || role || ': ' || state FROM team.invitations WHERE workspace_id = ANY ($2)
		UNION ALL
		SELECT 'link ' || id || ' as ' || role || ': ' || use_count || ' uses, revoked: ' || (revoke_time IS NOT NULL)
		FROM team.invitation_links WHERE workspace_id = ANY ($2)
		UNION ALL
		SELECT 'session ' || id FROM auth.sessions WHERE user_id = ANY ($1) AND idle_expire_time > $4 OR id = ANY ($3) AND idle_expire_time > $4`,
		users, workspaces, sessions, m.srv.Clock.Now())
}

// authenticate is what a call with a session meets first. A session that lives
// is used by it.
func (m *model) authenticate(s *modelSession) string {
	if !m.lives(s) {
		return signInFirst
	}
	if m.now-s.use >= time.Minute {
		s.use, s.idle = m.now, m.now+modelIdle
	}
	return ""
}

func (m *model) lives(s *modelSession) bool { return m.alive(s) && !s.owes }

// alive is lives, also of one that owes its second factor.
func (m *model) alive(s *modelSession) bool {
	return !s.ended && m.now < min(s.idle, s.life) && (s.by == nil || m.alive(s.by))
}

func (m *model) remove(u *modelUser) {
	u.gone = true
	for _, w := range m.workspaces {
		for _, i := range w.team.invitations {
			i.gone = i.gone || i.user == u
		}
	}
	for _, s := range m.sessions {
		s.ended = s.ended || s.user == u
	}
	for _, k := range m.keys {
		k.ended = k.ended || k.user == u
	}
}

func (m *model) userAt(email string) *modelUser {
	for _, u := range m.users {
		if u.email == email && !u.gone {
			return u
		}
	}
	return nil
}

func (m *model) as(s *modelSession) *client.Client { return m.anon.As(s.token) }

// answered checks the reason of an answer.
func (m *model) answered(rt *rapid.T, what string, err error, want string) {
	rt.Helper()
	got := ""
	if err != nil {
		got = strings.TrimPrefix(client.Reason(err).String(), "REASON_")
	}
	m.seen[strings.TrimSpace(what+" "+got)]++
	if got != want {
		rt.Fatalf("%s after %v: %q, want %q (%v)", what, m.now, got, want, err)
	}
}

// newestMail returns the mail that was put into the queue last.
func (m *model) newestMail(rt *rapid.T) mail.Message {
	var args []byte
	var job store.MailJob
	if err := m.srv.SQL.QueryRow(m.t.Context(), "SELECT args FROM river.river_job WHERE kind = 'mail' ORDER BY id DESC LIMIT 1").Scan(&args); err != nil {
		rt.Fatal(err)
	}
	if err := json.Unmarshal(args, &job); err != nil {
		rt.Fatal(err)
	}
	message, err := m.srv.Store.Letter(m.t.Context(), job)
	if err != nil || message == nil {
		rt.Fatalf("the newest mail: %v, %v", message, err)
	}
	return *message
}

// session picks a user's own, most often one that lives. If none does, somebody signs in
// first, or registers when there is nobody.
func (m *model) session(rt *rapid.T) *modelSession {
	if !slices.ContainsFunc(m.sessions, m.lives) {
		if slices.ContainsFunc(m.users, func(u *modelUser) bool { return !u.gone }) {
			m.signIn(rt)
		} else {
			m.register(rt)
			m.verify(rt)
		}
	}
	other := func(s *modelSession) bool { return s.owes || s.by != nil }
	return likely(rt, "session", slices.DeleteFunc(slices.Clone(m.sessions), other), m.lives)
}

// workspaceOf picks one, most often one that the user belongs to and that is
// deleted, or not.
func (m *model) workspaceOf(rt *rapid.T, u *modelUser, deleted bool) *modelWorkspace {
	if m.shared.live() && m.shared.member(u) != nil && rapid.IntRange(0, 3).Draw(rt, "the shared one") < 3 {
		return m.shared
	}
	mine := slices.DeleteFunc(slices.Clone(m.workspaces), func(w *modelWorkspace) bool { return w.member(u) == nil })
	if len(mine) == 0 || rapid.IntRange(0, 7).Draw(rt, "another's") == 7 {
		mine = m.workspaces
	}
	return likely(rt, "workspace", mine, func(w *modelWorkspace) bool { return w.deleted == deleted })
}

// likely picks one, most often one with which there is something to do.
func likely[V any](rt *rapid.T, what string, from []V, good func(V) bool) V {
	some := slices.DeleteFunc(slices.Clone(from), func(v V) bool { return !good(v) })
	if len(some) == 0 || rapid.IntRange(0, 7).Draw(rt, "unlikely "+what) == 7 {
		some = from
	}
	return pick(rt, what, some)
}

func pick[V any](rt *rapid.T, what string, from []V) V {
	return from[rapid.IntRange(0, len(from)-1).Draw(rt, what)]
}

func same(rt *rapid.T, what string, got, want any) {
	rt.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		rt.Fatalf("%s (-model +server):\n%s", what, diff)
	}
}

// sameRows compares the texts that a query returns with what the model wants, in any
// order.
func sameRows(rt *rapid.T, srv *testkit.Server, what string, want []string, sql string, args ...any) {
	rt.Helper()
	rows, err := srv.SQL.Query(rt.Context(), sql, args...)
	if err != nil {
		rt.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		rt.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	same(rt, what, got, want)
}

// otherCode returns a code that is not the given one.
func otherCode(code string) string {
	if code == "" || code[0] == '0' {
		return "9" + strings.Repeat("1", 5)
	}
	return "0" + code[1:]
}
