package store_test

import (
	"slices"
	"strings"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/team"
)

// grants is about what members have made, and can no longer make.
func (w *teamWorld) grants() {
	w.run("DELETE FROM team.invitations")
	inviter := w.role(w.w, "Inviter", "a.get")
	w.call("SetRole", w.member, inviter.ID, now)
	inTurn(w.t, "Granters before there is anything", users(w.call("Granters", w.w)[0]))
	pending := w.invite(w.w, "one@example.com", inviter.ID, w.user)
	w.want(&team.Received{Invitation: *pending, WorkspaceName: "Acme", InviterName: "Ann", RoleName: "Inviter"}, "ReceivedByToken", tokenOf(pending.ID.String()))
	expired := w.invite(w.w, "two@example.com", authz.Viewer, w.user)
	expired.ExpireTime = now
	w.call("UpdateInvitation", expired)
	others := w.invite(w.w, "three@example.com", authz.Viewer, w.owner)
	declined := w.invite(w.w, "four@example.com", authz.Viewer, w.user)
	declined.State, declined.EndTime = team.Declined, now
	w.call("UpdateInvitation", declined)
	elsewhere := w.invite(w.own, "one@example.com", authz.Viewer, w.user)
	inTurn(w.t, "Granters by an invitation", users(w.call("Granters", w.w)[0]), w.user)
	inTurn(w.t, "Granters elsewhere, where they are owners", users(w.call("Granters", w.own)[0]))
	l := w.link(w.w, inviter.ID, w.user)
	w.want(&team.ReceivedLink{Link: *l, WorkspaceName: "Acme", CreatorName: "Ann", RoleName: "Inviter"}, "ReceivedLinkByToken", tokenOf(l.ID.String()))

	granted := w.call("GrantedBy", w.w, w.user)[0].([]team.Granted)
	slices.SortFunc(granted, func(a, b team.Granted) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	w.same("GrantedBy", []team.Granted{
		{ID: pending.ID.UUID(), Role: inviter.ID}, {ID: expired.ID.UUID(), Role: authz.Viewer}, {ID: l.ID.UUID(), Link: true, Role: inviter.ID},
	}, granted)
	w.call("Revoke", granted, now)
	pending.State, pending.EndTime = team.Revoked, now
	expired.State, expired.EndTime, l.RevokeTime = team.Revoked, now, now
	for _, i := range []*team.Invitation{pending, expired, others, declined, elsewhere} {
		w.want(i, "Invitation", i.ID)
	}
	w.want(l, "Link", l.ID)
	inTurn(w.t, "GrantedBy, revoked", w.call("GrantedBy", w.w, w.user)[0].([]team.Granted))
	w.call("Revoke", granted, now.Add(time.Hour)) // which leaves the time of the first as it is
	w.want(pending, "Invitation", pending.ID)
	w.want(l, "Link", l.ID)
	inTurn(w.t, "Granters, revoked", users(w.call("Granters", w.w)[0]))
	l = w.link(w.w, authz.Viewer, w.user)
	inTurn(w.t, "Granters by a link", users(w.call("Granters", w.w)[0]), w.user)
	w.call("Revoke", []team.Granted(nil), now)
	w.want(l, "Link", l.ID)

	// What ended goes a while after it did, and only that.
	old := w.link(w.w, authz.Viewer, w.owner)
	old.RevokeTime = now.Add(-time.Hour)
	w.call("UpdateLink", old)
	declined.EndTime = now.Add(-time.Hour)
	w.call("UpdateInvitation", declined)
	w.call("DeleteEndedInvitations", now)
	w.want((*team.Invitation)(nil), "Invitation", declined.ID)
	w.want((*team.Link)(nil), "Link", old.ID)
	for _, i := range []*team.Invitation{pending, expired, others, elsewhere} {
		w.want(i, "Invitation", i.ID)
	}
	w.call("DeleteEndedInvitations", now.Add(time.Second))
	w.want((*team.Invitation)(nil), "Invitation", pending.ID)
	w.want((*team.Invitation)(nil), "Invitation", expired.ID)
	w.want(others, "Invitation", others.ID)
	w.want(l, "Link", l.ID)
	w.call("SetRole", w.member, authz.Admin, now)
	inTurn(w.t, "Granters who may give what any custom role holds", users(w.call("Granters", w.w)[0]))
	w.call("SetRole", w.member, authz.Member, now)
}

// programs is about what service accounts have made.
func (w *teamWorld) programs() {
	robot := ids.New[ids.ServiceAccount]()
	run(w.t, w.admin, "INSERT INTO auth.service_accounts (id, workspace_id, display_name, name_key, create_time, update_time) "+
		"VALUES ('"+robot.UUID().String()+"', '"+w.w.UUID().String()+"', 'Robot', 'robot', now(), now())")
	inTurn(w.t, "ServiceAccountGranters before there is anything", w.call("ServiceAccountGranters", w.w)[0].([]ids.ServiceAccount))
	i := w.invite(w.w, "robot's@example.com", authz.Viewer, ids.User{})
	i.InviterServiceAccountID = robot
	w.call("UpdateInvitation", i)
	l := w.link(w.w, authz.Viewer, ids.User{})
	w.call("Revoke", []team.Granted{{ID: l.ID.UUID(), Link: true}}, now)
	l = &team.Link{
		ID: ids.New[ids.InvitationLink](), WorkspaceID: w.w, Role: authz.Member, CreatorServiceAccountID: robot, Domains: []string{},
		CreateTime: now, ExpireTime: now.Add(time.Hour),
	}
	token := tokenOf(l.ID.String())
	l.TokenHash = token[:]
	w.call("InsertLink", l)
	w.want(i, "Invitation", i.ID)
	w.want(l, "Link", l.ID)
	w.want(&team.Received{Invitation: *i, WorkspaceName: "Acme", InviterName: "Robot"}, "ReceivedByToken", tokenOf(i.ID.String()))
	w.want(&team.ReceivedLink{Link: *l, WorkspaceName: "Acme", CreatorName: "Robot"}, "ReceivedLinkByToken", token)
	inTurn(w.t, "ServiceAccountGranters", w.call("ServiceAccountGranters", w.w)[0].([]ids.ServiceAccount), robot)
	inTurn(w.t, "ServiceAccountGranters elsewhere", w.call("ServiceAccountGranters", w.own)[0].([]ids.ServiceAccount))
	granted := w.call("GrantedByServiceAccount", w.w, robot)[0].([]team.Granted)
	inTurn(w.t, "GrantedByServiceAccount", granted,
		team.Granted{ID: i.ID.UUID(), Role: authz.Viewer}, team.Granted{ID: l.ID.UUID(), Link: true, Role: authz.Member})
	w.call("Revoke", granted, now)
	inTurn(w.t, "GrantedByServiceAccount, revoked", w.call("GrantedByServiceAccount", w.w, robot)[0].([]team.Granted))
	inTurn(w.t, "ServiceAccountGranters, revoked", w.call("ServiceAccountGranters", w.w)[0].([]ids.ServiceAccount))
	w.run("DELETE FROM team.invitations")
	w.run("DELETE FROM team.invitation_links")
}
