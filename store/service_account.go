package store

import (
	"context"
	"strconv"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
)

// maxServiceAccounts is how many service accounts a workspace has at most.
const maxServiceAccounts = 100

// CreateServiceAccount makes a service account.
//
// Errors: fault SERVICE_ACCOUNT_NAME_TAKEN, TOO_MANY, EMAIL_UNVERIFIED, SESSION_REQUIRED.
func (s *Store) CreateServiceAccount(ctx context.Context, workspace ids.Workspace, name, description string) (account *auth.ServiceAccount, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, workspace)
		if err != nil {
			return err
		}
		if err := t.holdProven(ctx, a); err != nil {
			return err
		}
		present, err := t.auth.ServiceAccounts(ctx, workspace)
		if err != nil {
			return err
		}
		if len(present) >= maxServiceAccounts {
			return fault.New(fault.FailedPrecondition, fault.TooMany,
				"a workspace has "+strconv.Itoa(maxServiceAccounts)+" service accounts at most; delete one first")
		}
		account = &auth.ServiceAccount{
			ID: ids.New[ids.ServiceAccount](), WorkspaceID: workspace, DisplayName: name, Description: description,
			CreatorID: a.user(), CreateTime: t.now, UpdateTime: t.now,
		}
		if err := t.auth.InsertServiceAccount(ctx, account); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{
			WorkspaceID: workspace, Action: "service_account.created", TargetID: account.ID.String(), Details: map[string]any{"name": name},
		})
	})
	return account, err
}

// ServiceAccountChange is what a service account is to be; nil leaves it as it is.
type ServiceAccountChange struct {
	Name        *string
	Description *string
}

// UpdateServiceAccount changes a service account.
//
// Errors: fault NOT_FOUND, SERVICE_ACCOUNT_NAME_TAKEN.
func (s *Store) UpdateServiceAccount(ctx context.Context, workspace ids.Workspace, id ids.ServiceAccount, c ServiceAccountChange) (account *auth.ServiceAccount, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.lockTeam(ctx, workspace); err != nil {
			return err
		}
		if account, err = t.auth.ServiceAccount(ctx, workspace, id); err != nil {
			return err
		}
		details := map[string]any{}
		set := func(field string, to *string, value *string) {
			if value != nil && *value != *to {
				details[field] = map[string]any{"before": *to, "after": *value}
				*to = *value
			}
		}
		set("name", &account.DisplayName, c.Name)
		set("description", &account.Description, c.Description)
		if len(details) == 0 {
			return nil
		}
		if err := t.auth.UpdateServiceAccount(ctx, account, t.now); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{WorkspaceID: workspace, Action: "service_account.updated", TargetID: id.String(), Details: details})
	})
	return account, err
}

// DeleteServiceAccount removes a service account with its keys, and revokes the
// invitations and links that it has made.
//
// Errors: fault NOT_FOUND.
func (s *Store) DeleteServiceAccount(ctx context.Context, workspace ids.Workspace, id ids.ServiceAccount) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.lockTeam(ctx, workspace); err != nil {
			return err
		}
		account, err := t.auth.ServiceAccount(ctx, workspace, id)
		if err != nil {
			return err
		}
		details := map[string]any{"name": account.DisplayName}
		granted, err := t.team.GrantedByServiceAccount(ctx, workspace, id)
		if err != nil {
			return err
		}
		if err := t.revokeUncoverable(ctx, workspace, granted, nil, details); err != nil {
			return err
		}
		keys, err := t.auth.DeleteServiceAccount(ctx, id)
		if err != nil {
			return err
		}
		if keys > 0 {
			details["revoked_api_keys"] = keys
		}
		return t.record(ctx, audit.Event{WorkspaceID: workspace, Action: "service_account.deleted", TargetID: id.String(), Details: details})
	})
}

// ListServiceAccounts returns the service accounts of a workspace, the newest first.
func (s *Store) ListServiceAccounts(ctx context.Context, workspace ids.Workspace) ([]auth.ServiceAccount, error) {
	rows, err := s.Auth.ServiceAccounts(ctx, workspace)
	return rows, s.constraints.Fault(err)
}
