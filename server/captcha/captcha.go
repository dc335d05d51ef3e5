// Package captcha checks with a provider whether somebody solved its CAPTCHA, by the
// protocol that all of them speak, siteverify.
package captcha

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
)

const (
	// timeout is how long a provider may take.
	timeout = 5 * time.Second
	// maxAnswerBytes and maxVerdictBytes bound what a client and a provider say.
	maxAnswerBytes  = 8 << 10
	maxVerdictBytes = 16 << 10
	// minScore is the least score of reCAPTCHA v3, which Google suggests: there 1 is a
	// person and 0 a program.
	minScore = 0.5
	// maxChecks is how many answers are checked at once. Others wait for their turn.
	maxChecks = 32
)

const recaptcha = "recaptcha"

// urls are where the providers check answers.
var urls = map[string]string{
	"turnstile": "https://challenges.cloudflare.com/turnstile/v0/siteverify",
	"hcaptcha":  "https://api.hcaptcha.com/siteverify",
	recaptcha:   "https://www.google.com/recaptcha/api/siteverify",
}

// Options are the settings of a Checker.
type Options struct {
	// Provider is turnstile, hcaptcha or recaptcha.
	Provider string
	// Secret is the server's at the provider.
	Secret string
	// URL is where answers are checked. Default: the provider's.
	URL string
	// Hostnames are the hosts whose pages a CAPTCHA may be solved on. Default: any; the
	// provider has its own list.
	Hostnames []string
}

// Checker checks answers. It is safe for concurrent use.
type Checker struct {
	options Options
	client  *http.Client
}

// New returns a checker.
//
// Errors: when the provider is unknown, or there is no secret.
func New(o Options) (*Checker, error) {
	if urls[o.Provider] == "" {
		return nil, fmt.Errorf("captcha: the provider %q is unknown", o.Provider)
	}
	if o.Secret == "" {
		return nil, errors.New("captcha: a secret is required")
	}
	if o.URL == "" {
		o.URL = urls[o.Provider]
	}
	return &Checker{options: o, client: &http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxConnsPerHost: maxChecks, MaxIdleConnsPerHost: maxChecks, IdleConnTimeout: time.Minute},
		// The secret goes to the provider and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// verdict is what a provider says about an answer.
type verdict struct {
	Success  *bool    `json:"success"`
	Hostname string   `json:"hostname"`
	Score    *float64 `json:"score"`
	Codes    []string `json:"error-codes"`
}

// Human checks the answer that a client gave; "" for none. An answer can be checked
// only once. While the provider cannot be asked, nobody passes.
//
// Errors: fault CAPTCHA_REQUIRED, CAPTCHA_UNAVAILABLE; the context's.
func (c *Checker) Human(ctx context.Context, answer string) error {
	if answer == "" || len(answer) > maxAnswerBytes {
		return errRequired()
	}
	v, err := c.ask(ctx, answer)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return unavailable(err)
	case v.Success == nil:
		return unavailable(errors.New("the provider's answer is not understood"))
	case !*v.Success && slices.ContainsFunc(v.Codes, isOurs):
		return unavailable(fmt.Errorf("the provider refuses the server's question: %q", v.Codes))
	case !*v.Success,
		c.options.Provider == recaptcha && v.Score != nil && *v.Score < minScore,
		len(c.options.Hostnames) > 0 && !slices.ContainsFunc(c.options.Hostnames, func(h string) bool { return strings.EqualFold(h, v.Hostname) }):
		return errRequired()
	}
	return nil
}

// isOurs reports whether an error of a provider is not the client's.
func isOurs(code string) bool {
	switch code {
	case "missing-input-response", "invalid-input-response", "timeout-or-duplicate", // of all providers
		"expired-input-response", "already-seen-response", "invalid-or-already-seen-response", "missing-remoteip", "invalid-remoteip": // of hCaptcha
		return false
	}
	return true
}

func (c *Checker) ask(ctx context.Context, answer string) (*verdict, error) {
	form := url.Values{"secret": {c.options.Secret}, "response": {answer}}
	if address := authz.ClientFrom(ctx).Address; address.IsValid() {
		form.Set("remoteip", address.String())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.options.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the provider answers %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxVerdictBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxVerdictBytes {
		return nil, errors.New("the provider answers too much")
	}
	var v verdict
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, errors.New("the provider's answer is not understood")
	}
	return &v, nil
}

func errRequired() error {
	return fault.New(fault.FailedPrecondition, fault.CaptchaRequired, "solve the CAPTCHA, and send its answer in the header Captcha-Response; each one once")
}

func unavailable(cause error) error {
	return fault.New(fault.Unavailable, fault.CaptchaUnavailable, "whether a person calls cannot be told at the moment; try again").
		WithRetryAfter(5 * time.Second).WithCause(fmt.Errorf("captcha: %w", cause))
}
