package store

import (
	"context"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
)

// maxWorkspaceWords is how many workspaces' names a password must not be made of.
const maxWorkspaceWords = 5

// WordsAbout returns what a password of a user must not be made of: their name, their
// address, and the names of workspaces that they belong to.
func (s *Store) WordsAbout(ctx context.Context, id ids.User) ([]string, error) {
	user, err := s.Identity.User(ctx, id)
	if err != nil {
		return nil, err
	}
	words := []string{user.DisplayName}
	if user.Email != nil {
		words = append(words, user.Email.Address)
	}
	memberships, err := s.Team.OfUser(ctx, id)
	if err != nil {
		return nil, err
	}
	var workspaces []ids.Workspace
	for _, m := range memberships[:min(len(memberships), maxWorkspaceWords)] {
		workspaces = append(workspaces, m.WorkspaceID)
	}
	found, err := s.Tenant.Workspaces(ctx, workspaces)
	for _, w := range found {
		words = append(words, w.Name)
	}
	return words, err
}

// WordsOfReset returns what a password that is reset must not be made of: the address
// that the reset was asked for. More would tell who has not proven the address
// something about its account, and that there is one.
func (s *Store) WordsOfReset(ctx context.Context, id ids.PasswordReset, proof Proof) ([]string, error) {
	address, err := s.Auth.PasswordResetAddress(ctx, id, proof.tokenHash(forPasswordReset))
	if err != nil || address == "" {
		return nil, err
	}
	return []string{address}, nil
}

// Words returns what a password of who is welcomed must not be made of: the address,
// and the name of the workspace that invites.
func (s *Store) Words(ctx context.Context, w Welcome) ([]string, error) {
	words := []string{w.Email.Display}
	var id ids.Workspace
	switch {
	case w.Invitation != nil:
		id = w.Invitation.WorkspaceID
	case w.Link != nil:
		id = w.Link.WorkspaceID
	}
	workspace, err := s.Tenant.Workspace(ctx, id)
	if fault.Has(err, fault.Missing) {
		return words, nil // gone meanwhile: the registration fails
	}
	if err != nil {
		return nil, err
	}
	return append(words, workspace.Name), nil
}
