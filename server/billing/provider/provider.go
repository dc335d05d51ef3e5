// Package provider is what the product needs of a payment provider.
package provider

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
)

// Provider takes payments. Its methods fail with an *Error. Those that change something
// take an idempotency key: repeated with the same one they do it once.
type Provider interface {
	// CreateCustomer makes the customer that a workspace is.
	CreateCustomer(ctx context.Context, installation uuid.UUID, workspace ids.Workspace, key string) (string, error)
	// CreateCheckout makes a page by which a customer buys.
	CreateCheckout(ctx context.Context, c Checkout) (*Page, error)
	// CreatePortalConfiguration makes what customers may do on the provider's pages:
	// change means of payment and their address, and see invoices.
	CreatePortalConfiguration(ctx context.Context, key string) (string, error)
	// CreatePortal makes a page on which a customer does that.
	CreatePortal(ctx context.Context, customer, configuration, returnURL string) (*Page, error)
	// Subscription returns what the provider has; one that it does not have is canceled.
	Subscription(ctx context.Context, id string) (*billing.Mirror, error)
	// Change changes a subscription, and returns what it is now.
	Change(ctx context.Context, id string, c *billing.Change, key string) (*billing.Mirror, error)
	// ReportUsage tells of usage that is charged for, under the report's key: sent again it
	// counts once, and succeeds. It takes no idempotency key.
	ReportUsage(ctx context.Context, r billing.UsageReport) error
	// Credit lowers the invoices of a customer that follow. One that the provider has
	// already it does not give again, whatever the key.
	Credit(ctx context.Context, c *billing.ProviderCredit, key string) error
	// Subscriptions calls each with all that have not ended, of one customer or of all
	// for "", until it fails.
	Subscriptions(ctx context.Context, customer string, each func(*billing.Mirror) error) error
	// Invoice returns an invoice; nil for one that is not of a subscription, or is a
	// draft.
	Invoice(ctx context.Context, id string) (*billing.MirroredInvoice, error)
	// Event reads what the provider sends to the server, if its signature is right.
	Event(body []byte, signature string) (*billing.WebhookEvent, error)
}

// Checkout is what a customer is to buy, and where their browser goes then.
type Checkout struct {
	billing.Purchase
	Name       string // of the plan
	Customer   string
	Items      []billing.Item
	ChargeTime time.Time // when it is charged first; zero for at once
	SuccessURL string
	CancelURL  string
}

// Page is a page of the provider, and until when it can be opened; zero for unknown.
type Page struct {
	URL        string
	ExpireTime time.Time
}

// Error is why the provider did not do what it was asked.
type Error struct {
	// Answered tells that there was an answer.
	Answered bool
	// Repeated tells that the provider repeats the answer to the same idempotency key: only
	// then another one is needed. By another one it could do twice what it is still doing.
	Repeated bool
	// Refused tells that the answer was that it does not do it; else nobody knows whether it
	// did.
	Refused bool
	// Message has no secret in it.
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return "payment provider: " + e.Message }

// Answered reports whether an error is an answer of the provider.
func Answered(err error) bool {
	e := new(Error)
	return errors.As(err, &e) && e.Answered
}

// Repeated reports whether an error is an answer that the provider repeats.
func Repeated(err error) bool {
	e := new(Error)
	return errors.As(err, &e) && e.Repeated
}

// Refused reports whether an error is the provider's answer that it did nothing.
func Refused(err error) bool {
	e := new(Error)
	return errors.As(err, &e) && e.Refused
}
