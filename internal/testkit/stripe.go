package testkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v82/webhook"

	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/config"
)

// Secrets of a Stripe account for tests.
const (
	StripeKey           = "sk_test_logicspikefake"
	StripeWebhookSecret = "whsec_logicspikefake"
)

// StripeSub is a subscription at the stand-in for Stripe.
type StripeSub struct {
	ID, Customer, Status string
	AtPeriodEnd, Paused  bool
	Flexible             bool // its billing mode; else it is the classic one
	Prorated             bool // more is due for the period than was charged for it
	Items                []StripeItem
	Metadata             map[string]string
	Start, End, TrialEnd time.Time
}

// StripeItem is a part of it.
type StripeItem struct {
	ID, Price string
	Quantity  int64
}

// StripeUsage is usage that it was told of.
type StripeUsage struct {
	Customer, Meter string
	Value           int64
	Time            time.Time
	// Charged is the price by which it is charged, "nothing" when it never is, and "" for as
	// long as that is open.
	Charged string
}

// Charge is money that was taken.
type Charge struct {
	Sub  string
	Time time.Time
}

// Stripe stands in for Stripe: it keeps customers, subscriptions, pages and invoices,
// does what is asked with the same Idempotency-Key once, and can fail. Prices whose id
// has "usage" in it are metered, of which a subscription has one.
type Stripe struct {
	URL   string
	Clock clock.Clock

	mu        sync.Mutex
	next      int
	requests  int
	dieAt     int  // the request that is cut; 0 for none
	after     bool // only once it had its effect
	down      bool
	status    int  // of all answers; 0 for what they are
	late      bool // only once what was asked is done
	answered  map[string]answered
	customers map[string]map[string]string
	subs      map[string]*StripeSub
	sessions  map[string]url.Values
	invoices  map[string]map[string]any
	usage     map[string]StripeUsage // by identifier
	balances  map[string][]map[string]any
	charges   []Charge
	effects   []string
}

type answered struct {
	request string
	status  int
	body    []byte
}

// NewStripe starts a stand-in for Stripe. It ends with the test.
func NewStripe(t testing.TB, c clock.Clock) *Stripe {
	t.Helper()
	s := &Stripe{
		Clock: c, answered: map[string]answered{}, customers: map[string]map[string]string{}, subs: map[string]*StripeSub{},
		sessions: map[string]url.Values{}, invoices: map[string]map[string]any{}, usage: map[string]StripeUsage{}, balances: map[string][]map[string]any{},
	}
	srv := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	return s
}

// Settings make a server use it.
func (s *Stripe) Settings(to *config.Settings) {
	to.StripeSecretKey, to.StripeWebhookSecret, to.StripeURL = StripeKey, StripeWebhookSecret, s.URL
}

// Down cuts all connections, or lets them be again.
func (s *Stripe) Down(down bool) { s.locked(func() { s.down, s.dieAt = down, 0 }) }

// Fail answers all requests with a status, before their effect or after it, or with 0 as it
// is again.
func (s *Stripe) Fail(status int, after bool) { s.locked(func() { s.status, s.late = status, after }) }

// Refuse answers all requests with an error of the server, or does what they ask again.
func (s *Stripe) Refuse(refuse bool) {
	if s.Fail(0, false); refuse {
		s.Fail(http.StatusInternalServerError, false)
	}
}

// DieAt cuts the n-th request from now on, before its effect or after it, and all that
// follow.
func (s *Stripe) DieAt(n int, after bool) {
	s.locked(func() { s.down, s.dieAt, s.after = false, s.requests+n, after })
}

// Requests is how many there were.
func (s *Stripe) Requests() (n int) { s.locked(func() { n = s.requests }); return n }

// Effects are what requests have changed since the last call.
func (s *Stripe) Effects() (list []string) {
	s.locked(func() { list, s.effects = s.effects, nil })
	return list
}

// Usage is all usage that it was told of, in its order.
func (s *Stripe) Usage() (list []StripeUsage) {
	s.locked(func() { list = slices.Collect(maps.Values(s.usage)) })
	slices.SortFunc(list, func(a, b StripeUsage) int { return a.Time.Compare(b.Time) })
	return list
}

// Forget has it forget what usage was told by which names, as Stripe may after a day.
func (s *Stripe) Forget() {
	s.locked(func() {
		clear(s.answered)
		for id, u := range s.usage {
			delete(s.usage, id)
			s.usage[s.id("forgotten")] = u
		}
	})
}

// Balance is what a customer owes besides, which is negative when it is credited.
func (s *Stripe) Balance(customer string) (sum int64) {
	s.locked(func() {
		for _, b := range s.balances[customer] {
			sum += b["amount"].(int64)
		}
	})
	return sum
}

// Charges are all that was taken.
func (s *Stripe) Charges() (list []Charge) {
	s.locked(func() { list = slices.Clone(s.charges) })
	return list
}

// Subs are copies of all subscriptions, by id.
func (s *Stripe) Subs() map[string]StripeSub {
	list := map[string]StripeSub{}
	s.locked(func() {
		for id, sub := range s.subs {
			c := *sub
			c.Items = slices.Clone(sub.Items)
			list[id] = c
		}
	})
	return list
}

// Customers is how many there are.
func (s *Stripe) Customers() (n int) { s.locked(func() { n = len(s.customers) }); return n }

// Edit changes a subscription as somebody at Stripe would.
func (s *Stripe) Edit(id string, change func(*StripeSub)) { s.locked(func() { change(s.subs[id]) }) }

// Add puts a subscription there that nobody bought by a page.
func (s *Stripe) Add(sub StripeSub) (id string) {
	s.locked(func() {
		sub.ID = s.id("sub")
		s.subs[sub.ID] = &sub
		id = sub.ID
	})
	return id
}

// Pay completes the page of a checkout, as the customer does, and returns what they
// bought.
func (s *Stripe) Pay(t testing.TB, page string) (id string) {
	t.Helper()
	_, session, _ := strings.Cut(page, "/pay/")
	s.locked(func() {
		form := s.sessions[session]
		if form == nil {
			t.Fatalf("there is no page %s", page)
		}
		now := s.Clock.Now()
		sub := &StripeSub{
			ID: s.id("sub"), Customer: form.Get("customer"), Status: "active", Metadata: of(form, "subscription_data[metadata]"), Start: now, End: now.AddDate(0, 1, 0),
		}
		for i := 0; ; i++ {
			line := of(form, fmt.Sprintf("line_items[%d]", i))
			if len(line) == 0 {
				break
			}
			quantity, _ := strconv.ParseInt(line["quantity"], 10, 64)
			if line["price"] == "" {
				line["price"] = s.id("price_inline")
			}
			sub.Items = append(sub.Items, StripeItem{s.id("si"), line["price"], quantity})
		}
		sub.Flexible = form.Get("subscription_data[billing_mode][type]") == "flexible"
		if end := form.Get("subscription_data[trial_end]"); end != "" {
			seconds, _ := strconv.ParseInt(end, 10, 64)
			sub.Status, sub.TrialEnd = "trialing", time.Unix(seconds, 0).UTC()
			sub.End = sub.TrialEnd
		} else {
			s.charges = append(s.charges, Charge{sub.ID, now})
		}
		s.subs[sub.ID] = sub
		id = sub.ID
	})
	return id
}

// Run lets the periods pass that have ended: what goes on is charged, unless that is
// paused.
func (s *Stripe) Run() {
	s.locked(func() {
		now := s.Clock.Now()
		for _, sub := range s.subs {
			for sub.Status != "canceled" && !sub.End.After(now) {
				s.chargeUsage(sub, sub.End, !sub.Paused && sub.Status != "trialing")
				if sub.AtPeriodEnd {
					sub.Status = "canceled"
					break
				}
				if !sub.Paused {
					s.charges = append(s.charges, Charge{sub.ID, sub.End})
				}
				sub.Prorated = false
				sub.Status, sub.Start, sub.End = "active", sub.End, sub.End.AddDate(0, 1, 0)
			}
		}
	})
}

// Invoice makes an invoice of a subscription, and returns its id.
func (s *Stripe) Invoice(sub, status string) (id string) {
	s.locked(func() {
		id = s.id("in")
		s.invoices[id] = map[string]any{
			"id": id, "object": "invoice", "status": status, "currency": "eur", "total": 2000, "number": "A-1", "created": s.Clock.Now().Unix(),
			"parent": map[string]any{"type": "subscription_details", "subscription_details": map[string]any{"subscription": sub, "metadata": s.subs[sub].Metadata}},
		}
	})
	return id
}

// Settle has an invoice be paid, say.
func (s *Stripe) Settle(invoice, status string) {
	s.locked(func() { s.invoices[invoice]["status"] = status })
}

// Tell sends an event to a server, signed by the secret, and returns the answer's status.
func (s *Stripe) Tell(t testing.TB, to *Server, secret, id, kind string, object map[string]any) int {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"id": id, "object": "event", "api_version": "2025-08-27.basil", "created": time.Now().Unix(), "type": kind, "livemode": false,
		"data": map[string]any{"object": object}, "pending_webhooks": 1, "request": map[string]any{"id": nil, "idempotency_key": nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	return PostSigned(t, to, secret, body)
}

// PostSigned sends a body to the webhook of a server as Stripe does.
func PostSigned(t testing.TB, to *Server, secret string, body []byte) int {
	t.Helper()
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: secret})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to.URL+"/webhooks/stripe", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Stripe-Signature", signed.Header)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func (s *Stripe) locked(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *Stripe) id(prefix string) string {
	s.next++
	return fmt.Sprintf("%s_%04d", prefix, s.next)
}

// serve answers one request of the API.
func (s *Stripe) serve(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	form, err := url.ParseQuery(string(data))
	if err != nil || r.Header.Get("Authorization") != "Bearer "+StripeKey {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	if r.Method != http.MethodPost {
		form = r.URL.Query()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	dies := s.dieAt > 0 && s.requests >= s.dieAt
	if s.down || dies && (!s.after || s.requests > s.dieAt) {
		panic(http.ErrAbortHandler)
	}
	status, body := s.once(r, form, string(data))
	if dies {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Request-Id", "req_test")
	w.Header().Set("Stripe-Should-Retry", "false")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// once repeats the answer to a request that was made before, errors included: but those that
// tell that it can be asked again.
func (s *Stripe) once(r *http.Request, form url.Values, data string) (int, []byte) {
	key, request := r.Header.Get("Idempotency-Key"), r.URL.Path+"?"+data
	if r.Method != http.MethodPost {
		key = ""
	}
	if before, ok := s.answered[key]; ok && key != "" {
		if before.request != request {
			return encode(http.StatusBadRequest, failed("idempotency_error", "", "the key is of another request"))
		}
		return before.status, before.body
	}
	status, body := encode(s.status, failed("api_error", "", "something went wrong"))
	if s.status == 0 || s.late {
		done, answer := encode(s.do(r, form))
		if s.status == 0 {
			status, body = done, answer
		}
	}
	if key != "" && status != http.StatusConflict && status != http.StatusTooManyRequests {
		s.answered[key] = answered{request, status, body}
	}
	return status, body
}

func encode(status int, body any) (int, []byte) {
	data, _ := json.Marshal(body)
	return status, data
}

func failed(kind, code, message string) map[string]any {
	return map[string]any{"error": map[string]any{"type": kind, "code": code, "message": message}}
}

func (s *Stripe) do(r *http.Request, form url.Values) (int, any) {
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	missing := func() (int, any) {
		return http.StatusNotFound, failed("invalid_request_error", "resource_missing", "no such thing")
	}
	switch what := r.Method + " " + path[0]; {
	case what == "POST customers" && len(path) == 1:
		id := s.id("cus")
		s.customers[id] = of(form, "metadata")
		s.effects = append(s.effects, "customer")
		return http.StatusOK, map[string]any{"id": id, "object": "customer"}
	case path[0] == "customers" && len(path) == 3 && path[2] == "balance_transactions":
		return s.balance(r.Method, path[1], form)
	case what == "POST checkout":
		if s.customers[form.Get("customer")] == nil {
			return missing()
		}
		if len(of(form, "line_items[0]")) == 0 {
			return http.StatusBadRequest, failed("invalid_request_error", "parameter_missing", "there is nothing to sell")
		}
		for key, values := range form {
			if strings.HasSuffix(key, "[quantity]") && values[0] == "0" {
				return http.StatusBadRequest, failed("invalid_request_error", "parameter_invalid_integer", "none of something is not sold")
			}
		}
		id := s.id("cs")
		s.sessions[id] = form
		return http.StatusOK, map[string]any{"id": id, "object": "checkout.session", "url": s.URL + "/pay/" + id, "expires_at": s.Clock.Now().Add(24 * time.Hour).Unix()}
	case what == "POST billing":
		u, id := of(form, "payload"), form.Get("identifier")
		if s.customers[u["stripe_customer_id"]] == nil {
			return missing()
		}
		if id == "" || len(id) > 100 {
			return http.StatusBadRequest, failed("invalid_request_error", "", "an identifier has 100 characters at most")
		}
		if _, again := s.usage[id]; again {
			return http.StatusBadRequest, failed("invalid_request_error", "duplicate_meter_event", "An event already exists with identifier "+id+".")
		}
		value, _ := strconv.ParseInt(u["value"], 10, 64)
		seconds, _ := strconv.ParseInt(form.Get("timestamp"), 10, 64)
		s.usage[id] = StripeUsage{u["stripe_customer_id"], form.Get("event_name"), value, time.Unix(seconds, 0).UTC(), ""}
		return http.StatusOK, map[string]any{"object": "billing.meter_event", "identifier": id}
	case what == "POST billing_portal" && path[1] == "configurations":
		s.effects = append(s.effects, "portal")
		return http.StatusOK, map[string]any{"id": s.id("bpc"), "object": "billing_portal.configuration"}
	case what == "POST billing_portal":
		if s.customers[form.Get("customer")] == nil || form.Get("configuration") == "" {
			return missing()
		}
		return http.StatusOK, map[string]any{"id": s.id("bps"), "object": "billing_portal.session", "url": s.URL + "/portal"}
	case what == "GET invoices":
		if i := s.invoices[path[1]]; i != nil {
			return http.StatusOK, i
		}
		return missing()
	case what == "GET subscriptions" && len(path) == 1:
		return http.StatusOK, s.list(form)
	case path[0] == "subscriptions" && s.subs[path[1]] == nil:
		return missing()
	case what == "GET subscriptions":
		return http.StatusOK, s.subs[path[1]].object()
	case what == "DELETE subscriptions":
		sub := s.subs[path[1]]
		if sub.Status == "canceled" {
			return missing()
		}
		sub.Status = "canceled"
		effect, charged := "cancel "+sub.ID, form.Get("invoice_now") == "true"
		if charged {
			effect += " charged"
		}
		if charged && sub.Prorated {
			s.charges = append(s.charges, Charge{sub.ID, s.Clock.Now()})
		}
		s.chargeUsage(sub, s.Clock.Now().Add(time.Second), charged)
		s.effects = append(s.effects, effect)
		return http.StatusOK, sub.object()
	case what == "POST subscriptions" && len(path) == 3 && path[2] == "migrate":
		sub := s.subs[path[1]]
		if sub.Flexible || sub.Status == "canceled" || form.Get("billing_mode[type]") != "flexible" {
			return http.StatusBadRequest, failed("invalid_request_error", "", "it cannot be migrated")
		}
		sub.Flexible = true
		s.effects = append(s.effects, "migrate "+sub.ID)
		return http.StatusOK, sub.object()
	case what == "POST subscriptions":
		return s.update(s.subs[path[1]], form)
	}
	return http.StatusNotFound, failed("invalid_request_error", "", "there is no "+r.Method+" "+r.URL.Path)
}

// balance lists what a customer was credited with, the newest first, or credits them.
func (s *Stripe) balance(method, customer string, form url.Values) (int, any) {
	if s.customers[customer] == nil {
		return http.StatusNotFound, failed("invalid_request_error", "resource_missing", "no such customer")
	}
	if method != http.MethodPost {
		data := slices.Clone(s.balances[customer])
		slices.Reverse(data)
		return http.StatusOK, map[string]any{"object": "list", "url": "/v1/customers/" + customer + "/balance_transactions", "has_more": false, "data": data}
	}
	amount, err := strconv.ParseInt(form.Get("amount"), 10, 64)
	if err != nil || form.Get("currency") != strings.ToLower(form.Get("currency")) || len(form.Get("currency")) != 3 {
		return http.StatusBadRequest, failed("invalid_request_error", "", "an amount and a currency are expected")
	}
	b := map[string]any{
		"id": s.id("cbtxn"), "object": "customer_balance_transaction", "amount": amount, "currency": form.Get("currency"), "metadata": of(form, "metadata"),
	}
	s.balances[customer] = append(s.balances[customer], b)
	s.effects = append(s.effects, "credit "+customer)
	return http.StatusOK, b
}

func (s *Stripe) list(form url.Values) any {
	var data []any
	more := false
	for _, id := range slices.Sorted(maps.Keys(s.subs)) {
		sub := s.subs[id]
		if id <= form.Get("starting_after") || sub.Status == "canceled" || form.Has("customer") && form.Get("customer") != sub.Customer {
			continue
		}
		if more = len(data) == 3; more { // short pages, so that there are several
			break
		}
		data = append(data, sub.object())
	}
	return map[string]any{"object": "list", "url": "/v1/subscriptions", "has_more": more, "data": data}
}

// chargeUsage charges what a subscription used before a time, of which it was told by now,
// or has it charged never.
func (s *Stripe) chargeUsage(sub *StripeSub, before time.Time, charge bool) {
	price := "nothing"
	if at := slices.IndexFunc(sub.Items, StripeItem.metered); at >= 0 && charge {
		price = sub.Items[at].Price
	}
	for id, u := range s.usage {
		if u.Customer == sub.Customer && u.Charged == "" && u.Time.Before(before) {
			u.Charged = price
			s.usage[id] = u
		}
	}
}

func (i StripeItem) metered() bool { return strings.Contains(i.Price, "usage") }

func (s *Stripe) update(sub *StripeSub, form url.Values) (int, any) {
	if sub.Status == "canceled" {
		return http.StatusBadRequest, failed("invalid_request_error", "", "a canceled subscription cannot be changed")
	}
	before, _ := json.Marshal(sub)
	if v := form.Get("cancel_at_period_end"); v != "" {
		sub.AtPeriodEnd = v == "true"
	}
	if form.Has("pause_collection") {
		sub.Paused = false
	}
	if form.Get("pause_collection[behavior]") == "void" {
		sub.Paused = true
	}
	for i := 0; ; i++ {
		item := of(form, fmt.Sprintf("items[%d]", i))
		if len(item) == 0 {
			break
		}
		quantity, _ := strconv.ParseInt(item["quantity"], 10, 64)
		at := slices.IndexFunc(sub.Items, func(have StripeItem) bool { return have.ID == item["id"] })
		switch {
		case item["id"] == "":
			sub.Items = append(sub.Items, StripeItem{s.id("si"), item["price"], quantity})
			sub.Prorated = sub.Prorated || quantity > 0 && sub.Status != "trialing"
		case at < 0:
			return http.StatusBadRequest, failed("invalid_request_error", "resource_missing", "no such item")
		case item["deleted"] == "true":
			if sub.Items[at].metered() {
				s.chargeUsage(&StripeSub{Customer: sub.Customer, Items: sub.Items[at : at+1]}, s.Clock.Now().Add(time.Second), sub.Flexible)
			}
			sub.Items = slices.Delete(sub.Items, at, at+1)
		default:
			sub.Prorated = sub.Prorated || quantity > sub.Items[at].Quantity && sub.Status != "trialing"
			sub.Items[at].Quantity = quantity
		}
	}
	if len(sub.Items) == 0 {
		_ = json.Unmarshal(before, sub)
		return http.StatusBadRequest, failed("invalid_request_error", "", "a subscription has an item at least")
	}
	if after, _ := json.Marshal(sub); !bytes.Equal(before, after) {
		s.effects = append(s.effects, "update "+sub.ID)
	}
	return http.StatusOK, sub.object()
}

// of returns what a form has as name[key].
func of(form url.Values, name string) map[string]string {
	out := map[string]string{}
	for key, values := range form {
		if rest, ok := strings.CutPrefix(key, name+"["); ok {
			out[strings.TrimSuffix(rest, "]")] = values[0]
		}
	}
	return out
}

func (sub *StripeSub) object() map[string]any {
	items := []any{}
	for _, i := range sub.Items {
		usage := "licensed"
		if i.metered() {
			usage = "metered"
		}
		items = append(items, map[string]any{
			"id": i.ID, "object": "subscription_item", "quantity": i.Quantity, "current_period_start": sub.Start.Unix(), "current_period_end": sub.End.Unix(),
			"price": map[string]any{"id": i.Price, "object": "price", "recurring": map[string]any{"interval": "month", "usage_type": usage}},
		})
	}
	mode := "classic"
	if sub.Flexible {
		mode = "flexible"
	}
	o := map[string]any{
		"billing_mode": map[string]any{"type": mode},
		"id":           sub.ID, "object": "subscription", "customer": sub.Customer, "status": sub.Status, "cancel_at_period_end": sub.AtPeriodEnd,
		"metadata": sub.Metadata, "created": sub.Start.Unix(), "items": map[string]any{"object": "list", "data": items}, "pause_collection": nil,
	}
	if sub.Paused {
		o["pause_collection"] = map[string]any{"behavior": "void"}
	}
	if !sub.TrialEnd.IsZero() {
		o["trial_end"] = sub.TrialEnd.Unix()
	}
	return o
}
