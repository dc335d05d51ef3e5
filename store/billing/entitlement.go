package billing

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing/pricing"
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
	// Meter is what counts the feature, if the plan meters it, and Used what it counted
	// in the present period.
	Meter string
	Used  int64
}

// overriddenBy returns what an override makes of what a plan gives: of what it meters,
// a limit is that of the period.
func (e Entitlement) overriddenBy(o Override) Entitlement {
	if e.Metered != nil && o.Value.Limit != nil {
		o.Value = Value{Metered: &Metered{Meter: e.Metered.Meter, Limit: *o.Value.Limit, Soft: e.Metered.Soft}}
	}
	e.Feature = Feature{Name: o.Feature, Value: o.Value}
	e.Overridden, e.ExpireTime = true, o.ExpireTime
	return e
}

// Entitlements returns what a workspace may use, by name, at a time; with a feature
// that one alone. What is paused entitles to nothing. It is one statement, on the indexes of the workspace.
func (r Repository) Entitlements(ctx context.Context, workspace ids.Workspace, feature string, now time.Time) ([]Entitlement, error) {
	var row struct {
		Subscription json.RawMessage
		Overrides    json.RawMessage
	}
	err := r.db.NewRaw(`
		SELECT (SELECT json_build_object('state', s.state, 'period_start_time', s.period_start_time, 'period_end_time', s.period_end_time, 'definition', v.definition, 'create_time', s.create_time, 'anchor_time', s.anchor_time, 'due_interval', s.due_interval,
		               'used', (SELECT json_agg(t) FROM (
		                   SELECT DISTINCT f -> 'metered' ->> 'meter' AS meter FROM jsonb_array_elements(v.definition -> 'features') f WHERE f -> 'metered' IS NOT NULL) m
		                   CROSS JOIN LATERAL (
		                       SELECT meter, period_start_time, quantity FROM billing.usage_totals
		                       WHERE workspace_id = ?0 AND meter = m.meter AND period_start_time <= ?1 ORDER BY period_start_time DESC LIMIT 1) t))
		        FROM billing.subscriptions s JOIN billing.plan_versions v ON v.plan = s.plan AND v.version = s.plan_version
		        WHERE s.workspace_id = ?0 AND s.cancel_time IS NULL) AS subscription,
		       (SELECT coalesce(json_agg(json_build_object('feature', o.feature, 'value', o.value, 'expire_time', o.expire_time)), '[]')
		        FROM billing.overrides o WHERE o.workspace_id = ?0 AND (o.expire_time IS NULL OR o.expire_time > ?1)) AS overrides`,
		workspace, now).Scan(ctx, &row)
	if err != nil {
		return nil, err
	}
	var present struct {
		State      State             `json:"state"`
		Start      *time.Time        `json:"period_start_time"` // of the period that is stored
		End        *time.Time        `json:"period_end_time"`
		Definition Definition        `json:"definition"`
		CreateTime time.Time         `json:"create_time"`
		AnchorTime time.Time         `json:"anchor_time"`
		Interval   *pricing.Interval `json:"due_interval"`
		// Used is the last period of each meter in which anything was.
		Used []struct {
			Meter    string    `json:"meter"`
			Start    time.Time `json:"period_start_time"`
			Quantity int64     `json:"quantity"`
		} `json:"used"`
	}
	used := map[string]int64{}
	if len(row.Subscription) > 0 {
		if err := json.Unmarshal(row.Subscription, &present); err != nil {
			return nil, err
		}
		s := Subscription{CreateTime: present.CreateTime, AnchorTime: present.AnchorTime}
		if present.Interval != nil {
			s.Interval = *present.Interval
		}
		if present.State == Paused {
			return nil, nil
		}
		if present.Start != nil {
			s.SetPeriod(pricing.Period{Start: *present.Start, End: *present.End})
		}
		period := s.Period(now)
		for _, u := range present.Used {
			if u.Start.Equal(period.Start) {
				used[u.Meter] = u.Quantity
			}
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
	for _, f := range present.Definition.Features {
		e := Entitlement{Feature: f}
		if f.Metered != nil {
			e.Meter, e.Used = f.Metered.Meter, used[f.Metered.Meter]
		}
		found[f.Name] = e
	}
	for _, o := range overrides {
		override := Override{Feature: o.Feature, Value: o.Value}
		if o.ExpireTime != nil {
			override.ExpireTime = *o.ExpireTime
		}
		found[o.Feature] = found[o.Feature].overriddenBy(override)
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
	return postgres.OrNil(o, r.db.NewSelect().Model(o).Where("o.workspace_id = ? AND o.feature = ? AND (o.expire_time IS NULL OR o.expire_time > ?)", workspace, feature, now).Scan(ctx))
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
