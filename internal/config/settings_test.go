package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/secret"
)

// names are the settings, in the order of the help. They are part of what the
// product promises: a name that is gone breaks installations.
var names = []string{
	"listen", "admin-listen", "public-url", "allowed-origins", "trusted-proxies", "reflection", "dns-resolver",
	"data-dir", "database-url", "database-max-connections", "secret-key",
	"email-verification", "session-idle-timeout", "session-lifetime", "reauthentication-age", "deletion-grace",
	"passkey-rp-id", "passkey-origins",
	"token-audiences", "signing-key-lifetime",
	"identity-providers", "return-urls",
	"password-min-length", "password-max-length", "argon2-memory", "argon2-iterations", "argon2-parallelism", "hash-concurrency", "hash-queue", "leaked-passwords-url",
	"captcha-provider", "captcha-secret", "captcha-site-key", "captcha-verify-url", "captcha-hostnames",
	"public-rate", "public-burst", "password-failures", "max-connections", "request-timeout", "drain-timeout",
	"plans-file", "test-clock", "dunning-reminders", "dunning-grace", "invoice-issuer", "invoice-prefix", "payment-terms", "tax-name", "tax-percent",
	"stripe-secret-key", "stripe-webhook-secret", "stripe-url",
	"smtp-host", "smtp-port", "smtp-username", "smtp-password", "smtp-tls", "smtp-from", "smtp-from-name", "product-name",
	"log-level", "log-format", "otel-endpoint",
}

// parse reads settings as the program does, from flags and the environment
// alone, and returns what --help printed.
func parse(t *testing.T, args ...string) (config.Settings, string, error) {
	t.Helper()
	var s config.Settings
	var out bytes.Buffer
	exited := false
	parser, err := kong.New(&s, kong.Writers(&out, &out), kong.Exit(func(int) { exited = true }))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	if exited {
		err = nil
	}
	return s, out.String(), err
}

// unset removes every setting from the environment for one test.
func unset(t *testing.T) {
	t.Helper()
	for _, name := range names {
		variable := config.Variable(name)
		t.Setenv(variable, "") // restores it at the end
		if err := os.Unsetenv(variable); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEverySettingIsAFlagAndAVariable(t *testing.T) {
	unset(t)
	var found []string
	var visit func(typ reflect.Type)
	visit = func(typ reflect.Type) {
		for field := range typ.Fields() {
			if field.Anonymous {
				visit(field.Type)
				continue
			}
			name := field.Tag.Get("name")
			found = append(found, name)
			if got, want := field.Tag.Get("env"), config.Variable(name); got != want {
				t.Errorf("%s: its variable is %q, not %q", name, got, want)
			}
			if field.Tag.Get("group") == "" {
				t.Errorf("%s: it has no group", name)
			}
		}
	}
	visit(reflect.TypeFor[config.Settings]())
	if !reflect.DeepEqual(found, names) {
		t.Errorf("the settings are\n%q, not\n%q", found, names)
	}

	_, help, _ := parse(t, "--help")
	for _, name := range names {
		flag := "--" + name
		if name == "reflection" {
			flag = "--[no-]reflection"
		}
		if !strings.Contains(help, flag+"=") && !strings.Contains(help, flag+" ") {
			t.Errorf("--help does not show %s", flag)
		}
		if !strings.Contains(help, "($"+config.Variable(name)+")") {
			t.Errorf("--help does not show %s", config.Variable(name))
		}
	}
}

func TestHelpTellsTheDefault(t *testing.T) {
	typ := reflect.TypeFor[config.Settings]()
	for _, name := range names {
		field := fieldOf(t, typ, name)
		help, value := field.Tag.Get("help"), field.Tag.Get("default")
		if value != "" && !strings.Contains(help, "Default: "+value) {
			t.Errorf("%s: the help does not tell the default %s: %s", name, value, help)
		}
	}
}

func fieldOf(t *testing.T, typ reflect.Type, name string) reflect.StructField {
	t.Helper()
	for _, field := range reflect.VisibleFields(typ) {
		if field.Tag.Get("name") == name {
			return field
		}
	}
	t.Fatalf("no setting %s", name)
	return reflect.StructField{}
}

func TestDefaults(t *testing.T) {
	unset(t)
	parsed, _, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Defaults(); !reflect.DeepEqual(got, parsed) {
		t.Errorf("Defaults() = %v,\nthe program has %v", got, parsed)
	}
	if err := parsed.Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	if !parsed.Private() || parsed.SessionIdleTimeout != 14*24*time.Hour || parsed.Argon2Memory != 19*1024 || parsed.HashLimit() < 1 || parsed.FromName() != "LogicSpike Manager" {
		t.Errorf("unexpected defaults: %v", parsed)
	}

	t.Setenv("MANAGER_LISTEN", "localhost:1")
	if got := config.Defaults().Listen; got != "localhost:8080" {
		t.Errorf("Defaults() takes %s from the environment", got)
	}
}

// values are, for each setting, a good value other than the default, and how
// it prints.
var values = map[string]struct{ value, printed string }{
	"listen":                   {"localhost:1", ""},
	"admin-listen":             {"localhost:2", ""},
	"public-url":               {"https://Example.com:443/", "https://example.com"},
	"allowed-origins":          {"https://a.example,http://localhost:3000", "[https://a.example http://localhost:3000]"},
	"trusted-proxies":          {"10.0.0.0/8,fd00::/8", "[10.0.0.0/8 fd00::/8]"},
	"reflection":               {"false", ""},
	"dns-resolver":             {"[::1]:5353", ""},
	"data-dir":                 {"elsewhere", ""},
	"database-url":             {"postgres://u:hunter2@db/x", "[redacted]"},
	"database-max-connections": {"7", ""},
	"secret-key":               {"8bU0R6mUOz0XKZJBmqvKSrpIWeb/D0Tb/AH4NbPzzkY=", "[redacted]"},
	"email-verification":       {"after", ""},
	"session-idle-timeout":     {"1h0m0s", ""},
	"session-lifetime":         {"400h0m0s", ""},
	"reauthentication-age":     {"1h0m0s", ""},
	"deletion-grace":           {"0s", ""},
	"passkey-rp-id":            {"example.com", ""},
	"passkey-origins":          {"https://a.example.com,https://Example.com:8443/", "[https://a.example.com https://example.com:8443]"},
	"token-audiences":          {"https://api.example.com,billing", "[https://api.example.com billing]"},
	"signing-key-lifetime":     {"48h0m0s", ""},
	"plans-file":               {"plans.yaml", ""},
	"test-clock":               {"true", ""},
	"dunning-reminders":        {"24h,48h0m0s", "[24h0m0s 48h0m0s]"},
	"dunning-grace":            {"240h0m0s", ""},
	"invoice-issuer":           {"Example-GmbH|Berlin", ""},
	"invoice-prefix":           {"2026/A-", ""},
	"payment-terms":            {"720h0m0s", ""},
	"tax-name":                 {"VAT", ""},
	"tax-percent":              {"7.7", ""},
	"identity-providers":       {"google?client-id=g&client-secret=hunter2", "google?client-id=g&client-secret=[redacted]"},
	"return-urls":              {"https://app.example.com/done,com.example.app:/done", "[https://app.example.com/done com.example.app:/done]"},
	"password-min-length":      {"10", ""},
	"password-max-length":      {"64", ""},
	"argon2-memory":            {"65536", ""},
	"argon2-iterations":        {"3", ""},
	"argon2-parallelism":       {"2", ""},
	"hash-concurrency":         {"3", ""},
	"hash-queue":               {"0", ""},
	"leaked-passwords-url":     {"https://leaks.example/range", ""},
	"stripe-secret-key":        {"rk_live_hunter2", "[redacted]"},
	"stripe-webhook-secret":    {"whsec_hunter2", "[redacted]"},
	"stripe-url":               {"http://127.0.0.1:12111", ""},
	"captcha-provider":         {"hcaptcha", ""},
	"captcha-secret":           {"hunter4", "[redacted]"},
	"captcha-site-key":         {"0x4AAAAAAA-site_key", ""},
	"captcha-verify-url":       {"http://127.0.0.1:8099/verify", ""},
	"captcha-hostnames":        {"app.example.com,example.com", "[app.example.com example.com]"},
	"public-rate":              {"10", ""},
	"public-burst":             {"11", ""},
	"password-failures":        {"5", ""},
	"max-connections":          {"100", ""},
	"request-timeout":          {"5s", ""},
	"drain-timeout":            {"5s", ""},
	"smtp-host":                {"mail.example", ""},
	"smtp-port":                {"25", ""},
	"smtp-username":            {"mailer", ""},
	"smtp-password":            {"hunter3", "[redacted]"},
	"smtp-tls":                 {"opportunistic", ""},
	"smtp-from":                {"hello@example.com", ""},
	"smtp-from-name":           {"Hello", ""},
	"product-name":             {"Example", ""},
	"log-level":                {"debug", ""},
	"log-format":               {"json", ""},
	"otel-endpoint":            {"http://otel:4318", ""},
}

// other are good values that differ from those of values; where there is none
// the default does.
var other = map[string]string{}

func init() {
	typ := reflect.TypeFor[config.Settings]()
	for _, field := range reflect.VisibleFields(typ) {
		other[field.Tag.Get("name")] = field.Tag.Get("default")
	}
	other["public-url"] = "http://localhost:1"
	other["allowed-origins"] = "https://other.example"
	other["trusted-proxies"] = "192.168.0.0/16"
	other["passkey-rp-id"], other["passkey-origins"] = "localhost", "http://localhost:3000"
	other["return-urls"] = "https://other.example/"
	other["dns-resolver"] = "dns.example:53"
	other["token-audiences"] = "other"
	other["secret-key"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	other["database-url"] = "postgres://other@db/x"
	other["smtp-host"] = "other.example"
	other["smtp-username"], other["smtp-password"], other["smtp-from"] = "other", "other", "other@example.com"
}

// needs are the settings without which a setting is refused.
var needs = map[string][]string{
	"public-url":    {"--smtp-host=mail.example", "--smtp-from=hello@example.com"},
	"smtp-host":     {"--smtp-from=hello@example.com"},
	"smtp-username": {"--smtp-host=mail.example", "--smtp-from=hello@example.com", "--smtp-password=x"},
	"smtp-password": {"--smtp-host=mail.example", "--smtp-from=hello@example.com", "--smtp-username=x"},
	"smtp-from":     {"--smtp-host=mail.example"},

	"tax-name":              {"--tax-percent=19"},
	"tax-percent":           {"--tax-name=VAT"},
	"stripe-secret-key":     {"--stripe-webhook-secret=x"},
	"stripe-webhook-secret": {"--stripe-secret-key=sk_test_x"},
	"stripe-url":            {"--stripe-secret-key=sk_test_x", "--stripe-webhook-secret=x"},

	"captcha-provider":   {"--captcha-secret=x"},
	"captcha-secret":     {"--captcha-provider=turnstile"},
	"captcha-site-key":   {"--captcha-provider=turnstile", "--captcha-secret=x"},
	"captcha-verify-url": {"--captcha-provider=turnstile", "--captcha-secret=x"},
	"captcha-hostnames":  {"--captcha-provider=turnstile", "--captcha-secret=x"},
}

func TestFlagAndVariable(t *testing.T) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			unset(t)
			v := values[name]
			if v.printed == "" {
				v.printed = v.value
			}
			want := name + "=" + v.printed
			if strings.Contains(v.printed, " ") {
				want = name + `="` + v.printed + `"`
			}
			has := func(how string, s config.Settings) {
				t.Helper()
				if !strings.Contains(" "+s.String()+" ", " "+want+" ") {
					t.Errorf("by %s: no %s in %v", how, want, s)
				}
			}

			s, _, err := parse(t, append(needs[name], "--"+name+"="+v.value)...)
			if err != nil {
				t.Fatal(err)
			}
			has("flag", s)

			t.Setenv(config.Variable(name), v.value)
			if s, _, err = parse(t, needs[name]...); err != nil {
				t.Fatal(err)
			}
			has("variable", s)

			// The flag wins over a variable with another good value.
			t.Setenv(config.Variable(name), other[name])
			if s, _, err = parse(t, append(needs[name], "--"+name+"="+v.value)...); err != nil {
				t.Fatal(err)
			}
			has("flag and variable", s)
		})
	}
}

func TestBadValuesNameTheirSetting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	smtp := []string{"--smtp-host=mail.example", "--smtp-from=a@example.com"}
	for name, list := range map[string][][]string{
		"listen":                   {{""}, {"8080"}, {"localhost"}, {"localhost:http2"}, {"localhost:65536"}},
		"admin-listen":             {{"9090"}, {"localhost:8080"}},
		"public-url":               {{""}, {"example.com"}, {"ftp://example.com"}, {"https://example.com/path"}, {"https://example.com?q"}, {"https://example.com#f"}, {"https://u:p@example.com"}, {"https://"}, {"https://a b"}, {"http://h:0"}, {"http://h:"}, {"http://h:65536"}},
		"allowed-origins":          {{"*"}, {"null"}, {"https://a.example,b.example"}, {"https://a.example/x"}},
		"trusted-proxies":          {{"10.0.0.0"}, {"10.0.0.0/33"}, {"proxy/8"}},
		"reflection":               {{"maybe"}},
		"dns-resolver":             {{"9.9.9.9"}, {"::1"}, {":53"}, {"9.9.9.9:0"}, {"9.9.9.9:dns"}, {"https://dns.example/dns-query"}, {"https://dns.example:443"}, {"a b:53"}},
		"data-dir":                 {{""}, {file}},
		"database-url":             {{"hunter2"}, {"mysql://u:hunter2@h/d"}, {"postgres://u:hunter2@h:port/d"}, {"postgres://u:hunter2%zz@h/d"}},
		"database-max-connections": {{"1"}, {"x"}, {"-1"}, {"10001"}},
		"secret-key":               {{"hunter2"}, {"aHVudGVyMg=="}},
		"email-verification":       {{""}, {"never"}, {"BEFORE"}},
		"session-idle-timeout":     {{"1s"}, {"14"}, {"14d"}, {"-1h"}, {"2161h"}},
		"session-lifetime":         {{"0"}, {"soon"}, {"1000000h"}},
		"reauthentication-age":     {{"0"}, {"1"}},
		"deletion-grace":           {{"-1s"}, {"14"}},
		"dunning-grace":            {{"59m"}, {"9000h"}, {"14"}},
		"dunning-reminders":        {{"336h"}, {"0s"}, {"48h,24h"}, {"24h,24h"}, {"3"}, {strings.Repeat("1h,", 20) + "2h"}},
		"passkey-rp-id":            {{"Example.com"}, {"https://example.com"}, {"example.com:443"}, {"192.0.2.1"}, {"::1"}, {"exämple.com"}, {"a b"}, {"example.org", "--public-url=https://example.com", smtp[0], smtp[1]}, {"example.com", "--public-url=http://example.com", smtp[0], smtp[1]}, {"a.example.com", "--public-url=https://example.com", smtp[0], smtp[1]}, {"co.uk", "--public-url=https://a.co.uk", smtp[0], smtp[1]}, {"com", "--passkey-origins=https://example.com"}},
		"passkey-origins":          {{"*"}, {"example.com"}, {"http://example.com"}, {"https://192.0.2.1"}, {"http://127.0.0.1:8080"}, {"https://example.org", "--passkey-rp-id=example.com"}, {"https://badexample.com", "--passkey-rp-id=example.com"}, {"https://a.example.com,https://example.org", "--passkey-rp-id=example.com"}, {"https://a.example.com", "--public-url=https://b.example.com", smtp[0], smtp[1]}},
		"token-audiences":          {{"a b"}, {"a,,b"}, {"a\tb"}, {strings.Repeat("x", 256)}},
		"signing-key-lifetime":     {{"47h"}, {"9000h"}, {"30"}},
		"invoice-issuer":           {{"a\x00b"}, {strings.Repeat("x", 1001)}},
		"invoice-prefix":           {{""}, {"INV-1"}, {"INV 1-"}, {"Rechnung-Nr.-ä-"}, {"A\n"}, {strings.Repeat("x", 21)}},
		"payment-terms":            {{"-1s"}, {"14"}, {"9000h"}},
		"tax-name":                 {{"a\tb", "--tax-percent=19"}, {strings.Repeat("x", 101), "--tax-percent=19"}},
		"tax-percent":              {{"19"}, {"", "--tax-name=VAT"}, {"19%", "--tax-name=VAT"}, {"-1", "--tax-name=VAT"}, {"101", "--tax-name=VAT"}, {"1e1", "--tax-name=VAT"}, {"7,7", "--tax-name=VAT"}, {"1/3", "--tax-name=VAT"}},
		"identity-providers":       badProviders(file),
		"return-urls":              {{"/path"}, {"http://example.com/"}, {"https:///x"}, {"https://u:p@h/"}, {"javascript:alert(1)"}, {"https://h/a b"}, {`https://h\@evil`}, {"https://bücher.example/"}},
		"password-min-length":      {{"7"}, {"129"}, {"x"}},
		"password-max-length":      {{"1025"}, {"0"}},
		"argon2-memory":            {{"7167"}, {"19MiB"}, {"-1"}, {"4194305"}},
		"argon2-iterations":        {{"0"}, {"101"}},
		"argon2-parallelism":       {{"0"}, {"65"}, {"256"}},
		"hash-concurrency":         {{"-1"}, {"1025"}},
		"hash-queue":               {{"-1"}, {"100001"}},
		"leaked-passwords-url":     {{"leaks.example"}, {"http://leaks.example/range"}, {"https://u:hunter2@leaks.example"}, {"https://leaks.example/?q"}, {"https:///range"}},
		"stripe-secret-key":        {{"hunter2", "--stripe-webhook-secret=x"}, {"pk_test_hunter2", "--stripe-webhook-secret=x"}},
		"stripe-webhook-secret":    {{"hunter2"}, {"", "--stripe-secret-key=sk_test_hunter2"}},
		"stripe-url":               {{"https://stripe.example"}, {"http://stripe.example", "--stripe-secret-key=sk_test_x", "--stripe-webhook-secret=x"}, {"https://u:hunter2@stripe.example", "--stripe-secret-key=sk_test_x", "--stripe-webhook-secret=x"}},
		"captcha-provider":         {{""}, {"arkose"}, {"Turnstile"}},
		"captcha-secret":           {{"hunter2"}, {"", "--captcha-provider=turnstile"}},
		"captcha-site-key":         {{"key"}, {"a key", "--captcha-provider=hcaptcha", "--captcha-secret=hunter2"}, {"\"key", "--captcha-provider=hcaptcha", "--captcha-secret=hunter2"}},
		"captcha-verify-url":       {{"https://captcha.example"}, {"http://captcha.example", "--captcha-provider=hcaptcha", "--captcha-secret=hunter2"}, {"ftp://captcha.example", "--captcha-provider=hcaptcha", "--captcha-secret=hunter2"}},
		"captcha-hostnames":        {{"example.com"}, {"https://example.com", "--captcha-provider=recaptcha", "--captcha-secret=hunter2"}, {"example.com:443", "--captcha-provider=recaptcha", "--captcha-secret=hunter2"}},
		"public-rate":              {{"0"}, {"1/s"}},
		"public-burst":             {{"0"}},
		"password-failures":        {{"0"}, {"1001"}},
		"max-connections":          {{"0"}},
		"request-timeout":          {{"0"}, {"2h"}},
		"drain-timeout":            {{"0"}, {"-1s"}, {"2h"}},
		"smtp-host":                {{"mail.example:25", smtp[1]}, {"smtp://mail.example", smtp[1]}},
		"smtp-port":                {{"0"}, {"65536"}, {"smtp"}},
		"smtp-username":            {{"u"}, {"", smtp[0], smtp[1], "--smtp-password=hunter2"}},
		"smtp-password":            {{"hunter2"}, {"", smtp[0], smtp[1], "--smtp-username=u"}},
		"smtp-tls":                 {{"yes"}, {"none", smtp[0], smtp[1], "--smtp-username=u", "--smtp-password=hunter2"}, {"opportunistic", smtp[0], smtp[1], "--smtp-username=u", "--smtp-password=hunter2"}},
		"smtp-from":                {{"a@example.com"}, {"", smtp[0]}, {"A <a@example.com>", smtp[0]}},
		"smtp-from-name":           {{"a\nb", smtp[0], smtp[1]}, {strings.Repeat("x", 101)}},
		"product-name":             {{""}, {"a\x00"}, {strings.Repeat("x", 101)}},
		"log-level":                {{"loud"}, {""}},
		"log-format":               {{"xml"}},
		"otel-endpoint":            {{"localhost:4318"}, {"grpc://h"}, {"http://u:hunter2@h"}},
	} {
		for _, args := range list {
			t.Run(fmt.Sprintf("%s=%.40s", name, args[0]), func(t *testing.T) {
				unset(t)
				refused(t, name, append([]string{"--" + name + "=" + args[0]}, args[1:]...))
				if strings.Contains(args[0], "\x00") {
					return // a variable cannot hold that
				}
				t.Setenv(config.Variable(name), args[0])
				refused(t, name, args[1:])
			})
		}
	}
	for _, name := range names {
		if _, ok := values[name]; !ok {
			t.Errorf("no good value of %s is tried", name)
		}
	}
}

// refused checks that the arguments are refused for the setting, and that the
// message holds no secret.
func refused(t *testing.T, name string, args []string) {
	t.Helper()
	s, _, err := parse(t, args...)
	if err == nil {
		err = s.Validate() // kong asks for it too, but a program may not use kong
	}
	if err == nil {
		t.Fatalf("%q: no error", args)
	}
	if text := err.Error(); !strings.Contains(text, "--"+name) && !strings.Contains(text, config.Variable(name)) {
		t.Errorf("%q: the message does not name %s: %v", args, name, err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%q: the message tells a secret: %v", args, err)
	}
}

func TestValidateNamesFlagAndVariable(t *testing.T) {
	s := config.Defaults()
	s.PublicRate, s.LogLevel = 0, "loud"
	want := `--public-rate (MANAGER_PUBLIC_RATE): 0 is not between 1 and 1000000
--log-level (MANAGER_LOG_LEVEL): "loud" is not one of debug, info, warn, error`
	if err := s.Validate(); err == nil || err.Error() != want {
		t.Errorf("got\n%v, not\n%s", err, want)
	}
}

func TestValidateLooksAtValuesFromGoToo(t *testing.T) {
	s := config.Defaults()
	s.AllowedOrigins = []config.Origin{"https://Example.com"}
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "--allowed-origins (MANAGER_ALLOWED_ORIGINS): https://example.com is expected") {
		t.Errorf("got %v", err)
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	s := config.Defaults()
	s.DatabaseURL, s.SecretKey, s.SMTPPassword = "postgres://u:hunter2@h/d", config.Secret(secret.NewKey().Encode()), "hunter2"
	s.IdentityProviders = "google?client-id=g&client-secret=hunter2 apple?private-key=hunter2"
	var text, lines bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("start", "settings", s, "pointer", &s, "one", s.SMTPPassword)
	slog.New(slog.NewJSONHandler(&lines, nil)).Info("start", "settings", s, "pointer", &s, "one", s.SMTPPassword, "all", []config.Secret{s.SecretKey})
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out := text.String() + lines.String() + string(encoded) + s.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T%v"} {
		out += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, &s) + fmt.Sprintf(verb, s.SecretKey) + fmt.Sprintf(verb, s.Database) +
			fmt.Sprintf(verb, []any{s.SMTPPassword}) + fmt.Sprintf(verb, map[string]config.Secret{"x": s.SMTPPassword})
	}
	for _, leak := range []string{"hunter2", "68756e74657232", s.SecretKey.Reveal()} {
		if strings.Contains(out, leak) {
			t.Errorf("%q is printed: %s", leak, out)
		}
	}
	if !strings.Contains(s.String(), "database-url=[redacted]") || !strings.Contains(config.Defaults().String(), `database-url=""`) {
		t.Errorf("whether a secret is set is not printed: %v", s)
	}
}

func TestKey(t *testing.T) {
	s := config.Defaults()
	if key, err := s.Key(); err != nil || !key.IsZero() {
		t.Errorf("without a key: %v", err)
	}
	want := secret.NewKey()
	s.SecretKey = config.Secret(want.Encode())
	if key, err := s.Key(); err != nil || key != want {
		t.Errorf("with a key: %v", err)
	}
}

func TestParseOrigin(t *testing.T) {
	for in, want := range map[string]config.Origin{
		"http://localhost:8080":     "http://localhost:8080",
		"HTTP://LocalHost:80/":      "http://localhost",
		"https://example.com:443":   "https://example.com",
		"https://example.com:8443":  "https://example.com:8443",
		"https://bücher.example":    "https://xn--bcher-kva.example",
		"http://[::1]:3000":         "http://[::1]:3000",
		"http://127.0.0.1":          "http://127.0.0.1",
		"https://example.com:00443": "https://example.com",
	} {
		got, err := config.ParseOrigin(in)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; %s is expected", in, got, err, want)
		}
	}
}
