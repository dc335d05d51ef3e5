package store

import (
	"context"
	"strings"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/team"
)

// IsLinkToken reports whether a token is one of a link, by its prefix.
func IsLinkToken(token string) bool { return strings.HasPrefix(token, prefixLink) }

// AcceptInvitation makes the caller a member of the workspace that a token, or an
// invitation of their address, is for. Repeated it returns the same membership.
//
// Errors, with any of which nothing is used up: fault EMAIL_UNVERIFIED,
// EMAIL_MISMATCH, INVITATION_EXPIRED, INVITATION_REVOKED, INVITATION_USED,
// MEMBERSHIP_DEACTIVATED, MEMBER_REMOVED, SEATS_EXHAUSTED; CODE_INVALID for a token that leads
// nowhere, NOT_FOUND for an id that does.
func (s *Store) AcceptInvitation(ctx context.Context, token string, id ids.Invitation) (m *team.Membership, err error) {
	user := authz.SessionFrom(ctx).User
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if IsLinkToken(token) {
			m, err = t.acceptLink(ctx, user, token)
		} else {
			m, err = t.acceptInvitation(ctx, user, token, id)
		}
		return err
	})
	return m, err
}

func (t *tx) acceptInvitation(ctx context.Context, user ids.User, token string, id ids.Invitation) (*team.Membership, error) {
	inv, u, err := t.lockReceived(ctx, user, token, id)
	if err != nil {
		return nil, err
	}
	if m, err := t.memberAlready(ctx, inv.WorkspaceID, user); err != nil {
		return nil, err
	} else if m != nil {
		if inv.StateAt(t.now) == team.Pending { // they came by another way meanwhile
			return m, t.markAccepted(ctx, inv, m)
		}
		if inv.UserID == user {
			return m, nil
		}
	}
	if state := inv.StateAt(t.now); state != team.Pending {
		return nil, errEnded(state)
	}
	return t.join(ctx, inv.WorkspaceID, u, inv.Role, map[string]any{"invitation_id": inv.ID.String()})
}

// lockReceived returns an invitation of the caller, by its token or id, locked with
// its workspace and the caller.
//
// Errors: fault CODE_INVALID or NOT_FOUND when there is none; EMAIL_MISMATCH and
// EMAIL_UNVERIFIED.
func (t *tx) lockReceived(ctx context.Context, user ids.User, token string, id ids.Invitation) (*team.Invitation, *identity.User, error) {
	missing := orCode
	var found *team.Invitation
	var err error
	hash := Proof{Token: token}.tokenHash(forInvitation)
	if token == "" {
		missing = orMissing
		found, err = t.team.Invitation(ctx, id)
	} else {
		found, err = t.team.InvitationByToken(ctx, hash)
	}
	if err != nil || found == nil {
		return nil, nil, missing(err)
	}
	if _, err := t.lockLive(ctx, found.WorkspaceID); err != nil {
		return nil, nil, missing(err)
	}
	u, err := t.lockCaller(ctx, user)
	if err != nil {
		return nil, nil, err
	}
	inv, err := t.team.LockInvitation(ctx, found.WorkspaceID, found.ID)
	if err != nil || token != "" && !hash.Equal(inv.TokenHash) {
		return nil, nil, missing(err)
	}
	mine := u.Email != nil && u.Email.AddressKey == inv.AddressKey
	switch {
	case inv.UserID == user: // accepted, perhaps with an address that they had then
	case token == "" && !(mine && u.Email.Verified()):
		return nil, nil, fault.NotFoundFault()
	case !mine:
		return nil, nil, fault.New(fault.FailedPrecondition, fault.EmailMismatch, "the invitation is for another address than yours; sign in with that")
	case !u.Email.Verified():
		return nil, nil, errUnverified()
	}
	return inv, u, nil
}

// memberAlready returns the membership of a user in a locked workspace, or nil.
//
// Errors: fault MEMBERSHIP_DEACTIVATED.
func (t *tx) memberAlready(ctx context.Context, workspace ids.Workspace, user ids.User) (*team.Membership, error) {
	m, err := t.team.MembershipOf(ctx, workspace, user)
	if fault.Has(err, fault.Missing) {
		return nil, nil
	}
	if err == nil && !m.Active() {
		return nil, fault.New(fault.FailedPrecondition, fault.MembershipDeactivated, "your membership is deactivated; ask an administrator of the workspace")
	}
	return m, err
}

// markAccepted ends an invitation of somebody who is a member.
func (t *tx) markAccepted(ctx context.Context, inv *team.Invitation, m *team.Membership) error {
	inv.State, inv.EndTime, inv.UserID = team.Accepted, t.now, m.UserID
	if err := t.team.UpdateInvitation(ctx, inv); err != nil {
		return err
	}
	return t.record(ctx, audit.Event{
		WorkspaceID: inv.WorkspaceID, Action: "invitation.accepted", TargetID: inv.ID.String(),
		Details: map[string]any{"membership_id": m.ID.String()},
	})
}

func (t *tx) acceptLink(ctx context.Context, user ids.User, token string) (*team.Membership, error) {
	found, err := t.team.LinkByToken(ctx, Proof{Token: token}.tokenHash(forLink))
	if err != nil || found == nil {
		return nil, orCode(err)
	}
	if _, err := t.lockLive(ctx, found.WorkspaceID); err != nil {
		return nil, orCode(err)
	}
	u, err := t.lockCaller(ctx, user)
	if err != nil {
		return nil, err
	}
	if u.Email == nil || !u.Email.Verified() {
		return nil, errUnverified()
	}
	if m, err := t.memberAlready(ctx, found.WorkspaceID, user); m != nil || err != nil {
		return m, err
	}
	return t.joinByLink(ctx, found, u)
}

// joinByLink makes a user a member by a link whose workspace is locked, and counts
// the use.
//
// Errors: fault INVITATION_EXPIRED, INVITATION_REVOKED, INVITATION_USED,
// EMAIL_MISMATCH, MEMBER_REMOVED, SEATS_EXHAUSTED.
func (t *tx) joinByLink(ctx context.Context, found *team.Link, u *identity.User) (*team.Membership, error) {
	l, err := t.team.LockLink(ctx, found.WorkspaceID, found.ID)
	if err != nil {
		return nil, orCode(err)
	}
	if state := l.StateAt(t.now); state != team.Pending {
		return nil, errEnded(state)
	}
	if err := linkFits(l, u.Email.AddressKey); err != nil {
		return nil, err
	}
	removed, err := t.departed(ctx, l.WorkspaceID, u, true)
	if err != nil {
		return nil, err
	}
	if removed {
		return nil, fault.New(fault.FailedPrecondition, fault.MemberRemoved, "you were removed from the workspace; ask for an invitation of your own")
	}
	role, err := t.invitedRole(ctx, l.WorkspaceID, u.Email.AddressKey, l.Role)
	if err != nil {
		return nil, err
	}
	l.UseCount++
	if err := t.team.UpdateLink(ctx, l); err != nil {
		return nil, err
	}
	return t.join(ctx, l.WorkspaceID, u, role, map[string]any{"invitation_link_id": l.ID.String()})
}

// linkFits reports whether a link is for an address.
//
// Errors: fault EMAIL_MISMATCH.
func linkFits(l *team.Link, addressKey string) error {
	if !l.Fits(addressKey) {
		return fault.New(fault.FailedPrecondition, fault.EmailMismatch, "the link is for addresses of "+strings.Join(l.Domains, ", "))
	}
	return nil
}

// DeclineInvitation ends an invitation, by its token, or by its id when it is the
// caller's.
//
// Errors: fault CODE_INVALID, NOT_FOUND, INVITATION_EXPIRED, INVITATION_REVOKED,
// INVITATION_USED.
func (s *Store) DeclineInvitation(ctx context.Context, token string, id ids.Invitation) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		inv, err := t.lockToDecline(ctx, token, id)
		if err != nil {
			return err
		}
		switch state := inv.StateAt(t.now); state {
		case team.Declined:
			return nil
		case team.Pending:
			return t.endInvitation(ctx, inv, team.Declined)
		default:
			return errEnded(state)
		}
	})
}

func (t *tx) lockToDecline(ctx context.Context, token string, id ids.Invitation) (*team.Invitation, error) {
	if token == "" {
		caller := authz.SessionFrom(ctx)
		if caller == nil {
			return nil, errNoSession()
		}
		inv, _, err := t.lockReceived(ctx, caller.User, "", id)
		return inv, err
	}
	hash := Proof{Token: token}.tokenHash(forInvitation)
	found, err := t.team.InvitationByToken(ctx, hash)
	if err != nil || found == nil {
		return nil, orCode(err)
	}
	if _, err := t.lockLive(ctx, found.WorkspaceID); err != nil {
		return nil, orCode(err)
	}
	inv, err := t.team.LockInvitation(ctx, found.WorkspaceID, found.ID)
	if err != nil || !hash.Equal(inv.TokenHash) {
		return nil, orCode(err)
	}
	return inv, nil
}

func errUnverified() error {
	return fault.New(fault.FailedPrecondition, fault.EmailUnverified, "your address is not proven yet; verify it first")
}

// orMissing returns the fault NOT_FOUND in place of nil.
func orMissing(err error) error {
	if err == nil {
		return fault.NotFoundFault()
	}
	return err
}
