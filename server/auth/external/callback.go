package external

import (
	"context"
	_ "embed"
	"errors"
	"html/template"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/auth"
)

const (
	// maxForm is how many bytes the form may have by which a provider sends its answer.
	maxForm = 64 << 10
	// callbackTime is how long the provider may take to say who it is.
	callbackTime = 20 * time.Second
)

// Callback serves CallbackPath: it takes the answers of providers, which browsers bring.
//
// It sends the browser to nowhere but the return URL that was allowed when the sign-in
// was started, and shows a page of its own as long as it does not know that.
type Callback struct {
	Providers *Providers
	Store     *store.Store
	Logger    *slog.Logger
	// Product is what the page calls the product.
	Product string
}

// What the return URL is told when the provider says nothing of use.
const (
	failedDenied   = "ACCESS_DENIED"                        // the person, or the provider, refused
	failedProvider = string(fault.ProviderFailed)           // anything else
	failedStale    = string(fault.ReauthenticationRequired) // the person did not prove anew who they are
)

// ServeHTTP takes one answer.
func (c Callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	p := c.Providers.Find(r.PathValue("provider"))
	if p == nil {
		c.page(w, http.StatusNotFound, pageUnknown)
		return
	}
	answer, ok := c.read(w, r, p)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), callbackTime)
	defer cancel()
	back, err := c.Store.ReturnExternalSignIn(ctx, p.Name(), answer.Get("state"))
	if fault.Has(err, fault.ChallengeInvalid) {
		c.log(ctx, p, "an answer to no sign-in", nil)
		c.page(w, http.StatusBadRequest, pageUnknown)
		return
	}
	if err != nil {
		c.log(ctx, p, "a sign-in cannot be looked up", err)
		c.page(w, http.StatusServiceUnavailable, pageLater)
		return
	}
	result := url.Values{"external_sign_in_id": {back.ID.String()}}
	if token, failed := c.identify(ctx, p, back, answer); failed != "" {
		result.Set("error", failed)
	} else {
		result.Set("result_token", token)
	}
	w.Header().Set("Location", withQuery(back.ReturnURL, result))
	w.WriteHeader(http.StatusSeeOther)
}

// read returns the parameters of an answer, if they come as the provider sends them,
// none of them twice (RFC 6749, 3.1).
func (c Callback) read(w http.ResponseWriter, r *http.Request, p *Provider) (url.Values, bool) {
	answer, err := url.ParseQuery(r.URL.RawQuery)
	switch {
	case r.Method == http.MethodPost && p.flow.posts():
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
			c.page(w, http.StatusUnsupportedMediaType, pageUnknown)
			return nil, false
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		err = r.ParseForm()
		answer = r.PostForm
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", "GET")
		c.page(w, http.StatusMethodNotAllowed, pageUnknown)
		return nil, false
	}
	for _, values := range answer {
		if len(values) > 1 {
			err = errors.New("a parameter comes twice")
		}
	}
	if err != nil || answer.Get("state") == "" {
		c.page(w, http.StatusBadRequest, pageUnknown)
		return nil, false
	}
	return answer, true
}

// refusals are the errors of providers that mean that somebody did not want to.
var refusals = []string{
	"access_denied", "user_cancelled_authorize", "user_cancelled_login", "consent_required", "interaction_required", "login_required",
	"account_selection_required",
}

// identify asks the provider who it is, and returns the token of the stored result, or
// why there is none.
func (c Callback) identify(ctx context.Context, p *Provider, back store.ExternalReturn, answer url.Values) (token, failed string) {
	if refusal := answer.Get("error"); refusal != "" {
		if err := p.flow.checkIssuer(ctx, answer.Get("iss")); err != nil {
			c.log(ctx, p, "a refusal", err)
			return "", failedProvider
		}
		if !errorCode.MatchString(refusal) {
			refusal = "other"
		}
		c.log(ctx, p, "a refusal", nil, slog.String("refusal", refusal))
		if slices.Contains(refusals, refusal) {
			return "", failedDenied
		}
		return "", failedProvider
	}
	sent := Sent{Nonce: back.Secrets.Nonce, Verifier: back.Secrets.Verifier}
	if back.Purpose == auth.ExternalToReauthenticate {
		sent.Since = back.CreateTime
	}
	claims, err := p.Identify(ctx, Response{Code: answer.Get("code"), Issuer: answer.Get("iss"), User: answer.Get("user")}, sent)
	if errors.Is(err, ErrStale) {
		c.log(ctx, p, "an answer that is too old", nil)
		return "", failedStale
	}
	if err == nil {
		token, err = c.Store.SetExternalResult(ctx, back.ID, claims)
	}
	if err != nil {
		c.log(ctx, p, "an answer that is refused", err)
		return "", failedProvider
	}
	c.log(ctx, p, "an answer", nil)
	return token, ""
}

// log writes a line without any of what the browser brought.
func (c Callback) log(ctx context.Context, p *Provider, what string, err error, more ...slog.Attr) {
	level, attrs := slog.LevelInfo, append([]slog.Attr{slog.String("provider", p.Name()), slog.String("what", what)}, more...)
	if err != nil {
		level, attrs = slog.LevelWarn, append(attrs, slog.String("cause", brief(err)))
	}
	c.Logger.LogAttrs(ctx, level, "identity provider", attrs...)
}

// brief returns the beginning of an error's text: it may quote what the provider sent.
func brief(err error) string {
	text := cleanText(err.Error())
	if runes := []rune(text); len(runes) > 300 {
		text = string(runes[:300]) + "…"
	}
	return text
}

func cleanText(s string) string { return strings.Map(printable, strings.ToValidUTF8(s, "")) }

//go:embed callback.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// What the page says.
const (
	pageUnknown = "This sign-in is unknown, expired or was used already. Go back to the application and sign in again."
	pageLater   = "The server cannot be reached at the moment. Go back to the application and sign in again in a minute."
)

// page answers where no return URL is known.
func (c Callback) page(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	w.WriteHeader(status)
	_ = pageTemplate.Execute(w, map[string]string{"Product": c.Product, "Text": text})
}
