package e2e

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// TestWaysToSignInAreAsAPlainModelSays lets random people link and unlink identities,
// change and reset their passwords, and end their sessions, while an operator acts in
// their names.
func TestWaysToSignInAreAsAPlainModelSays(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{WithoutJobs: true, Settings: modelSettings}, nil)
	runModelOn(t, a.Server, 2, identityMeets, func(m *model, rt *rapid.T) map[string]func(*rapid.T) {
		i := &modelIdentities{model: m, away: a, operators: map[*modelUser]bool{}}
		for range 5 {
			i.subjects = append(i.subjects, uuid.NewString())
		}
		m.begin(rt, 3)
		i.hire(rt)
		i.link(rt)
		m.addPasskey(rt)
		return map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				m.compare(rt)
				m.compareFactors(rt)
				i.compare(rt)
			},
			"sign in by password":   m.signIn,
			"sign in by mail":       rarely(m.signInByMail),
			"sign in by identity":   i.signIn,
			"sign in by another":    i.signIn,
			"sign in by passkey":    rarely(m.signInByPasskey),
			"verify":                m.verifyFactor,
			"reauthenticate":        m.reauthenticate,
			"reauthenticate away":   i.reauthenticate,
			"link":                  i.link,
			"link another":          i.link,
			"unlink":                i.unlink,
			"add passkey":           rarely(m.addPasskey),
			"remove passkey":        rarely(m.removePasskey),
			"remove the last way":   i.removeTheLast,
			"remove the last again": i.removeTheLast,
			"change password":       i.changePassword,
			"ask for another":       i.requestReset,
			"reset password":        i.resetPassword,
			"reset password again":  i.resetPassword,
			"sign out":              rarely(m.signOut),
			"revoke session":        i.revokeSession,
			"sign out others":       rarely(m.signOutOthers),
			"hire or dismiss":       rarely(i.hire),
			"impersonate":           i.impersonate,
			"impersonate another":   i.impersonate,
			"act in a name":         i.act,
			"act in a name again":   i.act,
			"stop acting in a name": i.stopActing,
			"disable":               rarely(m.disable),
			"enable":                m.enable,
			"time goes by":          rarely(m.advance),
			"a while later":         m.sleep,
			"clean up":              rarely(m.cleanUp),
		}
	})
	for _, password := range modelPasswords {
		checkLog(t, a.Server, password)
	}
}

// identityMeets are the outcomes without which the runs would prove little.
var identityMeets = []string{
	"CompleteExternalSignIn", "CompleteExternalSignIn owes", "CompleteExternalSignIn links", "CompleteExternalSignIn makes an account",
	"CompleteExternalSignIn ACCOUNT_DISABLED",
	"StartExternalSignIn to link REAUTHENTICATION_REQUIRED", "CompleteExternalSignIn to link", "CompleteExternalSignIn to link IDENTITY_TAKEN",
	"CompleteExternalSignIn to reauthenticate", "CompleteExternalSignIn to reauthenticate IDENTITY_NOT_LINKED",
	"DeleteExternalIdentity", "DeleteExternalIdentity NOT_FOUND", "DeleteExternalIdentity REAUTHENTICATION_REQUIRED",
	"DeleteExternalIdentity LAST_SIGN_IN_METHOD", "DeletePasskey LAST_SIGN_IN_METHOD",
	"ChangePassword", "ChangePassword CREDENTIALS_INVALID", "ChangePassword PASSWORD_LENGTH", "ChangePassword REAUTHENTICATION_REQUIRED",
	"RequestPasswordReset", "ResetPassword", "ResetPassword CODE_INVALID", "ResetPassword PASSWORD_LENGTH",
	"RevokeSession", "RevokeSession NOT_FOUND", "RevokeOtherSessions",
	"ImpersonateUser", "ImpersonateUser OPERATOR_REQUIRED", "ImpersonateUser IMPERSONATION_NOT_ALLOWED", "ImpersonateUser REAUTHENTICATION_REQUIRED",
	"GetSession in a name", "GetSession in a name SESSION_REQUIRED",
	"ChangePassword in a name IMPERSONATION_NOT_ALLOWED", "RevokeOtherSessions in a name IMPERSONATION_NOT_ALLOWED",
	"StartExternalSignIn in a name SESSION_REQUIRED", "Reauthenticate in a name IMPERSONATION_NOT_ALLOWED",
	"DeleteExternalIdentity in a name IMPERSONATION_NOT_ALLOWED",
}

// modelPasswords are the passwords that people choose.
var modelPasswords = []string{"violet-anchor-meadow-7", "copper-saddle-orbit-9", "marble-thicket-lantern-3"}

// The reasons that are foreseen here alone.
const (
	notInAName = "IMPERSONATION_NOT_ALLOWED"
	lastWay    = "LAST_SIGN_IN_METHOD"
)

// modelIdentities is the part of the model that an identity provider belongs to.
type modelIdentities struct {
	*model
	away      *away
	subjects  []string // who the provider knows
	linked    []*modelIdentity
	resets    []*modelReset
	operators map[*modelUser]bool
}

type modelIdentity struct {
	id, subject string
	user        *modelUser
	gone        bool
}

type modelReset struct {
	id, code string
	user     *modelUser
	expire   time.Duration
	attempts int
	over     bool
}

// of returns the identity of a subject, or nil.
func (i *modelIdentities) of(subject string) *modelIdentity {
	for _, x := range i.linked {
		if x.subject == subject && !x.gone {
			return x
		}
	}
	return nil
}

// identities are a user's.
func (i *modelIdentities) identities(u *modelUser) (list []*modelIdentity) {
	for _, x := range i.linked {
		if x.user == u && !x.gone {
			list = append(list, x)
		}
	}
	return list
}

// sleep is a time in which codes and impersonations last, or just do not.
func (m *model) sleep(rt *rapid.T) {
	d := pick(rt, "by", []time.Duration{4 * time.Minute, 4 * time.Minute, 4 * time.Minute, 4 * time.Minute, store.ImpersonationLifetime + 2*time.Minute})
	m.srv.Clock.Advance(d)
	m.now += d
}

// there opens the provider as somebody, who comes back.
func (i *modelIdentities) there(began *authv1.StartExternalSignInResponse, subject, email string) *authv1.CompleteExternalSignInRequest {
	i.away.acme.now(verified(subject, email))
	req := i.away.completion(began, i.away.back(i.away.authorize(began)))
	req.WorkspaceName = "Acme"
	return req
}

func (i *modelIdentities) startExternal(rt *rapid.T, c *client.Client, what string, purpose authv1.ExternalSignInPurpose, want string) *authv1.StartExternalSignInResponse {
	res, err := c.ExternalIdentities.StartExternalSignIn(i.t.Context(), &authv1.StartExternalSignInRequest{
		Provider: "acme", Purpose: purpose, ReturnUrl: "/done?of=acme#top",
	})
	i.answered(rt, "StartExternalSignIn"+what, err, want)
	return res
}

func (i *modelIdentities) signIn(rt *rapid.T) {
	again := rapid.Bool().Draw(rt, "again")
	subject := likely(rt, "subject", i.subjects, func(s string) bool { return (i.of(s) != nil) == again })
	email := pick(rt, "address there", i.emails)
	req := i.there(i.startExternal(rt, i.anon, "", 0, ""), subject, email)
	res, err := i.anon.ExternalIdentities.CompleteExternalSignIn(i.t.Context(), req)
	known, u := i.of(subject), i.userAt(email)
	if known != nil {
		u = known.user
	}
	want := ""
	if u != nil && u.disabled {
		want = accountDisabled
	}
	i.answered(rt, "CompleteExternalSignIn", err, want)
	switch {
	case want != "":
		return
	case u == nil:
		i.seen["CompleteExternalSignIn makes an account"]++
		u = i.addUser(email, res.Account.User.Id)
		u.password = ""
		i.workspaces = append(i.workspaces, &modelWorkspace{
			id: res.Account.Workspace.Id, members: []*modelMember{newMember(res.Account.Membership.Id, u, authz.Owner)},
		})
		i.addSession(u, res.Account.Session.Id, res.Account.SessionToken)
	default:
		i.beganBy(rt, "CompleteExternalSignIn", u, res.Session, res.SessionToken, res.Requirements)
	}
	if known == nil {
		i.seen["CompleteExternalSignIn links"]++
		i.linked = append(i.linked, &modelIdentity{id: res.ExternalIdentity.Id, subject: subject, user: u})
	} else {
		same(rt, "the identity", res.ExternalIdentity.Id, known.id)
	}
}

func (i *modelIdentities) link(rt *rapid.T) {
	s := i.session(rt)
	subject := likely(rt, "subject", i.subjects, func(s string) bool { return i.of(s) == nil })
	const what = " to link"
	want := i.recent(s)
	began := i.startExternal(rt, i.as(s), what, toLink, want)
	if want != "" {
		return
	}
	known := i.of(subject)
	if known != nil && known.user != s.user {
		want = "IDENTITY_TAKEN"
	}
	res, err := i.as(s).ExternalIdentities.CompleteExternalSignIn(i.t.Context(), i.there(began, subject, pick(rt, "address there", i.emails)))
	i.answered(rt, "CompleteExternalSignIn"+what, err, want)
	switch {
	case want != "":
	case known != nil:
		same(rt, "the identity", res.ExternalIdentity.Id, known.id)
	default:
		i.linked = append(i.linked, &modelIdentity{id: res.ExternalIdentity.Id, subject: subject, user: s.user})
	}
}

func (i *modelIdentities) reauthenticate(rt *rapid.T) {
	s := i.session(rt)
	subject := likely(rt, "subject", i.subjects, func(subject string) bool { x := i.of(subject); return x != nil && x.user == s.user })
	const what = " to reauthenticate"
	want := i.authenticate(s)
	began := i.startExternal(rt, i.as(s), what, toReauthenticate, want)
	if want != "" {
		return
	}
	if known := i.of(subject); known == nil || known.user != s.user {
		want = "IDENTITY_NOT_LINKED"
	}
	res, err := i.as(s).ExternalIdentities.CompleteExternalSignIn(i.t.Context(), i.there(began, subject, ""))
	i.answered(rt, "CompleteExternalSignIn"+what, err, want)
	if want == "" {
		i.renewed(s, res.SessionToken)
	}
}

// renewed is what a new proof of who somebody is brings about.
func (m *model) renewed(s *modelSession, token string) {
	s.token, s.auth, s.use, s.idle = token, m.now, m.now, m.now+modelIdle
}

// identity picks one, most often one of a user; nil when there is none.
func (i *modelIdentities) identity(rt *rapid.T, u *modelUser) *modelIdentity {
	if len(i.linked) == 0 {
		return nil
	}
	return likely(rt, "identity", i.linked, func(x *modelIdentity) bool { return x.user == u && !x.gone })
}

func (i *modelIdentities) unlink(rt *rapid.T) {
	s := i.session(rt)
	x := i.identity(rt, s.user)
	if x == nil {
		return
	}
	want := i.recent(s)
	if want == "" && (x.user != s.user || x.gone) {
		want = unknownHere
	}
	i.unlinked(rt, s, x, want)
}

func (i *modelIdentities) unlinked(rt *rapid.T, s *modelSession, x *modelIdentity, want string) {
	_, err := i.as(s).ExternalIdentities.DeleteExternalIdentity(i.t.Context(), &authv1.DeleteExternalIdentityRequest{ExternalIdentityId: x.id})
	i.answered(rt, "DeleteExternalIdentity", err, want)
	x.gone = x.gone || want == ""
}

// removeTheLast removes an identity or a passkey of somebody who has no password and no
// proven address. No calls lead there today, so that it is done by SQL, and undone.
func (i *modelIdentities) removeTheLast(rt *rapid.T) {
	s := i.session(rt)
	mine, f := i.identities(s.user), &s.user.factors
	want := i.recent(s)
	if want != "" || len(mine)+len(f.passkeys) == 0 {
		return
	}
	id := uuidOf(i.t, s.user.id)
	var verified time.Time
	var credential []byte
	i.sql(rt, []any{&verified, &credential}, `
		SELECT verified_time, (SELECT row_to_json(c) FROM auth.credentials c WHERE c.user_id = e.user_id) FROM identity.emails e WHERE user_id = $1`, id)
	i.sql(rt, nil, "UPDATE identity.emails SET verified_time = NULL WHERE user_id = $1", id)
	i.sql(rt, nil, "DELETE FROM auth.credentials WHERE user_id = $1", id)
	if len(mine)+len(f.passkeys) == 1 {
		want = lastWay
	}
	if len(mine) > 0 {
		i.unlinked(rt, s, mine[0], want)
	} else {
		i.passkeyRemoved(rt, s, want)
	}
	i.sql(rt, nil, "UPDATE identity.emails SET verified_time = $2 WHERE user_id = $1", id, verified)
	if credential != nil {
		i.sql(rt, nil, "INSERT INTO auth.credentials SELECT * FROM json_populate_record(NULL::auth.credentials, $1)", credential)
	}
}

// sql runs a statement, which returns a row if there is something to be read.
func (m *model) sql(rt *rapid.T, into []any, statement string, arguments ...any) {
	rt.Helper()
	var err error
	if into != nil {
		err = m.srv.SQL.QueryRow(m.t.Context(), statement, arguments...).Scan(into...)
	} else {
		_, err = m.srv.SQL.Exec(m.t.Context(), statement, arguments...)
	}
	if err != nil {
		rt.Fatalf("%s: %v", statement, err)
	}
}

// newPassword picks one, or now and then one that is refused.
func newPassword(rt *rapid.T) (password, want string) {
	if rapid.IntRange(0, 5).Draw(rt, "too short") == 5 {
		return "short", "PASSWORD_LENGTH"
	}
	return pick(rt, "password", modelPasswords), ""
}

func (i *modelIdentities) changePassword(rt *rapid.T) {
	s := i.session(rt)
	current := cmp.Or(s.user.password, testkit.Password)
	if rapid.IntRange(0, 3).Draw(rt, "wrong") == 3 {
		current = "not " + current
	}
	password, refusal := newPassword(rt)
	want := i.recent(s)
	switch {
	case want != "":
	case current != s.user.password:
		want = wrongSignIn
	default:
		want = refusal
	}
	res, err := i.as(s).Passwords.ChangePassword(i.t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: current, NewPassword: password})
	i.answered(rt, "ChangePassword", err, want)
	if want != "" {
		return
	}
	s.user.password = password
	i.renewed(s, res.SessionToken)
	i.endSessions(s.user, s)
}

// endSessions ends the sessions of a user but one, which may be nil.
func (m *model) endSessions(u *modelUser, but *modelSession) {
	for _, s := range m.sessions {
		s.ended = s.ended || s.user == u && s != but
	}
}

func (i *modelIdentities) requestReset(rt *rapid.T) {
	u := pick(rt, "user", i.users)
	if !i.mayMail(u) {
		return
	}
	res, err := i.anon.Passwords.RequestPasswordReset(i.t.Context(), &authv1.RequestPasswordResetRequest{Email: u.email})
	i.answered(rt, "RequestPasswordReset", err, "")
	message := i.newestMail(rt)
	if message.Template != mail.PasswordResetCode || message.To != u.email {
		rt.Fatalf("RequestPasswordReset mailed %s to %s", message.Template, message.To)
	}
	i.resets = append(i.resets, &modelReset{id: res.PasswordResetId, code: message.Data["code"], user: u, expire: i.now + modelCode})
}

func (i *modelIdentities) resetPassword(rt *rapid.T) {
	if len(i.resets) == 0 {
		return
	}
	r := likely(rt, "reset", i.resets, func(r *modelReset) bool { return !r.over && i.now < r.expire })
	switch rapid.IntRange(0, 7).Draw(rt, "wrong") {
	case 5, 6:
		i.reset(rt, r, otherCode(r.code), modelPasswords[0], "")
	case 7: // as often as one may
		for range 5 {
			i.reset(rt, r, otherCode(r.code), modelPasswords[0], "")
		}
	}
	password, refusal := newPassword(rt)
	i.reset(rt, r, r.code, password, refusal)
}

// reset gives a code and a password, which is refused for a reason of its own, or "".
func (i *modelIdentities) reset(rt *rapid.T, r *modelReset, code, password, want string) {
	if want == "" && (r.over || i.now >= r.expire || r.attempts >= 5 || code != r.code) {
		want = wrongCode
		r.attempts++
	}
	_, err := i.anon.Passwords.ResetPassword(i.t.Context(), &authv1.ResetPasswordRequest{PasswordResetId: r.id, Code: code, NewPassword: password})
	i.answered(rt, "ResetPassword", err, want)
	if want != "" {
		return
	}
	r.user.password = password
	i.endSessions(r.user, nil)
	for _, other := range i.resets {
		other.over = other.over || other.user == r.user
	}
}

func (i *modelIdentities) revokeSession(rt *rapid.T) {
	s := i.session(rt)
	whose := pick(rt, "whose", []string{"own", "own", "another's", "over"})
	target := likely(rt, "session to be revoked", i.sessions, func(o *modelSession) bool {
		return (o.user == s.user) == (whose != "another's") && i.alive(o) == (whose != "over")
	})
	for _, o := range i.sessions { // that which it is by now
		if o.id == target.id {
			target = o
		}
	}
	want := i.authenticate(s)
	if want == "" && (target.user != s.user || !i.alive(target)) {
		want = unknownHere
	}
	_, err := i.as(s).Sessions.RevokeSession(i.t.Context(), &authv1.RevokeSessionRequest{SessionId: target.id})
	i.answered(rt, "RevokeSession", err, want)
	target.ended = target.ended || want == ""
}

// hire makes a user an operator, or ends that they are.
func (i *modelIdentities) hire(rt *rapid.T) {
	u := pick(rt, "operator", i.users)
	id, err := ids.Parse[ids.User](u.id)
	if err != nil {
		rt.Fatal(err)
	}
	if i.operators[u] {
		_, err = i.srv.Store.RemoveOperator(i.t.Context(), id)
		i.answered(rt, "RemoveOperator", err, "")
	} else {
		_, err = i.srv.Store.AddOperator(i.t.Context(), id)
		i.answered(rt, "AddOperator", err, "")
	}
	for _, s := range i.sessions { // nobody acts in the name of an operator, nor does who is none any more
		if s.by != nil && (s.user == u && !i.operators[u] || s.by.user == u && i.operators[u]) {
			s.ended = true
		}
	}
	i.operators[u] = !i.operators[u]
}

func (i *modelIdentities) impersonate(rt *rapid.T) {
	s := i.session(rt)
	if rapid.IntRange(0, 3).Draw(rt, "by whom") > 0 {
		own := slices.DeleteFunc(slices.Clone(i.sessions), func(o *modelSession) bool { return o.owes || o.by != nil || !i.operators[o.user] })
		if len(own) > 0 {
			s = likely(rt, "operator's session", own, i.lives)
		}
	}
	refused := rapid.IntRange(0, 3).Draw(rt, "who cannot be impersonated") == 3
	u := likely(rt, "user", i.users, func(u *modelUser) bool { return (i.operators[u] || u.disabled) == refused })
	want := i.authenticate(s)
	switch {
	case want != "":
	case !i.operators[s.user]:
		want = "OPERATOR_REQUIRED"
	case i.now-s.auth > modelRecent:
		want = proveAgain
	case i.operators[u], u.disabled:
		want = notInAName
	}
	res, err := i.as(s).Operators.ImpersonateUser(i.t.Context(), &authv1.ImpersonateUserRequest{UserId: u.id, Reason: "A test"})
	i.answered(rt, "ImpersonateUser", err, want)
	if want != "" {
		return
	}
	i.addSession(u, res.Session.Id, res.SessionToken)
	added := i.sessions[len(i.sessions)-1]
	added.by, added.life = s, min(i.now+store.ImpersonationLifetime, s.life)
}

// acting picks a session in the name of a user, most often one that lives, for which
// one is begun if it can be; nil when there is none.
func (i *modelIdentities) acting(rt *rapid.T) *modelSession {
	if !slices.ContainsFunc(i.sessions, func(s *modelSession) bool { return s.by != nil && i.alive(s) }) {
		i.impersonate(rt)
	}
	all := slices.DeleteFunc(slices.Clone(i.sessions), func(s *modelSession) bool { return s.by == nil })
	if len(all) == 0 {
		return nil
	}
	return likely(rt, "session in a name", all, i.alive)
}

// act looks around in the name of a user, and tries what only they may do.
func (i *modelIdentities) act(rt *rapid.T) {
	s := i.acting(rt)
	if s == nil {
		return
	}
	c, ctx, want := i.as(s), i.t.Context(), i.authenticate(s)
	session, err := c.Sessions.GetSession(ctx, &authv1.GetSessionRequest{})
	i.answered(rt, "GetSession in a name", err, want)
	if want == "" {
		same(rt, "who acts for whom", []string{session.Session.ImpersonatorUserId, session.Session.UserId}, []string{s.by.user.id, s.user.id})
		want = notInAName
	}
	switch what := pick(rt, "what", []string{"ChangePassword", "Reauthenticate", "RevokeOtherSessions", "StartExternalSignIn", "DeleteExternalIdentity"}); what {
	case "ChangePassword":
		_, err = c.Passwords.ChangePassword(ctx, &authv1.ChangePasswordRequest{CurrentPassword: cmp.Or(s.user.password, "none"), NewPassword: modelPasswords[0]})
		i.answered(rt, what+" in a name", err, want)
	case "Reauthenticate":
		_, err = c.Authentication.Reauthenticate(ctx, &authv1.ReauthenticateRequest{Password: cmp.Or(s.user.password, "none")})
		i.answered(rt, what+" in a name", err, want)
	case "RevokeOtherSessions":
		_, err = c.Sessions.RevokeOtherSessions(ctx, &authv1.RevokeOtherSessionsRequest{})
		i.answered(rt, what+" in a name", err, want)
	case "StartExternalSignIn":
		i.startExternal(rt, c, " in a name", toLink, signInFirst) // there they are nobody
	default:
		id := ids.New[ids.ExternalIdentity]().String()
		if mine := i.identities(s.user); len(mine) > 0 {
			id = mine[0].id
		}
		_, err = c.ExternalIdentities.DeleteExternalIdentity(ctx, &authv1.DeleteExternalIdentityRequest{ExternalIdentityId: id})
		i.answered(rt, what+" in a name", err, want)
	}
}

func (i *modelIdentities) stopActing(rt *rapid.T) {
	s := i.acting(rt)
	if s == nil {
		return
	}
	want := i.authenticate(s)
	_, err := i.as(s).Authentication.SignOut(i.t.Context(), &authv1.SignOutRequest{})
	i.answered(rt, "SignOut in a name", err, want)
	s.ended = s.ended || want == ""
}

// compare compares whose the identities are, who has a password and who is an operator
// in the database with the model.
func (i *modelIdentities) compare(rt *rapid.T) {
	var want []string
	var users []uuid.UUID
	for _, u := range i.users {
		id := uuidOf(i.t, u.id)
		users = append(users, id)
		if u.password != "" {
			want = append(want, fmt.Sprint("password of ", id))
		}
		if i.operators[u] {
			want = append(want, fmt.Sprint("operator ", id))
		}
		for _, x := range i.identities(u) {
			want = append(want, fmt.Sprint("identity ", uuidOf(i.t, x.id), " ", x.subject, " of ", id))
		}
	}
	sameRows(rt, i.srv, "the ways to sign in", want, `
		SELECT 'password of ' || user_id FROM auth.credentials WHERE user_id = ANY ($1)
		UNION ALL
		SELECT 'operator ' || user_id FROM auth.operators WHERE user_id = ANY ($1)
		UNION ALL
		SELECT 'identity ' || id || ' ' || subject || ' of ' || user_id FROM auth.external_identities WHERE user_id = ANY ($1) OR subject = ANY ($2)`,
		users, i.subjects)
}
