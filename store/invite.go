package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/team"
)

// endedRetention is how long invitations that ended, and requests to join that were
// decided, are kept.
const endedRetention = 30 * 24 * time.Hour

// renewalInterval is the least time between two mails that ask to renew one
// invitation.
const renewalInterval = 24 * time.Hour

// NewInvitation is a wish to invite addresses, each of which is another one.
type NewInvitation struct {
	Workspace ids.Workspace
	Addresses []email.Address
	Role      authz.Role
	Lifetime  time.Duration
}

// Invited is what became of one address: an invitation, or a fault.
type Invited struct {
	Invitation *team.Invitation
	Err        error
}

// Invite invites addresses in one transaction, and returns what became of each, in
// their order: those that cannot be invited don't concern the others. When the
// database refuses one of them, each is invited in a transaction of its own.
//
// The fault of an address is ALREADY_MEMBER or SEATS_EXHAUSTED, ROLE_NOT_GRANTABLE
// when the invitation to be replaced is none that the caller could make, or what the
// database says. Errors: fault NOT_FOUND, PERMISSION_MISSING, EMAIL_UNVERIFIED,
// ROLE_NOT_GRANTABLE, REAUTHENTICATION_REQUIRED; FIELD_INVALID for the role.
func (s *Store) Invite(ctx context.Context, n NewInvitation) ([]Invited, error) {
	results, err := s.invite(ctx, n)
	if err == nil || len(n.Addresses) == 1 || fault.As(err) != nil || ctx.Err() != nil {
		return results, err
	}
	results = make([]Invited, len(n.Addresses))
	for i, a := range n.Addresses {
		one := n
		one.Addresses = []email.Address{a}
		result, err := s.invite(ctx, one)
		if f := fault.As(err); err == nil {
			results[i] = result[0]
		} else if ctx.Err() != nil || f != nil {
			return nil, err
		} else {
			s.options.Logger.ErrorContext(ctx, "an invitation failed", "error", err)
			results[i].Err = err
		}
	}
	return results, nil
}

func (s *Store) invite(ctx context.Context, n NewInvitation) (results []Invited, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		results = make([]Invited, len(n.Addresses))
		a, err := t.lockTeam(ctx, n.Workspace)
		if err != nil {
			return err
		}
		if err := mayInvite(ctx); err != nil {
			return err
		}
		if err := t.mayGrant(ctx, a, "role", n.Role); err != nil {
			return err
		}
		keys := make([]string, len(n.Addresses))
		for i := range n.Addresses {
			keys[i] = n.Addresses[i].Key
		}
		present, err := t.team.MembersAt(ctx, n.Workspace, keys)
		if err != nil {
			return err
		}
		pending, err := t.team.PendingAt(ctx, n.Workspace, keys)
		if err != nil {
			return err
		}
		// Whoever is invited anew keeps the seat that the earlier invitation reserves.
		reserved := map[string]bool{}
		replaced := map[string]*team.Invitation{}
		refused := map[string]error{}
		for i := range pending {
			inv := &pending[i]
			replaced[inv.AddressKey] = inv
			reserved[inv.AddressKey] = inv.StateAt(t.now) == team.Pending
			if err := t.mayEnd(ctx, a, inv); fault.Has(err, fault.RoleNotGrantable) {
				refused[inv.AddressKey] = err // to replace is to revoke
			} else if err != nil {
				return err
			}
		}
		seats, limited, err := t.freeSeats(ctx, n.Workspace, true)
		if err != nil {
			return err
		}
		var created []*team.Invitation
		var codes []mailed
		for i, key := range keys {
			switch {
			case present[key]:
				results[i].Err = errMember()
				continue
			case refused[key] != nil:
				results[i].Err = refused[key]
				continue
			case reserved[key] || !limited:
			case seats < 1:
				results[i].Err = errSeats()
				continue
			default:
				seats--
			}
			code := newMailed(prefixInvitation)
			inv := &team.Invitation{
				ID: ids.New[ids.Invitation](), WorkspaceID: n.Workspace, Address: n.Addresses[i].Display, AddressKey: key,
				Role: n.Role, InviterID: a.user(), InviterServiceAccountID: a.program(), State: team.Pending,
				CreateTime: t.now, SendTime: t.now, ExpireTime: t.now.Add(n.Lifetime),
			}
			inv.CodeHash, inv.TokenHash = code.hashes(forInvitation)
			results[i].Invitation = inv
			created, codes = append(created, inv), append(codes, code)
		}
		return t.storeInvitations(ctx, a, created, codes, replaced)
	})
	return results, err
}

// storeInvitations stores new invitations of one role, with their mails and events,
// in place of those that they replace.
func (t *tx) storeInvitations(ctx context.Context, a *acting, created []*team.Invitation, codes []mailed, replaced map[string]*team.Invitation) error {
	if len(created) == 0 {
		return nil
	}
	role, err := t.roleName(ctx, a.workspace.ID, created[0].Role)
	if err != nil {
		return err
	}
	letters := make([]letter, len(created))
	events := make([]audit.Event, len(created))
	var ended []string
	for i, inv := range created {
		letters[i] = invitationMail(inv, codes[i], a, role)
		details := map[string]any{"role": inv.Role, "expire_time": inv.ExpireTime.Format(time.RFC3339)}
		if r := replaced[inv.AddressKey]; r != nil {
			details["replaced"] = r.ID.String()
			ended = append(ended, r.AddressKey)
		}
		events[i] = audit.Event{WorkspaceID: inv.WorkspaceID, Action: "invitation.created", TargetID: inv.ID.String(), Details: details}
	}
	if err := t.team.RevokePendingAt(ctx, a.workspace.ID, ended, t.now); err != nil {
		return err
	}
	if err := t.team.InsertInvitations(ctx, created); err != nil {
		return err
	}
	if err := t.record(ctx, events...); err != nil {
		return err
	}
	return t.mail(ctx, letters...)
}

// ResendInvitation mails an invitation again, with a new token and code, for as long
// as before. The caller is its inviter from then on.
//
// Errors: fault NOT_FOUND, INVITATION_REVOKED, INVITATION_USED, ALREADY_MEMBER,
// ROLE_NOT_GRANTABLE, SEATS_EXHAUSTED.
func (s *Store) ResendInvitation(ctx context.Context, workspace ids.Workspace, id ids.Invitation) (inv *team.Invitation, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, workspace)
		if err != nil {
			return err
		}
		if inv, err = t.team.LockInvitation(ctx, workspace, id); err != nil {
			return err
		}
		if inv.State != team.Pending {
			return errEnded(inv.State)
		}
		if err := mayInvite(ctx); err != nil {
			return err
		}
		if err := t.mayGrant(ctx, a, "invitation_id", inv.Role); err != nil {
			return err
		}
		present, err := t.team.MembersAt(ctx, workspace, []string{inv.AddressKey})
		if err != nil {
			return err
		}
		if present[inv.AddressKey] {
			return errMember()
		}
		if inv.StateAt(t.now) == team.Expired {
			if err := t.takeSeats(ctx, workspace, 1); err != nil {
				return err
			}
		}
		code := newMailed(prefixInvitation)
		inv.CodeHash, inv.TokenHash = code.hashes(forInvitation)
		inv.ExpireTime = t.now.Add(inv.ExpireTime.Sub(inv.SendTime))
		inv.InviterID, inv.InviterServiceAccountID = a.user(), a.program()
		inv.CodeAttempts, inv.SendTime, inv.RenewalTime = 0, t.now, time.Time{}
		if err := t.team.UpdateInvitation(ctx, inv); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{
			WorkspaceID: workspace, Action: "invitation.resent", TargetID: inv.ID.String(),
			Details: map[string]any{"expire_time": inv.ExpireTime.Format(time.RFC3339)},
		}); err != nil {
			return err
		}
		role, err := t.roleName(ctx, workspace, inv.Role)
		if err != nil {
			return err
		}
		return t.mail(ctx, invitationMail(inv, code, a, role))
	})
	return inv, err
}

// RevokeInvitation ends an invitation that nobody has accepted or declined.
//
// Errors: fault NOT_FOUND, INVITATION_USED, ROLE_NOT_GRANTABLE.
func (s *Store) RevokeInvitation(ctx context.Context, workspace ids.Workspace, id ids.Invitation) (inv *team.Invitation, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, workspace)
		if err != nil {
			return err
		}
		if inv, err = t.team.LockInvitation(ctx, workspace, id); err != nil {
			return err
		}
		switch inv.State {
		case team.Revoked:
			return nil
		case team.Pending:
		default:
			return errEnded(inv.State)
		}
		if err := t.mayEnd(ctx, a, inv); err != nil {
			return err
		}
		return t.endInvitation(ctx, inv, team.Revoked)
	})
	return inv, err
}

// mayEnd reports whether who acts may end a pending invitation: one that could still be
// accepted only if its role holds nothing that they don't hold.
//
// Errors: fault ROLE_NOT_GRANTABLE.
func (t *tx) mayEnd(ctx context.Context, a *acting, inv *team.Invitation) error {
	if inv.StateAt(t.now) != team.Pending {
		return nil
	}
	custom, err := t.team.Permissions(ctx, inv.WorkspaceID, inv.Role)
	if err != nil {
		return err
	}
	return t.covers(a, inv.Role, custom)
}

// endInvitation ends a locked, pending invitation that is not accepted.
func (t *tx) endInvitation(ctx context.Context, inv *team.Invitation, state team.InvitationState) error {
	inv.State, inv.EndTime = state, t.now
	if err := t.team.UpdateInvitation(ctx, inv); err != nil {
		return err
	}
	return t.record(ctx, audit.Event{WorkspaceID: inv.WorkspaceID, Action: "invitation." + string(state), TargetID: inv.ID.String()})
}

// RenewalDue returns the workspace whose members a request for renewal would mail
// now, or zero when it would mail nobody.
//
// Errors: fault CODE_INVALID.
func (s *Store) RenewalDue(ctx context.Context, token string) (ids.Workspace, error) {
	inv, err := s.Team.InvitationByToken(ctx, Proof{Token: token}.tokenHash(forInvitation))
	if err != nil || inv == nil {
		return ids.Workspace{}, s.constraints.Fault(orCode(err))
	}
	now := s.options.Clock.Now()
	if state := inv.StateAt(now); state != team.Expired && state != team.Revoked || now.Sub(inv.RenewalTime) < renewalInterval {
		return ids.Workspace{}, nil
	}
	return inv.WorkspaceID, nil
}

// RequestRenewal mails the inviter, or the owners if the inviter is gone, that
// somebody asks for a new invitation: once a day for each.
//
// Errors: fault CODE_INVALID, INVITATION_PENDING, INVITATION_USED.
func (s *Store) RequestRenewal(ctx context.Context, token string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		hash := Proof{Token: token}.tokenHash(forInvitation)
		found, err := t.team.InvitationByToken(ctx, hash)
		if err != nil {
			return err
		}
		if found == nil {
			return errCode()
		}
		w, err := t.lockLive(ctx, found.WorkspaceID)
		if err != nil {
			return orCode(err)
		}
		inv, err := t.team.LockInvitation(ctx, w.ID, found.ID)
		if err != nil || !hash.Equal(inv.TokenHash) {
			return orCode(err)
		}
		switch state := inv.StateAt(t.now); state {
		case team.Pending:
			return fault.New(fault.FailedPrecondition, fault.InvitationPending, "the invitation can be used")
		case team.Accepted, team.Declined:
			return errEnded(state)
		}
		if t.now.Sub(inv.RenewalTime) < renewalInterval {
			return nil
		}
		inv.RenewalTime = t.now
		if err := t.team.UpdateInvitation(ctx, inv); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{WorkspaceID: w.ID, Action: "invitation.renewal_requested", TargetID: inv.ID.String()}); err != nil {
			return err
		}
		recipients, err := t.team.Owners(ctx, w.ID)
		if err != nil {
			return err
		}
		if inviter, err := t.team.MembershipOf(ctx, w.ID, inv.InviterID); err == nil && inviter.Active() {
			recipients = []team.Membership{*inviter}
		} else if err != nil && !fault.Has(err, fault.Missing) {
			return err
		}
		return t.mailMembers(ctx, recipients, mail.InvitationRenewal, map[string]string{"workspace": w.Name, "email": inv.Address})
	})
}

// mailMembers mails the same to several members.
func (t *tx) mailMembers(ctx context.Context, recipients []team.Membership, template mail.Template, data map[string]string) error {
	var letters []letter
	for _, m := range recipients {
		if m.Address != "" {
			letters = append(letters, letter{Message: mail.Message{Template: template, To: m.Address, Data: data}})
		}
	}
	return t.mail(ctx, letters...)
}

// InvitationLifetime is how long an invitation or a link can be used by default.
const InvitationLifetime = 7 * 24 * time.Hour

func invitationMail(inv *team.Invitation, code mailed, a *acting, role string) letter {
	return letter{Message: mail.Message{Template: mail.Invitation, To: inv.Address, Data: map[string]string{
		"workspace":        a.workspace.Name,
		"inviter":          a.name(),
		"role":             role,
		"code":             code.code,
		"token":            code.token,
		"expire_time":      inv.ExpireTime.Format(time.RFC3339),
		"code_expire_time": earlier(inv.SendTime.Add(InvitationCodeLifetime), inv.ExpireTime).Format(time.RFC3339),
	}}}
}

// roleName returns what a role is called.
func (t *tx) roleName(ctx context.Context, workspace ids.Workspace, role authz.Role) (string, error) {
	if !role.Custom() {
		return string(role), nil
	}
	found, err := t.team.Role(ctx, workspace, role)
	if err != nil {
		return "", err
	}
	return found.Name, nil
}

func errMember() error {
	return fault.New(fault.AlreadyExists, fault.AlreadyMember, "the user belongs to the workspace already")
}

// errEnded is the fault of an invitation or a link that is not pending.
func errEnded(state team.InvitationState) error {
	switch state {
	case team.Revoked:
		return fault.New(fault.FailedPrecondition, fault.InvitationRevoked, "the invitation was revoked; ask for a new one")
	case team.Expired:
		return fault.New(fault.FailedPrecondition, fault.InvitationExpired, "the invitation has expired; ask for a new one")
	case team.Declined:
		return fault.New(fault.FailedPrecondition, fault.InvitationUsed, "the invitation was declined")
	}
	return fault.New(fault.FailedPrecondition, fault.InvitationUsed, "the invitation was used already")
}

// orCode returns the fault CODE_INVALID in place of nil and of NOT_FOUND: what a token
// leads to is not there any more.
func orCode(err error) error {
	if err == nil || fault.Has(err, fault.Missing) {
		return errCode()
	}
	return err
}
