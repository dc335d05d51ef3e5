package e2e

import (
	"bytes"
	"encoding/base32"
	"fmt"
	"image/png"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/pquerna/otp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/logicspike/manager/client"
	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
)

// TestASecondFactorIsEnrolledAndAskedFor is the life of an authenticator app.
func TestASecondFactorIsEnrolledAndAskedFor(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) { s.ProductName = "Acme & Co: Söhne" }})
	p := srv.Register(t)
	f := factorsOf(srv, p.Token)
	other := signIn(t, srv, p.Email, testkit.Password)
	mails := len(srv.Mails(t, p.Email))

	created, err := f.CreateTotpFactor(t.Context(), &authv1.CreateTotpFactorRequest{DisplayName: " My phone "})
	if err != nil {
		t.Fatal(err)
	}
	if left := created.ExpireTime.AsTime().Sub(srv.Clock.Now()); left > 10*time.Minute || left < 9*time.Minute {
		t.Errorf("it can be confirmed for %v", left)
	}
	key, err := otp.NewKeyFromURL(created.OtpauthUri)
	if err != nil {
		t.Fatal(err)
	}
	if key.Type() != "totp" || key.Issuer() != "Acme & Co  Söhne" || key.AccountName() != p.Email || key.Secret() != created.Secret || len(created.Secret) != 32 {
		t.Errorf("the URI %s", created.OtpauthUri)
	}
	picture, err := png.Decode(bytes.NewReader(created.QrPng))
	if err != nil || picture.Bounds().Dx() != 256 || picture.Bounds().Dy() != 256 {
		t.Fatalf("the picture: %v", err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		t.Fatal(err)
	}
	if read, err := qrcode.NewQRCodeReader().Decode(bitmap, nil); err != nil || read.GetText() != created.OtpauthUri {
		t.Errorf("the QR code reads %v, %v", read, err)
	}
	if !strings.HasPrefix(created.QrSvg, "<svg ") {
		t.Errorf("the SVG: %.60s", created.QrSvg)
	}

	// Until it is confirmed it does not count.
	a := &app{srv, created.TotpFactorId, created.Secret}
	if s := lives(t, "before it is confirmed", signIn(t, srv, p.Email, testkit.Password)); s.Session.SecondFactorPending {
		t.Error("an unconfirmed factor is asked for")
	}
	if list, err := f.ListTotpFactors(t.Context(), &authv1.ListTotpFactorsRequest{}); err != nil || len(list.TotpFactors) != 0 {
		t.Errorf("before it is confirmed: %v, %v", list, err)
	}
	_, err = reauthenticateTOTP(t, srv, p.Token, a.code(t, 0))
	factorMissing(t, "reauthentication by an unconfirmed factor", err)
	_, err = f.RegenerateRecoveryCodes(t.Context(), &authv1.RegenerateRecoveryCodesRequest{})
	factorMissing(t, "recovery codes without a factor", err)

	_, err = f.ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: a.other(t)})
	factorInvalid(t, "a wrong code", err)
	confirmed, err := f.ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: a.code(t, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if confirmed.TotpFactor.DisplayName != "My phone" || confirmed.TotpFactor.LastUseTime != nil || len(confirmed.RecoveryCodes) != 10 {
		t.Errorf("confirmed %v", confirmed)
	}
	for _, code := range confirmed.RecoveryCodes {
		if len(strings.ReplaceAll(code, "-", "")) != 26 { // of 5 bits each
			t.Errorf("the recovery code %q", code)
		}
	}
	_, err = f.ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: a.code(t, 1)})
	refused(t, "confirmed again", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	ended(t, "another session, which began without it", other)
	lives(t, "the present session", p.Client)
	if m := srv.Mail(t, p.Email, mails+1); !strings.Contains(m.Text, string(mail.TOTPFactorAdded)) {
		t.Errorf("the mail %s", m.Text)
	}

	// The code by which it was confirmed is used up.
	token := owing(t, srv, p.Email)
	_, err = verifyTOTP(t, srv, token, a.code(t, 0))
	factorInvalid(t, "the code of the confirmation", err)
	a.tick()
	got := lives(t, "a pending session", srv.Client("", client.WithSession(token)))
	if want := []authv1.SecondFactorKind{authv1.SecondFactorKind_SECOND_FACTOR_KIND_TOTP, authv1.SecondFactorKind_SECOND_FACTOR_KIND_RECOVERY_CODE}; !slices.Equal(got.SecondFactors, want) {
		t.Errorf("kinds %v", got.SecondFactors)
	}
	done, err := verifyTOTP(t, srv, token, a.code(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	methods := []authv1.AuthenticationMethod{authv1.AuthenticationMethod_AUTHENTICATION_METHOD_PASSWORD, authv1.AuthenticationMethod_AUTHENTICATION_METHOD_TOTP}
	if done.Session.SecondFactorPending || done.SessionToken == token || len(done.Requirements) != 0 || !slices.Equal(done.Session.Methods, methods) {
		t.Errorf("completed %v", done)
	}
	if life := done.Session.ExpireTime.AsTime().Sub(srv.Clock.Now()); life < 89*24*time.Hour {
		t.Errorf("the completed session lives for %v", life)
	}
	ended(t, "the token before", srv.Client("", client.WithSession(token)))
	me := factorsOf(srv, done.SessionToken)
	list, err := me.ListTotpFactors(t.Context(), &authv1.ListTotpFactorsRequest{})
	if err != nil || len(list.TotpFactors) != 1 || list.TotpFactors[0].LastUseTime == nil {
		t.Errorf("listed %v, %v", list, err)
	}
	_, err = verifyTOTP(t, srv, done.SessionToken, a.code(t, 1))
	factorMissing(t, "a session that owes nothing", err)

	renamed, err := me.UpdateTotpFactor(t.Context(), &authv1.UpdateTotpFactorRequest{TotpFactorId: a.id, DisplayName: "Old phone"})
	if err != nil || renamed.TotpFactor.DisplayName != "Old phone" {
		t.Errorf("renamed %v, %v", renamed, err)
	}
	if _, err := me.DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id}); err != nil {
		t.Fatal(err)
	}
	_, err = me.DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id})
	refused(t, "deleted again", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	if n := count(t, srv, "SELECT count(*) FROM auth.recovery_codes"); n != 0 {
		t.Errorf("%d recovery codes are left without a factor", n)
	}
	if s := lives(t, "without a factor", signIn(t, srv, p.Email, testkit.Password)); s.Session.SecondFactorPending {
		t.Error("a factor is asked for that was removed")
	}
	if m := srv.Mail(t, p.Email, mails+2); !strings.Contains(m.Text, string(mail.TOTPFactorRemoved)) {
		t.Errorf("the mail %s", m.Text)
	}
	p.Client = p.As(done.SessionToken)
	events := logged(t, p, "", "user.registered", "session.created", "totp_factor.requested", "session.created", "totp_factor.created",
		"session.created", "session.second_factor_verified", "totp_factor.updated", "totp_factor.deleted", "session.created")
	if d := events[6].Details.AsMap(); d["method"] != "totp" || d["totp_factor_id"] != a.id || events[6].TargetId != done.Session.Id {
		t.Errorf("event %v", events[6])
	}
	for _, secret := range append(confirmed.RecoveryCodes, created.Secret) {
		checkLog(t, srv, secret)
	}
	srv.CheckInvariants(t)
}

// TestUnconfirmedFactorsExpireAndAreFew bounds what enrolments leave behind.
func TestUnconfirmedFactorsExpireAndAreFew(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, stranger := srv.Register(t), srv.Register(t)
	f := factorsOf(srv, p.Token)
	confirm := func(f factors, a *app) error {
		_, err := f.ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: a.code(t, 0)})
		return err
	}
	missing := func(what string, err error) {
		t.Helper()
		refused(t, what, err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	}
	var apps []*app
	for range 8 {
		apps = append(apps, create(t, srv, p.Token))
	}
	if n := count(t, srv, "SELECT count(*) FROM auth.totp_factors"); n != 5 {
		t.Errorf("%d unconfirmed factors are kept", n)
	}
	missing("one that gave way", confirm(f, apps[2]))
	missing("one of somebody else", confirm(factorsOf(srv, stranger.Token), apps[7]))
	missing("one to rename that is not confirmed", func() error {
		_, err := f.UpdateTotpFactor(t.Context(), &authv1.UpdateTotpFactorRequest{TotpFactorId: apps[7].id, DisplayName: "x"})
		return err
	}())
	missing("one to delete that is not confirmed", func() error {
		_, err := f.DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: apps[7].id})
		return err
	}())
	for _, a := range apps[3:] {
		if err := confirm(f, a); err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.CreateTotpFactor(t.Context(), &authv1.CreateTotpFactorRequest{})
	refused(t, "a sixth one", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_TOO_MANY)

	late := create(t, srv, stranger.Token)
	srv.Clock.Advance(9*time.Minute + 30*time.Second)
	again, err := stranger.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: testkit.Password})
	if err != nil {
		t.Fatal(err)
	}
	srv.Clock.Advance(30 * time.Second)
	missing("one whose time is over", confirm(factorsOf(srv, again.SessionToken), late))
	if err := srv.Store.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, srv, "SELECT count(*) FROM auth.totp_factors WHERE confirm_time IS NULL"); n != 0 {
		t.Errorf("%d unconfirmed factors are left", n)
	}
	if n := count(t, srv, "SELECT count(*) FROM auth.totp_factors"); n != 5 {
		t.Errorf("%d factors are left", n)
	}
	if got := reasonOf(confirm(f, apps[7])); got != "REAUTHENTICATION_REQUIRED" {
		t.Errorf("after a while: %q", got)
	}
}

// TestFactorsConfirmedAtOnceAreNoMoreThanAllowed races for the last place, and for the
// first factor's recovery codes.
func TestFactorsConfirmedAtOnceAreNoMoreThanAllowed(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	f := factorsOf(srv, p.Token)
	var apps []*app
	for range 5 {
		apps = append(apps, create(t, srv, p.Token))
	}
	codes := make([][]string, 5)
	if got := atOnce(4, func(i int) error {
		res, err := f.ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: apps[i].id, Code: apps[i].code(t, 0)})
		codes[i] = res.GetRecoveryCodes()
		return err
	}); got[""] != 4 {
		t.Fatalf("confirmed at once: %v", got)
	}
	if all := slices.Concat(codes...); len(all) != 10 {
		t.Errorf("%d recovery codes were given", len(all))
	}
	if got := atOnce(10, func(int) error {
		_, err := f.ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: apps[4].id, Code: apps[4].code(t, 0)})
		return err
	}); got[""] != 1 {
		t.Errorf("one confirmed at once: %v", got)
	}
}

func TestATOTPCodeIsAcceptedOnceAndInTime(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	a, _ := enrol(t, srv, p)
	settle := func() { // at the beginning of a step, so that the step is the same for a while
		srv.Clock.Advance(2*time.Minute + time.Duration(30-srv.Clock.Now().Unix()%30)*time.Second)
	}

	// A clock that is a step off, either way, is accepted; two steps are not.
	for _, c := range []struct {
		drift int
		ok    bool
	}{{-2, false}, {2, false}, {-1, true}, {1, true}, {0, true}} {
		settle()
		token := owing(t, srv, p.Email)
		_, err := verifyTOTP(t, srv, token, a.code(t, c.drift))
		if c.ok && err != nil {
			t.Errorf("a clock that is %d steps off: %v", c.drift, err)
		} else if !c.ok {
			factorInvalid(t, fmt.Sprintf("a clock that is %d steps off", c.drift), err)
		}
	}

	// A code that was accepted, and those before it, are used up.
	settle()
	first, second := owing(t, srv, p.Email), owing(t, srv, p.Email)
	code, before := a.code(t, 0), a.code(t, -1)
	done, err := verifyTOTP(t, srv, first, code)
	if err != nil {
		t.Fatal(err)
	}
	_, err = verifyTOTP(t, srv, second, code)
	factorInvalid(t, "a code that was used by another session", err)
	_, err = verifyTOTP(t, srv, second, before)
	factorInvalid(t, "the code before it", err)
	_, err = reauthenticateTOTP(t, srv, done.SessionToken, code)
	factorInvalid(t, "reauthentication by a code that was used", err)
	again, err := reauthenticateTOTP(t, srv, done.SessionToken, a.code(t, 1))
	if err != nil || again.Session.SecondFactorPending {
		t.Fatalf("reauthentication by the next code: %v, %v", again, err)
	}
	_, err = verifyTOTP(t, srv, second, a.code(t, 1))
	factorInvalid(t, "a code that was used to reauthenticate", err)

	// Of 20 at once one succeeds, whichever session and method they are for.
	settle()
	third := owing(t, srv, p.Email)
	code = a.code(t, 0)
	if got := atOnce(20, func(i int) error {
		switch i % 3 {
		case 0:
			_, err := verifyTOTP(t, srv, second, code)
			return err
		case 1:
			_, err := verifyTOTP(t, srv, third, code)
			return err
		}
		_, err := reauthenticateTOTP(t, srv, again.SessionToken, code)
		return err
	}); got[""] != 1 {
		t.Errorf("one code at once: %v", got)
	}

	// Nor does another app of the same user accept a step twice.
	settle()
	token := owing(t, srv, p.Email)
	done, err = verifyTOTP(t, srv, token, a.code(t, -1))
	if err != nil {
		t.Fatal(err)
	}
	b := create(t, srv, done.SessionToken)
	if _, err := factorsOf(srv, done.SessionToken).ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: b.id, Code: b.code(t, -1)}); err != nil {
		t.Fatal(err)
	}
	token = owing(t, srv, p.Email)
	done, err = verifyTOTP(t, srv, token, b.code(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	_, err = reauthenticateTOTP(t, srv, done.SessionToken, a.code(t, 0))
	factorInvalid(t, "the step, by the other app", err)
	if _, err = reauthenticateTOTP(t, srv, done.SessionToken, a.code(t, 1)); err != nil {
		t.Errorf("the next step, by the other app: %v", err)
	}
}

// TestOneSessionIsCompletedOnce completes one by two factors at the same time.
func TestOneSessionIsCompletedOnce(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	a, codes := enrol(t, srv, p)
	token := owing(t, srv, p.Email)
	tokens := make([]string, 4)
	got := atOnce(4, func(i int) error {
		var res *authv1.VerifySecondFactorResponse
		var err error
		if i == 0 {
			res, err = verifyTOTP(t, srv, token, a.code(t, 0))
		} else {
			res, err = verifyRecovery(t, srv, token, codes[i])
		}
		tokens[i] = res.GetSessionToken()
		return err
	})
	if got[""] != 1 || got["SESSION_REQUIRED"] != 3 {
		t.Fatalf("at once: %v", got)
	}
	live := strings.Join(tokens, "")
	lives(t, "the completed session", srv.Client("", client.WithSession(live)))
	used := 1
	if tokens[0] != "" {
		used = 0
	}
	if n := count(t, srv, "SELECT count(*) FROM auth.recovery_codes"); n != 10-used {
		t.Errorf("%d recovery codes are left: one that completed nothing was used up", n)
	}
}

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

	events, err := srv.Client("", client.WithSession(done.SessionToken)).Events.ListEvents(t.Context(), &auditv1.ListEventsRequest{PageSize: 200})
	if err != nil {
		t.Fatal(err)
	}
	var remaining []any
	for _, e := range slices.Backward(events.Events) {
		if e.Action == "session.second_factor_verified" {
			remaining = append(remaining, e.Details.AsMap()["remaining"])
		}
	}
	if diff := cmp.Diff([]any{9.0, 8.0, 9.0}[:len(remaining)], remaining); diff != "" || len(remaining) < 2 {
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

// TestSeedsAreSealed: neither the database nor another factor's row serves to read a
// seed.
func TestSeedsAreSealed(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, q := srv.Register(t), srv.Register(t)
	a, _ := enrol(t, srv, p)
	b, _ := enrol(t, srv, q)
	raw := count(t, srv, "SELECT octet_length(secret) FROM auth.totp_factors WHERE id = $1", uuidOf(t, a.id))
	if raw < 20+28 { // nonce and tag
		t.Errorf("a seed is kept in %d bytes", raw)
	}
	notStored(t, srv, a.secret, b.secret, hexOf(t, a.secret))
	// Who can write to the database cannot give somebody their own seed.
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE auth.totp_factors SET secret = (SELECT secret FROM auth.totp_factors WHERE id = $1) WHERE id = $2",
		uuidOf(t, a.id), uuidOf(t, b.id)); err != nil {
		t.Fatal(err)
	}
	_, err := verifyTOTP(t, srv, owing(t, srv, q.Email), a.code(t, 0))
	if reasonOf(err) != "INTERNAL" {
		t.Errorf("a seed of another factor: %v", err)
	}
	if _, err := verifyTOTP(t, srv, owing(t, srv, p.Email), a.code(t, 0)); err != nil {
		t.Errorf("its own seed: %v", err)
	}
}

// TestWrongSecondFactorsAreCountedForTheAccount guesses at once, by many sessions, by
// both methods, over a restart and after sign-ins.
func TestWrongSecondFactorsAreCountedForTheAccount(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
	p := newPerson(t, srv)
	(&world{t: t, srv: srv}).prove(p)
	a, codes := enrol(t, srv, p)
	full := completed(t, srv, p, a)
	a.tick()
	tokens := make([]string, 10)
	for i := range tokens {
		tokens[i] = begin(t, srv, p.Email)
	}
	wrongCode := a.other(t)
	guess := func(i int) error {
		switch i % 4 {
		case 0:
			_, err := verifyRecovery(t, srv, tokens[i%len(tokens)], "00000-00000-00000-00000-000000")
			return err
		case 1:
			_, err := reauthenticateTOTP(t, srv, full, wrongCode)
			return err
		}
		_, err := verifyTOTP(t, srv, tokens[i%len(tokens)], wrongCode)
		return err
	}
	began := srv.Clock.Now()
	got := atOnce(200, guess)
	// 5 are free; then one after 1, 2, 4, … seconds.
	allowed := 5 + int(math.Log2(srv.Clock.Now().Sub(began).Seconds()+1))
	if evaluated := got["SECOND_FACTOR_INVALID"]; evaluated < 5 || evaluated > allowed || evaluated+got["RATE_LIMITED"] != 200 {
		t.Errorf("of 200 guesses at once: %v, and %d are allowed", got, allowed)
	}

	// The right one has to wait, too, and is told for how long.
	limited := func(what, token string) time.Duration {
		t.Helper()
		_, err := verifyTOTP(t, srv, token, a.code(t, 0))
		refused(t, what, err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
		return client.RetryAfter(err)
	}
	wait := time.Duration(0)
	for i := range 15 {
		// Next to none is left of the wait: a try of any kind counts.
		now := limited(fmt.Sprint("after failure ", i), tokens[0])
		if now > 15*time.Minute || now < wait-2*time.Second {
			t.Errorf("after failure %d: a wait of %v, and before of %v", i, now, wait)
		}
		wait = now
		srv.Clock.Advance(now)
		tokens[0] = begin(t, srv, p.Email) // the sessions end meanwhile; a sign-in changes nothing
		_, err := verifyTOTP(t, srv, tokens[0], a.other(t))
		factorInvalid(t, "a guess when its time has come", err)
	}
	if wait < 14*time.Minute {
		t.Errorf("the longest wait is %v", wait)
	}

	// On another server, after a restart.
	next := testkit.New(t, testkit.Options{URL: srv.Database, Key: srv.Key, Clock: srv.Clock, WithoutJobs: true})
	a.srv = next
	_, err := verifyTOTP(t, next, tokens[0], a.code(t, 0))
	refused(t, "after a restart", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
	_, err = verifyRecovery(t, next, tokens[0], codes[0])
	refused(t, "a recovery code", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)

	// Nobody else is concerned, and the one who waits gets in.
	q := newPerson(t, srv)
	(&world{t: t, srv: srv}).prove(q)
	b, _ := enrol(t, srv, q)
	if _, err := verifyTOTP(t, srv, owing(t, srv, q.Email), b.code(t, 0)); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	srv.Clock.Advance(15 * time.Minute)
	token := begin(t, srv, p.Email)
	if _, err := verifyTOTP(t, srv, token, a.code(t, 0)); err != nil {
		t.Errorf("the right code when its time has come: %v", err)
	}
	// Which ends the count.
	a.tick()
	token = begin(t, srv, p.Email)
	for range 4 {
		_, err := verifyTOTP(t, srv, token, a.other(t))
		factorInvalid(t, "a guess after a success", err)
	}
	if _, err := verifyTOTP(t, srv, token, a.code(t, 0)); err != nil {
		t.Errorf("the right code after four wrong ones: %v", err)
	}
}

// TestWrongSecondFactorsStayCountedWhenTheirTransactionFails breaks the database under
// right and wrong guesses.
func TestWrongSecondFactorsStayCountedWhenTheirTransactionFails(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	a, codes := enrol(t, srv, p)
	token := owing(t, srv, p.Email)
	if _, err := srv.SQL.Exec(t.Context(), "ALTER TABLE auth.sessions ADD CONSTRAINT broken CHECK (second_factor_pending) NOT VALID"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := verifyRecovery(t, srv, token, codes[0]); reasonOf(err) != "INTERNAL" {
			t.Errorf("a broken database: %v", err)
		}
	}
	_, err := verifyTOTP(t, srv, token, a.code(t, 0))
	refused(t, "after five that failed", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
	if _, err := srv.SQL.Exec(t.Context(), "ALTER TABLE auth.sessions DROP CONSTRAINT broken"); err != nil {
		t.Fatal(err)
	}
	srv.Clock.Advance(time.Second)
	if _, err := verifyRecovery(t, srv, token, codes[0]); err != nil {
		t.Errorf("the code whose use was never committed: %v", err)
	}
}

// completed signs a person in with both factors.
func completed(t testing.TB, srv *testkit.Server, p *testkit.Person, a *app) string {
	t.Helper()
	res, err := verifyTOTP(t, srv, owing(t, srv, p.Email), a.code(t, 0))
	if err != nil {
		t.Fatalf("VerifySecondFactor: %v", err)
	}
	a.tick()
	return res.SessionToken
}

// TestAPendingSessionCanDoNothingElse calls every method of the API with a session
// that owes its second factor, by both transports.
func TestAPendingSessionCanDoNothingElse(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	methods := methodsByName(t, srv)
	w := newWorld(t, srv, "owner")
	w.totpFactor()
	allowed := []string{}
	for name, method := range methods {
		rule := proto.GetExtension(method.Options(), authzv1.E_Rule).(*authzv1.Rule)
		pending := rule.GetAuthenticated().GetSecondFactorPending() || rule.GetPublic().GetSecondFactorPending()
		if pending {
			allowed = append(allowed, name)
			continue
		}
		token := begin(t, srv, w.owner.Email)
		if rule.GetPublic() == nil {
			// Even an empty request, before anything in it is looked at.
			a := callJSON(t, srv, method, token, dynamicpb.NewMessage(method.Input()))
			if got := a.outcome(); got != "failed_precondition SECOND_FACTOR_REQUIRED" {
				t.Errorf("%s: %s", name, got)
			}
			continue
		}
		if !rule.GetPublic().GetSession() {
			continue // it looks at no session
		}
		pendingAnswer := callJSON(t, srv, method, token, dynamicpb.NewMessage(method.Input()))
		without := callJSON(t, srv, method, "", dynamicpb.NewMessage(method.Input()))
		if diff := cmp.Diff(without.comparable(), pendingAnswer.comparable()); diff != "" {
			t.Errorf("%s looks at a pending session (-without +with):\n%s", name, diff)
		}
	}
	slices.Sort(allowed)
	for _, name := range allowed {
		if !slices.Contains([]string{
			"AuthenticationService/SignOut", "MfaService/VerifySecondFactor", "PasskeyService/StartPasskeyAssertion", "SessionService/GetSession",
		}, name) {
			t.Errorf("%s may be called before the second factor", name)
		}
	}
	if len(allowed) < 3 {
		t.Errorf("may be called: %v", allowed)
	}

	// In a public method that looks at sessions it is none: the invitation by id needs one.
	invitation := w.invitation(newPersonWithProof(w), w.owner.Email)
	c := srv.Client("", client.WithSession(begin(t, srv, w.owner.Email)))
	_, err := c.Invitations.DeclineInvitation(t.Context(), &teamv1.DeclineInvitationRequest{InvitationId: invitation})
	refused(t, "an invitation declined by a pending session", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
}

func newPersonWithProof(w *world) *testkit.Person {
	p := newPerson(w.t, w.srv)
	w.prove(p)
	return p
}

// TestAPendingSessionLivesForTenMinutes, and is listed and revoked as any other.
func TestAPendingSessionLivesForTenMinutes(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	a, _ := enrol(t, srv, p)
	full := srv.Client("", client.WithSession(completed(t, srv, p, a)))
	token := owing(t, srv, p.Email)
	pending := srv.Client("", client.WithSession(token))
	s := lives(t, "a pending session", pending).Session
	if life := s.ExpireTime.AsTime().Sub(s.CreateTime.AsTime()); life != 10*time.Minute || s.IdleExpireTime.AsTime().After(s.ExpireTime.AsTime()) {
		t.Errorf("a pending session lives for %v", life)
	}
	list, err := full.Sessions.ListSessions(t.Context(), &authv1.ListSessionsRequest{})
	if err != nil || list.Sessions[0].Id != s.Id || !list.Sessions[0].SecondFactorPending || list.Sessions[1].SecondFactorPending {
		t.Errorf("listed %v, %v", list, err)
	}
	if _, err := full.Sessions.RevokeSession(t.Context(), &authv1.RevokeSessionRequest{SessionId: s.Id}); err != nil {
		t.Fatal(err)
	}
	ended(t, "a pending session that was revoked", pending)
	_, err = verifyTOTP(t, srv, token, a.code(t, 0))
	refused(t, "a second factor of a session that was revoked", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)

	token = owing(t, srv, p.Email)
	srv.Clock.Advance(10*time.Minute - time.Second)
	lives(t, "for almost ten minutes, used", srv.Client("", client.WithSession(token)))
	srv.Clock.Advance(time.Second)
	ended(t, "after ten minutes", srv.Client("", client.WithSession(token)))
	_, err = verifyTOTP(t, srv, token, a.code(t, 0))
	refused(t, "after ten minutes", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)

	signedOut := srv.Client("", client.WithSession(owing(t, srv, p.Email)))
	if _, err := signedOut.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
		t.Fatal(err)
	}
	ended(t, "a pending session that signed out", signedOut)
}

// TestARemovedFactorIsNotOwed: whoever waits at the second step signs in anew.
func TestARemovedFactorIsNotOwed(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	a, codes := enrol(t, srv, p)
	token := owing(t, srv, p.Email)
	if _, err := factorsOf(srv, p.Token).DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id}); err != nil {
		t.Fatal(err)
	}
	_, err := verifyTOTP(t, srv, token, a.code(t, 0))
	factorMissing(t, "a code of a factor that was removed", err)
	_, err = verifyRecovery(t, srv, token, codes[0])
	factorMissing(t, "a recovery code without a factor", err)
	owes(t, "the session", srv, token)
	if s := lives(t, "a new sign-in", signIn(t, srv, p.Email, testkit.Password)); s.Session.SecondFactorPending {
		t.Error("a new sign-in owes a factor that was removed")
	}
}

// TestTheSecondFactorIsAskedForWhateverWayOneComesIn walks all ways to a session that
// begin with one factor.
func TestTheSecondFactorIsAskedForWhateverWayOneComesIn(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: verifyAfter})
	email := testkit.NewEmail()
	c := srv.Client("")
	register := &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme", RequestId: uuid.NewString()}
	began, err := c.Registration.Register(t.Context(), register)
	if err != nil {
		t.Fatal(err)
	}
	p := srv.Person(email, began.Account)
	verify := &authv1.VerifyRegistrationRequest{RegistrationId: began.Registration.Id, Code: testkit.CodeIn(t, srv.Mail(t, email, 1)), RequestId: uuid.NewString()}
	if _, err := c.Registration.VerifyRegistration(t.Context(), verify); err != nil {
		t.Fatal(err)
	}
	a, _ := enrol(t, srv, p)

	owing(t, srv, email) // by password

	again, err := c.Registration.VerifyRegistration(t.Context(), verify)
	if err != nil {
		t.Fatal(err)
	}
	owes(t, "a verification that is repeated", srv, again.Account.SessionToken)
	repeated, err := c.Registration.Register(t.Context(), register)
	if err != nil {
		t.Fatal(err)
	}
	owes(t, "a registration that is repeated", srv, repeated.Account.SessionToken)

	byCode, _ := startEmail(t, srv, email)
	res, err := factorsOf(srv, "").CompleteEmailSignIn(t.Context(), byCode)
	if err != nil {
		t.Fatal(err)
	}
	owes(t, "a mailed code", srv, res.SessionToken)
	if len(res.Requirements) != 1 || !res.Session.SecondFactorPending {
		t.Errorf("a mailed code: %v", res)
	}
	_, byLink := startEmail(t, srv, email)
	if res, err = factorsOf(srv, "").CompleteEmailSignIn(t.Context(), byLink); err != nil {
		t.Fatal(err)
	}
	owes(t, "a mailed link", srv, res.SessionToken)

	// An invitation is accepted by a session, and a pending one cannot.
	host := srv.Register(t)
	invited, err := host.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: host.Workspace.Id, Email: email, Role: "member"})
	if err != nil {
		t.Fatal(err)
	}
	pending := srv.Client("", client.WithSession(res.SessionToken))
	_, err = pending.Invitations.AcceptInvitation(t.Context(), &teamv1.AcceptInvitationRequest{InvitationId: invited.Invitation.Id})
	refused(t, "an invitation accepted by a pending session", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_SECOND_FACTOR_REQUIRED)

	// A new password by mail ends all sessions, and the factor stays.
	before := len(mailsAbout(t, srv, email, "Choose a new password"))
	reset, err := c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: email})
	if err != nil {
		t.Fatal(err)
	}
	const password = "another horse, another staple"
	if _, err := c.Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
		PasswordResetId: reset.PasswordResetId, Code: testkit.CodeIn(t, mailAbout(t, srv, email, "Choose a new password", before+1)), NewPassword: password,
	}); err != nil {
		t.Fatal(err)
	}
	ended(t, "a pending session after a reset", pending)
	in, err := c.Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: email, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	owes(t, "a sign-in after a reset", srv, in.SessionToken)
	if _, err := verifyTOTP(t, srv, in.SessionToken, a.code(t, 0)); err != nil {
		t.Errorf("the factor after a reset: %v", err)
	}
}

// TestEnrollingNeedsAProvenAddressAndARecentSignIn keeps whoever registers with an
// address of somebody else from staying in the account.
func TestEnrollingNeedsAProvenAddressAndARecentSignIn(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
	p := newPerson(t, srv)
	_, err := factorsOf(srv, p.Token).CreateTotpFactor(t.Context(), &authv1.CreateTotpFactorRequest{})
	refused(t, "before the address is proven", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
	(&world{t: t, srv: srv}).prove(p)
	a, _ := enrol(t, srv, p)
	srv.Clock.Advance(11 * time.Minute)
	f := factorsOf(srv, p.Token)
	for what, call := range map[string]func() error{
		"CreateTotpFactor": func() error { _, err := f.CreateTotpFactor(t.Context(), &authv1.CreateTotpFactorRequest{}); return err },
		"DeleteTotpFactor": func() error {
			_, err := f.DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id})
			return err
		},
		"RegenerateRecoveryCodes": func() error {
			_, err := f.RegenerateRecoveryCodes(t.Context(), &authv1.RegenerateRecoveryCodesRequest{})
			return err
		},
	} {
		refused(t, what, call(), connect.CodeFailedPrecondition, faultv1.Reason_REASON_REAUTHENTICATION_REQUIRED)
	}
	again, err := reauthenticateTOTP(t, srv, p.Token, a.code(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := factorsOf(srv, again.SessionToken).DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id}); err != nil {
		t.Errorf("after reauthentication by the app: %v", err)
	}
}

// TestASignInWhileAFactorIsAddedOwesItOrEnds races the two.
func TestASignInWhileAFactorIsAddedOwesItOrEnds(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
	for range 5 {
		p := newPerson(t, srv)
		(&world{t: t, srv: srv}).prove(p)
		a := create(t, srv, p.Token)
		code := a.code(t, 0)
		tokens := make([]string, 8)
		atOnce(len(tokens), func(i int) error {
			if i == 0 {
				_, err := factorsOf(srv, p.Token).ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: code})
				return err
			}
			res, err := srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password})
			tokens[i] = res.GetSessionToken()
			return err
		})
		for _, token := range tokens {
			if token == "" {
				continue
			}
			res, err := srv.Client("", client.WithSession(token)).Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
			if err == nil && !res.Session.SecondFactorPending {
				t.Error("a session goes on that has no second factor")
			}
		}
	}
}

// TestSecondFactorsOfOthersAreAnsweredLikeNone for what takes an id.
func TestSecondFactorsOfOthersAreAnsweredLikeNone(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, q := srv.Register(t), srv.Register(t)
	a, _ := enrol(t, srv, p)
	f := factorsOf(srv, q.Token)
	for _, id := range []string{a.id, ids.New[ids.Factor]().String()} {
		_, err := f.UpdateTotpFactor(t.Context(), &authv1.UpdateTotpFactorRequest{TotpFactorId: id, DisplayName: "Mine"})
		refused(t, "renamed", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
		_, err = f.DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: id})
		refused(t, "deleted", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
		_, err = f.ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: id, Code: a.code(t, 0)})
		refused(t, "confirmed", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	}
	_, err := verifyTOTP(t, srv, owing(t, srv, p.Email), "000000")
	factorInvalid(t, "a code of nobody", err)
}

// TestTheOverviewTellsByWhatOneSignsIn follows an account.
func TestTheOverviewTellsByWhatOneSignsIn(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
	p := newPerson(t, srv)
	expect := func(want *authv1.GetSecurityOverviewResponse) {
		t.Helper()
		got, err := factorsOf(srv, p.Token).GetSecurityOverview(t.Context(), &authv1.GetSecurityOverviewRequest{})
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("overview %v, %v, want %v", got, err, want)
		}
	}
	expect(&authv1.GetSecurityOverviewResponse{HasPassword: true})
	(&world{t: t, srv: srv}).prove(p)
	expect(&authv1.GetSecurityOverviewResponse{HasPassword: true, EmailVerified: true})
	create(t, srv, p.Token)
	enrol(t, srv, p)
	expect(&authv1.GetSecurityOverviewResponse{
		HasPassword: true, EmailVerified: true, TotpFactorCount: 1, RecoveryCodeCount: 10, SecondFactorRequired: true,
	})
}

// TestAnImpersonatorCannotUseFactors of the user in whose name they act.
func TestAnImpersonatorCannotUseFactors(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, operator := srv.Register(t), srv.Register(t)
	a, _ := enrol(t, srv, p)
	token := completed(t, srv, p, a)
	session := lives(t, "a session", srv.Client("", client.WithSession(token))).Session
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE auth.sessions SET impersonator_id = $1 WHERE id = $2", uuidOf(t, operator.User.Id), uuidOf(t, session.Id)); err != nil {
		t.Fatal(err)
	}
	f := factorsOf(srv, token)
	forbidden := func(what string, err error) {
		t.Helper()
		refused(t, what, err, connect.CodePermissionDenied, faultv1.Reason_REASON_IMPERSONATION_NOT_ALLOWED)
	}
	_, err := reauthenticateTOTP(t, srv, token, a.code(t, 0))
	forbidden("reauthentication", err)
	_, err = f.StartEmailReauthentication(t.Context(), &authv1.StartEmailReauthenticationRequest{})
	forbidden("a code to reauthenticate", err)
	_, err = f.UpdateTotpFactor(t.Context(), &authv1.UpdateTotpFactorRequest{TotpFactorId: a.id, DisplayName: "x"})
	forbidden("a rename", err)
	_, err = f.DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id})
	forbidden("a deletion", err)
	_, err = f.CreateTotpFactor(t.Context(), &authv1.CreateTotpFactorRequest{})
	forbidden("an enrolment", err)
}

// TestADeletedUserLeavesNoFactor looks for every trace.
func TestADeletedUserLeavesNoFactor(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	host := srv.Register(t)
	srv.Join(t, host, p.Workspace.Id, authz.Owner)
	enrol(t, srv, p)
	p.Client = srv.Client("", client.WithSession(p.Token))
	preview, err := p.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Users.DeleteMe(t.Context(), &identityv1.DeleteMeRequest{Etag: preview.Etag}); err != nil {
		t.Fatal(err)
	}
	srv.CheckPurged(t, "", p.User.Id)
	for _, table := range []string{"totp_factors", "recovery_codes"} {
		if n := count(t, srv, "SELECT count(*) FROM auth."+table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
}

func hexOf(t testing.TB, secret string) string {
	t.Helper()
	raw, err := base32.StdEncoding.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", raw)
}

// TestASessionThatEndedChangesNoFactor lets a call wait while its session is ended, or
// gets another token: a thief whom the owner has just shut out must not lock the owner
// out in turn.
func TestASessionThatEndedChangesNoFactor(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, srv *testkit.Server, p *testkit.Person) func() error{
		"CreateTotpFactor": func(t *testing.T, srv *testkit.Server, p *testkit.Person) func() error {
			return func() error {
				_, err := factorsOf(srv, p.Token).CreateTotpFactor(t.Context(), &authv1.CreateTotpFactorRequest{})
				return err
			}
		},
		"ConfirmTotpFactor": func(t *testing.T, srv *testkit.Server, p *testkit.Person) func() error {
			a := create(t, srv, p.Token)
			req := &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: a.code(t, 0)}
			return func() error { _, err := factorsOf(srv, p.Token).ConfirmTotpFactor(t.Context(), req); return err }
		},
		"DeleteTotpFactor": func(t *testing.T, srv *testkit.Server, p *testkit.Person) func() error {
			a, _ := enrol(t, srv, p)
			return func() error {
				_, err := factorsOf(srv, p.Token).DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id})
				return err
			}
		},
		"RegenerateRecoveryCodes": func(t *testing.T, srv *testkit.Server, p *testkit.Person) func() error {
			enrol(t, srv, p)
			return func() error {
				_, err := factorsOf(srv, p.Token).RegenerateRecoveryCodes(t.Context(), &authv1.RegenerateRecoveryCodesRequest{})
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := testkit.New(t, testkit.Options{})
			const factors = `
				SELECT concat((SELECT jsonb_agg(f ORDER BY id) FROM auth.totp_factors f), (SELECT jsonb_agg(c ORDER BY code_hash) FROM auth.recovery_codes c))`
			stored := func() (all string) {
				if err := srv.SQL.QueryRow(t.Context(), factors).Scan(&all); err != nil {
					t.Fatal(err)
				}
				return all
			}
			for what, change := range map[string]string{"ended": endSessions, "has another token": voidTokens} {
				p := srv.Register(t)
				call := prepare(t, srv, p)
				before := stored()
				refused(t, "by a session that "+what, meanwhile(t, srv, p, change, call), connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
				if stored() != before {
					t.Errorf("by a session that %s the factors were changed", what)
				}
			}
		})
	}
}
