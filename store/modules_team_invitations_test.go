package store_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
)

// invite stores an invitation for an hour, by an address, which is the key, too. Its
// token is named after both.
func (w *teamWorld) invite(workspace ids.Workspace, address string, role authz.Role, by ids.User) *team.Invitation {
	w.t.Helper()
	i := &team.Invitation{
		ID: ids.New[ids.Invitation](), WorkspaceID: workspace, Address: address, AddressKey: address, Role: role, InviterID: by,
		State: team.Pending, CodeHash: []byte{1}, CreateTime: now, SendTime: now, ExpireTime: now.Add(time.Hour),
	}
	token := tokenOf(i.ID.String())
	i.TokenHash = token[:]
	w.call("InsertInvitations", []*team.Invitation{i})
	return i
}

func invitationIDs(list any) []ids.Invitation {
	var found []ids.Invitation
	switch list := list.(type) {
	case []team.Invitation:
		for i := range list {
			found = append(found, list[i].ID)
		}
	case []team.Received:
		for i := range list {
			found = append(found, list[i].ID)
		}
	}
	return found
}

func sorted(list []ids.Invitation) []ids.Invitation {
	slices.SortFunc(list, ids.Invitation.Compare)
	return list
}

func (w *teamWorld) invitations() {
	const address = "new@example.com"
	accepted := w.invite(w.w, "accepted@example.com", authz.Viewer, w.owner)
	pending := w.invite(w.w, address, authz.Member, w.owner)
	elsewhere := w.invite(w.own, address, authz.Admin, w.user)
	expired := w.invite(w.w, "expired@example.com", authz.Member, ids.User{})
	expired.ExpireTime = now.Add(-time.Second)
	w.call("UpdateInvitation", expired)
	declined := w.invite(w.w, "declined@example.com", authz.Member, w.owner)
	declined.State, declined.EndTime = team.Declined, now
	w.call("UpdateInvitation", declined)
	w.refused("a second pending one", "invitations_pending_once", func() error {
		again := *pending
		again.ID, again.TokenHash = ids.New[ids.Invitation](), []byte{7}
		return w.repository.InsertInvitations(w.t.Context(), []*team.Invitation{&again})
	})

	w.want(pending, "Invitation", pending.ID)
	w.want(pending, "InvitationByToken", tokenOf(pending.ID.String()))
	w.want(pending, "LockInvitation", w.w, pending.ID)
	w.want((*team.Invitation)(nil), "Invitation", ids.New[ids.Invitation]())
	w.want((*team.Invitation)(nil), "InvitationByToken", tokenOf("another"))
	if _, err := w.repository.LockInvitation(w.t.Context(), w.w, elsewhere.ID); !fault.Has(err, fault.Missing) {
		w.t.Errorf("LockInvitation of another workspace: %v", err)
	}
	active, reserved := 0, 0
	out := w.call("Seats", w.w, now)
	if active, reserved = out[0].(int), out[1].(int); active != 2 || reserved != 2 {
		w.t.Errorf("Seats: %d active and %d pending", active, reserved)
	}
	w.call("Deactivate", w.member, now)
	if out := w.call("Seats", w.w, now.Add(time.Hour)); out[0] != 1 || out[1] != 0 {
		w.t.Errorf("Seats without a deactivated member, once the invitations have expired: %v", out)
	}
	w.call("Reactivate", w.member, now)

	inTurn(w.t, "LockPendingAt", invitationIDs(w.call("LockPendingAt", address, now, 9)[0]), elsewhere.ID, pending.ID)
	inTurn(w.t, "LockPendingAt, the newest", invitationIDs(w.call("LockPendingAt", address, now, 1)[0]), elsewhere.ID)
	inTurn(w.t, "LockPendingAt an hour later", invitationIDs(w.call("LockPendingAt", address, now.Add(time.Hour), 9)[0]))
	w.call("CountInvitationAttempts", []ids.Invitation{pending.ID, declined.ID})
	w.call("CountInvitationAttempts", []ids.Invitation{pending.ID})
	w.call("CountInvitationAttempts", []ids.Invitation(nil))
	pending.CodeAttempts, declined.CodeAttempts = 2, 1
	w.want(pending, "Invitation", pending.ID)
	w.want(elsewhere, "Invitation", elsewhere.ID)

	for state, want := range map[team.InvitationState][]ids.Invitation{
		"":            {declined.ID, expired.ID, pending.ID, accepted.ID},
		team.Pending:  {pending.ID, accepted.ID},
		team.Expired:  {expired.ID},
		team.Declined: {declined.ID},
		team.Accepted: nil,
		team.Revoked:  nil,
	} {
		var pages []ids.Invitation
		for token, more := "", true; more; more = token != "" {
			out := w.call("ListInvitations", w.w, state, now, postgres.Page{Size: 1, Token: token})
			pages, token = append(pages, invitationIDs(out[0])...), out[1].(string)
		}
		inTurn(w.t, fmt.Sprintf("the invitations in the state %q", state), pages, want...)
	}
	token := w.call("ListInvitations", w.w, team.Pending, now, postgres.Page{Size: 1})[1].(string)
	for what, f := range map[string]struct {
		workspace ids.Workspace
		state     team.InvitationState
	}{"another state": {w.w, ""}, "another workspace": {w.own, team.Pending}} {
		w.badToken("a page's token of invitations for "+what, func(ctx context.Context, p postgres.Page) error {
			_, _, err := w.repository.ListInvitations(ctx, f.workspace, f.state, now, p)
			return err
		}, token)
	}

	received := &team.Received{Invitation: *pending, WorkspaceName: "Acme", InviterName: "Ann"}
	w.want(received, "ReceivedByToken", tokenOf(pending.ID.String()))
	w.want(&team.Received{Invitation: *expired, WorkspaceName: "Acme"}, "ReceivedByToken", tokenOf(expired.ID.String()))
	w.want((*team.Received)(nil), "ReceivedByToken", tokenOf("another"))
	inTurn(w.t, "ListReceived", invitationIDs(w.call("ListReceived", address, now, postgres.Page{})[0]), elsewhere.ID, pending.ID)
	out = w.call("ListReceived", address, now, postgres.Page{Size: 1})
	inTurn(w.t, "ListReceived, first page", invitationIDs(out[0]), elsewhere.ID)
	out = w.call("ListReceived", address, now, postgres.Page{Size: 1, Token: out[1].(string)})
	w.same("ListReceived, second page", []team.Received{*received}, out[0])
	if out[1] != "" {
		w.t.Error("ListReceived has a third page of two")
	}
	inTurn(w.t, "ListReceived of expired ones", invitationIDs(w.call("ListReceived", expired.AddressKey, now, postgres.Page{})[0]))
	run(w.t, w.admin, "UPDATE tenant.workspaces SET delete_time = now(), purge_time = now(), delete_etag = '' WHERE id = '"+w.own.UUID().String()+"'")
	inTurn(w.t, "ListReceived without the deleted workspace", invitationIDs(w.call("ListReceived", address, now, postgres.Page{})[0]), pending.ID)
	w.want((*team.Received)(nil), "ReceivedByToken", tokenOf(elsewhere.ID.String()))
	run(w.t, w.admin, "UPDATE tenant.workspaces SET delete_time = NULL, purge_time = NULL, delete_etag = NULL WHERE id = '"+w.own.UUID().String()+"'")

	inTurn(w.t, "PendingAt", sorted(invitationIDs(w.call("PendingAt", w.w, []string{address, expired.AddressKey, declined.AddressKey, "x"})[0])), pending.ID, expired.ID)
	w.want(ids.Invitation{}, "AcceptPendingAt", w.w, expired.AddressKey, w.user, now)
	w.want(ids.Invitation{}, "AcceptPendingAt", w.w, declined.AddressKey, w.user, now)
	w.want(ids.Invitation{}, "AcceptPendingAt", w.own, accepted.AddressKey, w.user, now)
	w.want(accepted.ID, "AcceptPendingAt", w.w, accepted.AddressKey, w.user, now)
	accepted.State, accepted.EndTime, accepted.UserID = team.Accepted, now, w.user
	w.want(accepted, "Invitation", accepted.ID)
	w.call("RevokePendingAt", w.w, []string{address, expired.AddressKey, accepted.AddressKey}, now)
	for _, i := range []*team.Invitation{pending, expired} {
		i.State, i.EndTime = team.Revoked, now
		w.want(i, "Invitation", i.ID)
	}
	w.want(accepted, "Invitation", accepted.ID)
	w.want(elsewhere, "Invitation", elsewhere.ID)
}
