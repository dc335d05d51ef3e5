package e2e

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// told takes the mails out of the queue that go to many, and returns what each address
// is told: the templates, and when the workspace is purged.
func (s *stage) told(t testing.TB) map[string]string {
	t.Helper()
	rows, err := s.SQL.Query(t.Context(), "DELETE FROM river.river_job WHERE kind = 'mail' AND priority = 4 RETURNING args")
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, args := range list {
		var job store.MailJob
		if err := json.Unmarshal(args, &job); err != nil {
			t.Fatal(err)
		}
		m, err := s.Store.Letter(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		all[m.To] += string(m.Template) + " " + m.Data["purge_time"] + ";"
	}
	return all
}

// TestMembersAreToldWhatBecomesOfTheirWorkspace: each once, however often the work is
// begun and wherever it fails, and nobody of what is not so any more.
func TestMembersAreToldWhatBecomesOfTheirWorkspace(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	id := owner.Workspace.Id
	testkit.Fill(t, s.SQL, uuidOf(t, id), 1, 1200) // 12 of whom are deactivated, and belong to nothing else
	elsewhere, late, removed, unproven := s.person(t), s.person(t), s.person(t), s.person(t)
	s.Join(t, elsewhere, id, authz.Member)
	if _, err := s.SQL.Exec(t.Context(), "UPDATE team.memberships SET id = 'ffffffff-ffff-7fff-bfff-ffffffffffff' WHERE id = $1",
		uuidOf(t, s.Join(t, late, id, authz.Member).String())); err != nil { // the last one that is told
		t.Fatal(err)
	}
	membership := s.Join(t, removed, id, authz.Member)
	s.Join(t, unproven, id, authz.Member)
	if _, err := owner.Memberships.DeactivateMembership(t.Context(), &teamv1.DeactivateMembershipRequest{
		WorkspaceId: id, MembershipId: membership.String(),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SQL.Exec(t.Context(), "UPDATE identity.emails SET verified_time = NULL WHERE user_id = $1", uuidOf(t, unproven.User.Id)); err != nil {
		t.Fatal(err)
	}
	work := func() error { return s.Store.WorkNotices(t.Context()) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	undelete := func() {
		t.Helper()
		_, err := owner.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: id})
		must(err)
	}
	// onePage has the first 500 told, and the next ones not.
	onePage := func() {
		t.Helper()
		for _, sql := range []string{
			"DROP TRIGGER IF EXISTS full_queue ON river.river_job",
			`CREATE OR REPLACE FUNCTION river.full_queue() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF (SELECT count(*) FROM river.river_job WHERE priority = 4) > 500 THEN RAISE EXCEPTION 'full'; END IF; RETURN NULL; END $$`,
			"CREATE TRIGGER full_queue AFTER INSERT ON river.river_job EXECUTE FUNCTION river.full_queue()",
		} {
			_, err := s.SQL.Exec(t.Context(), sql)
			must(err)
		}
		if work() == nil {
			t.Fatal("nothing failed")
		}
		_, err := s.SQL.Exec(t.Context(), "DROP TRIGGER full_queue ON river.river_job")
		must(err)
	}
	want := func(what string, got map[string]string, count int, sole, other string) {
		t.Helper()
		if len(got) != count {
			t.Errorf("%s: %d were told, want %d", what, len(got), count)
		}
		for address, message := range got {
			want := sole
			if address == elsewhere.Email || address == late.Email {
				want = other
			}
			if message != want {
				t.Fatalf("%s: %s was told %q, want %q", what, address, message, want)
			}
		}
		for _, p := range []*testkit.Person{removed, unproven} {
			if got[p.Email] != "" {
				t.Errorf("%s: told %s, who has no access or no proven address: %q", what, p.Email, got[p.Email])
			}
		}
	}

	// Deleted: everybody once.
	const everybody = 1203 // the owner, the crowd, and the two who belong elsewhere as well
	s.delete(t, owner, id)
	if got := s.told(t); len(got) != 0 {
		t.Errorf("%d were told by the transaction that deletes", len(got))
	}
	onePage()
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if err := work(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	must(work())
	ending := func(what string) {
		t.Helper()
		w, err := get(t, owner, id)
		must(err)
		at := " " + w.PurgeTime.AsTime().Format(time.RFC3339) + ";"
		want(what, s.told(t), everybody, string(mail.AccountEnding)+at, string(mail.WorkspaceDeleted)+at)
	}
	ending("deleted")

	// Undeleted: those who were told.
	undelete()
	must(work())
	must(work())
	back := string(mail.WorkspaceUndeleted) + " ;"
	want("undeleted", s.told(t), everybody, back, back)

	// Undeleted while they are told: those who were, and nobody else anything.
	s.delete(t, owner, id)
	onePage()
	first := s.told(t)
	undelete()
	must(work())
	got := s.told(t)
	want("undeleted meanwhile", got, 500, back, back)
	for address := range first {
		delete(got, address)
	}
	if len(got) != 0 {
		t.Errorf("told that it was undeleted, and not that it was deleted: %v", got)
	}
	s.delete(t, owner, id)
	undelete()
	must(work())
	want("undeleted before", s.told(t), 0, "", "")

	// Deleted and undeleted again before anybody knows of the first restoration: all who
	// were told of a deletion are told that there is none any more.
	s.delete(t, owner, id)
	must(work())
	ending("deleted again")
	for range 2 {
		undelete()
		s.delete(t, owner, id)
	}
	onePage()
	s.told(t)
	undelete()
	must(work())
	want("undeleted again", s.told(t), everybody, back, back)

	// Purged while they are told: those who lose their account, and who does not know of
	// the deletion.
	etag := s.delete(t, owner, id)
	onePage()
	if got := s.told(t); got[elsewhere.Email] == "" || got[late.Email] != "" {
		t.Fatalf("the first page told %q and %q", got[elsewhere.Email], got[late.Email])
	}
	_, err := owner.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: id, Etag: etag})
	must(err)
	must(work())
	got = s.told(t)
	if got[elsewhere.Email] != "" {
		t.Errorf("who knew of the deletion and belongs elsewhere was told %q", got[elsewhere.Email])
	}
	want("purged", got, everybody-1, string(mail.AccountEnding)+" ;", string(mail.WorkspaceDeleted)+" ;")
	s.CheckPurged(t, id, owner.User.Id)
	s.CheckInvariants(t)
}
