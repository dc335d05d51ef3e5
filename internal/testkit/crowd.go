package testkit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Fill makes users and members of a workspace, in a few statements: numbers first to
// last, of whom a few are owners, some administrators and many viewers, and one in a
// hundred is deactivated. What they are found by is written as the product would.
func Fill(t testing.TB, db *pgxpool.Pool, workspace uuid.UUID, first, last int) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
		for _, sql := range []string{
			`CREATE TEMP TABLE crowd ON COMMIT DROP AS
			 SELECT n, gen_random_uuid() AS id, g || ' ' || f AS name, 'm' || n || '@' || CASE WHEN n % 50 = 0 THEN 'rare.example' ELSE 'crowd.example' END AS address,
			        lower(g) AS given, lower(f) AS family,
			        CASE WHEN n % 50000 = 0 THEN 'owner' WHEN n % 100 = 1 THEN 'admin' WHEN n % 10 = 2 THEN 'viewer' ELSE 'member' END AS role
			 FROM (SELECT n, (ARRAY['Ann', 'Bob', 'Cleo', 'Dan', 'Eve', 'Fay', 'Gus', 'Hal', 'Ivy', 'Jo'])[1 + n * 7 % 10] AS g,
			                 'Family' || n * 7919 % 5003 AS f FROM generate_series($first, $last) n) x`,
			`INSERT INTO identity.users SELECT id, name, 1, now(), now() FROM crowd`,
			`INSERT INTO identity.emails SELECT id, address, address, now() FROM crowd`,
			`INSERT INTO team.memberships (id, workspace_id, user_id, role, create_time, update_time, deactivate_time, name_key, address_key, terms)
			 SELECT gen_random_uuid(), '$workspace', id, role, now(), now(), CASE WHEN n % 100 = 7 THEN now() END, lower(name), address,
			        array_to_tsvector(ARRAY(SELECT replace('$workspace', '-', '') || '/' || w
			            FROM unnest(ARRAY[given, family, address, split_part(address, '@', 1), split_part(address, '@', 2)]) w))
			 FROM crowd`,
			countSeats + " AND workspace_id = '$workspace'",
		} {
			sql = strings.NewReplacer("$workspace", workspace.String(), "$first", fmt.Sprint(first), "$last", fmt.Sprint(last)).Replace(sql)
			if _, err := tx.Exec(t.Context(), sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// FillUsage records events of four meters, meter_0 to meter_3, in a workspace: so many
// in all, evenly over the 300 days until a time. It does so in small transactions, since
// events of the log wait for those that are older, also of other databases.
func FillUsage(t testing.TB, db *pgxpool.Pool, workspace uuid.UUID, until time.Time, count int) {
	t.Helper()
	fill := func(sql string, args ...any) {
		t.Helper()
		if err := pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
			// Without looking the workspace up for each.
			if _, err := tx.Exec(t.Context(), "SET LOCAL session_replication_role = replica"); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), sql, args...)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	const many = 20_000
	for first := 1; first <= count; first += many {
		fill(`
			INSERT INTO billing.usage_events
			SELECT $1, 'filled' || lpad(n::text, 9, '0'), 'meter_' || n % 4, 1 + n % 7, $2::timestamptz - ($3::bigint - n + 1) * (interval '300 days' / $3::bigint), now()
			FROM generate_series($4::bigint, $5::bigint) n`, workspace, until, count, first, min(first+many-1, count))
	}
	fill(`
		INSERT INTO billing.usage_hours
		SELECT workspace_id, meter, date_trunc('hour', event_time, 'UTC'), sum(quantity) FROM billing.usage_events WHERE workspace_id = $1 GROUP BY 1, 2, 3`, workspace)
	fill(`
		INSERT INTO billing.usage_totals
		SELECT workspace_id, meter, date_trunc('month', hour, 'UTC'), sum(quantity) FROM billing.usage_hours WHERE workspace_id = $1 GROUP BY 1, 2, 3`, workspace)
}
