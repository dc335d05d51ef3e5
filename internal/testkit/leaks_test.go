package testkit

import (
	"fmt"
	"strings"
	"testing"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/secret"
)

// recorder is a test that fails without failing.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// TestSecretsInALogAreFound writes each kind into the log of a server that has gone
// through what makes it, and stops the server.
func TestSecretsInALogAreFound(t *testing.T) {
	t.Parallel()
	const chosen = "another horse, another staple"
	for what, leak := range map[string]func(t *testing.T, s *Server, p *Person) string{
		"a session's token": func(_ *testing.T, _ *Server, p *Person) string { return p.Token },
		"the token of a mail": func(t *testing.T, s *Server, p *Person) string {
			return TokenIn(t, s.Mail(t, p.Email, 1))
		},
		"the code of a mail": func(t *testing.T, s *Server, p *Person) string {
			return "code=" + CodeIn(t, s.Mail(t, p.Email, 1)) + " x"
		},
		"the code of a mail, in JSON": func(t *testing.T, s *Server, p *Person) string {
			return `{"code":` + CodeIn(t, s.Mail(t, p.Email, 1)) + `}`
		},
		"everybody's password": func(*testing.T, *Server, *Person) string { return Password },
		"a password that a client sent": func(t *testing.T, _ *Server, p *Person) string {
			if _, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: Password, NewPassword: chosen}); err != nil {
				t.Fatal(err)
			}
			return chosen
		},
		"a password that was refused": func(t *testing.T, s *Server, p *Person) string {
			_, _ = s.Client("192.0.2.1").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: "no such password"})
			return "no such password"
		},
		"the server's key":                func(_ *testing.T, s *Server, _ *Person) string { return s.Key.Encode() },
		"what a test names":               func(_ *testing.T, s *Server, _ *Person) string { s.Secret("client secret"); return "client secret" },
		"an API key":                      func(*testing.T, *Server, *Person) string { return secret.NewToken("lsmk_") },
		"a refresh token":                 func(*testing.T, *Server, *Person) string { return secret.NewToken("lsmf_") },
		"a device's token":                func(*testing.T, *Server, *Person) string { return secret.NewToken("lsmd_") },
		"a recovery code":                 func(*testing.T, *Server, *Person) string { return secret.NewRecoveryCode() },
		"a hash":                          func(*testing.T, *Server, *Person) string { return "$argon2id$v=19$m=64,t=1,p=1$x$y" },
		"a seed":                          func(*testing.T, *Server, *Person) string { return "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP" },
		"the URI of an authenticator app": func(*testing.T, *Server, *Person) string { return "otpauth://totp/x?secret=y" },
		"an access token":                 func(*testing.T, *Server, *Person) string { return "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1c3JfMSJ9.c2ln" },
		"an Authorization header":         func(*testing.T, *Server, *Person) string { return "Bearer abcdefghijklmnop" },
		"a private key":                   func(*testing.T, *Server, *Person) string { return "-----BEGIN PRIVATE KEY-----" },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := &recorder{TB: t}
			s := New(r, Options{})
			p := s.Register(t)
			said := leak(t, s, p)
			fmt.Fprintf(s.Log, "time=2026-01-01T00:00:00.123456Z level=INFO msg=%s\n", said)
			s.Stop()
			if len(r.failures) != 1 || !strings.Contains(r.failures[0], "has logged secrets") {
				t.Fatalf("not found: %q", r.failures)
			}
			if trimmed := strings.TrimSuffix(strings.TrimPrefix(said, "code="), " x"); strings.Contains(r.failures[0], trimmed) {
				t.Errorf("the failure tells it: %s", r.failures[0])
			}
		})
	}
}

// TestWhatIsNoSecretIsNotFound has a server's own log, and what looks like secrets.
func TestWhatIsNoSecretIsNotFound(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	s := New(r, Options{})
	p := s.Register(t)
	code := CodeIn(t, s.Mail(t, p.Email, 1))
	fmt.Fprintf(s.Log, "time=2026-01-01T00:00:00.%sZ took=1.%sms id=a%s request_id=ABCDEFGHIJKLMNOPQRSTUVWXYZ user_id=%s prefix=lsmk_abcd bytes=9%s\n", code, code, code, p.User.Id, code)
	s.Stop()
	if len(r.failures) != 0 {
		t.Errorf("found: %s", r.failures)
	}
}
