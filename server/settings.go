package server

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"

	"github.com/logicspike/manager/console"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/server/auth/external"
	"github.com/logicspike/manager/server/auth/passkey"
	"github.com/logicspike/manager/server/auth/password"
	"github.com/logicspike/manager/server/auth/token"
	"github.com/logicspike/manager/server/billing/payments"
	"github.com/logicspike/manager/server/billing/stripe"
	"github.com/logicspike/manager/server/captcha"
	"github.com/logicspike/manager/server/pages"
	"github.com/logicspike/manager/server/rpc"
	"github.com/logicspike/manager/server/tenant/dns"
	"github.com/logicspike/manager/store"
)

// Dependencies are what a server is made from beside its settings.
type Dependencies struct {
	Store  *store.Store
	Clock  clock.Clock
	Logger *slog.Logger
	// Traces makes the traces; nil for none.
	Traces trace.TracerProvider
	// Hashing hashes passwords; nil: this process does.
	Hashing *password.Process
	// Mailbox shows the development mailbox under /mailbox/; nil for none.
	Mailbox http.Handler
	// Console is the built browser application; nil for the one that is built into the
	// program.
	Console fs.FS
	// Unlimited lifts the limits that are not settings; see ModuleOptions.
	Unlimited bool
}

// FromSettings returns the server that `manager serve` runs.
//
// Errors: when a setting cannot be used.
func FromSettings(s config.Settings, d Dependencies) (*Server, error) {
	hasher := password.NewHasher(password.Options{
		MemoryKiB:   s.Argon2Memory,
		Iterations:  s.Argon2Iterations,
		Parallelism: s.Argon2Parallelism,
		Concurrency: s.HashLimit(),
		Queue:       s.HashQueue,
		Process:     d.Hashing,
	})
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("db_connections_in_use", "Connections to the database that run something.", func() int32 { return d.Store.Pool().AcquiredConns() }),
		gauge("db_connections_open", "Connections to the database.", func() int32 { return d.Store.Pool().TotalConns() }),
		gauge("password_checks_waiting", "Calls that wait for a password to be hashed.", hasher.Waiting),
	)
	leaks := password.NewLeaks(s.LeakedPasswordsURL, d.Logger)
	metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "password_leak_checks_failed_total", Help: "New passwords that could not be looked up among leaked ones.",
	}, func() float64 { return float64(leaks.Failed()) }))
	var humans rpc.Humans
	if s.CaptchaProvider != config.CaptchaNone {
		var err error
		if humans, err = captcha.New(captcha.Options{
			Provider: string(s.CaptchaProvider), Secret: s.CaptchaSecret.Reveal(), URL: s.CaptchaVerifyURL, Hostnames: s.CaptchaHostnames,
		}); err != nil {
			return nil, err
		}
	}
	origins := make([]string, len(s.AllowedOrigins))
	for i, origin := range s.AllowedOrigins {
		origins[i] = string(origin)
	}
	mounted := map[string]http.Handler{}
	if d.Mailbox != nil {
		mounted["/mailbox/"] = d.Mailbox
	}
	shown := captchaOfPages(s)
	application, err := console.Handler(cmp.Or(d.Console, console.Built()), s.ProductName, captchaOfConsole(shown))
	if err != nil {
		return nil, err
	}
	own := pages.Handler(pages.Options{
		Product: s.ProductName, PasswordMinLength: s.PasswordMinLength, Mailbox: d.Mailbox != nil, Application: application != nil, Captcha: shown,
	})
	for _, pattern := range pages.Patterns() {
		mounted[pattern] = own
	}
	if application != nil {
		delete(mounted, pages.Index)
		mounted["/"] = application
	}
	passkeys, err := passkeyParty(s, d.Logger)
	if err != nil {
		return nil, err
	}
	tokens := token.New(token.Options{Keys: d.Store, Clock: d.Clock, Issuer: string(s.PublicURL), Audiences: s.Audiences()})
	metadata := tokens.Handler(func(ctx context.Context, err error) {
		d.Logger.ErrorContext(ctx, "the signing keys cannot be read", "error", err)
	})
	for _, pattern := range token.Patterns() {
		mounted[pattern] = metadata
	}
	paid, hooks, err := paymentsOf(s, d)
	if err != nil {
		return nil, err
	}
	metrics.MustRegister(paid.Collectors()...)
	permissions, _, err := Permissions()
	if err != nil {
		return nil, err
	}
	providers, err := identityProviders(s, d.Clock)
	if err != nil {
		return nil, err
	}
	return New(Options{
		Services: Modules(ModuleOptions{
			Store:            d.Store,
			Clock:            d.Clock,
			Hasher:           hasher,
			Tokens:           tokens,
			Policy:           password.Policy{MinLength: s.PasswordMinLength, MaxLength: s.PasswordMaxLength, Context: []string{s.ProductName}},
			Leaks:            leaks,
			Permissions:      permissions,
			PublicURL:        string(s.PublicURL),
			Product:          s.ProductName,
			VerifyAfter:      s.EmailVerification == config.VerifyAfter,
			PasswordFailures: s.PasswordFailures,
			Resolver:         dns.New(dns.Options{Server: s.DNSResolver}),
			External:         providers,
			ReturnURLs:       s.ReturnURLs.List(),
			Passkeys:         passkeys,
			Payments:         paid,
			Unlimited:        d.Unlimited,
		}),
		RPC: rpc.Options{
			Sessions:            d.Store,
			Keys:                d.Store,
			Members:             d.Store,
			Operators:           d.Store.Auth,
			Limiter:             NetworkLimiter{d.Store, store.Limit{Burst: s.PublicBurst, Interval: time.Minute / time.Duration(max(1, s.PublicRate))}},
			Humans:              humans,
			Fault:               d.Store.Fault,
			Clock:               d.Clock,
			Logger:              d.Logger,
			ReauthenticationAge: s.ReauthenticationAge,
			RequestTimeout:      s.RequestTimeout,
			TrustedProxies:      append([]netip.Prefix{}, s.TrustedProxies...),
			Registerer:          metrics,
			TracerProvider:      d.Traces,
		},
		Origins: origins,
		Pages:   mounted,
		Beside: map[string]http.Handler{external.CallbackPath + "{provider}": external.Callback{
			Providers: providers, Store: d.Store, Logger: d.Logger, Product: s.ProductName,
		}},
		Hooks:          hooks,
		Payments:       paid,
		Reflection:     s.Reflection,
		Ready:          d.Store.Ready,
		Gatherer:       metrics,
		MaxConnections: s.MaxConnections,
		DrainTimeout:   s.DrainTimeout,
	})
}

// Invoices returns how invoices are issued.
//
// Errors: when the tax is none.
func Invoices(s config.Settings) (store.InvoiceOptions, error) {
	tax, err := store.FixedTax(s.TaxName, s.TaxPercent)
	if err != nil {
		return store.InvoiceOptions{}, fmt.Errorf("tax-percent: %w", err)
	}
	return store.InvoiceOptions{Issuer: s.IssuerText(), Prefix: s.InvoicePrefix, Terms: s.PaymentTerms, Tax: tax}, nil
}

// paymentsOf returns what the payment provider is asked by, and what it tells the server
// by: nothing without one.
func paymentsOf(s config.Settings, d Dependencies) (*payments.Service, map[string]http.Handler, error) {
	o := payments.Options{Store: d.Store, Clock: d.Clock, Logger: d.Logger}
	if s.StripeSecretKey == "" {
		return payments.New(o), nil, nil
	}
	var err error
	if o.Provider, err = stripe.New(stripe.Options{
		SecretKey: s.StripeSecretKey.Reveal(), WebhookSecret: s.StripeWebhookSecret.Reveal(), URL: s.StripeURL, Logger: d.Logger,
	}); err != nil {
		return nil, nil, err
	}
	if s.StripeLive() {
		d.Logger.Info("payments are taken by Stripe")
	} else {
		d.Logger.Warn("payments are tried out at Stripe: the key is one for tests, and nobody is charged")
	}
	service := payments.New(o)
	return service, map[string]http.Handler{
		"POST " + payments.WebhookPath: service,
		// Not a page of the console, which has all other paths.
		payments.WebhookPath: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		}),
	}, nil
}

// captchaOfPages returns the CAPTCHA that the server's own pages and the console show; nil
// for none.
func captchaOfPages(s config.Settings) *pages.Captcha {
	if s.CaptchaProvider == config.CaptchaNone || s.CaptchaSiteKey == "" {
		return nil
	}
	return &pages.Captcha{Provider: string(s.CaptchaProvider), SiteKey: s.CaptchaSiteKey}
}

// captchaOfConsole returns the same for the console.
func captchaOfConsole(c *pages.Captcha) *console.Captcha {
	if c == nil {
		return nil
	}
	return &console.Captcha{Script: c.Script(), Object: c.Object(), SiteKey: c.SiteKey, Policy: c.Policy}
}

// passkeyParty returns the relying party of passkeys; nil where there can be none.
//
// Errors: when the settings ask for what the public URL, which is known by now, does
// not allow.
func passkeyParty(s config.Settings, log *slog.Logger) (*passkey.Party, error) {
	id, origins := s.PasskeyParty()
	switch {
	case len(origins) < len(s.PasskeyOrigins):
		return nil, fmt.Errorf("passkey-origins: one is not of %q, of which passkeys are: see passkey-rp-id", id)
	case id == "" && s.PasskeyRPID != "":
		return nil, fmt.Errorf("passkey-rp-id: no page that can have passkeys is of %s", s.PasskeyRPID)
	case id == "":
		log.Warn("there are no passkeys: public-url needs https and a host name", "public-url", s.PublicURL)
		return nil, nil
	}
	return passkey.New(passkey.Options{ID: id, Name: s.ProductName, Origins: origins, Timeout: store.ChallengeLifetime})
}

func gauge(name, help string, value func() int32) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
}

// identityProviders returns the identity providers of the settings.
func identityProviders(s config.Settings, c clock.Clock) (*external.Providers, error) {
	list, err := s.IdentityProviders.Parse()
	if err != nil {
		return nil, err
	}
	o := external.Options{PublicURL: string(s.PublicURL), Clock: c}
	for _, p := range list {
		o.Providers = append(o.Providers, external.Config{
			Name: p.Name, DisplayName: p.DisplayName, Kind: external.Kind(p.Preset), Issuer: p.Issuer,
			ClientID: p.ClientID, ClientSecret: p.ClientSecret.Reveal(), Scopes: p.Scopes, EmailDomains: p.EmailDomains,
			TeamID: p.TeamID, KeyID: p.KeyID, PrivateKey: p.PrivateKey.Reveal(),
		})
	}
	return external.New(o)
}
