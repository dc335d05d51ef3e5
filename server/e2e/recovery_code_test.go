package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logicspike/manager/client"
	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
)

func TestARecoveryCodeWorksOnce(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	_, codes := enrol(t, srv, p)
	mails := len(srv.Mails(t, p.Email))
	stranger := srv.Register(t)
	_, others := enrol(t, srv, stranger)

	token := owing(t, srv, p.Email)
	_, err := verifyRecovery(t, srv, token, others[0])
	factorInvalid(t, "a code of somebody else", err)
	// As people type them.
	done, err := verifyRecovery(t, srv, token, " "+strings.ToUpper(strings.ReplaceAll(codes[0], "-", ""))+" ")
	if err != nil || !slices.Contains(done.Session.Methods, authv1.AuthenticationMethod_AUTHENTICATION_METHOD_RECOVERY_CODE) {
		t.Fatalf("VerifySecondFactor = %v, %v", done, err)
	}
	testkit.Eventually(t, "the mail", func() bool {
		return slices.ContainsFunc(srv.Mails(t, p.Email)[:max(0, len(srv.Mails(t, p.Email))-mails)], func(m mail.StoredMessage) bool {
			return strings.Contains(m.Text, string(mail.RecoveryCodeUsed))
		})
	})
	_, err = verifyRecovery(t, srv, owing(t, srv, p.Email), codes[0])
	factorInvalid(t, "a code that was used", err)

	sessions := make([]string, 20)
	for i := range sessions {
		sessions[i] = begin(t, srv, p.Email)
	}
	if got := atOnce(20, func(i int) error { _, err := verifyRecovery(t, srv, sessions[i], codes[1]); return err }); got[""] != 1 {
		t.Errorf("one recovery code at once: %v", got)
	}
	me := factorsOf(srv, done.SessionToken)
	status, err := me.GetRecoveryCodes(t.Context(), &authv1.GetRecoveryCodesRequest{})
	if err != nil || status.RemainingCount != 8 || status.CreateTime == nil {
		t.Errorf("recovery codes %v, %v", status, err)
	}
	srv.Clock.Advance(5 * time.Minute) // what was wrong is forgotten in time
	again, err := me.RegenerateRecoveryCodes(t.Context(), &authv1.RegenerateRecoveryCodesRequest{})
	if err != nil || len(again.RecoveryCodes) != 10 {
		t.Fatalf("RegenerateRecoveryCodes = %v, %v", again, err)
	}
	token = owing(t, srv, p.Email)
	_, err = verifyRecovery(t, srv, token, codes[2])
	factorInvalid(t, "a code of before", err)
	srv.Clock.Advance(2 * time.Minute)
	if _, err := verifyRecovery(t, srv, token, again.RecoveryCodes[9]); err != nil {
		t.Errorf("a new code: %v", err)
	}

	var remaining []any
	testkit.Eventually(t, "the events of all codes", func() bool {
		events, err := srv.Client("", client.WithSession(done.SessionToken)).Events.ListEvents(t.Context(), &auditv1.ListEventsRequest{PageSize: 200})
		if err != nil {
			t.Fatal(err)
		}
		remaining = nil
		for _, e := range slices.Backward(events.Events) {
			if e.Action == "session.second_factor_verified" {
				remaining = append(remaining, e.Details.AsMap()["remaining"])
			}
		}
		return len(remaining) >= 3
	})
	if diff := cmp.Diff([]any{9.0, 8.0, 9.0}, remaining); diff != "" {
		t.Errorf("remaining (-want +got):\n%s", diff)
	}
	// Nothing that was shown is in the database.
	for _, code := range slices.Concat(codes, again.RecoveryCodes) {
		notStored(t, srv, code, strings.ReplaceAll(code, "-", ""))
	}
	srv.CheckInvariants(t)
}

// notStored checks that no row of any table contains a text, in any form.
func notStored(t testing.TB, srv *testkit.Server, texts ...string) {
	t.Helper()
	rows, err := srv.SQL.Query(t.Context(), `
		SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables
		WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')`)
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	for _, table := range tables {
		for _, text := range texts {
			if n := count(t, srv, "SELECT count(*) FROM "+table+" r WHERE strpos(lower(to_jsonb(r)::text), lower($1)) > 0 OR strpos(to_jsonb(r)::text, encode(convert_to($1, 'UTF8'), 'hex')) > 0", text); n != 0 {
				t.Errorf("%s contains %q", table, text)
			}
		}
	}
}
