package mail

import (
	"context"
	"errors"
	"mime"
	"net/mail"
	"strings"
	"testing"
	"time"
)

func testMail(t *testing.T) Rendered {
	t.Helper()
	m, err := newTestRenderer(t).Render(Message{Template: RegistrationCode, To: "ann@example.org", Data: testData()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newTestSMTP(t *testing.T, o SMTPOptions) *SMTP {
	t.Helper()
	o.Host, o.FromAddress, o.FromName = "127.0.0.1", "noreply@example.com", "Exämple\r\nBcc: x@example.com"
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	s, err := NewSMTP(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSMTPSend(t *testing.T) {
	serverTLS, clientTLS := testTLS(t)
	server := (&smtpServer{config: serverTLS}).serve(t)
	sender := newTestSMTP(t, SMTPOptions{Port: server.port, Username: "user", Password: "secret", TLSConfig: clientTLS})
	m := testMail(t)
	if err := sender.Send(context.Background(), m); err != nil {
		t.Fatal(err)
	}
	got := server.only(t)
	if !got.encrypted || got.login != "|user|secret" {
		t.Errorf("encrypted: %v, login: %q", got.encrypted, got.login)
	}
	if !strings.HasPrefix(got.from, "FROM:<noreply@example.com>") || !strings.HasPrefix(got.to, "TO:<ann@example.org>") {
		t.Errorf("envelope %q, %q", got.from, got.to)
	}
	parsed, err := mail.ReadMessage(strings.NewReader(got.data))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Auto-Submitted": "auto-generated",
		"Subject":        m.Subject,
		"To":             "<ann@example.org>",
		"Bcc":            "",
		"User-Agent":     "",
	} {
		if got := parsed.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	from, err := parsed.Header.AddressList("From")
	if err != nil || len(from) != 1 || from[0].Address != "noreply@example.com" || from[0].Name != "Exämple Bcc: x@example.com" {
		t.Errorf("From is %v (%v)", from, err)
	}
	if date, err := parsed.Header.Date(); err != nil || time.Since(date).Abs() > time.Minute {
		t.Errorf("Date is %v (%v)", date, err)
	}
	if id := parsed.Header.Get("Message-ID"); !strings.HasSuffix(id, "@example.com>") {
		t.Errorf("Message-ID is %q", id)
	}
	if kind, _, _ := mime.ParseMediaType(parsed.Header.Get("Content-Type")); kind != "multipart/alternative" {
		t.Errorf("Content-Type is %q", kind)
	}
	var parts StoredMessage
	if err := parts.readParts(parsed); err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(parts.Text) != strings.TrimSpace(m.Text) || strings.TrimSpace(parts.HTML) != strings.TrimSpace(m.HTML) {
		t.Errorf("the parts differ from what was rendered:\n%s\n%s", parts.Text, parts.HTML)
	}
}

func TestSMTPEncryption(t *testing.T) {
	serverTLS, clientTLS := testTLS(t)
	for _, test := range []struct {
		name      string
		offered   bool
		policy    TLSPolicy
		sent      bool
		encrypted bool
	}{
		{"default needs it", false, "", false, false},
		{"mandatory without", false, TLSMandatory, false, false},
		{"opportunistic without", false, TLSOpportunistic, true, false},
		{"opportunistic with", true, TLSOpportunistic, true, true},
		{"none", true, TLSNone, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &smtpServer{}
			if test.offered {
				server.config = serverTLS
			}
			server.serve(t)
			sender := newTestSMTP(t, SMTPOptions{Port: server.port, TLS: test.policy, TLSConfig: clientTLS})
			err := sender.Send(context.Background(), testMail(t))
			if (err == nil) != test.sent {
				t.Fatalf("got %v, sent should be %v", err, test.sent)
			}
			if test.sent && server.only(t).encrypted != test.encrypted {
				t.Errorf("encrypted should be %v", test.encrypted)
			}
		})
	}
}

func TestSMTPChecksCertificate(t *testing.T) {
	serverTLS, _ := testTLS(t)
	server := (&smtpServer{config: serverTLS}).serve(t)
	if err := newTestSMTP(t, SMTPOptions{Port: server.port}).Send(context.Background(), testMail(t)); err == nil {
		t.Error("a certificate that nobody vouches for was accepted")
	}
}

func TestSMTPRefusals(t *testing.T) {
	for _, test := range []struct {
		answer   string
		rejected bool
	}{{"550 5.1.1 no such user", true}, {"451 4.3.0 try later", false}} {
		t.Run(test.answer, func(t *testing.T) {
			server := (&smtpServer{rcpt: test.answer}).serve(t)
			err := newTestSMTP(t, SMTPOptions{Port: server.port, TLS: TLSNone}).Send(context.Background(), testMail(t))
			if err == nil || errors.Is(err, ErrRejected) != test.rejected {
				t.Errorf("got %v, want an error that is ErrRejected: %v", err, test.rejected)
			}
		})
	}
}

func TestSMTPAcceptedThenDropped(t *testing.T) {
	server := (&smtpServer{dropQuit: true}).serve(t)
	if err := newTestSMTP(t, SMTPOptions{Port: server.port, TLS: TLSNone}).Send(context.Background(), testMail(t)); err != nil {
		t.Errorf("got %v although the mail was accepted", err)
	}
	server.only(t)
}

func TestSMTPTimeout(t *testing.T) {
	server := (&smtpServer{hang: true}).serve(t)
	sender := newTestSMTP(t, SMTPOptions{Port: server.port, TLS: TLSNone, Timeout: 200 * time.Millisecond})
	began := time.Now()
	if err := sender.Send(context.Background(), testMail(t)); err == nil {
		t.Error("no error")
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestSMTPCancelled(t *testing.T) {
	server := (&smtpServer{hang: true}).serve(t)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := newTestSMTP(t, SMTPOptions{Port: server.port, TLS: TLSNone}).Send(ctx, testMail(t)); err == nil {
		t.Error("no error")
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestSendToNoAddress(t *testing.T) {
	box, err := NewMailbox(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := testMail(t)
	for _, to := range []string{"", "ann", "a@example.org, b@example.org", "Ann <a@example.org>", "a@example.org\r\nBcc: b@example.org"} {
		m.To = to
		if err := box.Send(context.Background(), m); !errors.Is(err, ErrRejected) {
			t.Errorf("%q: got %v, want ErrRejected", to, err)
		}
	}
	m = testMail(t)
	m.Subject = "a\r\nBcc: b@example.org"
	if err := box.Send(context.Background(), m); !errors.Is(err, ErrRejected) {
		t.Errorf("got %v, want ErrRejected", err)
	}
}

func TestSMTPOptions(t *testing.T) {
	for name, o := range map[string]SMTPOptions{
		"no host":    {FromAddress: "a@example.com"},
		"no sender":  {Host: "localhost"},
		"bad policy": {Host: "localhost", FromAddress: "a@example.com", TLS: "maybe"},
		"bad port":   {Host: "localhost", FromAddress: "a@example.com", Port: 70000},
	} {
		if _, err := NewSMTP(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
