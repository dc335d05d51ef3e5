package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit/fake"
	"github.com/logicspike/manager/store"
)

// modelPending is how long a session may owe its second factor.
const modelPending = 10 * time.Minute

// TestSecondFactorsAreAskedAsAPlainModelSays lets random people enrol and remove
// authenticator apps and passkeys, and sign in by every way, while operators help.
func TestSecondFactorsAreAskedAsAPlainModelSays(t *testing.T) {
	t.Parallel()
	runModel(t, 1, factorMeets, func(m *model, rt *rapid.T) map[string]func(*rapid.T) {
		m.begin(rt, 2)
		m.enrolApp(rt)
		m.enrolApp(rt)
		return map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				m.compare(rt)
				m.compareFactors(rt)
			},
			"sign in by password": m.signIn,
			"sign in by mail":     m.signInByMail,
			"sign in by passkey":  m.signInByPasskey,
			"verify":              m.verifyFactor,
			"verify again":        m.verifyFactor,
			"verify once more":    m.verifyFactor,
			"do more than that":   m.useOwing,
			"sign out":            rarely(m.signOut),
			"sign out others":     rarely(m.signOutOthers),
			"reauthenticate":      m.reauthenticate,
			"enrol app":           m.enrolApp,
			"enrol another app":   m.enrolApp,
			"remove app":          m.removeApp,
			"add passkey":         rarely(m.addPasskey),
			"remove passkey":      m.removePasskey,
			"renew codes":         rarely(m.renewCodes),
			"prove a factor":      m.proveFactor,
			"require a factor":    m.requireFactor,
			"enter":               m.enterClosed,
			"disable":             rarely(m.disable),
			"enable":              m.enable,
			"reset factors":       rarely(m.resetFactors),
			"time goes by":        rarely(m.advance),
			"clean up":            rarely(m.cleanUp),
		}
	})
}

// factorMeets are the outcomes without which the runs would prove little.
var factorMeets = []string{
	"ConfirmTotpFactor", "DeleteTotpFactor", "RegisterPasskey", "DeletePasskey", "RegenerateRecoveryCodes",
	"SignInWithPassword", "SignInWithPassword owes", "CompleteEmailSignIn", "CompleteEmailSignIn owes", "SignInWithPasskey",
	"SignInWithPasskey CREDENTIALS_INVALID",
	"VerifySecondFactor by app", "VerifySecondFactor by recovery code", "VerifySecondFactor by passkey",
	"VerifySecondFactor by app SECOND_FACTOR_INVALID", "VerifySecondFactor by recovery code SECOND_FACTOR_INVALID",
	"VerifySecondFactor by app SESSION_REQUIRED",
	"ListSessions SECOND_FACTOR_REQUIRED", "ResetSecondFactors", "DisableUser",
	"UpdateSecurityPolicy on", "UpdateSecurityPolicy off", "UpdateSecurityPolicy on " + closedHere,
	"GetWorkspace of one that requires a factor", "GetWorkspace of one that requires a factor " + closedHere,
}

// modelFactors are the second factors of a user.
type modelFactors struct {
	apps     []*app
	passkeys []*modelPasskey
	codes    []string      // that can be used
	used     []string      // that could
	shown    time.Duration // when a code of an app was used last
	wrong    int           // codes since the last right one
}

type modelPasskey struct {
	id   string
	key  *fake.Passkey
	gone bool
}

func (f *modelFactors) required() bool { return len(f.apps)+len(f.passkeys) > 0 }

// beganBy adds the session of a sign-in by one factor, which may owe the second one.
func (m *model) beganBy(rt *rapid.T, what string, u *modelUser, s *authv1.Session, token string, requirements []authv1.AccountRequirement) {
	owes := slices.Contains(requirements, authv1.AccountRequirement_ACCOUNT_REQUIREMENT_SECOND_FACTOR_REQUIRED)
	same(rt, what+": whether a second factor is owed", owes, u.factors.required())
	m.addSession(u, s.Id, token)
	if owes {
		m.seen[what+" owes"]++
		added := m.sessions[len(m.sessions)-1]
		added.owes, added.life, added.idle = true, m.now+modelPending, m.now+modelPending
	}
}

func (m *model) signInByMail(rt *rapid.T) {
	u := likely(rt, "user", m.users, func(u *modelUser) bool { return !u.disabled })
	if u.disabled || !m.mayMail(u) {
		return // nothing is mailed
	}
	res, err := m.anon.EmailChallenges.StartEmailSignIn(m.t.Context(), &authv1.StartEmailSignInRequest{Email: u.email})
	m.answered(rt, "StartEmailSignIn", err, "")
	code, want := m.newestMail(rt).Data["code"], ""
	if rapid.IntRange(0, 3).Draw(rt, "wrong") == 0 {
		code, want = otherCode(code), wrongCode
	}
	done, err := m.anon.EmailChallenges.CompleteEmailSignIn(m.t.Context(), &authv1.CompleteEmailSignInRequest{
		EmailChallengeId: res.EmailChallengeId, Code: code, BindingToken: res.BindingToken,
	})
	m.answered(rt, "CompleteEmailSignIn", err, want)
	if want == "" {
		m.beganBy(rt, "CompleteEmailSignIn", u, done.Session, done.SessionToken, done.Requirements)
	}
}

// mayMail reports whether a mail that anybody can cause may go to a user, of whom it
// counts: 6 an hour may.
func (m *model) mayMail(u *modelUser) bool {
	u.mailed = slices.DeleteFunc(u.mailed, func(at time.Duration) bool { return m.now-at > time.Hour })
	if len(u.mailed) >= 5 {
		return false
	}
	u.mailed = append(u.mailed, m.now)
	return true
}

// passkey picks one of somebody's, or nil.
func (m *model) passkey(rt *rapid.T) (*modelUser, *modelPasskey) {
	u := pick(rt, "user", m.users)
	if len(u.passkeys) == 0 {
		return u, nil
	}
	return u, likely(rt, "passkey", u.passkeys, func(k *modelPasskey) bool { return !k.gone })
}

func (m *model) signInByPasskey(rt *rapid.T) {
	u, k := m.passkey(rt)
	if k == nil {
		return
	}
	want := ""
	switch {
	case k.gone:
		want = wrongSignIn
	case u.disabled:
		want = accountDisabled
	}
	res, err := passkeySignIn(m.t, m.srv, k.key)
	m.answered(rt, "SignInWithPasskey", err, want)
	if want == "" {
		m.addSession(u, res.Session.Id, res.SessionToken)
		m.sessions[len(m.sessions)-1].proven = true
	}
}

// closedHere is the reason of a workspace that requires a second factor.
const closedHere = "SECOND_FACTOR_REQUIRED_BY_WORKSPACE"

// proveFactor proves an app in a session that may have begun without it.
func (m *model) proveFactor(rt *rapid.T) {
	s := m.session(rt)
	f := &s.user.factors
	if len(f.apps) == 0 || f.wrong > 0 { // which would have to wait
		return
	}
	if m.now == f.shown { // the next code
		m.srv.Clock.Advance(4 * time.Minute)
		m.now += 4 * time.Minute
	}
	want := m.authenticate(s)
	res, err := m.as(s).Authentication.Reauthenticate(m.t.Context(), &authv1.ReauthenticateRequest{TotpCode: f.apps[0].code(m.t, 0)})
	m.answered(rt, "Reauthenticate by app", err, want)
	if want == "" {
		m.renewed(s, res.SessionToken)
		s.proven, f.shown = true, m.now
	}
}

// requireFactor has a workspace require a second factor, or no more.
func (m *model) requireFactor(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	required := rapid.Bool().Draw(rt, "required")
	what := "UpdateSecurityPolicy " + map[bool]string{true: "on", false: "off"}[required]
	want := m.authenticate(s)
	switch {
	case want != "":
	case w.member(s.user) == nil:
		want = unknownHere
	case w.secondFactor && !s.proven:
		want = closedHere
	case m.now-s.auth > modelRecent:
		want = proveAgain
	case required && !s.proven:
		want = closedHere
	}
	_, err := m.as(s).Workspaces.UpdateSecurityPolicy(m.t.Context(), &tenantv1.UpdateSecurityPolicyRequest{
		WorkspaceId: w.id, SecondFactorRequired: &required,
	})
	m.answered(rt, what, err, want)
	if want == "" {
		w.secondFactor = required
	}
}

// enterClosed looks at a workspace, which may require a second factor.
func (m *model) enterClosed(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	what, want := "GetWorkspace", m.authenticate(s)
	switch {
	case want != "":
	case w.member(s.user) == nil:
		want = unknownHere
	case w.secondFactor:
		what += " of one that requires a factor"
		if !s.proven {
			want = closedHere
		}
	}
	_, err := m.as(s).Workspaces.GetWorkspace(m.t.Context(), &tenantv1.GetWorkspaceRequest{WorkspaceId: w.id})
	m.answered(rt, what, err, want)
	if !m.lives(s) {
		return
	}
	list, err := m.as(s).Workspaces.ListWorkspaces(m.t.Context(), &tenantv1.ListWorkspacesRequest{})
	m.answered(rt, "ListWorkspaces", err, "")
	for _, listed := range list.Workspaces {
		if listed.Workspace.Id == w.id {
			same(rt, "whether a second factor is missing", listed.SecondFactorMissing, want == closedHere)
		}
	}
}

// owing picks a session that owes its second factor, or did, most often one that lives;
// nil when there is none.
func (m *model) owing(rt *rapid.T) *modelSession {
	all := slices.DeleteFunc(slices.Clone(m.sessions), func(s *modelSession) bool { return !s.owes })
	if len(all) == 0 {
		return nil
	}
	return likely(rt, "session that owes", all, m.alive)
}

func (m *model) verifyFactor(rt *rapid.T) {
	s := m.owing(rt)
	if s == nil {
		return
	}
	f := &s.user.factors
	by := pick(rt, "by", []string{"app", "app", "app", "recovery code", "recovery code", "passkey", "passkey", "passkey"})
	want, proven := "", func() {}
	req := &authv1.VerifySecondFactorRequest{}
	const invalid, missing = "SECOND_FACTOR_INVALID", "FACTOR_MISSING"
	wrong := f.wrong < 4 && rapid.IntRange(0, 2).Draw(rt, "wrong") == 0
	switch by {
	case "app":
		if m.now == f.shown { // the next code
			m.srv.Clock.Advance(4 * time.Minute)
			m.now += 4 * time.Minute
		}
		code := "000000"
		switch {
		case len(f.apps) == 0:
			want = missing
		case wrong:
			code, want = f.apps[0].other(m.t), invalid
		default:
			code = pick(rt, "app", f.apps).code(m.t, 0)
			proven = func() { f.shown = m.now }
		}
		req.Proof = &authv1.VerifySecondFactorRequest_TotpCode{TotpCode: code}
	case "recovery code":
		code := ""
		switch {
		case !f.required():
			code, want = "x", missing
		case (wrong || len(f.codes) == 0) && f.wrong < 4:
			code, want = "never-made", invalid
			if len(f.used) > 0 {
				code = pick(rt, "used code", f.used)
			}
		case len(f.codes) == 0:
			return
		default:
			code = f.codes[0]
			proven = func() { f.codes, f.used = f.codes[1:], append(f.used, code) }
		}
		req.Proof = &authv1.VerifySecondFactorRequest_RecoveryCode{RecoveryCode: code}
	case "passkey":
		live := slices.DeleteFunc(slices.Clone(s.user.passkeys), func(k *modelPasskey) bool { return k.gone })
		if len(live) == 0 || !m.alive(s) {
			return
		}
		req.Proof = &authv1.VerifySecondFactorRequest_Passkey{
			Passkey: answerPasskey(m.t, live[0].key, askPasskey(m.t, passkeysOf(m.srv, s.token))),
		}
	}
	if !m.alive(s) {
		want = signInFirst
	}
	res, err := m.as(s).SecondFactors.VerifySecondFactor(m.t.Context(), req)
	m.answered(rt, "VerifySecondFactor by "+by, err, want)
	switch want {
	case invalid:
		f.wrong++
	case "":
		proven()
		if by != "passkey" { // which are counted by themselves
			f.wrong = 0
		}
		s.ended = true // under its old token
		m.addSession(s.user, res.Session.Id, res.SessionToken)
		m.sessions[len(m.sessions)-1].proven = true
	}
}

// useOwing tries what a session may not that owes its second factor.
func (m *model) useOwing(rt *rapid.T) {
	s := m.owing(rt)
	if s == nil {
		return
	}
	want := "SECOND_FACTOR_REQUIRED"
	if !m.alive(s) {
		want = signInFirst
	}
	_, err := m.as(s).Sessions.ListSessions(m.t.Context(), &authv1.ListSessionsRequest{})
	m.answered(rt, "ListSessions", err, want)
	_, err = m.as(s).Tokens.CreateRefreshToken(m.t.Context(), &authv1.CreateRefreshTokenRequest{})
	m.answered(rt, "CreateRefreshToken", err, want)
}

// recent is what a change of factors meets first.
func (m *model) recent(s *modelSession) string {
	reason := m.authenticate(s)
	if reason == "" && m.now-s.auth > modelRecent {
		return proveAgain
	}
	return reason
}

// added is what the first second factor brings about.
func (m *model) added(rt *rapid.T, s *modelSession, first bool, codes []string) {
	same(rt, "whether recovery codes are shown", len(codes), map[bool]int{true: 10}[first])
	if !first {
		return
	}
	s.user.factors.codes, s.user.factors.used = codes, nil
	for _, other := range m.sessions {
		other.ended = other.ended || other != s && other.user == s.user
	}
}

// removed is what the removal of a user's last one brings about.
func (m *model) removed(u *modelUser) {
	if u.factors.required() {
		return
	}
	u.factors.codes = nil
	for _, s := range m.sessions {
		s.proven = s.proven && s.user != u
	}
}

func (m *model) enrolApp(rt *rapid.T) {
	s := m.session(rt)
	f := &s.user.factors
	want, first := m.recent(s), !f.required()
	res, err := m.as(s).SecondFactors.CreateTotpFactor(m.t.Context(), &authv1.CreateTotpFactorRequest{})
	if want == "" && len(f.apps) >= 5 {
		want = "TOO_MANY"
	}
	m.answered(rt, "CreateTotpFactor", err, want)
	if want != "" {
		return
	}
	a := &app{m.srv, res.TotpFactorId, res.Secret}
	confirmed, err := m.as(s).SecondFactors.ConfirmTotpFactor(m.t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: a.code(m.t, 0)})
	m.answered(rt, "ConfirmTotpFactor", err, "")
	f.apps, f.shown = append(f.apps, a), m.now
	m.added(rt, s, first, confirmed.RecoveryCodes)
}

func (m *model) removeApp(rt *rapid.T) {
	s := m.session(rt)
	f := &s.user.factors
	if len(f.apps) == 0 {
		return
	}
	i := rapid.IntRange(0, len(f.apps)-1).Draw(rt, "app")
	want := m.recent(s)
	_, err := m.as(s).SecondFactors.DeleteTotpFactor(m.t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: f.apps[i].id})
	m.answered(rt, "DeleteTotpFactor", err, want)
	if want == "" {
		f.apps = slices.Delete(f.apps, i, i+1)
		m.removed(s.user)
	}
}

func (m *model) addPasskey(rt *rapid.T) {
	s := m.session(rt)
	want, first := m.recent(s), !s.user.factors.required()
	start, err := m.as(s).Passkeys.StartPasskeyRegistration(m.t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	m.answered(rt, "StartPasskeyRegistration", err, want)
	if want != "" {
		return
	}
	key := fake.NewPasskey(m.t, passkeyOrigin(m.srv), fake.EdDSA)
	made, err := m.as(s).Passkeys.RegisterPasskey(m.t.Context(), &authv1.RegisterPasskeyRequest{
		ChallengeId: start.ChallengeId, CredentialJson: key.Create(m.t, start.OptionsJson),
	})
	m.answered(rt, "RegisterPasskey", err, "")
	k := &modelPasskey{id: made.Passkey.Id, key: key}
	s.user.passkeys = append(s.user.passkeys, k)
	s.user.factors.passkeys = append(s.user.factors.passkeys, k)
	m.added(rt, s, first, made.RecoveryCodes)
}

func (m *model) removePasskey(rt *rapid.T) {
	s := m.session(rt)
	f := &s.user.factors
	if len(f.passkeys) == 0 {
		return
	}
	m.passkeyRemoved(rt, s, m.recent(s))
}

// passkeyRemoved removes the first passkey of a session's user.
func (m *model) passkeyRemoved(rt *rapid.T, s *modelSession, want string) {
	f := &s.user.factors
	_, err := m.as(s).Passkeys.DeletePasskey(m.t.Context(), &authv1.DeletePasskeyRequest{PasskeyId: f.passkeys[0].id})
	m.answered(rt, "DeletePasskey", err, want)
	if want == "" {
		f.passkeys[0].gone = true
		f.passkeys = f.passkeys[1:]
		m.removed(s.user)
	}
}

func (m *model) renewCodes(rt *rapid.T) {
	s := m.session(rt)
	f := &s.user.factors
	want := m.recent(s)
	if want == "" && !f.required() {
		want = "FACTOR_MISSING"
	}
	res, err := m.as(s).SecondFactors.RegenerateRecoveryCodes(m.t.Context(), &authv1.RegenerateRecoveryCodesRequest{})
	m.answered(rt, "RegenerateRecoveryCodes", err, want)
	if want == "" {
		f.used, f.codes = append(f.used, f.codes...), res.RecoveryCodes
	}
}

func (m *model) resetFactors(rt *rapid.T) {
	u := likely(rt, "user", m.users, func(u *modelUser) bool { return u.factors.required() })
	id, err := ids.Parse[ids.User](u.id)
	if err != nil {
		rt.Fatal(err)
	}
	_, err = m.srv.Store.ResetSecondFactors(m.t.Context(), store.Operation{User: id, Reason: "A test", CommandLine: true})
	m.answered(rt, "ResetSecondFactors", err, "")
	for _, k := range u.factors.passkeys {
		k.gone = true
	}
	u.factors = modelFactors{wrong: u.factors.wrong, used: append(u.factors.used, u.factors.codes...)}
	for _, s := range m.sessions {
		s.ended = s.ended || s.user == u
	}
}

// compareFactors compares what the accounts have in the database with the model.
func (m *model) compareFactors(rt *rapid.T) {
	for _, u := range m.users {
		rows, err := m.srv.SQL.Query(m.t.Context(), `
			SELECT (SELECT count(*) FROM auth.totp_factors WHERE user_id = $1 AND confirm_time IS NOT NULL) || ' apps, '
			    || (SELECT count(*) FROM auth.passkeys WHERE user_id = $1) || ' passkeys, '
			    || (SELECT count(*) FROM auth.recovery_codes WHERE user_id = $1) || ' codes'`, uuidOf(m.t, u.id))
		if err != nil {
			rt.Fatal(err)
		}
		got, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
		if err != nil {
			rt.Fatal(err)
		}
		same(rt, "the factors", got, fmt.Sprintf("%d apps, %d passkeys, %d codes", len(u.factors.apps), len(u.factors.passkeys), len(u.factors.codes)))
	}
}
