package e2e

import (
	"slices"
	"strconv"
	"testing"
	"time"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// TestUsersAreFoundInACrowd fast, whatever is looked for, also before the
// database has gathered statistics.
func TestUsersAreFoundInACrowd(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: verifyAfter})
	operator := makeOperator(t, srv, provenPerson(t, srv))
	began := time.Now()
	size := sized(100_000)
	for _, sql := range []string{
		`CREATE TABLE crowd AS SELECT n, ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id, 'Given' || n % 97 || ' Family' || n * 7919 % 50021 AS name FROM generate_series(1, ` + strconv.Itoa(size) + `) n`,
		`INSERT INTO identity.users (id, display_name, name_key, create_time, update_time) SELECT id, name, lower(name), now(), now() FROM crowd`,
		`INSERT INTO identity.emails SELECT id, 'm' || n || '@crowd.example', 'm' || n || '@crowd.example', now() FROM crowd`,
	} {
		if _, err := srv.SQL.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d users were made in %v", size, time.Since(began).Round(time.Millisecond))
	for _, statistics := range []string{"without statistics", "with statistics"} {
		if statistics == "with statistics" {
			if _, err := srv.SQL.Exec(t.Context(), "VACUUM ANALYZE identity.users, identity.emails"); err != nil {
				t.Fatal(err)
			}
		}
		for _, query := range []string{"", "m7777@crowd.example", "m7777", "777", "crowd", ".ex", "family49999", "given13 fam", "amily", "nobody at all", "zzz", "m1@crowd.examples"} {
			var times []time.Duration
			var hits int
			for range 5 {
				began := time.Now()
				res, err := operator.Operators.FindUsers(t.Context(), &authv1.FindUsersRequest{Query: query})
				if err != nil {
					t.Fatal(err)
				}
				times, hits = append(times, time.Since(began)), len(res.Users)
			}
			slices.Sort(times)
			t.Logf("%s: %-22q %3d hits, median %v", statistics, query, hits, times[2].Round(100*time.Microsecond))
			if times[2] > time.Second {
				t.Errorf("%s: %q took %v", statistics, query, times[2])
			}
		}
	}
}
