package store

import (
	"context"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/team"
)

// What those see who are invited, and what a member is.

// ReceivedInvitation returns what the token of an invitation stands for.
//
// Errors: fault CODE_INVALID when it leads nowhere.
func (s *Store) ReceivedInvitation(ctx context.Context, token string) (*team.Received, error) {
	i, err := s.Team.ReceivedByToken(ctx, Proof{Token: token}.tokenHash(forInvitation))
	if err == nil && i == nil {
		err = errCode()
	}
	return i, s.constraints.Fault(err)
}

// ReceivedLink returns what the token of a link stands for.
//
// Errors: fault CODE_INVALID when it leads nowhere.
func (s *Store) ReceivedLink(ctx context.Context, token string) (*team.ReceivedLink, error) {
	l, err := s.Team.ReceivedLinkByToken(ctx, Proof{Token: token}.tokenHash(forLink))
	if err == nil && l == nil {
		err = errCode()
	}
	return l, s.constraints.Fault(err)
}

// ListReceivedInvitations returns a page of the invitations that a user can accept,
// the newest first, and the next page's token. There are none while their address is
// not proven.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (s *Store) ListReceivedInvitations(ctx context.Context, user ids.User, page Page) ([]team.Received, string, error) {
	u, err := s.Identity.User(ctx, user)
	if err != nil || u.Email == nil || !u.Email.Verified() {
		return nil, "", s.constraints.Fault(err)
	}
	rows, next, err := s.Team.ListReceived(ctx, u.Email.AddressKey, s.options.Clock.Now(), page)
	return rows, next, s.constraints.Fault(err)
}

// MemberWithRole returns a user's membership of a workspace and its role: for a
// built-in one, no more than its id.
//
// Errors: fault NOT_FOUND.
func (s *Store) MemberWithRole(ctx context.Context, workspace ids.Workspace, user ids.User) (m *team.Membership, role *team.Role, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		if m, err = t.team.MembershipOf(ctx, workspace, user); err != nil {
			return err
		}
		if role = (&team.Role{ID: m.Role}); !m.Role.Custom() {
			return nil
		}
		role, err = t.team.Role(ctx, workspace, m.Role)
		return err
	})
	return m, role, err
}
