package e2e

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/internal/testkit"
)

// TestFailureOfAnyWriteLeavesNothing lets the writes of each operation fail in turn, as
// sampled, the commit too. The caller learns no more than a request id, the database
// is as before, and in the end the same call succeeds.
func TestFailureOfAnyWriteLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, op.settings)
			sabotage := s.sabotage(t)
			a := op.prepare(t, s)
			before := s.contents(t)
			failures := sabotage.untilSuccess(t, a, "23514", func(err error) {
				s.requireInternal(t, err)
				s.requireContents(t, before)
			})
			t.Logf("failed at %d writes", failures)
			sabotage.requireDone(t, a)
		})
	}
}

// TestCutConnectionLeavesNothing cuts the server's connection to the database at the
// writes in turn, as sampled. The caller is told to try again, and may.
func TestCutConnectionLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, op.settings)
			sabotage := s.sabotage(t)
			a := op.prepare(t, s)
			before := s.contents(t)
			sabotage.untilSuccess(t, a, cut, func(err error) {
				if connect.CodeOf(err) != connect.CodeUnavailable || client.Reason(err) != faultv1.Reason_REASON_UNAVAILABLE || client.RetryAfter(err) == 0 {
					t.Fatalf("error %v (%v), want unavailable, with a time to try again", err, client.Reason(err))
				}
				s.requireContents(t, before)
			})
			sabotage.requireDone(t, a)
		})
	}
}

// TestLostRaceIsRunAgain lets the writes of each operation, as sampled, lose against an
// imagined other transaction: by a serialization failure, and then by a deadlock.
// The caller does not notice, and everything is done once: the tables grow and
// shrink as without.
func TestLostRaceIsRunAgain(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, op.settings)
			sabotage := s.sabotage(t)
			want := s.growth(t, op, func() {})
			first, step := sampled()
			for at, struck := first, true; struck; at += step {
				// Run again, the transaction makes the same write as number 2 × at.
				got := s.growth(t, op, func() { sabotage.strike(t, blow{at, "40001"}, blow{2 * at, "40P01"}) })
				struck = sabotage.rest(t)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("races lost at write %d changed the rows that the call writes (-without +with):\n%s", at, diff)
				}
			}
			s.CheckInvariants(t)
		})
	}
}

// TestRaceThatIsAlwaysLostEnds has a transaction lose each time that it is run:
// in the end the caller is told to try again.
func TestRaceThatIsAlwaysLostEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	sabotage := s.sabotage(t)
	a := beginVerification(t, s)
	before := s.contents(t)
	sabotage.strike(t, blow{always, "40001"})
	_, err := a.call(t.Context(), s.client(a))
	if connect.CodeOf(err) != connect.CodeAborted || client.Reason(err) != faultv1.Reason_REASON_CONFLICT || client.RetryAfter(err) == 0 {
		t.Errorf("error %v (%v), want aborted, CONFLICT, with a time to try again", err, client.Reason(err))
	}
	sabotage.rest(t)
	s.requireContents(t, before)
	if _, err := a.call(t.Context(), s.client(a)); err != nil {
		t.Errorf("the call, repeated: %v", err)
	}
}

// TestPurgeThatFailsDoesNotKeepTheOthers has two workspaces due to be purged, and
// lets the purge of the first fail.
func TestPurgeThatFailsDoesNotKeepTheOthers(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	sabotage := s.sabotage(t)
	people := []*testkit.Person{s.person(t), s.person(t)}
	for _, p := range people {
		s.delete(t, p, p.Workspace.Id)
	}
	s.Clock.Advance(s.Settings.DeletionGrace + time.Minute)
	sabotage.strike(t, blow{1, "23514"})
	if count, err := s.Store.PurgeDue(t.Context()); count != 1 || err == nil || !strings.Contains(err.Error(), people[0].Workspace.Id) {
		t.Errorf("PurgeDue = %d, %v, want 1 and the failure of %s", count, err, people[0].Workspace.Id)
	}
	s.CheckInvariants(t)
	s.CheckPurged(t, people[1].Workspace.Id, people[1].User.Id)
	sabotage.rest(t)
	if count, err := s.Store.PurgeDue(t.Context()); count != 1 || err != nil {
		t.Errorf("PurgeDue, repeated = %d, %v, want 1", count, err)
	}
	s.CheckInvariants(t)
	s.CheckPurged(t, people[0].Workspace.Id, people[0].User.Id)
}

// TestPurgesThatFailDoNotKeepThoseAfterThem has more of them fail than are looked at once.
func TestPurgesThatFailDoNotKeepThoseAfterThem(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	owner, last := s.person(t), s.person(t)
	const failing = 101
	for range failing {
		w, err := owner.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Stuck"})
		if err != nil {
			t.Fatal(err)
		}
		s.delete(t, owner, w.Workspace.Id)
	}
	s.delete(t, last, last.Workspace.Id)
	if _, err := s.SQL.Exec(t.Context(), `
		CREATE FUNCTION stuck() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'stuck'; END $$;
		CREATE TRIGGER stuck BEFORE DELETE ON tenant.workspaces FOR EACH ROW WHEN (OLD.name = 'Stuck') EXECUTE FUNCTION stuck()`); err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(s.Settings.DeletionGrace + time.Minute)
	if n, err := s.Store.PurgeDue(t.Context()); n != 1 || err == nil || strings.Count(err.Error(), "purge wsp_") != failing {
		t.Errorf("PurgeDue = %d, %v", n, err)
	}
	s.CheckPurged(t, last.Workspace.Id, last.User.Id)
}

// growth makes a call of an operation, disturbed, and returns by how many rows
// each table grew.
func (s *stage) growth(t *testing.T, op operation, disturb func()) map[string]int {
	t.Helper()
	a := op.prepare(t, s)
	before := s.contents(t)
	disturb()
	if _, err := a.call(t.Context(), s.client(a)); err != nil {
		t.Fatalf("the call did not succeed: %v", err)
	}
	if a.check != nil {
		a.check(t)
	}
	growth := map[string]int{}
	for table, now := range s.contents(t) {
		if n := now.Rows - before[table].Rows; n != 0 {
			growth[table] = n
		}
	}
	return growth
}

var internalError = regexp.MustCompile(`^internal error; request id ([0-9A-Za-z-]{8,})$`)

// requireInternal checks that an error tells a request id and nothing else, and
// that the log has the cause with it, once.
func (s *stage) requireInternal(t *testing.T, err error) {
	t.Helper()
	var c *connect.Error
	if !errors.As(err, &c) || c.Code() != connect.CodeInternal {
		t.Fatalf("error %v, want internal", err)
	}
	match := internalError.FindStringSubmatch(c.Message())
	if match == nil || len(c.Details()) != 1 {
		t.Fatalf("internal error with the message %q and %d details", c.Message(), len(c.Details()))
	}
	detail, err := c.Details()[0].Value()
	if err != nil {
		t.Fatal(err)
	}
	info, ok := detail.(*errdetails.ErrorInfo)
	if !ok || info.Reason != "INTERNAL" || !maps.Equal(info.Metadata, map[string]string{"request_id": match[1]}) {
		t.Fatalf("detail %v, want the request id %s and no more", detail, match[1])
	}
	// The trailers and headers of the answer are part of what leaves.
	for name, values := range c.Meta() {
		if strings.Contains(strings.Join(values, " "), secretCause) {
			t.Errorf("the header %s tells the cause: %q", name, values)
		}
	}
	lines := 0
	for line := range strings.Lines(s.Log.String()) {
		if strings.Contains(line, match[1]) && strings.Contains(line, secretCause) {
			lines++
		}
	}
	if lines != 1 {
		t.Errorf("%d lines of the log tell the cause of %s, want 1", lines, match[1])
	}
}

// content is what a table holds.
type content struct {
	Rows   int
	Digest string
}

// contents returns what all tables hold but the counters of limits, which commit
// in transactions of their own, and the queue's own bookkeeping.
func (s *stage) contents(t *testing.T) map[string]content {
	t.Helper()
	rows, err := s.SQL.Query(t.Context(), `
		SELECT string_agg(format('SELECT %L, count(*)::int, md5(coalesce(string_agg(a_row::text, E''\n'' ORDER BY a_row::text), '''')) FROM %I.%I a_row',
		                         nspname || '.' || relname, nspname, relname), ' UNION ALL ')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE relkind = 'r' AND relpersistence <> 't' AND nspname NOT IN ('pg_catalog', 'information_schema', 'fault')
		  AND (nspname, relname) NOT IN (('auth', 'throttles'), ('auth', 'failures')) AND (nspname <> 'river' OR relname = 'river_job')`)
	if err != nil {
		t.Fatal(err)
	}
	query, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if rows, err = s.SQL.Query(t.Context(), query); err != nil {
		t.Fatal(err)
	}
	all := map[string]content{}
	var table string
	var c content
	if _, err := pgx.ForEachRow(rows, []any{&table, &c.Rows, &c.Digest}, func() error {
		all[table] = c
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func (s *stage) requireContents(t *testing.T, want map[string]content) {
	t.Helper()
	if diff := cmp.Diff(want, s.contents(t)); diff != "" {
		t.Fatalf("the call failed, and left something (-before +after):\n%s", diff)
	}
}

const (
	// cut is the state at which a connection is cut instead of an error raised.
	cut = "cut"
	// always strikes at every write.
	always = 0
	// secretCause is what must not leave the server.
	secretCause = "the secret cause"
)

// saboteur makes writes fail.
type saboteur struct{ *stage }

// sabotage puts triggers on all tables but the counters of limits: on each
// statement that writes, and, as often, at the commit. They count in a sequence,
// which no rollback turns back.
func (s *stage) sabotage(t *testing.T) saboteur {
	t.Helper()
	if _, err := s.SQL.Exec(t.Context(), `
		CREATE SCHEMA fault;
		CREATE SEQUENCE fault.writes;
		CREATE SEQUENCE fault.strikes MINVALUE 0;
		CREATE TABLE fault.plan (at bigint NOT NULL, state text NOT NULL);

		CREATE FUNCTION fault.strike() RETURNS trigger LANGUAGE plpgsql AS $$
		DECLARE
			write bigint := nextval('fault.writes');
			blow text := (SELECT state FROM fault.plan WHERE at IN (0, write));
		BEGIN
			IF blow IS NULL THEN
				RETURN NULL;
			END IF;
			PERFORM nextval('fault.strikes');
			IF blow = 'cut' THEN
				PERFORM pg_terminate_backend(pg_backend_pid());
				PERFORM pg_sleep(10);
			END IF;
			RAISE EXCEPTION '`+secretCause+`' USING ERRCODE = blow, DETAIL = '`+secretCause+`', CONSTRAINT = 'nobody_knows', TABLE = TG_TABLE_NAME;
		END $$;

		DO $$
		DECLARE
			target regclass;
		BEGIN
			FOR target IN
				SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
				WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema', 'fault', 'manager')
				  AND (table_schema, table_name) NOT IN (('auth', 'throttles'), ('auth', 'failures'))
			LOOP
				EXECUTE format('CREATE TRIGGER sabotage BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION fault.strike()', target);
			END LOOP;
			FOREACH target IN ARRAY '{audit.events, auth.registrations, river.river_job}'::regclass[] LOOP
				EXECUTE format('CREATE CONSTRAINT TRIGGER sabotage_commit AFTER INSERT ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fault.strike()', target);
			END LOOP;
		END $$`); err != nil {
		t.Fatal(err)
	}
	return saboteur{s}
}

// blow is what happens to a write, counted from 1.
type blow struct {
	at    int
	state string
}

// strike lets writes fail from now on.
func (s saboteur) strike(t *testing.T, blows ...blow) {
	t.Helper()
	sql := "SELECT setval('fault.writes', 1, false), setval('fault.strikes', 0, false);"
	for _, b := range blows {
		sql += fmt.Sprintf("INSERT INTO fault.plan VALUES (%d, '%s');", b.at, b.state)
	}
	if _, err := s.SQL.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// rest lets no write fail any more, and reports whether one did.
func (s saboteur) rest(t *testing.T) bool {
	t.Helper()
	var struck bool
	if err := s.SQL.QueryRow(t.Context(), `
		WITH over AS (DELETE FROM fault.plan)
		SELECT is_called FROM fault.strikes`).Scan(&struck); err != nil {
		t.Fatal(err)
	}
	return struck
}

// untilSuccess makes a call again and again, and lets a write fail each time, one after
// the other as sampled, until there is none to fail. It returns how many failed.
func (s saboteur) untilSuccess(t *testing.T, a attempt, state string, failed func(error)) int {
	t.Helper()
	failures := 0
	first, step := sampled()
	for at := first; ; at += step {
		s.strike(t, blow{at, state})
		_, err := a.call(t.Context(), s.client(a))
		struck := s.rest(t)
		switch {
		case struck && err == nil:
			t.Fatalf("the call succeeded, although its write %d failed", at)
		case struck:
			failures++
			failed(err)
		case err != nil:
			t.Fatalf("the call failed without cause, after %d failures: %v", failures, err)
		case at < 3 && step == 1:
			t.Fatalf("only %d writes were found to fail", failures)
		default:
			return failures
		}
	}
}

// requireDone checks what a call has left that succeeded.
func (s saboteur) requireDone(t *testing.T, a attempt) {
	t.Helper()
	s.CheckInvariants(t)
	if a.check != nil {
		a.check(t)
	}
}
