package e2e

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// The steps of the model that are about invitations and links.

// anyRole picks a role: a built-in one, a custom one of the workspace, or one that it
// does not have.
func (m *model) anyRole(rt *rapid.T, w *modelWorkspace) authz.Role {
	roles := []authz.Role{authz.Owner, authz.Admin, authz.Member, authz.Member, authz.Viewer}
	for _, r := range w.team.roles {
		roles = append(roles, r.id, r.id)
	}
	for _, other := range m.workspaces {
		if other != w && len(other.team.roles) > 0 {
			roles = append(roles, other.team.roles[0].id)
			break
		}
	}
	return pick(rt, "role", roles)
}

func (m *model) invite(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	email := likely(rt, "address", m.emails, func(e string) bool { u := m.userAt(e); return u == nil || w.member(u) == nil })
	role := m.anyRole(rt, w)
	want := m.mayGrant(s, w, "invitation.create", role)
	if u := m.userAt(email); want == "" && u != nil && w.member(u) != nil {
		want = isAMember
	}
	// To replace an invitation is to revoke it.
	if earlier := w.pendingAt(email); want == "" && earlier != nil && earlier.stateAt(m.now) == "pending" && !m.covers(w, w.member(s.user), earlier.role) {
		want = tooMuch
	}
	res, err := m.as(s).Invitations.CreateInvitation(m.t.Context(), &teamv1.CreateInvitationRequest{
		WorkspaceId: w.id, Email: email, Role: string(role), Lifetime: durationpb.New(modelLifetime),
	})
	m.answered(rt, "CreateInvitation", err, want)
	if want != "" {
		return
	}
	if earlier := w.pendingAt(email); earlier != nil {
		earlier.state, earlier.end = "revoked", m.now
	}
	i := &modelInvitation{id: res.Invitation.Id, email: email, role: role, state: "pending"}
	w.team.invitations = append(w.team.invitations, i)
	m.invitationMailed(rt, i, s.user)
}

// invitationMailed reads the mail of an invitation.
func (m *model) invitationMailed(rt *rapid.T, i *modelInvitation, by *modelUser) {
	letter := m.newestMail(rt)
	if letter.Template != mail.Invitation || letter.To != i.email {
		rt.Fatalf("%s was mailed to %s, want an invitation to %s", letter.Template, letter.To, i.email)
	}
	i.token, i.code = letter.Data["token"], letter.Data["code"]
	i.inviter, i.sent, i.expire, i.attempts = by, m.now, m.now+modelLifetime, 0
}

// invitation picks one, most often one that is pending, and its workspace.
func (m *model) invitation(rt *rapid.T, good func(*modelWorkspace, *modelInvitation) bool) (*modelWorkspace, *modelInvitation) {
	type found struct {
		w *modelWorkspace
		i *modelInvitation
	}
	var all []found
	for _, w := range m.workspaces {
		for _, i := range w.team.invitations {
			all = append(all, found{w, i})
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	f := likely(rt, "invitation", all, func(f found) bool {
		return f.i.stateAt(m.now) == "pending" && f.w.live() && (good == nil || good(f.w, f.i))
	})
	return f.w, f.i
}

func (m *model) resend(rt *rapid.T) {
	s := m.session(rt)
	w, i := m.invitation(rt, func(w *modelWorkspace, _ *modelInvitation) bool { return m.allowed(w, s.user, "invitation.create") })
	if i == nil {
		return
	}
	want := m.may(s, w, "invitation.create")
	u := m.userAt(i.email)
	switch {
	case want != "":
	case i.gone:
		want = unknownHere
	case i.state != "pending":
		want = whyEnded(i.state)
	case m.mayGrant(s, w, "invitation.create", i.role) != "":
		want = m.mayGrant(s, w, "invitation.create", i.role)
	case u != nil && w.member(u) != nil:
		want = isAMember
	}
	_, err := m.as(s).Invitations.ResendInvitation(m.t.Context(), &teamv1.ResendInvitationRequest{WorkspaceId: w.id, InvitationId: i.id})
	m.answered(rt, "ResendInvitation", err, want)
	if want == "" {
		i.replaced = append(i.replaced, i.token)
		m.invitationMailed(rt, i, s.user)
	}
}

func (m *model) revokeInvitation(rt *rapid.T) {
	s := m.session(rt)
	w, i := m.invitation(rt, func(w *modelWorkspace, _ *modelInvitation) bool { return m.allowed(w, s.user, "invitation.revoke") })
	if i == nil {
		return
	}
	want := m.may(s, w, "invitation.revoke")
	switch {
	case want != "":
	case i.gone:
		want = unknownHere
	case i.state == "accepted" || i.state == "declined":
		want = whyEnded(i.state)
	case i.stateAt(m.now) == "pending" && !m.covers(w, w.member(s.user), i.role):
		want = tooMuch
	}
	_, err := m.as(s).Invitations.RevokeInvitation(m.t.Context(), &teamv1.RevokeInvitationRequest{WorkspaceId: w.id, InvitationId: i.id})
	m.answered(rt, "RevokeInvitation", err, want)
	if want == "" && i.state == "pending" {
		i.state, i.end = "revoked", m.now
	}
}

// received picks an invitation and a session, most often of the invited address.
func (m *model) received(rt *rapid.T) (*modelSession, *modelWorkspace, *modelInvitation) {
	s := m.session(rt)
	w, i := m.invitation(rt, func(_ *modelWorkspace, i *modelInvitation) bool { return m.userAt(i.email) != nil })
	if i != nil {
		s = likely(rt, "receiver", m.sessions, func(s *modelSession) bool { return m.lives(s) && s.user.email == i.email })
	}
	return s, w, i
}

// tokenOf is the token of an invitation, or one that it had before.
func (m *model) tokenOf(rt *rapid.T, i *modelInvitation) string {
	return pick(rt, "token", append(slices.Repeat([]string{i.token}, 1+3*len(i.replaced)), i.replaced...))
}

// receive is what the invited person meets first, by a token, or by the id for "".
func (m *model) receive(s *modelSession, w *modelWorkspace, i *modelInvitation, token string) string {
	if reason := m.authenticate(s); reason != "" {
		return reason
	}
	switch {
	case token == "" && (i.gone || !w.live()):
		return unknownHere
	case token != "" && (i.gone || !w.live() || token != i.token):
		return wrongCode
	case i.user == s.user || i.email == s.user.email:
		return ""
	case token == "":
		return unknownHere
	}
	return otherAddress
}

func (m *model) acceptInvitation(rt *rapid.T) {
	s, w, i := m.received(rt)
	if i == nil {
		return
	}
	req := &teamv1.AcceptInvitationRequest{Token: m.tokenOf(rt, i)}
	if pick(rt, "by", []string{"token", "id"}) == "id" {
		req = &teamv1.AcceptInvitationRequest{InvitationId: i.id}
	}
	want := m.receive(s, w, i, req.Token)
	member := w.member(s.user)
	pending := i.stateAt(m.now) == "pending"
	switch {
	case want != "":
	case member != nil && member.deactivated:
		want = switchedOff
	case member != nil && (pending || i.user == s.user):
	case !pending:
		want = whyEnded(i.stateAt(m.now))
	}
	res, err := m.as(s).Invitations.AcceptInvitation(m.t.Context(), req)
	m.answered(rt, "AcceptInvitation", err, want)
	switch {
	case want != "":
	case member == nil:
		m.joined(rt, w, s.user, i.role, res.Membership)
	default:
		same(rt, "the membership that one has", res.Membership.Id, member.id)
		if pending {
			m.accepted(i, s.user)
		}
	}
}

func (m *model) declineInvitation(rt *rapid.T) {
	s, w, i := m.received(rt)
	if i == nil {
		return
	}
	req, c, want := &teamv1.DeclineInvitationRequest{Token: m.tokenOf(rt, i)}, m.anon, ""
	if pick(rt, "by", []string{"token", "id"}) == "id" {
		req, c = &teamv1.DeclineInvitationRequest{InvitationId: i.id}, m.as(s)
		want = m.receive(s, w, i, "")
	} else if i.gone || !w.live() || req.Token != i.token {
		want = wrongCode
	}
	if state := i.stateAt(m.now); want == "" && state != "pending" && state != "declined" {
		want = whyEnded(state)
	}
	_, err := c.Invitations.DeclineInvitation(m.t.Context(), req)
	m.answered(rt, "DeclineInvitation", err, want)
	if want == "" && i.state == "pending" {
		i.state, i.end = "declined", m.now
	}
}

// registerInvited registers by the token of an invitation, or its code.
func (m *model) registerInvited(rt *rapid.T) {
	w, i := m.invitation(rt, func(_ *modelWorkspace, i *modelInvitation) bool { return m.userAt(i.email) == nil })
	if i == nil {
		return
	}
	req, want := &teamv1.RegisterWithInvitationRequest{Token: m.tokenOf(rt, i), Password: testkit.Password}, ""
	if pick(rt, "by", []string{"token", "token", "code"}) == "code" {
		req = &teamv1.RegisterWithInvitationRequest{Email: i.email, Code: i.code, Password: testkit.Password}
		if !m.tryCode(i) {
			want = wrongCode
		}
	} else if i.gone || w.gone || req.Token != i.token {
		want = wrongCode
	} else {
		want = whyEnded(i.stateAt(m.now))
	}
	switch {
	case want != "":
	case w.deleted:
		want = wrongCode
	case m.userAt(i.email) != nil:
		want = addressTaken
	}
	res, err := m.anon.Invitations.RegisterWithInvitation(m.t.Context(), req)
	m.answered(rt, "RegisterWithInvitation", err, want)
	if want == "" {
		u := m.addUser(i.email, res.UserId)
		m.joined(rt, w, u, i.role, res.Membership)
		m.addSession(u, res.SessionId, res.SessionToken)
	}
}

// tryCode compares the code of an invitation with those of the three newest that its
// address can accept, and reports whether it is one of these.
func (m *model) tryCode(i *modelInvitation) bool {
	var pending []*modelInvitation
	for _, w := range m.workspaces {
		for _, other := range w.team.invitations {
			if other.email == i.email && !other.gone && other.stateAt(m.now) == "pending" {
				pending = append(pending, other)
			}
		}
	}
	slices.SortFunc(pending, func(a, b *modelInvitation) int { return strings.Compare(b.id, a.id) })
	pending = slices.DeleteFunc(pending[:min(len(pending), 3)], func(other *modelInvitation) bool {
		return m.now-other.sent >= store.InvitationCodeLifetime || other.attempts == 5
	})
	if slices.Contains(pending, i) {
		return true
	}
	for _, other := range pending {
		other.attempts++
	}
	return false
}

func (m *model) createLink(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	role, uses := m.anyRole(rt, w), pick(rt, "uses", []int{0, 1, 1, 2})
	want := m.mayGrant(s, w, "invitation.create", role)
	if role == authz.Owner && m.may(s, w, "invitation.create") == "" {
		want = badField
	}
	res, err := m.as(s).Invitations.CreateInvitationLink(m.t.Context(), &teamv1.CreateInvitationLinkRequest{
		WorkspaceId: w.id, Role: string(role), MaxUses: int32(uses), Lifetime: durationpb.New(modelLifetime),
	})
	m.answered(rt, "CreateInvitationLink", err, want)
	if want == "" {
		w.team.links = append(w.team.links, &modelLink{
			id: res.Link.Id, token: res.Token, role: role, creator: s.user, max: uses, expire: m.now + modelLifetime,
		})
	}
}

// link picks one, most often one that can be used, and its workspace.
func (m *model) link(rt *rapid.T, good func(*modelWorkspace) bool) (*modelWorkspace, *modelLink) {
	type found struct {
		w *modelWorkspace
		l *modelLink
	}
	var all []found
	for _, w := range m.workspaces {
		for _, l := range w.team.links {
			all = append(all, found{w, l})
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	f := likely(rt, "link", all, func(f found) bool { return f.l.stateAt(m.now) == "pending" && f.w.live() && (good == nil || good(f.w)) })
	return f.w, f.l
}

func (m *model) acceptLink(rt *rapid.T) {
	s := m.session(rt)
	w, l := m.link(rt, func(w *modelWorkspace) bool { return w.member(s.user) == nil })
	if l == nil {
		return
	}
	want, member := m.authenticate(s), w.member(s.user)
	switch {
	case want != "":
	case l.gone || !w.live():
		want = wrongCode
	case member != nil && member.deactivated:
		want = switchedOff
	case member == nil:
		want = w.whyNot(l, s.user.email, m.now)
	}
	res, err := m.as(s).Invitations.AcceptInvitation(m.t.Context(), &teamv1.AcceptInvitationRequest{Token: l.token})
	m.answered(rt, "AcceptInvitation by link", err, want)
	if want == "" && member == nil {
		l.uses++
		m.joined(rt, w, s.user, w.roleBy(l, s.user.email, m.now), res.Membership)
	}
}

// registerByLink leaves the address to be proven by verify.
func (m *model) registerByLink(rt *rapid.T) {
	w, l := m.link(rt, nil)
	if l == nil {
		return
	}
	email := likely(rt, "address", m.emails, func(e string) bool { return m.userAt(e) == nil })
	want := whyEnded(l.stateAt(m.now))
	if l.gone || w.gone || want == "" && w.deleted {
		want = wrongCode
	}
	res, err := m.anon.Invitations.RegisterWithInvitation(m.t.Context(), &teamv1.RegisterWithInvitationRequest{
		Token: l.token, Email: email, Password: testkit.Password,
	})
	m.answered(rt, "RegisterWithInvitation by link", err, want)
	if want == "" {
		m.registered(rt, &modelRegistration{id: res.RegistrationId, email: email, expire: m.now + modelCode, workspace: w, link: l})
	}
}

func (m *model) revokeLink(rt *rapid.T) {
	s := m.session(rt)
	w, l := m.link(rt, func(w *modelWorkspace) bool { return m.allowed(w, s.user, "invitation.revoke") })
	if l == nil {
		return
	}
	want := m.may(s, w, "invitation.revoke")
	if want == "" && l.gone {
		want = unknownHere
	}
	_, err := m.as(s).Invitations.RevokeInvitationLink(m.t.Context(), &teamv1.RevokeInvitationLinkRequest{WorkspaceId: w.id, LinkId: l.id})
	m.answered(rt, "RevokeInvitationLink", err, want)
	if want == "" && !l.revoked {
		l.revoked, l.end = true, m.now
	}
}
