package stripe_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/server"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/billing/provider"
	"github.com/logicspike/manager/server/billing/stripe"
	"github.com/logicspike/manager/store/billing"
)

// described is Stripe's own description of its API, which refuses what it does not
// know.
func described(t *testing.T) (url string, calls func() []string) {
	t.Helper()
	stub, err := description()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var list []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		list = append(list, r.Method+" "+r.URL.Path)
		mu.Unlock()
		stub.HandleRequest(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

var description = sync.OnceValues(func() (*server.StubServer, error) {
	spec, err := server.LoadSpec(embedded.OpenAPISpec, "")
	if err != nil {
		return nil, err
	}
	fixtures, err := server.LoadFixtures(embedded.OpenAPIFixtures, "")
	if err != nil {
		return nil, err
	}
	// The library is made for an older version of the API (stripe.APIVersion) than the
	// description: what the product asks for is the same in both.
	return server.NewStubServer(fixtures, spec, false, false)
})

func newClient(t *testing.T, url string) *stripe.Client {
	t.Helper()
	c, err := stripe.New(stripe.Options{SecretKey: "sk_test_123", WebhookSecret: "whsec_123", URL: url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEveryCallIsOneThatStripeKnows makes each call in each of its forms.
func TestEveryCallIsOneThatStripeKnows(t *testing.T) {
	url, calls := described(t)
	c := newClient(t, url)
	ctx := t.Context()
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	workspace := ids.New[ids.Workspace]()
	id, err := c.CreateCustomer(ctx, uuid.New(), workspace, "key")
	ok("a customer", err)
	if id == "" {
		t.Error("a customer without an id")
	}
	for what, charge := range map[string]time.Time{"at once": {}, "later": time.Now().Add(72 * time.Hour)} {
		_, err := c.CreateCheckout(ctx, provider.Checkout{
			Purchase: billing.Purchase{Installation: uuid.New(), Workspace: workspace, Plan: "team", PlanVersion: 1, Currency: "EUR", Interval: "month"},
			Customer: "cus_123", ChargeTime: charge, SuccessURL: "https://example.com/a", CancelURL: "https://example.com/b",
			Items: []billing.Item{{Price: "price_1", Quantity: 1}, {Price: "price_2", Quantity: 3}, {Price: "price_3", Metered: true}, {Price: "price_4"}},
		})
		ok("a page that charges "+what, err)
	}
	_, err = c.CreateCheckout(ctx, provider.Checkout{
		Purchase: billing.Purchase{Installation: uuid.New(), Workspace: workspace, Plan: "team", PlanVersion: 1, Currency: "EUR", Interval: "month"},
		Name:     "Team", Customer: "cus_123", SuccessURL: "https://example.com/a", CancelURL: "https://example.com/b",
		Items: []billing.Item{{Price: "price_1"}},
	})
	ok("a page for seats that are included", err)
	ok("a credit", c.Credit(ctx, &billing.ProviderCredit{ID: uuid.New(), Customer: "cus_123", Currency: "EUR", Amount: 1234}, "key"))
	configuration, err := c.CreatePortalConfiguration(ctx, "key")
	ok("what the portal lets do", err)
	_, err = c.CreatePortal(ctx, "cus_123", configuration, "https://example.com")
	ok("the portal", err)
	m, err := c.Subscription(ctx, "sub_123")
	ok("a subscription", err)
	if m.ID != "sub_123" || m.Status == "" || m.Customer == "" || len(m.Items) == 0 || m.Items[0].Price == "" || m.PeriodStart.IsZero() || m.PeriodEnd.IsZero() {
		t.Errorf("a subscription is read as %+v", m)
	}
	yes, no := true, false
	for what, change := range map[string]billing.Change{
		"the end":       {Cancel: true},
		"a charged end": {Cancel: true, Charge: true},
		"the end later": {CancelAtPeriodEnd: &yes, Paused: &yes},
		"no end":        {CancelAtPeriodEnd: &no, Paused: &no},
		"items": {Items: []billing.ItemChange{
			{Item: billing.Item{ID: "si_1", Price: "price_1", Quantity: 0}}, {Item: billing.Item{Price: "price_2", Quantity: 4}},
			{Item: billing.Item{Price: "price_3", Metered: true}}, {Item: billing.Item{ID: "si_4", Price: "price_4"}, Remove: true},
		}},
		"the first seats": {Items: []billing.ItemChange{
			{Item: billing.Item{Price: "price_1"}}, {Item: billing.Item{ID: "si_1", Price: "price_2"}, Remove: true},
		}},
		"items with usage": {Migrate: true, Items: []billing.ItemChange{
			{Item: billing.Item{Price: "price_5", Metered: true}}, {Item: billing.Item{ID: "si_3", Price: "price_3", Metered: true}, Remove: true},
		}},
	} {
		_, err := c.Change(ctx, "sub_123", &change, "key")
		ok(what, err)
	}
	for _, customer := range []string{"", "cus_123"} {
		found := 0
		ok("all subscriptions", c.Subscriptions(ctx, customer, func(*billing.Mirror) error { found++; return nil }))
		if found == 0 {
			t.Error("no subscription is listed")
		}
	}
	ok("usage", c.ReportUsage(ctx, billing.UsageReport{
		WorkspaceID: workspace, Customer: "cus_123", Meter: "api_calls", PeriodStartTime: time.Now(), Reports: 1, Quantity: 12, ReportTime: time.Now(),
	}))
	_, err = c.Invoice(ctx, "in_123")
	ok("an invoice", err)
	got := calls()
	slices.Sort(got)
	if want := strings.Fields(`
		DELETE/v1/subscriptions/sub_123 GET/v1/customers/cus_123/balance_transactions GET/v1/invoices/in_123 GET/v1/subscriptions GET/v1/subscriptions/sub_123
		POST/v1/billing/meter_events POST/v1/billing_portal/configurations POST/v1/billing_portal/sessions POST/v1/checkout/sessions POST/v1/customers
		POST/v1/customers/cus_123/balance_transactions
		POST/v1/subscriptions/sub_123 POST/v1/subscriptions/sub_123/migrate`); !slices.Equal(strings.Fields(strings.ReplaceAll(strings.Join(slices.Compact(got), "\n"), " ", "")), want) {
		t.Errorf("the calls were %v", slices.Compact(got))
	}
}

// TestTheDescriptionRefusesWhatItDoesNotKnow: the test above can fail.
func TestTheDescriptionRefusesWhatItDoesNotKnow(t *testing.T) {
	url, _ := described(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/subscriptions/sub_123", strings.NewReader("pause_collection[behavior]=nonsense"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sk_test_123")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusBadRequest {
		t.Errorf("nonsense: %v, %v", res, err)
	}
}

// TestWhatFailsSaysWhetherStripeAnswered, and whether it repeats that and by that did
// nothing, without what was asked and by which key.
func TestWhatFailsSaysWhetherStripeAnswered(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Stripe-Client-Telemetry") != "" {
			t.Error("it tells how long its calls take")
		}
		status, err := strconv.Atoi(path.Base(r.URL.Path))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"type": "card_error", "code": "card_declined", "message": "secret"}})
	}))
	defer srv.Close()
	var log strings.Builder
	c, err := stripe.New(stripe.Options{SecretKey: "sk_test_hidden", WebhookSecret: "whsec_hidden", URL: srv.URL, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	for id, is := range map[string]struct{ answered, repeated, refused bool }{
		"cut": {false, false, false}, "400": {true, true, true}, "401": {true, true, true}, "402": {true, true, true}, "403": {true, true, true},
		"404": {true, true, true}, "408": {true, true, false}, "409": {true, false, false}, "429": {true, false, false}, "500": {true, true, false},
		"502": {true, true, false}, "503": {true, true, false}, "504": {true, true, false},
	} {
		_, err := c.Subscription(context.Background(), id)
		if err == nil || provider.Answered(err) != is.answered || provider.Repeated(err) != is.repeated || provider.Refused(err) != is.refused ||
			strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", id, err)
		}
	}
	if strings.Contains(log.String(), "hidden") {
		t.Errorf("the log tells the key: %s", log.String())
	}
}

// TestUsageThatStripeHasAlreadyIsReported: that it refuses an identifier as known proves that
// the report arrived, with its code or by its message alone. Nothing else does.
func TestUsageThatStripeHasAlreadyIsReported(t *testing.T) {
	var status int
	var code, message string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"type": "invalid_request_error", "code": code, "message": message}})
	}))
	defer srv.Close()
	c := newClient(t, srv.URL)
	for _, test := range []struct {
		status        int
		code, message string
		arrived       bool
	}{
		{400, "duplicate_meter_event", "A meter event with a duplicate identifier has already been submitted.", true},
		{400, "", "An event already exists with identifier a:b.", true},
		{400, "parameter_invalid", "No meter has the event name.", false},
		{409, "", "An event already exists with identifier a:b.", false},
	} {
		status, code, message = test.status, test.code, test.message
		if err := c.ReportUsage(t.Context(), billing.UsageReport{Customer: "cus_1", Meter: "calls", Quantity: 1}); (err == nil) != test.arrived {
			t.Errorf("%+v: %v", test, err)
		}
	}
}
