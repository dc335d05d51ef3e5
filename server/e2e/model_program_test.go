package e2e

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// modelKeyLife is how long keys live, 2 minutes beside the model's clock.
const modelKeyLife = 30*24*time.Hour + 2*time.Minute

// TestProgramsActAsAPlainModelSays lets random people make API keys and refresh
// tokens, and programs use them, while the people come and go, change their roles, and
// are disabled.
func TestProgramsActAsAPlainModelSays(t *testing.T) {
	t.Parallel()
	runModel(t, 2, programMeets, func(m *model, rt *rapid.T) map[string]func(*rapid.T) {
		m.begin(rt, 3)
		m.readPermissions(rt)
		m.shared = m.workspaces[0]
		for i, role := range []authz.Role{authz.Admin, authz.Member} {
			u := m.users[i+1]
			id := m.srv.Join(m.t, &testkit.Person{User: &identityv1.User{Id: u.id}}, m.shared.id, role)
			m.shared.members = append(m.shared.members, newMember(id.String(), u, role))
		}
		robot, err := m.as(m.sessions[0]).ServiceAccounts.CreateServiceAccount(m.t.Context(), &authv1.CreateServiceAccountRequest{
			WorkspaceId: m.shared.id, DisplayName: "Robot",
		})
		m.answered(rt, "CreateServiceAccount", err, "")
		m.shared.robot = robot.ServiceAccount.Id
		for range 3 {
			m.createKey(rt)
			m.createLine(rt)
		}
		return map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				m.compare(rt)
				m.compareKeys(rt)
			},
			"sign in":          m.signIn,
			"sign out":         rarely(m.signOut),
			"sign out others":  rarely(m.signOutOthers),
			"reauthenticate":   m.reauthenticate,
			"register":         rarely(m.register),
			"verify":           rarely(m.verify),
			"delete me":        rarely(m.deleteMe),
			"delete workspace": m.deleteWorkspace,
			"undelete":         m.undelete,
			"purge":            rarely(m.purgeWorkspace),
			"time goes by":     rarely(m.useAfter(m.advance)),
			"clean up":         rarely(m.cleanUp),
			"set role":         m.useAfter(m.setRole),
			"deactivate":       m.useAfter(m.deactivate),
			"reactivate":       m.reactivate,
			"remove":           rarely(m.removeMember),
			"leave":            rarely(m.leave),
			"join":             m.join,

			"delete robot":   rarely(m.useAfter(m.deleteRobot)),
			"create robot":   m.createRobot,
			"disable":        rarely(m.disable),
			"enable":         m.enable,
			"create key":     m.createKey,
			"use key":        m.useKey,
			"use key again":  m.useKey,
			"rotate key":     m.rotateKey,
			"rotate another": m.rotateKey,
			"revoke key":     rarely(m.revokeKey),
			"ask about key":  m.introspectKey,
			"give key away":  rarely(m.revokeByToken),
			"create token":   m.createLine,
			"refresh":        m.refresh,
			"refresh sooner": m.refresh,
			"refresh later":  m.refresh,
			"end token":      rarely(m.endLine),
		}
	})
}

// programMeets are the outcomes without which the runs would prove little.
var programMeets = []string{
	"CreateApiKey", "CreateApiKey PERMISSION_MISSING", "CreateApiKey PERMISSION_NOT_GRANTABLE", "CreateApiKey REAUTHENTICATION_REQUIRED",
	"workspace.get by key", "workspace.get by key SESSION_REQUIRED", "workspace.update by key", "workspace.update by key PERMISSION_MISSING",
	"RotateApiKey", "RotateApiKey NOT_FOUND", "RevokeApiKey", "RevokeApiKey NOT_FOUND", "IntrospectToken live", "IntrospectToken over",
	"CreateRefreshToken", "RefreshAccessToken", "RefreshAccessToken TOKEN_INVALID", "RefreshAccessToken again", "RefreshAccessToken reused",
	"DisableUser", "EnableUser", "SignInWithPassword ACCOUNT_DISABLED", "RevokeOtherSessions", "UndeleteWorkspace", "DeactivateMembership",
	"DeleteServiceAccount", "DeleteServiceAccount NOT_FOUND", "CreateServiceAccount",
	"CreateServiceAccount SERVICE_ACCOUNT_NAME_TAKEN", "CreateApiKey NOT_FOUND",
}

type modelKey struct {
	id, token   string
	former      []string      // the secrets that it had before
	overlap     time.Duration // until when the last of them works on
	workspace   *modelWorkspace
	user        *modelUser // nil for the service account's
	permissions []string
	expire      time.Duration
	ended       bool
}

// opens reports whether a key is somebody at this moment.
func (m *model) opens(k *modelKey) bool {
	return !k.ended && k.workspace.live() && m.now < k.expire && (k.user == nil || !k.user.disabled)
}

// modelLine is the refresh tokens that came of one.
type modelLine struct {
	tokens    []string // the last one is to be used
	session   *modelSession
	workspace *modelWorkspace // nil for none
	rotated   time.Duration
	ended     bool
}

// endPrograms ends what a member's programs act by in a workspace.
func (m *model) endPrograms(w *modelWorkspace, u *modelUser) {
	for _, k := range m.keys {
		k.ended = k.ended || k.workspace == w && k.user == u
	}
	for _, l := range m.lines {
		l.ended = l.ended || l.workspace == w && l.session.user == u
	}
}

func (m *model) signOutOthers(rt *rapid.T) {
	s := m.session(rt)
	want := m.authenticate(s)
	_, err := m.as(s).Sessions.RevokeOtherSessions(m.t.Context(), &authv1.RevokeOtherSessionsRequest{})
	m.answered(rt, "RevokeOtherSessions", err, want)
	for _, other := range m.sessions {
		other.ended = other.ended || want == "" && other != s && other.user == s.user
	}
}

func (m *model) operate(rt *rapid.T, what string, disabled bool, do func(store.Operation) error) {
	u := likely(rt, "user", m.users, func(u *modelUser) bool { return !u.gone && u.disabled != disabled })
	if u.gone {
		return
	}
	id, err := ids.Parse[ids.User](u.id)
	if err != nil {
		rt.Fatal(err)
	}
	m.answered(rt, what, do(store.Operation{User: id, Reason: "A test", CommandLine: true}), "")
	u.disabled = disabled
}

func (m *model) disable(rt *rapid.T) {
	m.operate(rt, "DisableUser", true, func(o store.Operation) error {
		_, err := m.srv.Store.DisableUser(m.t.Context(), o)
		return err
	})
	for _, s := range m.sessions {
		s.ended = s.ended || s.user.disabled
	}
}

func (m *model) enable(rt *rapid.T) {
	m.operate(rt, "EnableUser", false, func(o store.Operation) error {
		_, err := m.srv.Store.EnableUser(m.t.Context(), o)
		return err
	})
}

// createRobot makes the service account of the shared workspace, of which there is one.
func (m *model) createRobot(rt *rapid.T) {
	s, w := m.session(rt), m.shared
	want := m.may(s, w, "service_account.manage")
	if want == "" && w.robot != "" {
		want = "SERVICE_ACCOUNT_NAME_TAKEN"
	}
	res, err := m.as(s).ServiceAccounts.CreateServiceAccount(m.t.Context(), &authv1.CreateServiceAccountRequest{WorkspaceId: w.id, DisplayName: "Robot"})
	m.answered(rt, "CreateServiceAccount", err, want)
	if want == "" {
		w.robot = res.ServiceAccount.Id
	}
}

// deleteRobot deletes it, or one that was deleted before.
func (m *model) deleteRobot(rt *rapid.T) {
	s, w := m.session(rt), m.shared
	id, want := cmp.Or(w.robot, w.former), m.may(s, w, "service_account.manage")
	if want == "" && w.robot == "" {
		want = unknownHere
	}
	_, err := m.as(s).ServiceAccounts.DeleteServiceAccount(m.t.Context(), &authv1.DeleteServiceAccountRequest{WorkspaceId: w.id, ServiceAccountId: id})
	m.answered(rt, "DeleteServiceAccount", err, want)
	if want != "" {
		return
	}
	w.robot, w.former = "", w.robot
	for _, k := range m.keys {
		k.ended = k.ended || k.workspace == w && k.user == nil
	}
}

// mayRecently is may, for what a recent sign-in is needed for.
func (m *model) mayRecently(s *modelSession, w *modelWorkspace, permission string) string {
	reason := m.may(s, w, permission)
	if reason == "" && m.now-s.auth > modelRecent {
		return proveAgain
	}
	return reason
}

// fits reports whether a member may put permissions into a key.
func (m *model) fits(w *modelWorkspace, u *modelUser, permissions []string) string {
	for _, p := range permissions {
		if !m.holds(w, w.member(u).role, p) {
			return "PERMISSION_NOT_GRANTABLE"
		}
	}
	return ""
}

func (m *model) createKey(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	k := &modelKey{workspace: w, user: s.user, expire: m.now + modelKeyLife}
	k.permissions = pick(rt, "permissions", [][]string{{"workspace.get"}, {"workspace.get", "workspace.update"}, {"workspace.update"}})
	req := &authv1.CreateApiKeyRequest{
		WorkspaceId: w.id, DisplayName: "Key", Permissions: k.permissions, ExpireTime: timestamppb.New(m.srv.Clock.Now().Add(modelKeyLife)),
	}
	want := m.mayRecently(s, w, "api_key.create")
	if robot := cmp.Or(w.robot, w.former); robot != "" && pick(rt, "whose", []string{"own", "own", "robot"}) == "robot" {
		k.user, req.ServiceAccountId = nil, robot
		if want == "" && !m.holds(w, w.member(s.user).role, "service_account.manage") {
			want = noPermission
		}
		if want == "" && w.robot == "" {
			want = unknownHere
		}
	}
	if want == "" {
		want = m.fits(w, s.user, k.permissions)
	}
	res, err := m.as(s).APIKeys.CreateApiKey(m.t.Context(), req)
	m.answered(rt, "CreateApiKey", err, want)
	if want == "" {
		k.id, k.token = res.ApiKey.Id, res.Token
		m.keys = append(m.keys, k)
	}
}

// key picks one, most often one that works, and the call that goes with it; nil when
// there is none.
func (m *model) key(rt *rapid.T) *modelKey {
	if len(m.keys) == 0 {
		return nil
	}
	return likely(rt, "key", m.keys, m.opens)
}

func (m *model) useKey(rt *rapid.T) {
	k := m.key(rt)
	if k == nil {
		return
	}
	token, want := k.token, ""
	if n := len(k.former); n > 0 && pick(rt, "secret", []string{"present", "former"}) == "former" {
		i := rapid.IntRange(0, n-1).Draw(rt, "former")
		if token = k.former[i]; i < n-1 || m.now >= k.overlap {
			want = signInFirst
		}
	}
	m.use(rt, k, token, pick(rt, "permission", []string{"workspace.get", "workspace.update"}), want)
}

// useAfter does something that may change what keys can, and then uses all that there
// are.
func (m *model) useAfter(do func(*rapid.T)) func(*rapid.T) {
	return func(rt *rapid.T) {
		do(rt)
		for _, k := range m.keys {
			m.use(rt, k, k.token, k.permissions[len(k.permissions)-1], "")
		}
	}
}

// use calls by a key's secret, which is refused for a reason of its own, or "".
func (m *model) use(rt *rapid.T, k *modelKey, token, permission, want string) {
	switch {
	case !m.opens(k):
		want = signInFirst
	case want != "":
	case !slices.Contains(k.permissions, permission), k.user != nil && !m.holds(k.workspace, k.workspace.member(k.user).role, permission):
		want = noPermission
	}
	c := m.srv.Client("", client.WithAPIKey(token)).Workspaces
	var err error
	if permission == "workspace.get" {
		_, err = c.GetWorkspace(m.t.Context(), &tenantv1.GetWorkspaceRequest{WorkspaceId: k.workspace.id})
	} else {
		_, err = c.UpdateWorkspace(m.t.Context(), &tenantv1.UpdateWorkspaceRequest{
			WorkspaceId: k.workspace.id, Name: "By a key", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"name"}},
		})
	}
	m.answered(rt, permission+" by key", err, want)
}

// managed is what a member meets who changes a key: their own, or with the permission
// a service account's, or any if others is set.
func (m *model) managed(s *modelSession, k *modelKey, others bool) string {
	manages := m.holds(k.workspace, k.workspace.member(s.user).role, "service_account.manage")
	if k.ended || k.user != s.user && !(manages && (k.user == nil || others)) {
		return unknownHere
	}
	return ""
}

func (m *model) rotateKey(rt *rapid.T) {
	k := m.key(rt)
	if k == nil {
		return
	}
	s := m.session(rt)
	want := m.mayRecently(s, k.workspace, "api_key.create")
	if want == "" {
		want = m.managed(s, k, false)
	}
	if want == "" && m.now >= k.expire {
		want = unknownHere
	}
	if want == "" {
		want = m.fits(k.workspace, s.user, k.permissions)
	}
	overlap := pick(rt, "overlap", []time.Duration{0, 6 * time.Minute, 6 * time.Minute})
	res, err := m.as(s).APIKeys.RotateApiKey(m.t.Context(), &authv1.RotateApiKeyRequest{
		WorkspaceId: k.workspace.id, ApiKeyId: k.id, OverlapSeconds: int32(overlap / time.Second),
	})
	m.answered(rt, "RotateApiKey", err, want)
	if want == "" {
		k.former, k.token, k.overlap = append(k.former, k.token), res.Token, min(m.now+overlap, k.expire)
	}
}

func (m *model) revokeKey(rt *rapid.T) {
	k := m.key(rt)
	if k == nil {
		return
	}
	s := m.session(rt)
	want := m.may(s, k.workspace, "api_key.list")
	if want == "" {
		want = m.managed(s, k, true)
	}
	_, err := m.as(s).APIKeys.RevokeApiKey(m.t.Context(), &authv1.RevokeApiKeyRequest{WorkspaceId: k.workspace.id, ApiKeyId: k.id})
	m.answered(rt, "RevokeApiKey", err, want)
	k.ended = k.ended || want == ""
}

// introspectKey asks about a key in a workspace, which may be another one.
func (m *model) introspectKey(rt *rapid.T) {
	k := m.key(rt)
	if k == nil {
		return
	}
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	want := m.may(s, w, "token.introspect")
	res, err := m.as(s).Tokens.IntrospectToken(m.t.Context(), &authv1.IntrospectTokenRequest{WorkspaceId: w.id, Token: k.token})
	m.answered(rt, "IntrospectToken", err, want)
	if want != "" {
		return
	}
	active := k.workspace == w && m.opens(k)
	same(rt, "whether the key is live", res.Active, active)
	m.seen[map[bool]string{true: "IntrospectToken live", false: "IntrospectToken over"}[active]]++
}

// revokeByToken ends a key as whoever finds it can.
func (m *model) revokeByToken(rt *rapid.T) {
	k := m.key(rt)
	if k == nil {
		return
	}
	_, err := m.anon.Tokens.RevokeToken(m.t.Context(), &authv1.RevokeTokenRequest{Token: k.token})
	m.answered(rt, "RevokeToken", err, "")
	k.ended = k.ended || m.now < k.expire // one that has expired is listed on
}

func (m *model) createLine(rt *rapid.T) {
	s := m.session(rt)
	l := &modelLine{session: s}
	req := &authv1.CreateRefreshTokenRequest{}
	want := m.authenticate(s)
	if pick(rt, "for", []string{"nothing", "workspace"}) == "workspace" {
		l.workspace = m.workspaceOf(rt, s.user, false)
		req.WorkspaceId = l.workspace.id
		if member := l.workspace.member(s.user); want == "" && (!l.workspace.live() || member == nil || member.deactivated) {
			want = unknownHere
		}
	}
	res, err := m.as(s).Tokens.CreateRefreshToken(m.t.Context(), req)
	m.answered(rt, "CreateRefreshToken", err, want)
	if want == "" {
		l.tokens = []string{res.RefreshToken}
		m.lines = append(m.lines, l)
	}
}

// refresh uses a refresh token, now and then one that was used before.
func (m *model) refresh(rt *rapid.T) {
	if len(m.lines) == 0 {
		return
	}
	former := rapid.IntRange(0, 3).Draw(rt, "former") == 0
	l := likely(rt, "line", m.lines, func(l *modelLine) bool {
		return !l.ended && m.lives(l.session) && (!former || len(l.tokens) > 2)
	})
	at := len(l.tokens) - 1
	if former {
		at = rapid.IntRange(0, at).Draw(rt, "token")
	}
	const over = "TOKEN_INVALID"
	want, again := "", at == len(l.tokens)-2 && l.rotated == m.now // the answer was lost
	switch {
	case l.ended || !m.lives(l.session):
		want = over
	case at < len(l.tokens)-1 && !again:
		want, l.ended = over, true
		m.seen["RefreshAccessToken reused"]++
	case l.workspace != nil && !l.workspace.live():
		want, l.ended = over, true
	}
	res, err := m.anon.Tokens.RefreshAccessToken(m.t.Context(), &authv1.RefreshAccessTokenRequest{RefreshToken: l.tokens[at]})
	m.answered(rt, "RefreshAccessToken", err, want)
	if want != "" {
		return
	}
	m.authenticate(l.session) // it is used
	if again {
		same(rt, "the token that is given again", res.RefreshToken, l.tokens[at+1])
		m.seen["RefreshAccessToken again"]++
		return
	}
	l.tokens, l.rotated = append(l.tokens, res.RefreshToken), m.now
}

func (m *model) endLine(rt *rapid.T) {
	if len(m.lines) == 0 {
		return
	}
	l := pick(rt, "line", m.lines)
	_, err := m.anon.Tokens.RevokeToken(m.t.Context(), &authv1.RevokeTokenRequest{Token: pick(rt, "token", l.tokens)})
	m.answered(rt, "RevokeToken", err, "")
	l.ended = true
}

// compareKeys compares the keys, the service accounts, and the number of lines of refresh tokens, in the
// database with the model's.
func (m *model) compareKeys(rt *rapid.T) {
	var want []string
	var workspaces []uuid.UUID
	for _, w := range m.workspaces {
		workspaces = append(workspaces, uuidOf(m.t, w.id))
	}
	for _, k := range m.keys {
		if !k.ended && !k.workspace.gone {
			want = append(want, fmt.Sprint(uuidOf(m.t, k.id)))
		}
	}
	for _, w := range m.workspaces {
		if w.robot != "" && !w.gone {
			want = append(want, fmt.Sprint(uuidOf(m.t, w.robot)))
		}
	}
	sameRows(rt, m.srv, "the keys and service accounts", want, `
		SELECT id::text FROM auth.api_keys WHERE workspace_id = ANY ($1)
		UNION ALL SELECT id::text FROM auth.service_accounts WHERE workspace_id = ANY ($1)`, workspaces)

	lines, sessions := 0, []uuid.UUID{}
	for _, s := range m.sessions {
		if m.alive(s) {
			sessions = append(sessions, uuidOf(m.t, s.id))
		}
	}
	for _, l := range m.lines {
		if !l.ended && m.alive(l.session) && (l.workspace == nil || !l.workspace.gone) {
			lines++
		}
	}
	same(rt, "the lines of refresh tokens", count(m.t, m.srv, "SELECT count(*) FROM auth.refresh_tokens WHERE session_id = ANY ($1)", sessions), lines)
}
