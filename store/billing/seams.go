package billing

import (
	"time"

	"github.com/logicspike/manager/store/billing/pricing"
)

// Paused is the state of a subscription that lives, costs nothing, and entitles to
// nothing.
const Paused State = "paused"

// InvoiceLine is an amount that is due for something in a time.
type InvoiceLine struct {
	Kind               pricing.Kind
	Plan               string
	Description        string
	Meter              string
	Quantity           int64
	Amount             int64
	Currency           string
	StartTime, EndTime time.Time
	Proration          bool
}
