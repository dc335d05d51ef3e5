package billing

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// Override gives a workspace a feature otherwise than its plan does.
type Override struct {
	bun.BaseModel `bun:"table:billing.overrides,alias:o"`

	WorkspaceID ids.Workspace `bun:"workspace_id,pk"`
	Feature     string        `bun:"feature,pk"`
	Value       Value         `bun:"type:jsonb"`
	Reason      string
	CreateTime  time.Time
	ExpireTime  time.Time `bun:",nullzero"`
}

// Entitlement is what a workspace may use of a feature.
type Entitlement struct {
	Feature
	// Overridden tells that an override gives it, until ExpireTime if that is set.
	Overridden bool
	ExpireTime time.Time
}

// Entitlements returns what a workspace may use, by name, at a time; with a feature
// that one alone. What is paused entitles to nothing. It is one statement, on the indexes of the workspace.
func (r Repository) Entitlements(ctx context.Context, workspace ids.Workspace, feature string, now time.Time) ([]Entitlement, error) {
	var row struct {
		State      State
		Definition json.RawMessage
		Overrides  json.RawMessage
	}
	err := r.db.NewRaw(`
		SELECT s.state, s.definition,
		       (SELECT coalesce(json_agg(json_build_object('feature', o.feature, 'value', o.value, 'expire_time', o.expire_time)), '[]')
		        FROM billing.overrides o WHERE o.workspace_id = ?0 AND (o.expire_time IS NULL OR o.expire_time > ?1)) AS overrides
		FROM (VALUES (1)) one LEFT JOIN (
			SELECT s.state, v.definition FROM billing.subscriptions s JOIN billing.plan_versions v ON v.plan = s.plan AND v.version = s.plan_version
			WHERE s.workspace_id = ?0 AND s.cancel_time IS NULL) s ON true`,
		workspace, now).Scan(ctx, &row)
	if err != nil {
		return nil, err
	}
	if row.State == Paused {
		return nil, nil
	}
	var plan Definition
	if len(row.Definition) > 0 {
		if err := json.Unmarshal(row.Definition, &plan); err != nil {
			return nil, err
		}
	}
	var overrides []struct {
		Feature    string     `json:"feature"`
		Value      Value      `json:"value"`
		ExpireTime *time.Time `json:"expire_time"`
	}
	if err := json.Unmarshal(row.Overrides, &overrides); err != nil {
		return nil, err
	}
	found := map[string]Entitlement{}
	for _, f := range plan.Features {
		found[f.Name] = Entitlement{Feature: f}
	}
	for _, o := range overrides {
		e := Entitlement{Feature: Feature{Name: o.Feature, Value: o.Value}, Overridden: true}
		if o.ExpireTime != nil {
			e.ExpireTime = *o.ExpireTime
		}
		found[o.Feature] = e
	}
	var list []Entitlement
	for _, e := range found {
		if feature == "" || e.Name == feature {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b Entitlement) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Override returns the override of a feature at a time, nil for none.
func (r Repository) Override(ctx context.Context, workspace ids.Workspace, feature string, now time.Time) (*Override, error) {
	o := new(Override)
	err := r.db.NewSelect().Model(o).Where("o.workspace_id = ? AND o.feature = ? AND (o.expire_time IS NULL OR o.expire_time > ?)", workspace, feature, now).Scan(ctx)
	if postgres.NotFound(err) {
		return nil, nil
	}
	return o, err
}

// PutOverride stores an override in the place of an earlier one of the feature.
func (r Repository) PutOverride(ctx context.Context, o *Override) error {
	_, err := r.db.NewInsert().Model(o).
		On("CONFLICT (workspace_id, feature) DO UPDATE").
		Set("value = EXCLUDED.value, reason = EXCLUDED.reason, create_time = EXCLUDED.create_time, expire_time = EXCLUDED.expire_time").
		Exec(ctx)
	return err
}

// DeleteOverride ends the override of a feature, and reports whether there was one.
func (r Repository) DeleteOverride(ctx context.Context, workspace ids.Workspace, feature string) (bool, error) {
	result, err := r.db.NewRaw("DELETE FROM billing.overrides WHERE workspace_id = ? AND feature = ?", workspace, feature).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// DeleteExpiredOverrides removes those that have ended.
func (r Repository) DeleteExpiredOverrides(ctx context.Context, now time.Time) error {
	_, err := r.db.NewRaw("DELETE FROM billing.overrides WHERE expire_time <= ?", now).Exec(ctx)
	return err
}
