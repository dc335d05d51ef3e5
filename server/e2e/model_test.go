package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
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
	usual := usualRuns()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) {
		s.SessionIdleTimeout, s.SessionLifetime, s.DeletionGrace, s.ReauthenticationAge = modelIdle, modelLife, modelGrace, modelRecent
	}})
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
		if usual && seen[outcome] == 0 {
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

// usualRuns sets how many runs there are and how long they are, unless the command
// line does, and reports whether it did.
var usualRuns = sync.OnceValue(func() bool {
	usual := !testing.Short()
	for name, value := range map[string]string{"rapid.checks": "60", "rapid.steps": "40"} {
		f := flag.Lookup(name)
		if f.Value.String() != f.DefValue || f.Value.Set(value) != nil {
			usual = false
		}
	}
	return usual
})

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
	gone      bool
	disabled  bool
	factors   modelFactors
	passkeys  []*modelPasskey // all that there were
}

type modelSession struct {
	id, token             string
	user                  *modelUser
	ended                 bool
	owes                  bool          // its second factor: it can do nothing else
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

func (m *model) register(rt *rapid.T) {
	m.registerAt(rt, likely(rt, "address", m.emails, func(e string) bool { return m.userAt(e) == nil }))
}

func (m *model) registerAt(rt *rapid.T, email string) {
	res, err := m.anon.Registration.Register(m.t.Context(), &authv1.RegisterRequest{
		Email: email, Password: testkit.Password, WorkspaceName: "Acme",
	})
	m.answered(rt, "Register", err, "")
	m.registered(rt, &modelRegistration{id: res.Registration.Id, email: email, expire: m.now + modelCode})
}

// registered reads the mail of a new registration.
func (m *model) registered(rt *rapid.T, r *modelRegistration) {
	m.registrations = append(m.registrations, r)
	message, want := m.newestMail(rt), mail.AccountExists
	if m.userAt(r.email) == nil {
		want = mail.RegistrationCode
		r.code = message.Data["code"]
	}
	if message.Template != want || message.To != r.email {
		rt.Fatalf("Register mailed %s to %s, want %s to %s", message.Template, message.To, want, r.email)
	}
}

func (m *model) verify(rt *rapid.T) {
	r := likely(rt, "registration", m.registrations, func(r *modelRegistration) bool { return !r.over && m.now < r.expire && r.code != "" })
	code := r.code
	if code == "" || pick(rt, "code", []string{"right", "right", "wrong"}) == "wrong" {
		code = otherCode(code)
	}
	m.verifyBy(rt, r, code)
}

func (m *model) verifyBy(rt *rapid.T, r *modelRegistration, code string) {
	want := wrongCode
	if m.now < r.expire && r.attempts < 5 && (r.link == nil || r.workspace.live() && !r.link.gone) {
		if code != r.code {
			r.attempts++
		} else if !r.over && m.userAt(r.email) == nil {
			want = ""
			if r.link != nil {
				want = r.workspace.whyNot(r.link, r.email, m.now)
			}
		}
	}
	res, err := m.anon.Registration.VerifyRegistration(m.t.Context(), &authv1.VerifyRegistrationRequest{RegistrationId: r.id, Code: code})
	m.answered(rt, "VerifyRegistration", err, want)
	if want != "" {
		return
	}
	u := m.addUser(r.email, res.Account.User.Id)
	if r.link != nil {
		r.link.uses++
		m.joined(rt, r.workspace, u, r.workspace.roleBy(r.link, u.email, m.now), res.Account.Membership)
	} else {
		m.workspaces = append(m.workspaces, &modelWorkspace{
			id: res.Account.Workspace.Id, members: []*modelMember{newMember(res.Account.Membership.Id, u, authz.Owner)},
		})
	}
	m.addSession(u, res.Account.Session.Id, res.Account.SessionToken)
}

// addUser adds who has just proven an address.
func (m *model) addUser(email, id string) *modelUser {
	for _, other := range m.registrations {
		other.over = other.over || other.email == email
	}
	u := &modelUser{id: id, email: email}
	m.users = append(m.users, u)
	return u
}

func (m *model) signIn(rt *rapid.T) {
	email := likely(rt, "address", m.emails, func(e string) bool { return m.userAt(e) != nil })
	password, want := testkit.Password, ""
	if pick(rt, "password", []string{"right", "right", "right", "wrong"}) == "wrong" {
		password = "not " + testkit.Password
	}
	u := m.userAt(email)
	if u == nil || password != testkit.Password {
		want = wrongSignIn
	} else if u.disabled {
		want = accountDisabled
	}
	res, err := m.anon.Authentication.SignInWithPassword(m.t.Context(), &authv1.SignInWithPasswordRequest{Email: email, Password: password})
	m.answered(rt, "SignInWithPassword", err, want)
	if want == "" {
		m.beganBy(rt, "SignInWithPassword", u, res.Session, res.SessionToken, res.Requirements)
	}
}

func (m *model) addSession(u *modelUser, id, token string) {
	m.sessions = append(m.sessions, &modelSession{
		id: id, token: token, user: u, auth: m.now, use: m.now, idle: m.now + modelIdle, life: m.now + modelLife,
	})
}

func (m *model) signOut(rt *rapid.T) {
	s := m.session(rt)
	want := m.authenticate(s)
	_, err := m.as(s).Authentication.SignOut(m.t.Context(), &authv1.SignOutRequest{})
	m.answered(rt, "SignOut", err, want)
	if want == "" {
		s.ended = true
	}
}

func (m *model) reauthenticate(rt *rapid.T) {
	s := m.session(rt)
	want := m.authenticate(s)
	res, err := m.as(s).Authentication.Reauthenticate(m.t.Context(), &authv1.ReauthenticateRequest{Password: testkit.Password})
	m.answered(rt, "Reauthenticate", err, want)
	if want == "" {
		s.token, s.auth, s.use, s.idle = res.SessionToken, m.now, m.now, m.now+modelIdle
	}
}

// lookAround reads what a session may see.
func (m *model) lookAround(rt *rapid.T) {
	s := m.session(rt)
	want := m.authenticate(s)
	session, err := m.as(s).Sessions.GetSession(m.t.Context(), &authv1.GetSessionRequest{})
	m.answered(rt, "GetSession", err, want)
	list, err := m.as(s).Workspaces.ListWorkspaces(m.t.Context(), &tenantv1.ListWorkspacesRequest{ShowDeleted: true, PageSize: 200})
	m.answered(rt, "ListWorkspaces", err, want)
	if want != "" {
		return
	}
	var wantWorkspaces []string
	wantRequirements := []authv1.AccountRequirement{authv1.AccountRequirement_ACCOUNT_REQUIREMENT_WORKSPACE_REQUIRED}
	for _, w := range m.workspaces {
		member := w.member(s.user)
		switch {
		case member == nil || member.deactivated:
		case !w.deleted:
			wantRequirements = nil
			wantWorkspaces = append(wantWorkspaces, fmt.Sprint(w.id, " ", member.role, " ACTIVE"))
		case member.role == authz.Owner && m.now < w.purge:
			wantWorkspaces = append(wantWorkspaces, fmt.Sprint(w.id, " ", member.role, " DELETED"))
		}
	}
	var workspaces []string
	for _, w := range list.Workspaces {
		workspaces = append(workspaces, fmt.Sprint(w.Workspace.Id, " ", w.Role, " ", strings.TrimPrefix(w.Workspace.State.String(), "WORKSPACE_STATE_")))
	}
	slices.Sort(workspaces)
	slices.Sort(wantWorkspaces)
	same(rt, "requirements", session.Requirements, wantRequirements)
	same(rt, "workspaces", workspaces, wantWorkspaces)
	same(rt, "user", session.Session.UserId, s.user.id)
}

func (m *model) createWorkspace(rt *rapid.T) {
	s := m.session(rt)
	want := m.authenticate(s)
	res, err := m.as(s).Workspaces.CreateWorkspace(m.t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Acme"})
	m.answered(rt, "CreateWorkspace", err, want)
	if want == "" {
		m.workspaces = append(m.workspaces, &modelWorkspace{
			id: res.Workspace.Id, members: []*modelMember{newMember(res.Membership.Id, s.user, authz.Owner)},
		})
	}
}

// preview calls PreviewDeleteWorkspace, and returns its etag, or another one if
// that is drawn.
func (m *model) preview(rt *rapid.T, s *modelSession, w *modelWorkspace) (etag string, right bool) {
	want := m.enter(s, w, false)
	p, err := m.as(s).Workspaces.PreviewDeleteWorkspace(m.t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: w.id})
	m.answered(rt, "PreviewDeleteWorkspace", err, want)
	if want != "" {
		return "none", false
	}
	sole, sessions := m.soleMembers(w), 0
	for _, s := range m.sessions {
		if m.lives(s) && slices.Contains(sole, s.user) {
			sessions++
		}
	}
	same(rt, "preview (deleted users, remaining users, memberships, sessions)",
		[]int32{p.DeletedUserCount, p.RemainingUserCount, p.MembershipCount, p.SessionCount},
		[]int32{int32(len(sole)), int32(len(w.members) - len(sole)), int32(len(w.members)), int32(sessions)})
	if pick(rt, "etag", []string{"right", "right", "wrong"}) == "wrong" {
		return "another", false
	}
	return p.Etag, true
}

func (m *model) deleteWorkspace(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	etag, right := m.preview(rt, s, w)
	want := m.enter(s, w, true)
	switch {
	case want != "":
	case w.deleted && etag != w.etag:
		want = isDeleted
	case !w.deleted && !right:
		want = changed
	}
	_, err := m.as(s).Workspaces.DeleteWorkspace(m.t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: w.id, Etag: etag})
	m.answered(rt, "DeleteWorkspace", err, want)
	if want != "" || w.deleted {
		return
	}
	w.deleted, w.purge, w.etag = true, m.now+modelGrace, etag
	sole := m.soleMembers(w)
	for _, other := range m.sessions {
		if other != s && slices.Contains(sole, other.user) {
			other.ended = true
		}
	}
}

func (m *model) undelete(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, true)
	want := m.enter(s, w, false)
	if want == "" && !w.deleted {
		want = isNotDeleted
	}
	_, err := m.as(s).Workspaces.UndeleteWorkspace(m.t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: w.id})
	m.answered(rt, "UndeleteWorkspace", err, want)
	if want == "" {
		w.deleted = false
	}
}

func (m *model) purgeWorkspace(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, true)
	etag, right := m.preview(rt, s, w)
	want := m.enter(s, w, true)
	switch {
	case want != "":
	case !w.deleted:
		want = isNotDeleted
	case !right:
		want = changed
	}
	res, err := m.as(s).Workspaces.PurgeWorkspace(m.t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: w.id, Etag: etag})
	m.answered(rt, "PurgeWorkspace", err, want)
	if want == "" {
		same(rt, "purged (users, memberships)", []int32{res.DeletedUserCount, res.MembershipCount},
			[]int32{int32(len(m.soleMembers(w))), int32(len(w.members))})
		m.purge(w)
	}
}

func (m *model) deleteMe(rt *rapid.T) {
	s := m.session(rt)
	want := m.authenticate(s)
	preview, err := m.as(s).Users.PreviewDeleteMe(m.t.Context(), &identityv1.PreviewDeleteMeRequest{})
	m.answered(rt, "PreviewDeleteMe", err, want)
	req := &identityv1.DeleteMeRequest{Etag: "none"}
	var resolve []func()
	if want == "" {
		req.Etag = preview.Etag
		var owned []string
		var purges []func()
		for _, w := range m.soleOwned(s.user) {
			others := slices.DeleteFunc(slices.Clone(w.members), func(o *modelMember) bool { return o.user == s.user })
			owned = append(owned, fmt.Sprint(w.id, " ", len(others)))
			others = slices.DeleteFunc(others, func(o *modelMember) bool { return o.deactivated }) // cannot become owners
			how := pick(rt, "resolution", []string{"delete", "transfer", "transfer", "none"})
			switch {
			case how == "none":
				want = needsOwner
			case how == "transfer" && len(others) > 0:
				to := pick(rt, "to", others)
				req.Resolutions = append(req.Resolutions, &identityv1.WorkspaceResolution{
					WorkspaceId: w.id, Resolution: &identityv1.WorkspaceResolution_TransferToMembershipId{TransferToMembershipId: to.id},
				})
				resolve = append(resolve, func() { to.role = authz.Owner })
			default:
				req.Resolutions = append(req.Resolutions, &identityv1.WorkspaceResolution{
					WorkspaceId: w.id, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true},
				})
				purges = append(purges, func() { m.purge(w) })
			}
		}
		resolve = append(resolve, purges...)
		m.comparePreviewDeleteMe(rt, s, preview, owned)
		if m.now-s.auth > modelRecent {
			want = proveAgain
		}
	}
	_, err = m.as(s).Users.DeleteMe(m.t.Context(), req)
	m.answered(rt, "DeleteMe", err, want)
	if want != "" {
		return
	}
	for _, r := range resolve {
		r()
	}
	for _, w := range m.workspaces {
		if member := w.member(s.user); member != nil {
			m.left(w, member, member.deactivated)
		}
	}
	m.remove(s.user)
}

func (m *model) comparePreviewDeleteMe(rt *rapid.T, s *modelSession, p *identityv1.PreviewDeleteMeResponse, owned []string) {
	memberships, sessions := 0, 0
	for _, w := range m.workspaces {
		if w.member(s.user) != nil {
			memberships++
		}
	}
	for _, other := range m.sessions {
		if other.user == s.user && m.lives(other) {
			sessions++
		}
	}
	same(rt, "preview (memberships, sessions)", []int32{p.MembershipCount, p.SessionCount}, []int32{int32(memberships), int32(sessions)})
	var got []string
	for _, w := range p.SoleOwnedWorkspaces {
		got = append(got, fmt.Sprint(w.WorkspaceId, " ", w.OtherMemberCount))
	}
	slices.Sort(owned)
	same(rt, "sole-owned workspaces and how many others are in them", got, owned)
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
	rows, err := m.srv.SQL.Query(m.t.Context(), `
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
	if err != nil {
		rt.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		rt.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	same(rt, "the database", got, want)
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
func (m *model) alive(s *modelSession) bool { return !s.ended && m.now < min(s.idle, s.life) }

// enter is what a call to delete a workspace, or to bring it back, meets first.
func (m *model) enter(s *modelSession, w *modelWorkspace, recent bool) string {
	if reason := m.authenticate(s); reason != "" {
		return reason
	}
	member := w.member(s.user)
	switch {
	case member == nil, member.deactivated, w.deleted && (m.now >= w.purge || member.role != authz.Owner):
		return unknownHere
	case member.role != authz.Owner:
		return noPermission
	case recent && m.now-s.auth > modelRecent:
		return proveAgain
	}
	return ""
}

// purge removes a workspace and who belongs to nothing else.
func (m *model) purge(w *modelWorkspace) {
	sole := m.soleMembers(w)
	w.gone, w.members, w.team = true, nil, modelTeam{}
	for _, u := range sole {
		m.remove(u)
	}
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

// soleMembers are the members who belong to no other workspace.
func (m *model) soleMembers(w *modelWorkspace) []*modelUser {
	var sole []*modelUser
	for _, member := range w.members {
		if !slices.ContainsFunc(m.workspaces, func(o *modelWorkspace) bool { return o != w && o.member(member.user) != nil }) {
			sole = append(sole, member.user)
		}
	}
	return sole
}

// soleOwned are the live workspaces whose only owner is the user.
func (m *model) soleOwned(u *modelUser) []*modelWorkspace {
	var owned []*modelWorkspace
	for _, w := range m.workspaces {
		member := w.member(u)
		if member == nil || member.role != authz.Owner || member.deactivated || w.deleted {
			continue
		}
		if w.lastOwner(member) {
			owned = append(owned, w)
		}
	}
	return owned
}

// live reports whether the workspace is neither deleted nor gone.
func (w *modelWorkspace) live() bool { return w != nil && !w.deleted && !w.gone }

// lastOwner reports whether a member is the only active owner.
func (w *modelWorkspace) lastOwner(member *modelMember) bool {
	owner := func(o *modelMember) bool { return o.role == authz.Owner && !o.deactivated }
	return owner(member) && !slices.ContainsFunc(w.members, func(o *modelMember) bool { return o != member && owner(o) })
}

// member is the user's membership, or nil.
func (w *modelWorkspace) member(u *modelUser) *modelMember {
	for _, member := range w.members {
		if member.user == u {
			return member
		}
	}
	return nil
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

// session picks one, most often one that lives. If none does, somebody signs in
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
	owe := func(s *modelSession) bool { return s.owes }
	return likely(rt, "session", slices.DeleteFunc(slices.Clone(m.sessions), owe), m.lives)
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

// otherCode returns a code that is not the given one.
func otherCode(code string) string {
	if code == "" || code[0] == '0' {
		return "9" + strings.Repeat("1", 5)
	}
	return "0" + code[1:]
}
