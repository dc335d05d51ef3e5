package store

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/logicspike/manager/store/billing"
)

// PlanChange is what applying plans does to one of them.
type PlanChange struct {
	Before, After *billing.Plan // nil for none; a plan is withdrawn, never removed
}

// NewVersion reports whether the plan says something else than before.
func (c PlanChange) NewVersion() bool { return c.Before == nil || c.Before.Version != c.After.Version }

// ApplyPlans makes the plans, in their order, those that there are, and returns what
// that changes: a plan that says something else becomes a new version of itself, and
// one that is not among them is offered no more. Applied again it changes nothing.
// With dry it changes nothing at all. Exactly one plan is the default. Their versions
// are the record of it: there is no log that is of no workspace and no account.
func (s *Store) ApplyPlans(ctx context.Context, plans []billing.Plan, dry bool) (changes []PlanChange, err error) {
	apply := func(ctx context.Context, t *tx) error {
		if !dry {
			if err := t.billing.LockPlans(ctx); err != nil {
				return err
			}
		}
		present, err := t.billing.Plans(ctx)
		if err != nil {
			return err
		}
		changes = t.planChanges(present, plans)
		if dry || len(changes) == 0 {
			return nil
		}
		for _, c := range changes {
			if err := t.billing.PutPlan(ctx, c.After, t.now); err != nil {
				return err
			}
			if c.NewVersion() {
				if err := t.billing.InsertVersion(ctx, c.After); err != nil {
					return err
				}
			}
		}
		return t.billing.SetDefault(ctx, defaultOf(plans))
	}
	if dry {
		return changes, s.read(ctx, apply)
	}
	return changes, s.write(ctx, apply)
}

func defaultOf(plans []billing.Plan) string {
	for _, p := range plans {
		if p.Default {
			return p.Name
		}
	}
	return ""
}

// planChanges compares plans with those that there are.
func (t *tx) planChanges(present, plans []billing.Plan) []PlanChange {
	var changes []PlanChange
	known := map[string]*billing.Plan{}
	for i := range present {
		known[present[i].Name] = &present[i]
	}
	for i, p := range plans {
		before := known[p.Name]
		delete(known, p.Name)
		p.Position, p.Version, p.CreateTime = i, 1, t.now
		if before != nil {
			p.Version, p.CreateTime = before.Version, before.CreateTime
			if !sameDefinition(before.Definition, p.Definition) {
				p.Version, p.CreateTime = before.Version+1, t.now
			}
			if p.Version == before.Version && p.Position == before.Position && p.Offered == before.Offered && p.Default == before.Default {
				continue
			}
		}
		changes = append(changes, PlanChange{before, &p})
	}
	for i := range present {
		before := present[i]
		if known[before.Name] == nil || !before.Offered && !before.Default {
			continue
		}
		after := before
		after.Offered, after.Default, after.Position = false, false, len(plans)+i
		changes = append(changes, PlanChange{&before, &after})
	}
	return changes
}

// sameDefinition compares what the database would give back.
func sameDefinition(a, b billing.Definition) bool {
	plain := func(d billing.Definition) (out any) {
		data, _ := json.Marshal(d)
		_ = json.Unmarshal(data, &out)
		return out
	}
	return reflect.DeepEqual(plain(a), plain(b))
}
