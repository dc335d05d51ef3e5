package payments

import (
	"context"
	"errors"
	"slices"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
)

// Reconcile compares the subscription of a workspace with the provider's, and repairs
// what differs if that is asked for.
//
// Errors: fault NOT_FOUND; PAYMENT_PROVIDER_MISSING; PAYMENT_PROVIDER_UNAVAILABLE;
// OPERATOR_REQUIRED.
func (s *Service) Reconcile(ctx context.Context, workspace ids.Workspace, repair bool) ([]billing.Difference, error) {
	if err := s.available(); err != nil {
		return nil, err
	}
	_, customer, err := s.Store.Customer(ctx, workspace)
	if err != nil {
		return nil, err
	}
	list, err := s.reconcile(ctx, workspace, customer, repair)
	if err != nil {
		return nil, err
	}
	var fields []string
	for _, d := range list {
		if d.Repaired {
			fields = append(fields, d.Field)
		}
	}
	if len(fields) > 0 {
		slices.Sort(fields)
		err = s.Store.RecordReconciled(ctx, workspace, slices.Compact(fields))
	}
	return list, err
}

// ReconcileAll compares all that is here with all that is at the provider, repairs what
// differs, and counts it.
func (s *Service) ReconcileAll(ctx context.Context) error {
	if s.Provider == nil {
		return nil
	}
	list, err := s.reconcile(ctx, ids.Workspace{}, "", true)
	for _, d := range list {
		s.differences.WithLabelValues(d.Field).Inc()
		s.Logger.WarnContext(ctx, "the payment provider had something otherwise", "subscription", d.Subscription, "field", d.Field,
			"ours", d.Ours, "theirs", d.Theirs, "repaired", d.Repaired)
	}
	return err
}

// reconcile compares what is of a workspace and its customer, or everything. One
// subscription that fails does not keep the others.
func (s *Service) reconcile(ctx context.Context, workspace ids.Workspace, customer string, repair bool) ([]billing.Difference, error) {
	all := workspace.IsZero()
	var list []billing.Difference
	var failures []error
	seen := map[string]bool{}
	compare := func(m *billing.Mirror) error {
		seen[m.ID] = true
		found, err := s.compare(ctx, m, repair)
		list = append(list, found...)
		failures = append(failures, err)
		return ctx.Err()
	}
	if all || customer != "" {
		if err := s.Provider.Subscriptions(ctx, customer, compare); err != nil {
			return list, errors.Join(append(failures, unavailable(err))...)
		}
	}
	after := ""
	for {
		rows, err := s.Store.Billing.ProviderSubscriptions(ctx, workspace, after, 500)
		if err != nil {
			return list, errors.Join(append(failures, s.Store.Fault(err))...)
		}
		if len(rows) == 0 {
			return list, errors.Join(failures...)
		}
		for _, p := range rows {
			if after = p.ID; seen[p.ID] {
				continue
			}
			m, err := s.Provider.Subscription(ctx, p.ID)
			if err != nil {
				failures = append(failures, unavailable(err))
				continue
			}
			if err := compare(m); err != nil {
				return list, err
			}
		}
	}
}

// compare returns how one subscription differs, and repairs that: what the provider owns
// by a new look at it, and what this server owns by giving it again. What waits to be
// given is no difference yet.
func (s *Service) compare(ctx context.Context, m *billing.Mirror, repair bool) ([]billing.Difference, error) {
	c, err := s.Store.CompareProvider(ctx, m)
	if err != nil || len(c.Differences) == 0 {
		return nil, err
	}
	if m, err = s.Provider.Subscription(ctx, m.ID); err != nil { // a list may be old by now
		return nil, unavailable(err)
	}
	if c, err = s.Store.CompareProvider(ctx, m); err != nil {
		return nil, err
	}
	list := c.Differences
	if c.Waiting {
		list = slices.DeleteFunc(list, func(d billing.Difference) bool { return !d.ProviderOwns })
	}
	if !repair || len(list) == 0 {
		return list, nil
	}
	if slices.ContainsFunc(list, func(d billing.Difference) bool { return !d.ProviderOwns && d.Field != "existence" }) {
		if err := s.give(ctx, m.ID); err != nil {
			return list, err
		}
	}
	if slices.ContainsFunc(list, func(d billing.Difference) bool { return d.ProviderOwns || d.Field == "existence" }) {
		if err := s.look(ctx, m.ID); err != nil {
			return list, err
		}
		if err := s.Push(ctx, m.ID); err != nil {
			return list, err
		}
	}
	return list, s.noteRepaired(ctx, m.ID, list)
}

// give has the provider given again what is desired.
func (s *Service) give(ctx context.Context, id string) error {
	if err := s.Store.RedesireProvider(ctx, id); err != nil {
		return err
	}
	return s.Push(ctx, id)
}

// noteRepaired marks the differences that are there no more.
func (s *Service) noteRepaired(ctx context.Context, id string, list []billing.Difference) error {
	m, err := s.Provider.Subscription(ctx, id)
	if err != nil {
		return unavailable(err)
	}
	c, err := s.Store.CompareProvider(ctx, m)
	if err != nil {
		return err
	}
	for i, d := range list {
		list[i].Repaired = !slices.ContainsFunc(c.Differences, func(left billing.Difference) bool { return left.Field == d.Field })
	}
	return nil
}
