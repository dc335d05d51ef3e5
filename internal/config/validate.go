package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/logicspike/manager/internal/email"
)

const year = 365 * 24 * time.Hour

// Validate returns all that is wrong with the settings, or nil. Each message
// names a setting by its flag and its variable; none tells a secret.
func (s Settings) Validate() error {
	var c check
	s.addresses(&c)
	s.Database.validate(&c)
	between(&c, "database-max-connections", s.DatabaseMaxConnections, 2, 10_000)
	if _, err := s.Key(); err != nil {
		c.fail("secret-key", "%v", err)
	}
	s.accounts(&c)
	s.dunning(&c)
	s.passkeys(&c)
	s.tokens(&c)
	s.passwords(&c)
	s.limits(&c)
	s.captcha(&c)
	s.billing(&c)
	s.stripe(&c)
	s.mail(&c)
	oneOf(&c, "log-level", s.LogLevel, LogDebug, LogInfo, LogWarn, LogError)
	oneOf(&c, "log-format", s.LogFormat, LogText, LogJSON)
	if s.OTelEndpoint != "" {
		u, err := url.Parse(s.OTelEndpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			c.fail("otel-endpoint", "an http:// or https:// URL without user, query and fragment is expected")
		}
	}
	return c.err()
}

// Validate is that of Settings for these settings alone.
func (d Database) Validate() error {
	var c check
	d.validate(&c)
	return c.err()
}

func (d Database) validate(c *check) {
	if d.DataDir == "" {
		c.fail("data-dir", "a folder is expected")
	} else if info, err := os.Stat(d.DataDir); err == nil && !info.IsDir() {
		c.fail("data-dir", "%s is not a folder", d.DataDir)
	}
	if !d.Private() {
		// The parser's own message may hold the password.
		if _, err := pgconn.ParseConfig(d.DatabaseURL.Reveal()); err != nil {
			c.fail("database-url", "postgres://user:password@host:port/name is expected")
		}
	}
}

func (s Settings) addresses(c *check) {
	c.address("listen", s.Listen)
	if s.AdminListen != "" {
		c.address("admin-listen", s.AdminListen)
		if s.AdminListen == s.Listen && !strings.HasSuffix(s.Listen, ":0") {
			c.fail("admin-listen", "it is the same as listen")
		}
	}
	if s.PublicURL != "" {
		c.origin("public-url", s.PublicURL)
	}
	for _, origin := range s.AllowedOrigins {
		c.origin("allowed-origins", origin)
	}
	for _, network := range s.TrustedProxies {
		if !network.IsValid() {
			c.fail("trusted-proxies", "networks like 10.0.0.0/8 are expected")
		}
	}
	if s.DNSResolver != "" {
		c.server("dns-resolver", s.DNSResolver)
	}
}

func (s Settings) accounts(c *check) {
	oneOf(c, "email-verification", s.EmailVerification, VerifyBefore, VerifyAfter)
	between(c, "session-lifetime", s.SessionLifetime, time.Minute, 10*year)
	between(c, "session-idle-timeout", s.SessionIdleTimeout, time.Minute, 10*year)
	if s.SessionIdleTimeout > s.SessionLifetime {
		c.fail("session-idle-timeout", "it is longer than session-lifetime (%v)", s.SessionLifetime)
	}
	between(c, "reauthentication-age", s.ReauthenticationAge, 10*time.Second, 10*year)
	between(c, "deletion-grace", s.DeletionGrace, 0, 10*year)
	if _, err := s.IdentityProviders.Parse(); err != nil {
		c.fail("identity-providers", "%v", err)
	}
	for _, u := range s.ReturnURLs {
		if _, err := ParseReturnURL(string(u)); err != nil {
			c.fail("return-urls", "%v", err)
		}
	}
}

func (s Settings) dunning(c *check) {
	between(c, "dunning-grace", s.DunningGrace, time.Hour, year)
	if len(s.DunningReminders) > 20 {
		c.fail("dunning-reminders", "there are more than 20")
	}
	for i, after := range s.DunningReminders {
		switch {
		case after <= 0 || after >= s.DunningGrace:
			c.fail("dunning-reminders", "%v: a time after which dunning-grace (%v) is not over is expected", after, s.DunningGrace)
		case i > 0 && after <= s.DunningReminders[i-1]:
			c.fail("dunning-reminders", "%v: the times are not in their order", after)
		}
	}
}

func (s Settings) tokens(c *check) {
	if len(s.TokenAudiences) > 100 {
		c.fail("token-audiences", "there are more than 100")
	}
	for _, audience := range s.TokenAudiences {
		if n := utf8.RuneCountInString(audience); n < 1 || n > 255 || !utf8.ValidString(audience) ||
			strings.ContainsFunc(audience, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
			c.fail("token-audiences", "1 to 255 characters are expected in each, none of them a space or a control character")
		}
	}
	between(c, "signing-key-lifetime", s.SigningKeyLifetime, 48*time.Hour, year)
}

func (s Settings) passwords(c *check) {
	between(c, "password-min-length", s.PasswordMinLength, 8, 1024)
	between(c, "password-max-length", s.PasswordMaxLength, 8, 1024)
	if s.PasswordMinLength > s.PasswordMaxLength {
		c.fail("password-min-length", "it is more than password-max-length (%d)", s.PasswordMaxLength)
	}
	between(c, "argon2-memory", s.Argon2Memory, 7*1024, 4*1024*1024)
	between(c, "argon2-iterations", s.Argon2Iterations, 1, 100)
	between(c, "argon2-parallelism", s.Argon2Parallelism, 1, 64)
	between(c, "hash-concurrency", s.HashConcurrency, 0, 1024)
	between(c, "hash-queue", s.HashQueue, 0, 100_000)
	if s.LeakedPasswordsURL != "" {
		c.service("leaked-passwords-url", s.LeakedPasswordsURL)
	}
}

func (s Settings) limits(c *check) {
	between(c, "public-rate", s.PublicRate, 1, 1_000_000)
	between(c, "public-burst", s.PublicBurst, 1, 1_000_000)
	between(c, "password-failures", s.PasswordFailures, 1, 1000)
	between(c, "max-connections", s.MaxConnections, 1, 1_000_000)
	between(c, "request-timeout", s.RequestTimeout, time.Second, time.Hour)
	between(c, "drain-timeout", s.DrainTimeout, time.Second, time.Hour)
}

var siteKeys = regexp.MustCompile(`^[0-9A-Za-z_-]{1,100}$`)

func (s Settings) captcha(c *check) {
	oneOf(c, "captcha-provider", s.CaptchaProvider, CaptchaNone, CaptchaTurnstile, CaptchaHCaptcha, CaptchaReCAPTCHA)
	if s.CaptchaSiteKey != "" && !siteKeys.MatchString(s.CaptchaSiteKey) {
		c.fail("captcha-site-key", "letters, digits, - and _ are expected, 100 at most")
	}
	if s.CaptchaVerifyURL != "" {
		c.service("captcha-verify-url", s.CaptchaVerifyURL)
	}
	for _, host := range s.CaptchaHostnames {
		if u, err := url.Parse("https://" + host); err != nil || host == "" || u.Hostname() != host {
			c.fail("captcha-hostnames", "hosts like app.example.com are expected, not %q", host)
		}
	}
	if s.CaptchaProvider != CaptchaNone {
		if s.CaptchaSecret == "" {
			c.fail("captcha-secret", "it is required with captcha-provider")
		}
		return
	}
	for _, setting := range []struct {
		name string
		set  bool
	}{
		{"captcha-secret", s.CaptchaSecret != ""},
		{"captcha-site-key", s.CaptchaSiteKey != ""},
		{"captcha-verify-url", s.CaptchaVerifyURL != ""},
		{"captcha-hostnames", len(s.CaptchaHostnames) > 0},
	} {
		if setting.set {
			c.fail(setting.name, "it is set, but captcha-provider is not")
		}
	}
}

var (
	invoicePrefixes = regexp.MustCompile(`^[A-Za-z0-9._/-]{0,19}[A-Za-z._/-]$`)
	taxPercents     = regexp.MustCompile(`^(100|[0-9]{1,2}(\.[0-9]{1,6})?)$`)
)

func (s Settings) billing(c *check) {
	if n := utf8.RuneCountInString(s.InvoiceIssuer); n > 1000 || !utf8.ValidString(s.InvoiceIssuer) ||
		strings.ContainsFunc(s.InvoiceIssuer, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
		c.fail("invoice-issuer", "1000 characters at most are expected, none of them a control character but line breaks")
	}
	if !invoicePrefixes.MatchString(s.InvoicePrefix) {
		c.fail("invoice-prefix", "1 to 20 letters, digits and any of - . / _ are expected, the last one not a digit")
	}
	between(c, "payment-terms", s.PaymentTerms, 0, year)
	if s.TaxName != "" {
		c.name("tax-name", s.TaxName)
		if !taxPercents.MatchString(s.TaxPercent) {
			c.fail("tax-percent", "a decimal number from 0 to 100 is expected, such as 19 or 7.7")
		}
	} else if s.TaxPercent != "" {
		c.fail("tax-percent", "it is set, but tax-name is not")
	}
}

var stripeKeys = regexp.MustCompile(`^(sk|rk)_(test|live)_[0-9A-Za-z_]{1,250}$`)

func (s Settings) stripe(c *check) {
	if s.StripeURL != "" {
		c.service("stripe-url", s.StripeURL)
	}
	if s.StripeSecretKey == "" {
		if s.StripeWebhookSecret != "" {
			c.fail("stripe-webhook-secret", "it is set, but stripe-secret-key is not")
		}
		if s.StripeURL != "" {
			c.fail("stripe-url", "it is set, but stripe-secret-key is not")
		}
		return
	}
	if !stripeKeys.MatchString(s.StripeSecretKey.Reveal()) {
		c.fail("stripe-secret-key", "a key that begins with sk_test_, sk_live_, rk_test_ or rk_live_ is expected")
	}
	if s.StripeWebhookSecret == "" {
		c.fail("stripe-webhook-secret", "it is required with stripe-secret-key: without it anybody could tell the server what was paid")
	}
}

func (s Settings) mail(c *check) {
	between(c, "smtp-port", s.SMTPPort, 1, 65535)
	oneOf(c, "smtp-tls", s.SMTPTLS, TLSMandatory, TLSOpportunistic, TLSNone)
	c.name("product-name", s.ProductName)
	if s.SMTPFromName != "" {
		c.name("smtp-from-name", s.SMTPFromName)
	}
	if s.SMTPHost == "" {
		if u, err := url.Parse(string(s.PublicURL)); err == nil && s.PublicURL != "" && !loopback(u.Hostname()) {
			c.fail("smtp-host", "it is required when public-url is not on this machine: the mailbox for development would show everybody's codes")
		}
		for _, setting := range []struct{ name, value string }{
			{"smtp-username", s.SMTPUsername},
			{"smtp-password", s.SMTPPassword.Reveal()},
			{"smtp-from", s.SMTPFrom},
		} {
			if setting.value != "" {
				c.fail(setting.name, "it is set, but smtp-host is not")
			}
		}
		return
	}
	if strings.ContainsAny(s.SMTPHost, "/@ \t\r\n") || strings.Contains(s.SMTPHost, ":") && net.ParseIP(s.SMTPHost) == nil {
		c.fail("smtp-host", "a host name or address without a port is expected")
	}
	if s.SMTPFrom == "" {
		c.fail("smtp-from", "it is required with smtp-host")
	} else if _, err := email.Parse(s.SMTPFrom); err != nil {
		c.fail("smtp-from", "it %v", err)
	}
	if s.SMTPUsername == "" && s.SMTPPassword != "" {
		c.fail("smtp-username", "it is required with smtp-password")
	}
	if s.SMTPUsername != "" && s.SMTPPassword == "" {
		c.fail("smtp-password", "it is required with smtp-username")
	}
	if s.SMTPUsername != "" && s.SMTPTLS != TLSMandatory && !loopback(s.SMTPHost) {
		c.fail("smtp-tls", "a password may be sent over TLS only: mandatory is required with smtp-username")
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// check collects what is wrong.
type check struct{ errs []error }

func (c *check) fail(name, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("--%s (%s): %s", name, Variable(name), fmt.Sprintf(format, args...)))
}

func (c *check) err() error { return errors.Join(c.errs...) }

// Variable returns the environment variable of a setting.
func Variable(name string) string {
	return "MANAGER_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

func (c *check) address(name, value string) {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		c.fail(name, "host:port is expected, not %q", value)
	}
}

// server checks the address of another server.
func (c *check) server(name, value string) {
	host, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" || strings.ContainsAny(host, "/@ \t\r\n") || port == "0" {
		c.fail(name, "host:port of a server is expected, not %q", value)
	}
}

// service checks the URL of a service that secrets are sent to: only on this machine
// it may do without TLS.
func (c *check) service(name, value string) {
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		c.fail(name, "an https:// URL without user, query and fragment is expected")
	}
}

func (c *check) origin(name string, value Origin) {
	parsed, err := ParseOrigin(string(value))
	if err == nil && parsed != value {
		err = fmt.Errorf("%s is expected", parsed)
	}
	if err != nil {
		c.fail(name, "%v", err)
	}
}

// name checks a name that people read in mail.
func (c *check) name(name, value string) {
	if n := utf8.RuneCountInString(value); n < 1 || n > 100 || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
		c.fail(name, "1 to 100 characters are expected, none of them a control character")
	}
}

func between[T cmp.Ordered](c *check, name string, value, least, most T) {
	if value < least || value > most {
		c.fail(name, "%v is not between %v and %v", value, least, most)
	}
}

func oneOf[T ~string](c *check, name string, value T, choices ...T) {
	var list []string
	for _, choice := range choices {
		if value == choice {
			return
		}
		list = append(list, string(choice))
	}
	c.fail(name, "%q is not one of %s", value, strings.Join(list, ", "))
}
