package store

import (
	"context"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/billing"
)

// Comparison is how a subscription here differs from what it is at the provider.
type Comparison struct {
	// Ours tells that this server made it; all else is nobody's business here.
	Ours bool
	// Waiting tells that what is desired is not at the provider yet, so that it need not
	// be as desired.
	Waiting     bool
	Differences []billing.Difference
}

// CompareProvider compares a subscription at the provider with what is here.
func (s *Store) CompareProvider(ctx context.Context, m *billing.Mirror) (c *Comparison, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		c, err = t.compareProvider(ctx, m)
		return err
	})
	return c, err
}

func (t *tx) compareProvider(ctx context.Context, m *billing.Mirror) (*Comparison, error) {
	p, err := t.billing.ProviderSubscription(ctx, m.ID, false)
	if fault.Has(err, fault.Missing) {
		return t.compareUnknown(ctx, m)
	}
	if err != nil {
		return nil, err
	}
	c := &Comparison{Ours: true, Waiting: p.Waiting(), Differences: p.Differences(m)}
	if p.WorkspaceID.IsZero() || p.Desired == billing.Ended {
		if m.Over() {
			c.add(m, "existence", "known", string(m.Status), true)
		}
		return c, nil
	}
	w, err := t.tenant.Workspace(ctx, p.WorkspaceID)
	if err != nil || w.Deleted() && !p.SubscriptionID.IsZero() {
		return c, err // time stands still for it
	}
	if p.SubscriptionID.IsZero() {
		if m.Status != billing.StatusIncomplete {
			c.add(m, "existence", "not paid", string(m.Status), true)
		}
		return c, nil
	}
	b, err := t.billing.Subscription(ctx, p.WorkspaceID)
	if err != nil {
		return nil, err
	}
	if m.Over() || len(transitionsTo(b, m.Status)) > 0 {
		c.add(m, "state", string(b.State), string(m.Status), true)
	}
	after := *b
	if followPeriod(&after, m); !after.PeriodStartTime.Equal(b.PeriodStartTime) || !after.PeriodEndTime.Equal(b.PeriodEndTime) || !after.TrialEndTime.Equal(b.TrialEndTime) {
		c.add(m, "period", "from "+b.PeriodStartTime.Format(timeFormat), "from "+after.PeriodStartTime.Format(timeFormat), true)
	}
	return c, nil
}

const timeFormat = "2006-01-02T15:04:05Z07:00"

// compareUnknown judges what is not known here: if it was bought here, it is to be known,
// and to end when its workspace is not there.
func (t *tx) compareUnknown(ctx context.Context, m *billing.Mirror) (*Comparison, error) {
	installation, _, err := t.billing.Installation(ctx)
	if err != nil {
		return nil, err
	}
	c := &Comparison{Ours: m.Bought != nil && m.Bought.Installation == installation}
	if !c.Ours || m.Over() {
		return c, nil
	}
	w, err := t.tenant.Workspace(ctx, m.Bought.Workspace)
	switch {
	case fault.Has(err, fault.Missing) || err == nil && w.Deleted():
		c.add(m, "existence", "no workspace", string(m.Status), false)
	case err != nil:
		return nil, err
	default:
		c.add(m, "existence", "unknown", string(m.Status), true)
	}
	return c, nil
}

func (c *Comparison) add(m *billing.Mirror, field, ours, theirs string, providerOwns bool) {
	c.Differences = append(c.Differences, billing.Difference{Subscription: m.ID, Field: field, Ours: ours, Theirs: theirs, ProviderOwns: providerOwns})
}

// RedesireProvider has the provider given again what is desired of a subscription.
func (s *Store) RedesireProvider(ctx context.Context, id string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		p, err := t.billing.ProviderSubscription(ctx, id, true)
		if err != nil || p.Waiting() {
			return ignoreMissing(err)
		}
		return t.desire(ctx, p)
	})
}

// RecordReconciled notes that an operator had repaired what differed.
//
// Errors: fault NOT_FOUND; OPERATOR_REQUIRED.
func (s *Store) RecordReconciled(ctx context.Context, workspace ids.Workspace, fields []string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.tenant.LockWorkspace(ctx, workspace); err != nil {
			return err
		}
		if err := t.mayOperate(ctx, false); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{
			WorkspaceID: workspace, Action: "subscription.reconciled", TargetID: workspace.String(), Details: map[string]any{"fields": fields},
		})
	})
}
