package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// flushTimeout is how long the last traces may take to be sent.
const flushTimeout = 5 * time.Second

// newTracing returns what traces are made by, or nil if there is no endpoint.
// close sends what is left.
func newTracing(ctx context.Context, endpoint string) (provider trace.TracerProvider, close func() error, err error) {
	if endpoint == "" {
		return nil, func() error { return nil }, nil
	}
	target, err := tracesURL(endpoint)
	if err != nil {
		return nil, nil, err
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(target))
	if err != nil {
		return nil, nil, fmt.Errorf("traces to %s: %w", endpoint, err)
	}
	tracing := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "logicspike-manager"),
			attribute.String("service.version", programVersion()),
		)),
	)
	return tracing, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		return tracing.Shutdown(ctx)
	}, nil
}

// tracesURL returns where a collector takes traces: below the endpoint, unless
// that is the place itself.
func tracesURL(endpoint string) (string, error) {
	const place = "/v1/traces"
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(u.Path, place) {
		u = u.JoinPath(place)
	}
	return u.String(), nil
}
