package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/gen/go/logicspike/audit/v1/auditv1connect"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/gen/go/logicspike/billing/v1/billingv1connect"
	"github.com/logicspike/manager/gen/go/logicspike/identity/v1/identityv1connect"
	"github.com/logicspike/manager/gen/go/logicspike/team/v1/teamv1connect"
	"github.com/logicspike/manager/gen/go/logicspike/tenant/v1/tenantv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/server/audit"
	"github.com/logicspike/manager/server/auth"
	"github.com/logicspike/manager/server/auth/external"
	"github.com/logicspike/manager/server/auth/passkey"
	"github.com/logicspike/manager/server/auth/password"
	"github.com/logicspike/manager/server/auth/token"
	"github.com/logicspike/manager/server/billing"
	"github.com/logicspike/manager/server/billing/payments"
	"github.com/logicspike/manager/server/identity"
	"github.com/logicspike/manager/server/team"
	"github.com/logicspike/manager/server/tenant"
	"github.com/logicspike/manager/server/tenant/dns"
	"github.com/logicspike/manager/store"
)

// ModuleOptions are what the modules need.
type ModuleOptions struct {
	Store *store.Store
	Clock clock.Clock
	// Hasher and Policy are how passwords are kept and judged.
	Hasher *password.Hasher
	Policy password.Policy
	// Leaks knows leaked passwords; nil for none.
	Leaks *password.Leaks
	// Product is what authenticator apps call the product.
	Product string
	// Tokens issues access tokens.
	Tokens *token.Issuer
	// VerifyAfter creates accounts before their address is proven (setting
	// `email-verification` = `after`).
	VerifyAfter bool
	// Permissions are those that the rules of the API name.
	Permissions authz.Catalog
	// PublicURL is where people reach the server: links begin with it.
	PublicURL string
	// PasswordFailures is how many wrong passwords one network, or one device that the
	// account is known on, may give for one account before it has to wait; 0 for any
	// number.
	PasswordFailures int
	// Resolver finds the DNS records that prove domains.
	Resolver *dns.Resolver
	// External are the identity providers, and ReturnURLs where browsers may go from
	// there, beside the public URL.
	External   *external.Providers
	ReturnURLs []string
	// Payments is what the payment provider is asked by.
	Payments *payments.Service
	// Passkeys is the relying party of passkeys; nil where there can be none.
	Passkeys *passkey.Party
	// Unlimited lifts the limits on mails, on wrong passwords from everywhere, on
	// new workspaces and on questions to DNS, which are not settings.
	Unlimited bool
}

// Modules returns the services of all modules.
func Modules(o ModuleOptions) []Service {
	limit := func(n int, window time.Duration) store.Limit {
		if o.Unlimited {
			return store.Limit{}
		}
		return store.PerWindow(n, window)
	}
	backoff := func(b store.Backoff) store.Backoff {
		if o.Unlimited {
			return store.Backoff{}
		}
		return b
	}
	returns := external.ReturnURLs{PublicURL: o.PublicURL, Allowed: o.ReturnURLs}
	mails := mailLimiter{throttle: o.Store.Throttle, site: limit(6, time.Hour), all: limit(20, time.Hour)}
	a := auth.New(auth.Options{
		Store:       o.Store,
		Hasher:      o.Hasher,
		Policy:      o.Policy,
		Tokens:      o.Tokens,
		Leaks:       o.Leaks,
		VerifyAfter: o.VerifyAfter,
		PasswordFailures: store.Backoff{
			Free: o.PasswordFailures, First: 15 * time.Minute / time.Duration(max(1, o.PasswordFailures)), Max: time.Hour, Decay: time.Hour,
		},
		// Nobody is locked out, as NIST SP 800-63B-4, 3.2.2 has it after 100 in a row: the
		// hundredth comes after two days at the earliest, and then there are 24 a day. One
		// network alone stays below what is free: it has 16 in the first hour, and then one
		// an hour, which decays.
		AccountFailures: backoff(store.Backoff{Free: 30, First: time.Second, Max: time.Hour, Decay: time.Hour}),
		// One that goes on settles at one password in two minutes.
		NetworkFailures: backoff(store.Backoff{Free: 50, First: time.Second, Max: 5 * time.Minute, Forget: time.Hour, Decay: 2 * time.Minute}),
		Refusals:        store.PerWindow(10, time.Hour), // a bound of the log, not of callers
		LimitMail:       mails.take,
		External:        o.External,
		ReturnURLs:      returns,
		Passkeys:        o.Passkeys,
		// The same bound for codes that are mailed. Nobody is locked out by it who could
		// not be by the limit of mails.
		EmailCodeFailures: limit(100, 24*time.Hour),
		Product:           o.Product,
	})
	i := identity.New(identity.Options{
		Store: o.Store, Mails: limit(10, time.Hour), LimitMail: mails.take, ClearCookie: auth.ClearCookie,
	})
	t := tenant.New(tenant.Options{
		Store: o.Store, Clock: o.Clock, Create: limit(20, time.Hour), Resolver: o.Resolver, Verify: limit(60, time.Hour),
		Tell: limit(10, 24*time.Hour),
	})
	m := team.New(team.Options{
		Store: o.Store, Clock: o.Clock, Permissions: o.Permissions, PublicURL: o.PublicURL, Passwords: a, IssueSession: auth.IssueSession,
		LimitMail: mails.take, LimitMails: mails.takeEach, Invitations: limit(1000, 24*time.Hour), Requests: limit(20, 24*time.Hour),
		Codes: limit(10, time.Hour), Inviter: limit(2000, 24*time.Hour),
	})
	b := billing.New(billing.Options{Store: o.Store, Payments: o.Payments, ReturnURL: returns.Resolve})
	e := audit.New(o.Store)
	return []Service{
		of(authv1connect.RegistrationServiceName, authv1connect.NewRegistrationServiceHandler)(a),
		of(authv1connect.AuthenticationServiceName, authv1connect.NewAuthenticationServiceHandler)(a),
		of(authv1connect.SessionServiceName, authv1connect.NewSessionServiceHandler)(a),
		of(authv1connect.PasswordServiceName, authv1connect.NewPasswordServiceHandler)(a),
		of(authv1connect.ApiKeyServiceName, authv1connect.NewApiKeyServiceHandler)(a),
		of(authv1connect.ServiceAccountServiceName, authv1connect.NewServiceAccountServiceHandler)(a),
		of(authv1connect.PasskeyServiceName, authv1connect.NewPasskeyServiceHandler)(a),
		of(authv1connect.MfaServiceName, authv1connect.NewMfaServiceHandler)(a),
		of(authv1connect.EmailChallengeServiceName, authv1connect.NewEmailChallengeServiceHandler)(a),
		of(authv1connect.SecurityServiceName, authv1connect.NewSecurityServiceHandler)(a),
		of(authv1connect.TokenServiceName, authv1connect.NewTokenServiceHandler)(a),
		of(authv1connect.OperatorServiceName, authv1connect.NewOperatorServiceHandler)(a),
		of(authv1connect.ExternalIdentityServiceName, authv1connect.NewExternalIdentityServiceHandler)(a),
		of(identityv1connect.UserServiceName, identityv1connect.NewUserServiceHandler)(i),
		of(tenantv1connect.WorkspaceServiceName, tenantv1connect.NewWorkspaceServiceHandler)(t),
		of(tenantv1connect.DomainServiceName, tenantv1connect.NewDomainServiceHandler)(t),
		of(teamv1connect.MembershipServiceName, teamv1connect.NewMembershipServiceHandler)(m),
		of(teamv1connect.InvitationServiceName, teamv1connect.NewInvitationServiceHandler)(m),
		of(teamv1connect.RoleServiceName, teamv1connect.NewRoleServiceHandler)(m),
		of(teamv1connect.AuthorizationServiceName, teamv1connect.NewAuthorizationServiceHandler)(m),
		of(teamv1connect.JoinRequestServiceName, teamv1connect.NewJoinRequestServiceHandler)(m),
		of(billingv1connect.PlanServiceName, billingv1connect.NewPlanServiceHandler)(b),
		of(billingv1connect.SubscriptionServiceName, billingv1connect.NewSubscriptionServiceHandler)(b),
		of(billingv1connect.SeatServiceName, billingv1connect.NewSeatServiceHandler)(b),
		of(billingv1connect.EntitlementServiceName, billingv1connect.NewEntitlementServiceHandler)(b),
		of(billingv1connect.TestClockServiceName, billingv1connect.NewTestClockServiceHandler)(b),
		of(billingv1connect.InvoiceServiceName, billingv1connect.NewInvoiceServiceHandler)(b),
		of(billingv1connect.UsageServiceName, billingv1connect.NewUsageServiceHandler)(b),
		of(billingv1connect.ReconciliationServiceName, billingv1connect.NewReconciliationServiceHandler)(b),
		of(auditv1connect.EventServiceName, auditv1connect.NewEventServiceHandler)(e),
	}
}

// of returns what makes the service of a name, given its generated constructor, from
// an implementation.
func of[H any](name string, handler func(H, ...connect.HandlerOption) (string, http.Handler)) func(H) Service {
	return func(h H) Service {
		return Service{Name: name, Handler: func(o ...connect.HandlerOption) (string, http.Handler) { return handler(h, o...) }}
	}
}

// NetworkLimiter limits the calls of one network to public methods.
type NetworkLimiter struct {
	Store *store.Store
	Limit store.Limit
}

// Take counts one call.
//
// Errors: fault RATE_LIMITED.
func (l NetworkLimiter) Take(ctx context.Context, network string) error {
	return l.Store.Throttle.Take(ctx, "public "+network, l.Limit)
}

// mailLimiter limits the mails to one address that anybody can cause: from one
// site, and from everywhere.
type mailLimiter struct {
	throttle  store.Throttle
	site, all store.Limit
}

// take counts one mail.
//
// Errors: fault RATE_LIMITED.
func (l mailLimiter) take(ctx context.Context, a email.Address) error {
	site := "mail " + a.Key + " " + authz.ClientFrom(ctx).Site()
	if err := l.throttle.Take(ctx, site, l.site); err != nil {
		return err
	}
	if err := l.throttle.Take(ctx, "mail "+a.Key, l.all); err != nil {
		return errors.Join(err, l.throttle.Return(ctx, site, l.site))
	}
	return nil
}

// takeEach is take for many addresses at once, which are different ones. The faults
// are in their order.
func (l mailLimiter) takeEach(ctx context.Context, list []email.Address) ([]error, error) {
	site := authz.ClientFrom(ctx).Site()
	sites, all := make([]string, len(list)), make([]string, len(list))
	for i, a := range list {
		sites[i], all[i] = "mail "+a.Key+" "+site, "mail "+a.Key
	}
	refused, err := l.throttle.TakeEach(ctx, sites, l.site)
	if err != nil {
		return nil, err
	}
	everywhere, err := l.throttle.TakeEach(ctx, all, l.all)
	for i := range refused {
		if err == nil && refused[i] == nil {
			refused[i] = everywhere[i]
		}
	}
	return refused, err
}
