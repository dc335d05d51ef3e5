package e2e

import (
	"bytes"
	"fmt"
	"image/png"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/pquerna/otp"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/config"
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
	if read, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true}); err != nil || read.GetText() != created.OtpauthUri {
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
