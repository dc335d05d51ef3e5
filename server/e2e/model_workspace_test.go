package e2e

import (
	"slices"

	"pgregory.net/rapid"

	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
)

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
