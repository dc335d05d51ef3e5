package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestTracing(t *testing.T) {
	paths := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { paths <- r.URL.Path }))
	defer collector.Close()

	provider, closeTracing, err := newTracing(t.Context(), collector.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, span := provider.Tracer("test").Start(t.Context(), "call")
	span.End()
	if err := closeTracing(); err != nil {
		t.Fatal(err)
	}
	select {
	case path := <-paths:
		if path != "/v1/traces" {
			t.Errorf("the trace was sent to %s", path)
		}
	default:
		t.Error("the last trace was not sent")
	}

	provider, closeTracing, err = newTracing(t.Context(), "")
	if err != nil || provider != nil || closeTracing() != nil {
		t.Errorf("without an endpoint: %v, %v", provider, err)
	}
}

func TestTracesURL(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://otel:4318":           "http://otel:4318/v1/traces",
		"http://otel:4318/":          "http://otel:4318/v1/traces",
		"http://otel:4318/v1/traces": "http://otel:4318/v1/traces",
		"https://otel/tenant/a":      "https://otel/tenant/a/v1/traces",
	} {
		if got, err := tracesURL(endpoint); err != nil || got != want {
			t.Errorf("%s: %s, %v", endpoint, got, err)
		}
	}
}
