// Package stripe is Stripe as payment provider.
package stripe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	stripe "github.com/stripe/stripe-go/v82"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/billing/provider"
	"github.com/logicspike/manager/store/billing"
)

// Options are what a client needs.
type Options struct {
	SecretKey     string
	WebhookSecret string
	// URL is where Stripe is. Default: Stripe's own.
	URL    string
	Logger *slog.Logger
}

// callTimeout is how long one call may take.
const callTimeout = 10 * time.Second

// Client calls Stripe. It implements provider.Provider.
type Client struct {
	api           *stripe.Client
	webhookSecret string
}

var _ provider.Provider = (*Client)(nil)

// New returns a client.
//
// Errors: when a key is missing.
func New(o Options) (*Client, error) {
	if o.SecretKey == "" || o.WebhookSecret == "" {
		return nil, errors.New("stripe: a secret key and the secret of its webhook are required")
	}
	config := &stripe.BackendConfig{
		HTTPClient:        &http.Client{Timeout: callTimeout},
		LeveledLogger:     logger{o.Logger},
		MaxNetworkRetries: stripe.Int64(0), // jobs repeat what failed
		EnableTelemetry:   stripe.Bool(false),
	}
	if o.URL != "" {
		config.URL = stripe.String(o.URL)
	}
	return &Client{
		api:           stripe.NewClient(o.SecretKey, stripe.WithBackends(stripe.NewBackendsWithConfig(config))),
		webhookSecret: o.WebhookSecret,
	}, nil
}

// logger passes on what the library says of failures, as details: they are logged by who
// called. The rest has whole answers in it, with pages that open for whoever knows them.
type logger struct{ log *slog.Logger }

func (logger) Debugf(string, ...any)            {}
func (logger) Infof(string, ...any)             {}
func (l logger) Warnf(format string, v ...any)  { l.log.Debug("stripe: " + fmt.Sprintf(format, v...)) }
func (l logger) Errorf(format string, v ...any) { l.Warnf(format, v...) }

// What is bought carries this with it, so that it is recognised.
const (
	metaInstallation = "logicspike_installation"
	metaWorkspace    = "logicspike_workspace"
	metaPlan         = "logicspike_plan"
	metaPlanVersion  = "logicspike_plan_version"
	metaCurrency     = "logicspike_currency"
	metaInterval     = "logicspike_interval"
	metaCredit       = "logicspike_credit"
)

func metadata(p billing.Purchase) map[string]string {
	return map[string]string{
		metaInstallation: p.Installation.String(), metaWorkspace: p.Workspace.String(),
		metaPlan: p.Plan, metaPlanVersion: strconv.Itoa(p.PlanVersion), metaCurrency: p.Currency, metaInterval: p.Interval,
	}
}

// purchase reads what metadata writes; nil for anything else.
func purchase(m map[string]string) *billing.Purchase {
	installation, err := uuid.Parse(m[metaInstallation])
	if err != nil {
		return nil
	}
	workspace, err := ids.Parse[ids.Workspace](m[metaWorkspace])
	if err != nil {
		return nil
	}
	version, err := strconv.Atoi(m[metaPlanVersion])
	if err != nil || version < 1 {
		return nil
	}
	return &billing.Purchase{
		Installation: installation, Workspace: workspace, Plan: m[metaPlan], PlanVersion: version, Currency: m[metaCurrency], Interval: m[metaInterval],
	}
}

// CreateCustomer implements provider.Provider. Stripe is told nothing of the workspace
// but its id: who pays says the rest themselves.
func (c *Client) CreateCustomer(ctx context.Context, installation uuid.UUID, workspace ids.Workspace, key string) (string, error) {
	params := &stripe.CustomerCreateParams{Metadata: map[string]string{metaInstallation: installation.String(), metaWorkspace: workspace.String()}}
	params.SetIdempotencyKey(key)
	customer, err := c.api.V1Customers.Create(ctx, params)
	if err != nil {
		return "", failure(err)
	}
	return customer.ID, nil
}

// CreateCheckout implements provider.Provider. What is bought is in Stripe's flexible billing
// mode: in the classic one usage is not charged once its price is changed.
func (c *Client) CreateCheckout(ctx context.Context, o provider.Checkout) (*provider.Page, error) {
	params := &stripe.CheckoutSessionCreateParams{
		Mode:              stripe.String(stripe.CheckoutSessionModeSubscription),
		Customer:          stripe.String(o.Customer),
		ClientReferenceID: stripe.String(o.Workspace.String()),
		SuccessURL:        stripe.String(o.SuccessURL),
		CancelURL:         stripe.String(o.CancelURL),
		Metadata:          metadata(o.Purchase),
		SubscriptionData: &stripe.CheckoutSessionCreateSubscriptionDataParams{
			Metadata:    metadata(o.Purchase),
			BillingMode: &stripe.CheckoutSessionCreateSubscriptionDataBillingModeParams{Type: stripe.String(stripe.SubscriptionBillingModeTypeFlexible)},
		},
	}
	if !o.ChargeTime.IsZero() {
		params.SubscriptionData.TrialEnd = stripe.Int64(o.ChargeTime.Unix())
	}
	for _, i := range o.Items {
		line := &stripe.CheckoutSessionCreateLineItemParams{Price: stripe.String(i.Price)}
		if !i.Metered {
			if i.Quantity == 0 {
				continue // nothing to pay, which Stripe does not sell
			}
			line.Quantity = stripe.Int64(i.Quantity)
		}
		params.LineItems = append(params.LineItems, line)
	}
	if len(params.LineItems) == 0 {
		// What costs nothing as long as there are no more seats than are included: Stripe sells
		// something only, and what it is to be takes the place of this afterwards.
		params.LineItems = []*stripe.CheckoutSessionCreateLineItemParams{{
			Quantity: stripe.Int64(1),
			PriceData: &stripe.CheckoutSessionCreateLineItemPriceDataParams{
				Currency: stripe.String(strings.ToLower(o.Currency)), UnitAmount: stripe.Int64(0),
				ProductData: &stripe.CheckoutSessionCreateLineItemPriceDataProductDataParams{Name: stripe.String(o.Name)},
				Recurring:   &stripe.CheckoutSessionCreateLineItemPriceDataRecurringParams{Interval: stripe.String(o.Interval)},
			},
		}}
	}
	session, err := c.api.V1CheckoutSessions.Create(ctx, params)
	if err != nil {
		return nil, failure(err)
	}
	return &provider.Page{URL: session.URL, ExpireTime: unix(session.ExpiresAt)}, nil
}

// CreatePortalConfiguration implements provider.Provider.
func (c *Client) CreatePortalConfiguration(ctx context.Context, key string) (string, error) {
	params := &stripe.BillingPortalConfigurationCreateParams{Features: &stripe.BillingPortalConfigurationCreateFeaturesParams{
		CustomerUpdate: &stripe.BillingPortalConfigurationCreateFeaturesCustomerUpdateParams{
			Enabled: stripe.Bool(true), AllowedUpdates: stripe.StringSlice([]string{"address", "email", "name", "phone", "tax_id"}),
		},
		InvoiceHistory:      &stripe.BillingPortalConfigurationCreateFeaturesInvoiceHistoryParams{Enabled: stripe.Bool(true)},
		PaymentMethodUpdate: &stripe.BillingPortalConfigurationCreateFeaturesPaymentMethodUpdateParams{Enabled: stripe.Bool(true)},
		SubscriptionCancel:  &stripe.BillingPortalConfigurationCreateFeaturesSubscriptionCancelParams{Enabled: stripe.Bool(false)},
		SubscriptionUpdate:  &stripe.BillingPortalConfigurationCreateFeaturesSubscriptionUpdateParams{Enabled: stripe.Bool(false)},
	}}
	params.SetIdempotencyKey(key)
	configuration, err := c.api.V1BillingPortalConfigurations.Create(ctx, params)
	if err != nil {
		return "", failure(err)
	}
	return configuration.ID, nil
}

// CreatePortal implements provider.Provider.
func (c *Client) CreatePortal(ctx context.Context, customer, configuration, returnURL string) (*provider.Page, error) {
	session, err := c.api.V1BillingPortalSessions.Create(ctx, &stripe.BillingPortalSessionCreateParams{
		Customer: stripe.String(customer), Configuration: stripe.String(configuration), ReturnURL: stripe.String(returnURL),
	})
	if err != nil {
		return nil, failure(err)
	}
	return &provider.Page{URL: session.URL}, nil
}

// Subscription implements provider.Provider.
func (c *Client) Subscription(ctx context.Context, id string) (*billing.Mirror, error) {
	s, err := c.api.V1Subscriptions.Retrieve(ctx, id, nil)
	if gone(err) {
		return &billing.Mirror{ID: id, Status: billing.StatusCanceled}, nil
	}
	if err != nil {
		return nil, failure(err)
	}
	return mirror(s), nil
}

// Change implements provider.Provider.
func (c *Client) Change(ctx context.Context, id string, change *billing.Change, key string) (*billing.Mirror, error) {
	if change.Cancel {
		params := &stripe.SubscriptionCancelParams{InvoiceNow: stripe.Bool(change.Charge), Prorate: stripe.Bool(false)}
		params.SetIdempotencyKey(key)
		s, err := c.api.V1Subscriptions.Cancel(ctx, id, params)
		if gone(err) {
			return &billing.Mirror{ID: id, Status: billing.StatusCanceled}, nil
		}
		if err != nil {
			return nil, failure(err)
		}
		return mirror(s), nil
	}
	if change.Migrate {
		params := &stripe.SubscriptionMigrateParams{BillingMode: &stripe.SubscriptionMigrateBillingModeParams{Type: stripe.String(stripe.SubscriptionBillingModeTypeFlexible)}}
		params.SetIdempotencyKey(key + ":migrate")
		if _, err := c.api.V1Subscriptions.Migrate(ctx, id, params); err != nil {
			return nil, failure(err)
		}
	}
	params := &stripe.SubscriptionUpdateParams{CancelAtPeriodEnd: change.CancelAtPeriodEnd}
	params.SetIdempotencyKey(key)
	switch {
	case change.Paused == nil:
	case *change.Paused:
		params.PauseCollection = &stripe.SubscriptionUpdatePauseCollectionParams{Behavior: stripe.String(stripe.SubscriptionPauseCollectionBehaviorVoid)}
	default:
		params.AddExtra("pause_collection", "")
	}
	for _, i := range change.Items {
		item := &stripe.SubscriptionUpdateItemParams{}
		if i.ID != "" {
			item.ID = stripe.String(i.ID)
		}
		switch {
		case i.Remove:
			item.Deleted = stripe.Bool(true)
		case i.ID == "":
			item.Price = stripe.String(i.Price)
		}
		if !i.Remove && !i.Metered {
			item.Quantity = stripe.Int64(i.Quantity)
		}
		params.Items = append(params.Items, item)
	}
	s, err := c.api.V1Subscriptions.Update(ctx, id, params)
	if err != nil {
		return nil, failure(err)
	}
	return mirror(s), nil
}

// ReportUsage implements provider.Provider. The meter at Stripe has the event name of ours,
// adds up, and the default keys for customers and values. It is the identifier that has a
// report count once: by Stripe's documentation of meter events it is unique for 24 hours at
// least. An idempotency key would have Stripe repeat a failure for as long; the library makes
// a new one for each call.
func (c *Client) ReportUsage(ctx context.Context, r billing.UsageReport) error {
	params := &stripe.BillingMeterEventCreateParams{
		EventName:  stripe.String(r.Meter),
		Identifier: stripe.String(r.Key()),
		Timestamp:  stripe.Int64(r.ReportTime.Unix()),
		Payload:    map[string]string{"stripe_customer_id": r.Customer, "value": strconv.FormatInt(r.Quantity, 10)},
	}
	if _, err := c.api.V1BillingMeterEvents.Create(ctx, params); err != nil && !duplicate(err) {
		return failure(err)
	}
	return nil
}

// duplicate reports whether Stripe has a meter event of that identifier: it arrived. The code
// is documented; what refuses with a message alone is known, too.
func duplicate(err error) bool {
	e := new(stripe.Error)
	return errors.As(err, &e) && e.HTTPStatusCode == http.StatusBadRequest &&
		(e.Code == "duplicate_meter_event" || strings.Contains(e.Msg, "event already exists with identifier"))
}

// Credit implements provider.Provider. Keys are forgotten after a day: so it looks first
// whether the balance of the customer has the credit.
func (c *Client) Credit(ctx context.Context, credit *billing.ProviderCredit, key string) error {
	amount := amountAtStripe(credit.Amount, credit.Currency)
	if amount == 0 {
		return nil // less than there is money for
	}
	list := &stripe.CustomerBalanceTransactionListParams{Customer: stripe.String(credit.Customer)}
	list.Limit = stripe.Int64(100)
	for b, err := range c.api.V1CustomerBalanceTransactions.List(ctx, list) {
		if err != nil {
			return failure(err)
		}
		if b.Metadata[metaCredit] == credit.ID.String() {
			return nil
		}
	}
	params := &stripe.CustomerBalanceTransactionCreateParams{
		Customer: stripe.String(credit.Customer), Amount: stripe.Int64(-amount), Currency: stripe.String(strings.ToLower(credit.Currency)),
		Description: stripe.String("Unused time"), Metadata: map[string]string{metaCredit: credit.ID.String()},
	}
	params.SetIdempotencyKey(key)
	if _, err := c.api.V1CustomerBalanceTransactions.Create(ctx, params); err != nil {
		return failure(err)
	}
	return nil
}

// Subscriptions implements provider.Provider.
func (c *Client) Subscriptions(ctx context.Context, customer string, each func(*billing.Mirror) error) error {
	params := &stripe.SubscriptionListParams{} // all but those that are canceled
	if customer != "" {
		params.Customer = stripe.String(customer)
	}
	params.Limit = stripe.Int64(100)
	for s, err := range c.api.V1Subscriptions.List(ctx, params) {
		if err != nil {
			return failure(err)
		}
		if err := each(mirror(s)); err != nil {
			return err
		}
	}
	return nil
}

// Invoice implements provider.Provider.
func (c *Client) Invoice(ctx context.Context, id string) (*billing.MirroredInvoice, error) {
	i, err := c.api.V1Invoices.Retrieve(ctx, id, nil)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, failure(err)
	}
	if i.Status == stripe.InvoiceStatusDraft || i.Parent == nil || i.Parent.SubscriptionDetails == nil || i.Parent.SubscriptionDetails.Subscription == nil {
		return nil, nil
	}
	code := strings.ToUpper(string(i.Currency))
	out := &billing.MirroredInvoice{
		ID: i.ID, Subscription: i.Parent.SubscriptionDetails.Subscription.ID, Bought: purchase(i.Parent.SubscriptionDetails.Metadata),
		Number: i.Number, State: string(i.Status),
		Currency: code, Total: amountHere(i.Total, code), IssueTime: unix(i.Created), DueTime: unix(i.DueDate), URL: i.HostedInvoiceURL,
		Period: [2]time.Time{unix(i.PeriodStart), unix(i.PeriodEnd)},
	}
	for _, tax := range i.TotalTaxes {
		out.Tax += amountHere(tax.Amount, code)
	}
	if s := i.StatusTransitions; s != nil {
		out.PaidTime = unix(s.PaidAt)
		if s.FinalizedAt != 0 {
			out.IssueTime = unix(s.FinalizedAt)
		}
	}
	if i.Lines != nil {
		for _, l := range i.Lines.Data {
			line := billing.MirroredLine{Description: l.Description, Quantity: l.Quantity, Amount: amountHere(l.Amount, code)}
			if l.Period != nil {
				line.Period = [2]time.Time{unix(l.Period.Start), unix(l.Period.End)}
			}
			if p := l.Parent; p != nil && p.SubscriptionItemDetails != nil {
				line.Proration = p.SubscriptionItemDetails.Proration
			}
			out.Lines = append(out.Lines, line)
		}
	}
	return out, nil
}

// mirror reads a subscription of Stripe's.
func mirror(s *stripe.Subscription) *billing.Mirror {
	m := &billing.Mirror{
		ID: s.ID, Status: billing.ProviderStatus(s.Status), CancelAtPeriodEnd: s.CancelAtPeriodEnd,
		Paused: s.PauseCollection != nil, Classic: s.BillingMode != nil && s.BillingMode.Type == stripe.SubscriptionBillingModeTypeClassic,
		TrialEnd: unix(s.TrialEnd), CreateTime: unix(s.Created), Bought: purchase(s.Metadata),
	}
	if s.Customer != nil {
		m.Customer = s.Customer.ID
	}
	if s.Items == nil {
		return m
	}
	for _, i := range s.Items.Data {
		item := billing.Item{ID: i.ID, Quantity: i.Quantity}
		if i.Price != nil {
			item.Price = i.Price.ID
			if item.Metered = i.Price.Recurring != nil && i.Price.Recurring.UsageType == stripe.PriceRecurringUsageTypeMetered; item.Metered {
				item.Quantity = 0
			}
		}
		m.Items = append(m.Items, item)
		if start := unix(i.CurrentPeriodStart); m.PeriodStart.IsZero() || start.Before(m.PeriodStart) {
			m.PeriodStart, m.PeriodEnd = start, unix(i.CurrentPeriodEnd)
		}
	}
	slices.SortFunc(m.Items, func(a, b billing.Item) int { return strings.Compare(a.ID, b.ID) })
	return m
}

func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// gone reports whether Stripe has nothing of that id.
func gone(err error) bool {
	e := new(stripe.Error)
	return errors.As(err, &e) && e.HTTPStatusCode == http.StatusNotFound && e.Code == stripe.ErrorCodeResourceMissing
}

// failure says what failed, without what was asked and who asks: of an answer its kind,
// code and request.
func failure(err error) error {
	e := new(stripe.Error)
	if errors.As(err, &e) && e.HTTPStatusCode != 0 {
		return &provider.Error{
			Answered: true, Repeated: repeated(e.HTTPStatusCode), Refused: refused(e.HTTPStatusCode),
			Message: fmt.Sprintf("status %d, %s %s %s (request %s)", e.HTTPStatusCode, e.Type, e.Code, e.Param, e.RequestID),
		}
	}
	return &provider.Error{Message: "no answer: " + err.Error()}
}

// repeated reports whether an answer of a status is repeated for its idempotency key: but
// for that of another call by the same key that is not done yet, and of too many calls.
func repeated(status int) bool {
	return status != http.StatusConflict && status != http.StatusTooManyRequests
}

// refused reports whether an answer's status tells that nothing was done. Of failures of the
// server Stripe says that their result is not known, and of conflicts and too many requests,
// that the same may be asked again: another call may be doing it.
func refused(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status < 500
}
