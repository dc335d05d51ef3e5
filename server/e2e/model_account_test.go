package e2e

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
)

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
	u := &modelUser{id: id, email: email, password: testkit.Password}
	m.users = append(m.users, u)
	return u
}

func (m *model) signIn(rt *rapid.T) {
	email := likely(rt, "address", m.emails, func(e string) bool { return m.userAt(e) != nil })
	u := m.userAt(email)
	password, want := testkit.Password, ""
	if u != nil && u.password != "" {
		password = u.password
	}
	if pick(rt, "password", []string{"right", "right", "right", "wrong"}) == "wrong" {
		password = "not " + password
	}
	if u == nil || password != u.password {
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
	if want == "" && s.user.password == "" {
		want = wrongSignIn
	}
	res, err := m.as(s).Authentication.Reauthenticate(m.t.Context(), &authv1.ReauthenticateRequest{Password: cmp.Or(s.user.password, testkit.Password)})
	m.answered(rt, "Reauthenticate", err, want)
	if want == "" {
		m.renewed(s, res.SessionToken)
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
