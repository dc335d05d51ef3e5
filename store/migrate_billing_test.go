package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/billing/pricing"
	"github.com/logicspike/manager/store/postgres"
)

// TestSubscriptionsFromBeforeTheyWereRenewedHaveTheirPeriod migrates subscriptions that
// had no stored period. Each has the one that its anchor has, wherever the database is:
// the next one is the first that is charged.
func TestSubscriptionsFromBeforeTheyWereRenewedHaveTheirPeriod(t *testing.T) {
	t.Parallel()
	url := testkit.NewEmptyDatabase(t)
	run(t, connect(t, url), "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Pacific/Auckland''', current_database()); END $$")
	if err := postgres.Migrate(t.Context(), url, filesUpTo(t, "0014"), nil); err != nil {
		t.Fatal(err)
	}
	db := connect(t, url)
	run(t, db, `
		BEGIN;
		INSERT INTO billing.plans VALUES ('team', 1, 1, true, false, now(), now());
		INSERT INTO billing.plan_versions VALUES ('team', 1, '{"display_name": "Team", "prices": [
			{"currency": "EUR", "interval": "month", "flat": 2000}, {"currency": "EUR", "interval": "year", "flat": 20000}]}', now());
		COMMIT`)
	run(t, db, "SET session_replication_role = replica") // workspaces without owners will do
	now := time.Now().UTC().Truncate(time.Microsecond)
	leap := time.Date(2024, 2, 29, 23, 59, 59, 999999000, time.UTC)
	none := time.Time{}
	all := []struct {
		what                  string
		interval              pricing.Interval
		created, anchor       time.Time
		trialEnd, canceled    time.Time
		state, former         string // after it
		noPeriod, trialPeriod bool
	}{
		{what: "what costs nothing", created: leap, anchor: leap, state: "active", noPeriod: true},
		{what: "by the month, since the 31st", interval: pricing.Month, created: leap.AddDate(0, 0, -29), anchor: leap.AddDate(0, 0, -29), state: "active"},
		{what: "by the month, since today", interval: pricing.Month, created: now, anchor: now, state: "active"},
		{what: "by the month, since the 1st, as the day begins", interval: pricing.Month, created: leap, anchor: leap.Add(time.Microsecond), state: "active"},
		{what: "by the year, since 29 February", interval: pricing.Year, created: leap, anchor: leap, state: "active"},
		{what: "after a trial", interval: pricing.Month, created: leap.AddDate(0, 0, -14), anchor: leap, trialEnd: leap, state: "active"},
		{what: "in a trial", interval: pricing.Month, created: now.AddDate(0, 0, -3), anchor: now.AddDate(0, 0, 11), trialEnd: now.AddDate(0, 0, 11), state: "trialing", trialPeriod: true},
		{what: "of a deleted workspace", interval: pricing.Month, created: leap, anchor: leap, canceled: leap.AddDate(0, 3, 5), state: "canceled", former: "active"},
		{what: "of a workspace deleted in its trial", interval: pricing.Month, created: leap, anchor: leap.AddDate(0, 0, 14), trialEnd: leap.AddDate(0, 0, 14),
			canceled: leap.AddDate(0, 0, 5), state: "canceled", former: "trialing", trialPeriod: true},
		{what: "of a deleted workspace, which cost nothing", created: leap, anchor: leap, canceled: leap.AddDate(0, 3, 5), state: "canceled", former: "active", noPeriod: true},
	}
	id := func(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("01900000-0000-7000-8000-%012d", n)) }
	or := func(at time.Time) any {
		if at.IsZero() {
			return nil
		}
		return at
	}
	for n, s := range all {
		state, plan, currency, interval, reason := s.state, "team", any("EUR"), any(string(s.interval)), any(nil)
		if s.interval == "" {
			plan, currency, interval = "free", nil, nil
		}
		if !s.canceled.IsZero() {
			reason = "workspace_deleted"
		}
		if _, err := db.Exec(t.Context(), "INSERT INTO tenant.workspaces (id, name, slug, create_time, update_time) VALUES ($1, 'Acme', $2, $3, $3)", id(n), fmt.Sprint("acme-", n), s.created); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(t.Context(), `
			INSERT INTO billing.subscriptions (id, workspace_id, plan, plan_version, state, currency, due_interval, seats, trial_end_time, anchor_time, create_time, update_time, cancel_time, cancel_reason)
			VALUES ($1, $1, $2, 1, $3, $4, $5, 3, $6, $7, $8, $8, $9, $10)`,
			id(n), plan, state, currency, interval, or(s.trialEnd), s.anchor, s.created, or(s.canceled), reason); err != nil {
			t.Fatalf("%s: %v", s.what, err)
		}
	}
	if err := store.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	for n, s := range all {
		var state string
		var former *string
		var start, end *time.Time
		var seats, trials int
		if err := db.QueryRow(t.Context(), `
			SELECT state, former_state, period_start_time, period_end_time, charged_seats, (SELECT count(*) FROM billing.trials t WHERE t.workspace_id = s.workspace_id)
			FROM billing.subscriptions s WHERE id = $1`, id(n)).Scan(&state, &former, &start, &end, &seats, &trials); err != nil {
			t.Fatal(err)
		}
		var want, got pricing.Period
		at := now
		if !s.canceled.IsZero() {
			at = s.canceled
		}
		switch {
		case s.trialPeriod:
			want = pricing.Period{Start: s.created, End: s.trialEnd}
		case !s.noPeriod:
			want = pricing.PeriodAt(s.anchor, s.interval, at)
		}
		if start != nil && end != nil {
			got = pricing.Period{Start: start.UTC(), End: end.UTC()}
		}
		was := ""
		if former != nil {
			was = *former
		}
		if got != want || state != s.state || was != s.former || seats != 3 || (trials == 1) != (s.trialEnd != none) {
			t.Errorf("%s: %s %s, period %v, %d seats charged, %d trials; want %s %s, %v", s.what, state, was, got, seats, trials, s.state, s.former, want)
		}
	}
}
