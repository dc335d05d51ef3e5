package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/server"
)

// TestTheTeamIsWhatAPlainModelSays lets random people invite, join, promote, remove
// and leave while time goes by. After each step it compares the database with the
// model, and what everybody may do in every workspace.
func TestTheTeamIsWhatAPlainModelSays(t *testing.T) {
	t.Parallel()
	runModel(t, 3, teamMeets, func(m *model, rt *rapid.T) map[string]func(*rapid.T) {
		m.begin(rt, 3)
		m.readPermissions(rt)
		m.shared = m.workspaces[0]
		manager := m.addRole(rt, m.shared)
		for i, role := range []authz.Role{authz.Admin, manager} {
			u := m.users[i+1]
			id := m.srv.Join(m.t, &testkit.Person{User: &identityv1.User{Id: u.id}}, m.shared.id, role)
			m.shared.members = append(m.shared.members, newMember(id.String(), u, role))
		}
		return map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				m.compare(rt)
				m.compareAccess(rt)
			},
			"sign in":          m.signIn,
			"delete me":        rarely(m.deleteMe),
			"delete workspace": rarely(m.deleteWorkspace),
			"purge":            rarely(m.purgeWorkspace),
			"time goes by":     rarely(m.advance),
			"clean up":         rarely(m.cleanUp),
			"verify":           m.verify,

			"invite":                m.invite,
			"invite somebody else":  m.invite,
			"invite again":          m.resend,
			"revoke invitation":     m.revokeInvitation,
			"accept invitation":     m.acceptInvitation,
			"decline invitation":    m.declineInvitation,
			"register when invited": m.registerInvited,
			"create link":           m.createLink,
			"accept link":           m.acceptLink,
			"register by link":      m.registerByLink,
			"revoke link":           m.revokeLink,
			"set role":              m.setRole,
			"deactivate":            m.deactivate,
			"reactivate":            m.reactivate,
			"remove":                m.removeMember,
			"leave":                 rarely(m.leave),
			"transfer":              m.transfer,
			"create role":           m.createRole,
			"update role":           m.updateRole,
			"delete role":           m.deleteRole,
			"ask":                   m.ask,
		}
	})
}

// teamMeets are the outcomes without which the runs would prove little.
var teamMeets = []string{
	"CreateInvitation", "CreateInvitation ALREADY_MEMBER", "CreateInvitation PERMISSION_MISSING", "CreateInvitation ROLE_NOT_GRANTABLE",
	"ResendInvitation", "RevokeInvitation", "AcceptInvitation", "AcceptInvitation EMAIL_MISMATCH", "AcceptInvitation INVITATION_REVOKED",
	"DeclineInvitation",
	"RegisterWithInvitation", "RegisterWithInvitation by link",
	"CreateInvitationLink", "AcceptInvitation by link", "RevokeInvitationLink",
	"UpdateMembership", "UpdateMembership ROLE_NOT_GRANTABLE", "UpdateMembership OWNER_REQUIRED", "UpdateMembership PERMISSION_MISSING",
	"DeactivateMembership", "ReactivateMembership", "RemoveMembership", "RemoveMembership OWNER_REQUIRED",
	"LeaveWorkspace", "LeaveWorkspace OWNER_REQUIRED", "TransferOwnership", "TransferOwnership PERMISSION_MISSING",
	"CreateRole", "CreateRole ROLE_NOT_GRANTABLE", "CreateRole FIELD_INVALID", "UpdateRole", "DeleteRole", "DeleteRole ROLE_IN_USE",
	"CheckPermission", "(revoked)",
}

// The limits of the team's part. See those of the model.
const (
	modelLifetime = 3*24*time.Hour + 2*time.Minute
	modelKept     = 30 * 24 * time.Hour
)

// modelTeam is what a workspace has beside its members.
type modelTeam struct {
	roles       []*modelRole
	invitations []*modelInvitation
	links       []*modelLink
	removed     []string // addresses of who was removed, and not let in since
}

type modelRole struct {
	id          authz.Role
	name        string
	permissions []string
}

type modelInvitation struct {
	id, email, token, code string
	replaced               []string // the tokens that it had before
	role                   authz.Role
	inviter, user          *modelUser // user accepted it
	state                  string     // as in the database
	sent, expire, end      time.Duration
	attempts               int
	gone                   bool
}

type modelLink struct {
	id, token     string
	role          authz.Role
	creator       *modelUser
	max, uses     int
	expire, end   time.Duration
	revoked, gone bool
}

// The reasons that only the team has.
const (
	isAMember    = "ALREADY_MEMBER"
	tooMuch      = "ROLE_NOT_GRANTABLE"
	badField     = "FIELD_INVALID"
	switchedOff  = "MEMBERSHIP_DEACTIVATED"
	wasRemoved   = "MEMBER_REMOVED"
	otherAddress = "EMAIL_MISMATCH"
	addressTaken = "EMAIL_TAKEN"
	roleUsed     = "ROLE_IN_USE"
	nameTaken    = "ROLE_NAME_TAKEN"
)

func (i *modelInvitation) stateAt(now time.Duration) string {
	if i.state == "pending" && now >= i.expire {
		return "expired"
	}
	return i.state
}

func (l *modelLink) stateAt(now time.Duration) string {
	switch {
	case l.revoked:
		return "revoked"
	case l.max > 0 && l.uses >= l.max:
		return "accepted"
	case now >= l.expire:
		return "expired"
	}
	return "pending"
}

// whyEnded is the reason for which what is not pending cannot be used.
func whyEnded(state string) string {
	return map[string]string{
		"revoked": "INVITATION_REVOKED", "expired": "INVITATION_EXPIRED", "accepted": "INVITATION_USED", "declined": "INVITATION_USED",
	}[state]
}

// rows are what the database has of the team.
func (team *modelTeam) rows(t testing.TB) []string {
	var rows []string
	for _, r := range team.roles {
		rows = append(rows, fmt.Sprintf("role %s: %s", r.id, strings.Join(r.permissions, ", ")))
	}
	for _, i := range team.invitations {
		if !i.gone {
			rows = append(rows, fmt.Sprintf("invitation %s as %s: %s", uuidOf(t, i.id), i.role, i.state))
		}
	}
	for _, l := range team.links {
		if !l.gone {
			rows = append(rows, fmt.Sprintf("link %s as %s: %d uses, revoked: %t", uuidOf(t, l.id), l.role, l.uses, l.revoked))
		}
	}
	return rows
}

func (team *modelTeam) cleanUp(now time.Duration) {
	for _, i := range team.invitations {
		i.gone = i.gone || now-i.expire >= modelKept || i.state != "pending" && now-i.end >= modelKept
	}
	for _, l := range team.links {
		l.gone = l.gone || now-l.expire >= modelKept || l.revoked && now-l.end >= modelKept
	}
}

func (team *modelTeam) role(id authz.Role) *modelRole {
	for _, r := range team.roles {
		if r.id == id {
			return r
		}
	}
	return nil
}

// rank is how high a built-in role stands; 0 for a custom one.
func rank(r authz.Role) int {
	return 1 + slices.Index([]authz.Role{authz.Viewer, authz.Member, authz.Admin, authz.Owner}, r)
}

// holds reports whether a role of a workspace holds a permission.
func (m *model) holds(w *modelWorkspace, role authz.Role, permission string) bool {
	least := m.permissions[permission]
	if custom := w.team.role(role); custom != nil {
		return least != authz.Owner && slices.Contains(custom.permissions, permission)
	}
	return rank(role) > 0 && rank(role) >= rank(least)
}

// covers reports whether a member may give a role, or change one who has it.
func (m *model) covers(w *modelWorkspace, member *modelMember, role authz.Role) bool {
	if member.role == authz.Owner {
		return true
	}
	for permission := range m.permissions {
		if m.holds(w, role, permission) && !m.holds(w, member.role, permission) {
			return false
		}
	}
	return role != authz.Owner
}

// exists reports whether a workspace has a role.
func (w *modelWorkspace) exists(role authz.Role) bool {
	return rank(role) > 0 || w.team.role(role) != nil
}

// may is what a call to a workspace that asks for a permission meets first.
func (m *model) may(s *modelSession, w *modelWorkspace, permission string) string {
	if reason := m.authenticate(s); reason != "" {
		return reason
	}
	member := w.member(s.user)
	switch {
	case member == nil || member.deactivated || !w.live():
		return unknownHere
	case !m.holds(w, member.role, permission):
		return noPermission
	}
	return ""
}

// mayGrant is may, and then what giving a role meets.
func (m *model) mayGrant(s *modelSession, w *modelWorkspace, permission string, role authz.Role) string {
	reason := m.may(s, w, permission)
	switch {
	case reason != "":
	case !w.exists(role):
		return badField
	case !m.covers(w, w.member(s.user), role):
		return tooMuch
	case role == authz.Owner && m.now-s.auth > modelRecent:
		return proveAgain
	}
	return reason
}

// revokeGrants revokes what its maker could not make any more.
func (m *model) revokeGrants(w *modelWorkspace) {
	holds := func(maker *modelUser, role authz.Role) bool {
		member := w.member(maker)
		return member != nil && !member.deactivated && m.holds(w, member.role, "invitation.create") && m.covers(w, member, role)
	}
	for _, i := range w.team.invitations {
		if i.state == "pending" && !i.gone && !holds(i.inviter, i.role) {
			i.state, i.end = "revoked", m.now
			m.seen["(revoked)"]++
		}
	}
	for _, l := range w.team.links {
		if !l.revoked && !l.gone && !holds(l.creator, l.role) {
			l.revoked, l.end = true, m.now
			m.seen["(revoked)"]++
		}
	}
}

// pendingAt is the invitation of an address that is stored as pending, or nil.
func (w *modelWorkspace) pendingAt(email string) *modelInvitation {
	for _, i := range w.team.invitations {
		if i.email == email && i.state == "pending" && !i.gone {
			return i
		}
	}
	return nil
}

// joined makes a user a member, as the answer says.
func (m *model) joined(rt *rapid.T, w *modelWorkspace, u *modelUser, role authz.Role, got *teamv1.Membership) {
	same(rt, "the new membership", []string{got.UserId, got.WorkspaceId, got.Role}, []string{u.id, w.id, string(role)})
	if i := w.pendingAt(u.email); i != nil && i.stateAt(m.now) == "pending" {
		m.accepted(i, u)
	}
	w.team.removed = slices.DeleteFunc(w.team.removed, func(email string) bool { return email == u.email })
	w.members = append(w.members, newMember(got.Id, u, role))
}

// roleBy is the role that a link gives to an address: that of its own invitation, if
// there is one.
func (w *modelWorkspace) roleBy(l *modelLink, email string, now time.Duration) authz.Role {
	if i := w.pendingAt(email); i != nil && i.stateAt(now) == "pending" {
		return i.role
	}
	return l.role
}

// whyNot is the reason for which a link cannot be used by an address.
func (w *modelWorkspace) whyNot(l *modelLink, email string, now time.Duration) string {
	if reason := whyEnded(l.stateAt(now)); reason != "" {
		return reason
	}
	if slices.Contains(w.team.removed, email) {
		return wasRemoved
	}
	return ""
}

func (m *model) accepted(i *modelInvitation, u *modelUser) {
	i.state, i.user, i.end = "accepted", u, m.now
}

func (m *model) readPermissions(rt *rapid.T) {
	res, err := m.as(m.sessions[0]).Roles.ListPermissions(m.t.Context(), &teamv1.ListPermissionsRequest{})
	m.answered(rt, "ListPermissions", err, "")
	m.permissions = map[string]authz.Role{}
	for _, p := range res.Permissions {
		m.permissions[p.Name] = authz.Role(p.LeastRole)
	}
}

// compareAccess compares what everybody may do in every workspace.
func (m *model) compareAccess(rt *rapid.T) {
	var all []ids.Workspace
	for _, w := range m.workspaces {
		all = append(all, ids.FromUUID[ids.Workspace](uuidOf(m.t, w.id)))
	}
	catalog, _, err := server.Permissions()
	if err != nil {
		rt.Fatal(err)
	}
	for _, u := range m.users {
		found, err := m.srv.Store.Access(m.t.Context(), &authz.Session{User: ids.FromUUID[ids.User](uuidOf(m.t, u.id))}, all)
		if err != nil {
			rt.Fatal(err)
		}
		for i, w := range m.workspaces {
			for _, p := range catalog.All() {
				if got, want := found[all[i]].Holds(p), m.allowed(w, u, p.Name); got != want {
					rt.Fatalf("%s has %s in %s: %t, want %t", u.email, p.Name, w.id, got, want)
				}
			}
		}
	}
}

// allowed reports whether a user holds a permission in a workspace.
func (m *model) allowed(w *modelWorkspace, u *modelUser, permission string) bool {
	member := w.member(u)
	return member != nil && !member.deactivated && w.live() && m.holds(w, member.role, permission)
}
