package stripe

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/stripe/stripe-go/v82/webhook"

	"github.com/logicspike/manager/server/billing/provider"
	"github.com/logicspike/manager/store/billing"
)

// maxID is how long what Stripe calls something may be.
const maxID = 255

// Event implements provider.Provider. Of what Stripe sends only that is read which the
// event is about: whoever follows it asks Stripe for the rest, so it does not matter
// which version of the API the webhook was made for.
func (c *Client) Event(body []byte, signature string) (*billing.WebhookEvent, error) {
	e, err := webhook.ConstructEventWithOptions(body, signature, c.webhookSecret, webhook.ConstructEventOptions{IgnoreAPIVersionMismatch: true})
	if err != nil {
		return nil, &provider.Error{Message: "not an event that it signed: " + err.Error()}
	}
	if e.ID == "" || len(e.ID) > maxID || len(e.Type) > maxID || e.Data == nil {
		return nil, errors.New("stripe: an event without an id")
	}
	out := &billing.WebhookEvent{ID: e.ID, Type: string(e.Type)}
	var object struct {
		ID           string          `json:"id"`
		Subscription json.RawMessage `json:"subscription"`
	}
	if err := json.Unmarshal(e.Data.Raw, &object); err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(out.Type, "customer.subscription."):
		out.Subscription = object.ID
	case out.Type == "checkout.session.completed" || out.Type == "checkout.session.async_payment_succeeded":
		_ = json.Unmarshal(object.Subscription, &out.Subscription) // none in other modes than that of subscriptions
	case strings.HasPrefix(out.Type, "invoice."):
		out.Invoice = object.ID
	}
	if len(out.Subscription) > maxID || len(out.Invoice) > maxID {
		return nil, errors.New("stripe: an id that is too long")
	}
	return out, nil
}
