package captcha_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/captcha"
)

const secret, answer = "the server's secret", "the client's answer"

// provider answers as one does, and checks what it is asked.
func provider(t *testing.T, o captcha.Options, handle http.HandlerFunc) *captcha.Checker {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/siteverify" || r.URL.RawQuery != "" || r.PostFormValue("secret") != secret ||
			r.PostFormValue("response") != answer || r.PostFormValue("remoteip") != "192.0.2.7" {
			t.Errorf("asked: %s %s %v", r.Method, r.URL, r.PostForm)
		}
		handle(w, r)
	}))
	t.Cleanup(s.Close)
	if o.Provider == "" {
		o.Provider = "turnstile"
	}
	o.Secret, o.URL = secret, s.URL+"/siteverify"
	c, err := captcha.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func from(ctx context.Context) context.Context {
	return authz.WithClient(ctx, authz.Client{Address: netip.MustParseAddr("192.0.2.7")})
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) }))
	t.Cleanup(other.Close)
	hosts := captcha.Options{Hostnames: []string{"app.example.com", "example.com"}}
	for what, test := range map[string]struct {
		options captcha.Options
		handle  http.HandlerFunc
		want    fault.Reason
	}{
		"a person":                   {handle: says(`{"success":true,"hostname":"x.example","challenge_ts":"2026-01-01T00:00:00Z"}`)},
		"a person on a page of ours": {hosts, says(`{"success":true,"hostname":"APP.example.com"}`), ""},
		"on another's page":          {hosts, says(`{"success":true,"hostname":"evil.example"}`), fault.CaptchaRequired},
		"on no page":                 {hosts, says(`{"success":true}`), fault.CaptchaRequired},
		"a program":                  {handle: says(`{"success":false,"error-codes":["invalid-input-response"]}`), want: fault.CaptchaRequired},
		"an answer given twice":      {handle: says(`{"success":false,"error-codes":["timeout-or-duplicate"]}`), want: fault.CaptchaRequired},
		"refused without a reason":   {handle: says(`{"success":false}`), want: fault.CaptchaRequired},
		"our secret is wrong":        {handle: says(`{"success":false,"error-codes":["invalid-input-secret"]}`), want: fault.CaptchaUnavailable},
		"the provider is broken":     {handle: says(`{"success":false,"error-codes":["internal-error"]}`), want: fault.CaptchaUnavailable},
		"a high score":               {captcha.Options{Provider: "recaptcha"}, says(`{"success":true,"score":0.9}`), ""},
		"a low score":                {captcha.Options{Provider: "recaptcha"}, says(`{"success":true,"score":0.1}`), fault.CaptchaRequired},
		"a score of another kind":    {captcha.Options{Provider: "hcaptcha"}, says(`{"success":true,"score":0.1}`), ""},
		"no verdict":                 {handle: says(`{}`), want: fault.CaptchaUnavailable},
		"no JSON":                    {handle: says(`<html>`), want: fault.CaptchaUnavailable},
		"success is no truth":        {handle: says(`{"success":"true"}`), want: fault.CaptchaUnavailable},
		"too much":                   {handle: says(`{"success":true,"x":"` + strings.Repeat("x", 20_000) + `"}`), want: fault.CaptchaUnavailable},
		"an error":                   {handle: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); fmt.Fprint(w, `{"success":true}`) }, want: fault.CaptchaUnavailable},
		"a redirection": {handle: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, want: fault.CaptchaUnavailable},
		"broken off": {handle: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: fault.CaptchaUnavailable},
	} {
		err := provider(t, test.options, test.handle).Human(from(t.Context()), answer)
		switch {
		case test.want == "" && err != nil, test.want != "" && !fault.Has(err, test.want):
			t.Errorf("%s: %v", what, err)
		case test.want == fault.CaptchaUnavailable && fault.As(err).Kind != fault.Unavailable,
			test.want == fault.CaptchaRequired && fault.As(err).Kind != fault.FailedPrecondition:
			t.Errorf("%s: kind %v", what, fault.As(err).Kind)
		case err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), answer)):
			t.Errorf("%s: the error tells a secret: %v", what, err)
		}
	}
	if elsewhere.Load() {
		t.Error("the secret was sent on")
	}
}

func TestNoAnswerAsksNobody(t *testing.T) {
	t.Parallel()
	c := provider(t, captcha.Options{}, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	for _, answer := range []string{"", strings.Repeat("x", 9000)} {
		if err := c.Human(from(t.Context()), answer); !fault.Has(err, fault.CaptchaRequired) {
			t.Errorf("%d bytes: %v", len(answer), err)
		}
	}
}

func TestAProviderThatHangsLetsNobodyPass(t *testing.T) {
	t.Parallel()
	c := provider(t, captcha.Options{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	began := time.Now()
	if err := c.Human(from(t.Context()), answer); !fault.Has(err, fault.CaptchaUnavailable) || fault.As(err).RetryAfter <= 0 {
		t.Errorf("Human: %v", err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	ctx, cancel := context.WithTimeout(from(t.Context()), 50*time.Millisecond)
	defer cancel()
	if err := c.Human(ctx, answer); err != context.DeadlineExceeded {
		t.Errorf("a call that was given up: %v", err)
	}
}

func TestWhatCannotBeUsedIsRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []captcha.Options{{}, {Provider: "none", Secret: secret}, {Provider: "turnstile"}} {
		if _, err := captcha.New(o); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", o.Provider, err)
		}
	}
	for _, name := range []string{"turnstile", "hcaptcha", "recaptcha"} {
		if _, err := captcha.New(captcha.Options{Provider: name, Secret: secret}); err != nil {
			t.Error(err)
		}
	}
}
