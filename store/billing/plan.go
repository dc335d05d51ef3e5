package billing

import (
	"context"
	"encoding/json"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/store/billing/pricing"
)

// Plan is one version of a plan.
type Plan struct {
	Name       string
	Version    int
	Position   int
	Offered    bool
	Default    bool
	Definition Definition
	CreateTime time.Time // of the version
}

// Free reports whether the plan costs nothing.
func (p *Plan) Free() bool { return len(p.Definition.Prices) == 0 }

// Price returns the price in a currency and interval, nil for none.
func (p *Plan) Price(currency string, interval pricing.Interval) *pricing.Price {
	for i := range p.Definition.Prices {
		if price := &p.Definition.Prices[i]; price.Currency == currency && price.Interval == interval {
			return price
		}
	}
	return nil
}

// Feature returns what the plan gives of a feature; nothing is set in it for none.
func (p *Plan) Feature(name string) Value {
	for _, f := range p.Definition.Features {
		if f.Name == name {
			return f.Value
		}
	}
	return Value{}
}

// Definition is what a version of a plan says. It never changes.
type Definition struct {
	DisplayName string          `json:"display_name"`
	Description string          `json:"description,omitempty"`
	TrialDays   int             `json:"trial_days,omitempty"`
	Prices      []pricing.Price `json:"prices,omitempty"`
	Features    []Feature       `json:"features,omitempty"` // by name
}

// Feature is something that a plan gives. One of the values is set.
type Feature struct {
	Name string `json:"feature"`
	Value
}

// Value is what is given of a feature: whether it may be used, how much of it there may
// be at once, or how much may be used in a period.
type Value struct {
	Enabled *bool    `json:"enabled,omitempty"`
	Limit   *Limit   `json:"limit,omitempty"`
	Metered *Metered `json:"metered,omitempty"`
}

// Granted reports whether a feature may be used at all.
func (v Value) Granted() bool {
	switch {
	case v.Enabled != nil:
		return *v.Enabled
	case v.Limit != nil:
		return v.Limit.Unlimited || v.Limit.Value > 0
	case v.Metered != nil:
		return v.Metered.Soft || v.Metered.Limit.Unlimited || v.Metered.Limit.Value > 0
	}
	return false
}

// Limit is how much there may be.
type Limit struct {
	Value     int64 `json:"value,omitempty"`
	Unlimited bool  `json:"unlimited,omitempty"`
}

// Metered is how much of a meter may be used in a period.
type Metered struct {
	Meter string `json:"meter"`
	Limit Limit  `json:"limit"`
	// Soft tells that usage beyond the limit is recorded.
	Soft bool `json:"soft,omitempty"`
}

// SeatFeature is the feature that limits how many may belong to a workspace.
const SeatFeature = "seats"

// Plan returns a version of a plan, 0 for the present one.
//
// Errors: fault NOT_FOUND.
func (r Repository) Plan(ctx context.Context, name string, version int) (*Plan, error) {
	return r.onePlan(ctx, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("p.plan = ?", name).Where("v.version = CASE WHEN ?0 = 0 THEN p.version ELSE ?0 END", version)
	})
}

// DefaultPlan returns the plan that new workspaces begin with.
func (r Repository) DefaultPlan(ctx context.Context) (*Plan, error) {
	return r.onePlan(ctx, func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("p.is_default AND v.version = p.version") })
}

func (r Repository) onePlan(ctx context.Context, which func(*bun.SelectQuery) *bun.SelectQuery) (*Plan, error) {
	plans, err := r.plans(ctx, which)
	if err == nil && len(plans) == 0 {
		err = fault.NotFoundFault()
	}
	if err != nil {
		return nil, err
	}
	return &plans[0], nil
}

// Plans returns all plans in their order, each in its present version.
func (r Repository) Plans(ctx context.Context) ([]Plan, error) {
	return r.plans(ctx, func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("v.version = p.version") })
}

func (r Repository) plans(ctx context.Context, which func(*bun.SelectQuery) *bun.SelectQuery) ([]Plan, error) {
	var rows []struct {
		Plan       string
		Version    int
		Position   int
		Offered    bool
		IsDefault  bool
		Definition json.RawMessage
		CreateTime time.Time
	}
	q := r.db.NewSelect().TableExpr("billing.plans AS p").Join("JOIN billing.plan_versions AS v ON v.plan = p.plan").
		ColumnExpr("p.plan, v.version, p.position, p.offered, p.is_default, v.definition, v.create_time").OrderExpr("p.position, p.plan")
	if err := which(q).Scan(ctx, &rows); err != nil {
		return nil, err
	}
	list := make([]Plan, len(rows))
	for i, row := range rows {
		list[i] = Plan{Name: row.Plan, Version: row.Version, Position: row.Position, Offered: row.Offered, Default: row.IsDefault, CreateTime: row.CreateTime}
		if err := json.Unmarshal(row.Definition, &list[i].Definition); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// LockPlans keeps others from changing the plans until the transaction ends.
func (r Repository) LockPlans(ctx context.Context) error {
	_, err := r.db.NewRaw("LOCK TABLE billing.plans IN SHARE ROW EXCLUSIVE MODE").Exec(ctx)
	return err
}

// InsertVersion stores a version of a plan that PutPlan made its present one.
func (r Repository) InsertVersion(ctx context.Context, p *Plan) error {
	definition, err := json.Marshal(p.Definition)
	if err != nil {
		return err
	}
	_, err = r.db.NewRaw("INSERT INTO billing.plan_versions (plan, version, definition, create_time) VALUES (?, ?, ?::jsonb, ?)",
		p.Name, p.Version, string(definition), p.CreateTime).Exec(ctx)
	return err
}

// PutPlan stores a plan, but not whether it is the default. Its version must be there
// when the transaction ends.
func (r Repository) PutPlan(ctx context.Context, p *Plan, now time.Time) error {
	_, err := r.db.NewRaw(`
		INSERT INTO billing.plans (plan, version, position, offered, is_default, create_time, update_time) VALUES (?0, ?1, ?2, ?3, false, ?4, ?4)
		ON CONFLICT (plan) DO UPDATE SET version = ?1, position = ?2, offered = ?3, update_time = ?4`,
		p.Name, p.Version, p.Position, p.Offered, now).Exec(ctx)
	return err
}

// SetDefault makes one plan the default, and no other.
func (r Repository) SetDefault(ctx context.Context, name string) error {
	for _, change := range []string{ // no two at any moment
		"UPDATE billing.plans SET is_default = false WHERE is_default AND plan <> ?",
		"UPDATE billing.plans SET is_default = true WHERE NOT is_default AND plan = ?",
	} {
		if _, err := r.db.NewRaw(change, name).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
