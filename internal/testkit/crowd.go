package testkit

import (
	"fmt"
	"strings"
	"testing"

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
