// Package payments keeps what is at the payment provider the same as what is here: it
// gives the provider what transactions wrote down, follows what the provider tells, and
// compares both from time to time. It is called by handlers and by jobs; no transaction
// is open while the provider is asked.
package payments

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/billing/provider"
	"github.com/logicspike/manager/store"
)

// Options are what a service needs.
type Options struct {
	Store *store.Store
	// Provider takes the payments; nil for none.
	Provider provider.Provider
	Clock    clock.Clock
	Logger   *slog.Logger
}

// Service is the payments of a server, with a provider or without one.
type Service struct {
	Options
	differences *prometheus.CounterVec
}

// New returns a service.
func New(o Options) *Service {
	return &Service{o, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "billing_provider_differences_total", Help: "What was found to be otherwise at the payment provider, by field.",
	}, []string{"field"})}
}

// Collectors are the metrics; none without a provider.
func (s *Service) Collectors() []prometheus.Collector {
	if s.Provider == nil {
		return nil
	}
	return []prometheus.Collector{s.differences, waiting{s}}
}

// available fails without a provider, with the fault PAYMENT_PROVIDER_MISSING.
func (s *Service) available() error {
	if s.Provider == nil {
		return fault.New(fault.FailedPrecondition, fault.PaymentProviderMissing, "the server has no payment provider")
	}
	return nil
}

// retryAfter is when callers may try again what the provider did not do.
const retryAfter = 10 * time.Second

// unavailable is the fault of a provider that did not do what a caller needs.
func unavailable(err error) error {
	return fault.New(fault.Unavailable, fault.PaymentProviderUnavailable, "the payment provider does not answer, or refused; try again later").
		WithRetryAfter(retryAfter).WithCause(err)
}

// waiting is the metrics of what the provider does not have yet, or was not followed.
type waiting struct{ *Service }

var (
	waitingCount = prometheus.NewDesc("billing_provider_waiting", "Subscriptions and credits that are not yet at the payment provider as they are to be, and events of it that were not followed.", nil, nil)
	waitingAge   = prometheus.NewDesc("billing_provider_waiting_seconds", "For how long the first of them is not.", nil, nil)
)

// Describe implements prometheus.Collector.
func (waiting) Describe(ch chan<- *prometheus.Desc) { ch <- waitingCount; ch <- waitingAge }

// Collect implements prometheus.Collector.
func (w waiting) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	count, since, err := w.Store.Billing.WaitingForProvider(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(waitingCount, err)
		return
	}
	age := 0.0
	if count > 0 {
		age = w.Clock.Now().Sub(since).Seconds()
	}
	ch <- prometheus.MustNewConstMetric(waitingCount, prometheus.GaugeValue, float64(count))
	ch <- prometheus.MustNewConstMetric(waitingAge, prometheus.GaugeValue, age)
}
