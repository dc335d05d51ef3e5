package rpc

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
)

// unknownProcedure stands in logs and metrics for paths that no rule covers,
// whose number is not bounded.
const unknownProcedure = "unknown"

func (c *call) procedure() string {
	if c.method == nil {
		return unknownProcedure
	}
	return c.method.procedure
}

func (c *call) codeName() string {
	if c.code == 0 {
		return "ok"
	}
	return c.code.String()
}

// log writes the line of the call.
func (s *Stack) log(ctx context.Context, c *call, took time.Duration) {
	level := slog.LevelInfo
	switch c.code {
	case connect.CodeInternal:
		level = slog.LevelError
	case connect.CodeUnavailable:
		level = slog.LevelWarn
	}
	if !s.options.Logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("procedure", c.procedure()),
		slog.String("code", c.codeName()),
		slog.Duration("duration", took),
		slog.String("request_id", c.client.RequestID),
		slog.String("client", c.client.Address.String()),
		slog.String("protocol", c.protocol))
	if c.reason != "" {
		attrs = append(attrs, slog.String("reason", string(c.reason)))
	}
	if !c.user.IsZero() {
		attrs = append(attrs, slog.String("user_id", c.user.String()))
	}
	if !c.key.IsZero() {
		attrs = append(attrs, slog.String("api_key_id", c.key.String()))
	}
	if c.cause != nil {
		attrs = append(attrs, slog.String("error", c.cause.Error()))
		var p *panicked
		if errors.As(c.cause, &p) {
			attrs = append(attrs, slog.String("stack", string(p.stack)))
		}
	}
	s.options.Logger.LogAttrs(ctx, level, "rpc", attrs...)
}

// metrics is what Prometheus is told of calls. A nil *metrics tells nothing.
type metrics struct {
	handled  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	// Of each procedure, what nearly every call needs.
	well map[string]prometheus.Counter
	took map[string]prometheus.Observer
}

func newMetrics(r prometheus.Registerer, rules *Rules) (*metrics, error) {
	m := &metrics{
		handled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rpc_server_handled_total",
			Help: "Calls that ended, by procedure and code.",
		}, []string{"procedure", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "rpc_server_duration_seconds",
			Help:    "How long calls took, by procedure.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"procedure"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rpc_server_in_flight",
			Help: "Calls that are running.",
		}),
		well: map[string]prometheus.Counter{},
		took: map[string]prometheus.Observer{},
	}
	for _, c := range []prometheus.Collector{m.handled, m.duration, m.inFlight} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	for _, procedure := range append(rules.Procedures(), unknownProcedure) {
		m.well[procedure] = m.handled.WithLabelValues(procedure, "ok")
		m.took[procedure] = m.duration.WithLabelValues(procedure)
	}
	return m, nil
}

func (m *metrics) begin() {
	if m != nil {
		m.inFlight.Inc()
	}
}

func (m *metrics) end(c *call, took time.Duration) {
	if m == nil {
		return
	}
	m.inFlight.Dec()
	procedure := c.procedure()
	m.took[procedure].Observe(took.Seconds())
	if c.code == 0 {
		m.well[procedure].Inc()
		return
	}
	m.handled.WithLabelValues(procedure, c.codeName()).Inc()
}
