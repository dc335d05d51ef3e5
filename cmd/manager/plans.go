package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"text/tabwriter"

	"github.com/logicspike/manager/server/billing/planfile"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/billing"
)

// plansCmd are the commands about the plans that are offered. They work while the
// server runs, too.
type plansCmd struct {
	Apply plansApplyCmd `cmd:"" help:"Make the plans of a file those that are offered, and show what that changes."`
	List  plansListCmd  `cmd:"" help:"List the plans."`
}

type plansApplyCmd struct {
	File       string `arg:"" type:"existingfile" help:"The file of plans (YAML)."`
	DryRun     bool   `name:"dry-run" help:"Show what would change, and change nothing."`
	storeFlags `embed:""`
}

// Run applies a file of plans.
func (p *plansApplyCmd) Run(c console) error {
	plans, err := readPlans(p.File)
	if err != nil {
		return err
	}
	return withStore(p.storeFlags, c, func(ctx context.Context, st *store.Store) error {
		changes, err := st.ApplyPlans(ctx, plans, p.DryRun)
		if err != nil {
			return err
		}
		for _, change := range changes {
			if err := done(c, "%s", describeChange(change)); err != nil {
				return err
			}
		}
		if len(changes) == 0 {
			return done(c, "nothing changes")
		}
		return nil
	})
}

func readPlans(name string) ([]billing.Plan, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	plans, err := planfile.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return plans, nil
}

// describeChange says what becomes of a plan.
func describeChange(c store.PlanChange) string {
	after := fmt.Sprintf("%s version %d", c.After.Name, c.After.Version)
	switch {
	case c.Before == nil:
		return "new: " + after
	case c.NewVersion():
		return fmt.Sprintf("changed: %s, for new subscriptions", after)
	case c.Before.Offered && !c.After.Offered:
		return "withdrawn: " + after + "; who has it keeps it"
	case !c.Before.Offered && c.After.Offered:
		return "offered again: " + after
	case c.Before.Default != c.After.Default:
		return fmt.Sprintf("default: %s, %t", after, c.After.Default)
	}
	return "in another place: " + after
}

// applyPlansFile makes the plans of the setting's file those that are offered.
func applyPlansFile(ctx context.Context, st *store.Store, name string, log *slog.Logger) error {
	if name == "" {
		return nil
	}
	plans, err := readPlans(name)
	if err != nil {
		return fmt.Errorf("plans-file: %w", err)
	}
	changes, err := st.ApplyPlans(ctx, plans, false)
	for _, change := range changes {
		log.InfoContext(ctx, "plan "+describeChange(change))
	}
	return err
}

type plansListCmd struct {
	storeFlags `embed:""`
}

// Run lists the plans.
func (p *plansListCmd) Run(c console) error {
	return withStore(p.storeFlags, c, func(ctx context.Context, st *store.Store) error {
		plans, err := st.Billing.Plans(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		if _, err := fmt.Fprintln(w, "PLAN\tVERSION\tNAME\tOFFERED\tDEFAULT\tPRICES"); err != nil {
			return err
		}
		for _, plan := range plans {
			if _, err := fmt.Fprintf(w, "%s\t%d\t%s\t%t\t%t\t%d\n", plan.Name, plan.Version, plan.Definition.DisplayName,
				plan.Offered, plan.Default, len(plan.Definition.Prices)); err != nil {
				return err
			}
		}
		return w.Flush()
	})
}
