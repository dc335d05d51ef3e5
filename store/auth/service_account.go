package auth

import (
	"context"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// ServiceAccountConstraints are the faults that violations of the constraints on
// service accounts mean.
var ServiceAccountConstraints = postgres.Constraints{
	"service_accounts_name_unique": fault.New(fault.AlreadyExists, fault.ServiceAccountNameTaken,
		"display_name: the workspace has another service account of that name").WithField("display_name"),
}

// ServiceAccount is who a program is in a workspace.
type ServiceAccount struct {
	bun.BaseModel `bun:"table:auth.service_accounts,alias:a"`

	ID          ids.ServiceAccount `bun:"id,pk"`
	WorkspaceID ids.Workspace
	DisplayName string
	NameKey     string // set when it is stored
	Description string
	CreatorID   ids.User // zero once they are gone
	CreateTime  time.Time
	UpdateTime  time.Time
}

// InsertServiceAccount stores a new service account.
//
// Errors: fault SERVICE_ACCOUNT_NAME_TAKEN when the transaction's errors are mapped.
func (r Repository) InsertServiceAccount(ctx context.Context, a *ServiceAccount) error {
	a.NameKey = strings.ToLower(a.DisplayName)
	_, err := r.db.NewInsert().Model(a).Exec(ctx)
	return err
}

// ServiceAccount returns a service account of a workspace.
//
// Errors: fault NOT_FOUND.
func (r Repository) ServiceAccount(ctx context.Context, workspace ids.Workspace, id ids.ServiceAccount) (*ServiceAccount, error) {
	a := new(ServiceAccount)
	return postgres.OrMissing(a, r.db.NewSelect().Model(a).Where("a.workspace_id = ? AND a.id = ?", workspace, id).Scan(ctx))
}

// ServiceAccounts returns the service accounts of a workspace, the newest first.
func (r Repository) ServiceAccounts(ctx context.Context, workspace ids.Workspace) ([]ServiceAccount, error) {
	var rows []ServiceAccount
	err := r.db.NewSelect().Model(&rows).Where("a.workspace_id = ?", workspace).OrderExpr("a.id DESC").Scan(ctx)
	return rows, err
}

// UpdateServiceAccount stores what was changed of a service account.
//
// Errors: fault SERVICE_ACCOUNT_NAME_TAKEN when the transaction's errors are mapped.
func (r Repository) UpdateServiceAccount(ctx context.Context, a *ServiceAccount, now time.Time) error {
	a.NameKey, a.UpdateTime = strings.ToLower(a.DisplayName), now
	_, err := r.db.NewUpdate().Model(a).Column("display_name", "name_key", "description", "update_time").WherePK().Exec(ctx)
	return err
}

// DeleteServiceAccount removes a service account with its keys, and returns how many
// of these there were.
func (r Repository) DeleteServiceAccount(ctx context.Context, id ids.ServiceAccount) (keys int, err error) {
	result, err := r.db.NewDelete().Model((*APIKey)(nil)).Where("service_account_id = ?", id).Exec(ctx)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, err
	}
	_, err = r.db.NewDelete().Model((*ServiceAccount)(nil)).Where("id = ?", id).Exec(ctx)
	return int(n), err
}

// ServiceAccountPermissions returns the permissions that the live keys of a service
// account hold together.
func (r Repository) ServiceAccountPermissions(ctx context.Context, id ids.ServiceAccount, now time.Time) ([]string, error) {
	var list []string
	err := r.db.NewRaw("SELECT DISTINCT unnest(permissions) FROM auth.api_keys WHERE service_account_id = ? AND expire_time > ?", id, now).
		Scan(ctx, &list)
	return list, err
}
