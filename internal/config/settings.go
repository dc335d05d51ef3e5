package config

import (
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/logicspike/manager/internal/secret"
)

// Settings are the settings of `manager serve`. The tags are read by kong.
type Settings struct {
	Listen         string         `group:"Addresses" name:"listen" env:"MANAGER_LISTEN" default:"localhost:8080" placeholder:"HOST:PORT" help:"Where the API, health and reflection are served. Default: localhost:8080."`
	AdminListen    string         `group:"Addresses" name:"admin-listen" env:"MANAGER_ADMIN_LISTEN" default:"localhost:9090" placeholder:"HOST:PORT" help:"Where metrics and profiles are served; keep it private. Empty: nowhere. Default: localhost:9090."`
	PublicURL      Origin         `group:"Addresses" name:"public-url" env:"MANAGER_PUBLIC_URL" placeholder:"URL" help:"Where people reach this server: scheme and host, without a path. Links in mail begin with it. Default: http:// and the address of listen."`
	AllowedOrigins []Origin       `group:"Addresses" name:"allowed-origins" env:"MANAGER_ALLOWED_ORIGINS" placeholder:"URL,..." help:"Web pages of other origins that may call the API from a browser, each as scheme://host[:port]. Default: none."`
	TrustedProxies []netip.Prefix `group:"Addresses" name:"trusted-proxies" env:"MANAGER_TRUSTED_PROXIES" placeholder:"CIDR,..." help:"Networks of the proxies whose word on the client's address (X-Forwarded-For) is taken. Default: none."`
	Reflection     bool           `group:"Addresses" name:"reflection" env:"MANAGER_REFLECTION" default:"true" negatable:"" help:"Serve gRPC reflection. Default: true."`
	DNSResolver    string         `group:"Addresses" name:"dns-resolver" env:"MANAGER_DNS_RESOLVER" placeholder:"HOST:PORT" help:"DNS server that is asked for the records of workspaces' domains. Default: those of this machine."`

	Database               `embed:""`
	DatabaseMaxConnections int    `group:"Data" name:"database-max-connections" env:"MANAGER_DATABASE_MAX_CONNECTIONS" default:"20" placeholder:"N" help:"Connections to the database at most. Default: 20."`
	SecretKey              Secret `group:"Data" name:"secret-key" env:"MANAGER_SECRET_KEY" placeholder:"BASE64" help:"Key of 32 random bytes in base64, the same for all servers on one database. Prefer the variable: other users of the machine can see flags. Default: the file secret.key in the data folder, made at the first start."`

	EmailVerification   EmailVerification `group:"Accounts" name:"email-verification" env:"MANAGER_EMAIL_VERIFICATION" default:"before" placeholder:"before|after" help:"Whether an e-mail address is proven before an account begins, or after. Default: before."`
	SessionIdleTimeout  time.Duration     `group:"Accounts" name:"session-idle-timeout" env:"MANAGER_SESSION_IDLE_TIMEOUT" default:"336h" placeholder:"DURATION" help:"A session ends after this time without use. Default: 336h (14 days)."`
	SessionLifetime     time.Duration     `group:"Accounts" name:"session-lifetime" env:"MANAGER_SESSION_LIFETIME" default:"2160h" placeholder:"DURATION" help:"A session ends after this time in any case. Default: 2160h (90 days)."`
	ReauthenticationAge time.Duration     `group:"Accounts" name:"reauthentication-age" env:"MANAGER_REAUTHENTICATION_AGE" default:"10m" placeholder:"DURATION" help:"Sensitive calls need a sign-in or reauthentication no older than this. Default: 10m."`
	DeletionGrace       time.Duration     `group:"Accounts" name:"deletion-grace" env:"MANAGER_DELETION_GRACE" default:"336h" placeholder:"DURATION" help:"How long a deleted workspace can be brought back before it is purged. 0: purged at once. Default: 336h (14 days)."`

	PasskeyRPID        string            `group:"Passkeys" name:"passkey-rp-id" env:"MANAGER_PASSKEY_RP_ID" placeholder:"DOMAIN" help:"Domain of which passkeys are; those of another one no longer work once it changes. A parent of public-url's host lets its other hosts use them, too. Default: the host of public-url."`
	PasskeyOrigins     []Origin          `group:"Passkeys" name:"passkey-origins" env:"MANAGER_PASSKEY_ORIGINS" placeholder:"URL,..." help:"Web pages that may use passkeys, each as scheme://host[:port], all of passkey-rp-id or below it. Default: public-url, and those of allowed-origins that are."`
	TokenAudiences     []string          `group:"Tokens" name:"token-audiences" env:"MANAGER_TOKEN_AUDIENCES" placeholder:"AUDIENCE,..." help:"Services that access tokens are issued for, as they name themselves, such as https://api.example.com; the first is the default. Default: the public URL."`
	SigningKeyLifetime time.Duration     `group:"Tokens" name:"signing-key-lifetime" env:"MANAGER_SIGNING_KEY_LIFETIME" default:"720h" placeholder:"DURATION" help:"How long a key signs access tokens before the next one does. Default: 720h (30 days)."`
	IdentityProviders  IdentityProviders `group:"Accounts" name:"identity-providers" env:"MANAGER_IDENTITY_PROVIDERS" placeholder:"NAME?KEY=VALUE&..." help:"Identity providers by which people can sign in, with white space between them, each as google?client-id=ID&client-secret=SECRET; the README lists the keys. May be repeated. Prefer the variable: other users of the machine can see flags. Default: none."`
	ReturnURLs         ReturnURLs        `group:"Accounts" name:"return-urls" env:"MANAGER_RETURN_URLS" placeholder:"URL,..." help:"Where browsers may go after a sign-in by an identity provider, exactly, beside any path on public-url. Default: none."`

	PasswordMinLength int    `group:"Passwords" name:"password-min-length" env:"MANAGER_PASSWORD_MIN_LENGTH" default:"12" placeholder:"N" help:"Characters that a new password has at least. Default: 12."`
	PasswordMaxLength int    `group:"Passwords" name:"password-max-length" env:"MANAGER_PASSWORD_MAX_LENGTH" default:"128" placeholder:"N" help:"Characters that a new password has at most. Default: 128."`
	Argon2Memory      uint32 `group:"Passwords" name:"argon2-memory" env:"MANAGER_ARGON2_MEMORY" default:"19456" placeholder:"KIB" help:"Memory for one password hash, in KiB. Default: 19456 (19 MiB)."`
	Argon2Iterations  uint32 `group:"Passwords" name:"argon2-iterations" env:"MANAGER_ARGON2_ITERATIONS" default:"2" placeholder:"N" help:"Passes over the memory for one password hash. Default: 2."`
	Argon2Parallelism uint8  `group:"Passwords" name:"argon2-parallelism" env:"MANAGER_ARGON2_PARALLELISM" default:"1" placeholder:"N" help:"Threads for one password hash. Default: 1."`
	HashConcurrency   int    `group:"Passwords" name:"hash-concurrency" env:"MANAGER_HASH_CONCURRENCY" default:"0" placeholder:"N" help:"Passwords hashed at once. 0: one less than there are processor cores, at least 1. Default: 0."`
	HashQueue         int    `group:"Passwords" name:"hash-queue" env:"MANAGER_HASH_QUEUE" default:"32" placeholder:"N" help:"Calls that wait for a password hash before further ones are refused as OVERLOADED. Default: 32."`

	LeakedPasswordsURL string `group:"Passwords" name:"leaked-passwords-url" env:"MANAGER_LEAKED_PASSWORDS_URL" placeholder:"URL" help:"Service of leaked passwords that new ones are looked up in, by the protocol of Have I Been Pwned, such as https://api.pwnedpasswords.com/range: it is told 5 of the 40 digits of a password's SHA-1. Default: none."`

	CaptchaProvider  CaptchaProvider `group:"Limits" name:"captcha-provider" env:"MANAGER_CAPTCHA_PROVIDER" default:"none" placeholder:"none|turnstile|hcaptcha|recaptcha" help:"Whose CAPTCHA people solve before they register, sign in by password or mail, or ask for a new password. Default: none."`
	CaptchaSecret    Secret          `group:"Limits" name:"captcha-secret" env:"MANAGER_CAPTCHA_SECRET" placeholder:"SECRET" help:"The server's secret at the CAPTCHA's provider. Prefer the variable: other users of the machine can see flags. Required with captcha-provider."`
	CaptchaSiteKey   string          `group:"Limits" name:"captcha-site-key" env:"MANAGER_CAPTCHA_SITE_KEY" placeholder:"KEY" help:"The public key of the site at the CAPTCHA's provider, by which the console and the server's own pages show the CAPTCHA; of reCAPTCHA one of version 2. Default: none; where it is needed, these pages ask people to sign in to the application first."`
	CaptchaVerifyURL string          `group:"Limits" name:"captcha-verify-url" env:"MANAGER_CAPTCHA_VERIFY_URL" placeholder:"URL" help:"Where answers of the CAPTCHA are checked, by the protocol siteverify. Default: the provider's."`
	CaptchaHostnames []string        `group:"Limits" name:"captcha-hostnames" env:"MANAGER_CAPTCHA_HOSTNAMES" placeholder:"HOST,..." help:"Hosts whose pages a CAPTCHA may be solved on. Default: those that are set at the provider."`

	PublicRate       int           `group:"Limits" name:"public-rate" env:"MANAGER_PUBLIC_RATE" default:"60" placeholder:"N" help:"Calls per minute of one client network to methods that need no sign-in. Default: 60."`
	PublicBurst      int           `group:"Limits" name:"public-burst" env:"MANAGER_PUBLIC_BURST" default:"30" placeholder:"N" help:"Calls of one client network to methods that need no sign-in that may come at once. Default: 30."`
	PasswordFailures int           `group:"Limits" name:"password-failures" env:"MANAGER_PASSWORD_FAILURES" default:"10" placeholder:"N" help:"Wrong passwords of one client network, or one known device, for one account before it has to wait: at first 15 minutes divided by this number, then twice as long each time, up to an hour. Default: 10."`
	MaxConnections   int           `group:"Limits" name:"max-connections" env:"MANAGER_MAX_CONNECTIONS" default:"4096" placeholder:"N" help:"Client connections at once. Default: 4096."`
	RequestTimeout   time.Duration `group:"Limits" name:"request-timeout" env:"MANAGER_REQUEST_TIMEOUT" default:"15s" placeholder:"DURATION" help:"A call ends after this time at the latest. Default: 15s."`
	DrainTimeout     time.Duration `group:"Limits" name:"drain-timeout" env:"MANAGER_DRAIN_TIMEOUT" default:"20s" placeholder:"DURATION" help:"How long running calls may go on when the server is told to end. Default: 20s."`

	PlansFile string `group:"Billing" name:"plans-file" env:"MANAGER_PLANS_FILE" placeholder:"FILE" help:"File of the plans that are offered (YAML), which is applied at each start. Default: those that were applied last by manager plans apply; at first one that costs nothing."`
	TestClock bool   `group:"Billing" name:"test-clock" env:"MANAGER_TEST_CLOCK" default:"false" help:"Let operators move the time forward, to watch trials, renewals and deletions: for trying out alone. Default: false."`

	DunningReminders []time.Duration `group:"Billing" name:"dunning-reminders" env:"MANAGER_DUNNING_REMINDERS" default:"72h,168h" placeholder:"DURATION,..." help:"When the owners of a workspace are reminded of an overdue invoice, after the mail that tells them at once. Default: 72h,168h (3 and 7 days)."`
	DunningGrace     time.Duration   `group:"Billing" name:"dunning-grace" env:"MANAGER_DUNNING_GRACE" default:"336h" placeholder:"DURATION" help:"How long an invoice may be overdue before the subscription is paused. Default: 336h (14 days)."`
	InvoiceIssuer    string          `group:"Billing" name:"invoice-issuer" env:"MANAGER_INVOICE_ISSUER" placeholder:"TEXT" help:"Who issues invoices, as it is printed on them: name and address, in lines that a line break or a | separates. Default: the product's name."`
	InvoicePrefix    string          `group:"Billing" name:"invoice-prefix" env:"MANAGER_INVOICE_PREFIX" default:"INV-" placeholder:"TEXT" help:"What the numbers of invoices begin with; six digits or more follow. Another one begins to count anew. Default: INV-."`
	PaymentTerms     time.Duration   `group:"Billing" name:"payment-terms" env:"MANAGER_PAYMENT_TERMS" default:"336h" placeholder:"DURATION" help:"How long after its issue an invoice is due. Default: 336h (14 days)."`
	TaxName          string          `group:"Billing" name:"tax-name" env:"MANAGER_TAX_NAME" placeholder:"NAME" help:"The tax that is added to invoices, as it is printed, such as VAT. Default: none."`
	TaxPercent       string          `group:"Billing" name:"tax-percent" env:"MANAGER_TAX_PERCENT" placeholder:"NUMBER" help:"Its rate in percent, such as 19 or 7.7. Required with tax-name."`

	StripeSecretKey     Secret `group:"Billing" name:"stripe-secret-key" env:"MANAGER_STRIPE_SECRET_KEY" placeholder:"KEY" help:"Secret or restricted key of the Stripe account that takes payments: with one for tests (sk_test_, rk_test_) nobody is charged. Prefer the variable: other users of the machine can see flags. Default: none; nothing is sold by Stripe."`
	StripeWebhookSecret Secret `group:"Billing" name:"stripe-webhook-secret" env:"MANAGER_STRIPE_WEBHOOK_SECRET" placeholder:"SECRET" help:"Signing secret of Stripe's webhook for public-url + /webhooks/stripe. Prefer the variable: other users of the machine can see flags. Required with stripe-secret-key."`
	StripeURL           string `group:"Billing" name:"stripe-url" env:"MANAGER_STRIPE_URL" placeholder:"URL" help:"Where Stripe's API is, such as that of a stand-in for tests. Default: Stripe's own."`

	SMTPHost     string  `group:"Mail" name:"smtp-host" env:"MANAGER_SMTP_HOST" placeholder:"HOST" help:"Server that mail is sent by. Default: none; mail goes to a mailbox for development, which opens in browsers of this machine only."`
	SMTPPort     int     `group:"Mail" name:"smtp-port" env:"MANAGER_SMTP_PORT" default:"587" placeholder:"PORT" help:"Its port. Default: 587."`
	SMTPUsername string  `group:"Mail" name:"smtp-username" env:"MANAGER_SMTP_USERNAME" placeholder:"NAME" help:"User name there. Default: no sign-in."`
	SMTPPassword Secret  `group:"Mail" name:"smtp-password" env:"MANAGER_SMTP_PASSWORD" placeholder:"PASSWORD" help:"Password there. Prefer the variable: other users of the machine can see flags."`
	SMTPTLS      SMTPTLS `group:"Mail" name:"smtp-tls" env:"MANAGER_SMTP_TLS" default:"mandatory" placeholder:"mandatory|opportunistic|none" help:"Whether mail is sent only over TLS, over TLS where it is offered, or never over TLS. Default: mandatory."`
	SMTPFrom     string  `group:"Mail" name:"smtp-from" env:"MANAGER_SMTP_FROM" placeholder:"ADDRESS" help:"Address that mail comes from. Required with smtp-host."`
	SMTPFromName string  `group:"Mail" name:"smtp-from-name" env:"MANAGER_SMTP_FROM_NAME" placeholder:"NAME" help:"Name that mail comes from. Default: the product's name."`
	ProductName  string  `group:"Mail" name:"product-name" env:"MANAGER_PRODUCT_NAME" default:"LogicSpike Manager" placeholder:"NAME" help:"What mail and pages call the product. Default: LogicSpike Manager."`

	LogLevel     LogLevel  `group:"Observation" name:"log-level" env:"MANAGER_LOG_LEVEL" default:"info" placeholder:"debug|info|warn|error" help:"The least important lines to log. Default: info."`
	LogFormat    LogFormat `group:"Observation" name:"log-format" env:"MANAGER_LOG_FORMAT" default:"text" placeholder:"text|json" help:"How lines are logged. Default: text."`
	OTelEndpoint string    `group:"Observation" name:"otel-endpoint" env:"MANAGER_OTEL_ENDPOINT" placeholder:"URL" help:"OpenTelemetry collector that traces are sent to, by OTLP over HTTP. Default: none."`
}

// Database says which database to use.
type Database struct {
	DataDir     string `group:"Data" name:"data-dir" env:"MANAGER_DATA_DIR" default:"manager-data" placeholder:"FOLDER" help:"Folder for the private database server and the secret key. Made when missing. Default: manager-data."`
	DatabaseURL Secret `group:"Data" name:"database-url" env:"MANAGER_DATABASE_URL" placeholder:"URL" help:"PostgreSQL database to use, postgres://user:password@host:port/name. Prefer the variable: other users of the machine can see flags. Default: a private server in the data folder."`
}

// Private reports whether the database is a private server in the data folder.
func (d Database) Private() bool { return d.DatabaseURL == "" }

// HashLimit returns how many passwords are hashed at once.
func (s Settings) HashLimit() int {
	if s.HashConcurrency > 0 {
		return s.HashConcurrency
	}
	return max(1, runtime.GOMAXPROCS(0)-1)
}

// Audiences returns the services that access tokens are issued for, at least one.
func (s Settings) Audiences() []string {
	if len(s.TokenAudiences) > 0 {
		return s.TokenAudiences
	}
	return []string{string(s.PublicURL)}
}

// StripeLive reports whether the key of Stripe is one by which people are charged.
func (s Settings) StripeLive() bool {
	key := s.StripeSecretKey.Reveal()
	return strings.HasPrefix(key, "sk_live_") || strings.HasPrefix(key, "rk_live_")
}

// FromName returns the name that mail comes from.
func (s Settings) FromName() string {
	if s.SMTPFromName != "" {
		return s.SMTPFromName
	}
	return s.ProductName
}

// IssuerText returns who issues invoices: lines of name and address.
func (s Settings) IssuerText() string {
	var lines []string
	for line := range strings.FieldsFuncSeq(s.InvoiceIssuer, func(r rune) bool { return r == '\n' || r == '|' }) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return s.ProductName
	}
	return strings.Join(lines, "\n")
}

// Key returns the setting secret-key, or the zero Key if it is not set. The error
// does not tell the value.
func (s Settings) Key() (secret.Key, error) {
	if s.SecretKey == "" {
		return secret.Key{}, nil
	}
	return secret.ParseKey(s.SecretKey.Reveal())
}
