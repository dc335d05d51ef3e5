package console_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/logicspike/manager/console"
)

const (
	page   = "<!doctype html><head></head>the application"
	served = `<!doctype html><head><title>A &amp; &lt;b&gt;</title><meta name="application-name" content="A &amp; &lt;b&gt;" /></head>the application`
)

var built = fstest.MapFS{
	".keep":                     {},
	"index.html":                {Data: []byte(page)},
	"favicon.svg":               {Data: []byte("<svg/>")},
	"console/index-Ab1.js":      {Data: []byte("plain")},
	"console/index-Ab1.js.br":   {Data: []byte("as br")},
	"console/index-Ab1.js.gz":   {Data: []byte("as gzip")},
	"console/small-Cd2.css":     {Data: []byte("a{}")},
	"console/only-gzip-Ef3.css": {Data: []byte("plain")}, "console/only-gzip-Ef3.css.gz": {Data: []byte("as gzip")},
}

func send(t *testing.T, method, target, accepts string) *httptest.ResponseRecorder {
	t.Helper()
	h, err := console.Handler(built, "A & <b>", nil)
	if err != nil || h == nil {
		t.Fatal(h, err)
	}
	r := httptest.NewRequest(method, target, nil)
	if accepts != "" {
		r.Header.Set("Accept-Encoding", accepts)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestPages: each path that can be a page gets the index, which no cache keeps.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/", "/index.html", "/sign-in", "/sign-in?to=%2Fw%2Facme.com", "/w/acme/members", "/w/acme/", "/nothing"} {
		w := send(t, http.MethodGet, target, "gzip, br")
		if w.Code != http.StatusOK || w.Body.String() != served {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
		if h := w.Header(); h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", target, h)
		}
		if w := send(t, http.MethodHead, target, ""); w.Code != http.StatusOK || w.Body.Len() != 0 {
			t.Errorf("HEAD %s: %d %s", target, w.Code, w.Body)
		}
	}
}

// TestNotFound: what is of the API, is no page, or is not read, is not there.
func TestNotFound(t *testing.T) {
	t.Parallel()
	for _, request := range []string{
		"GET /logicspike.auth.v1.SessionService/Nothing", "GET /logicspike.nothing.v1.NoService/Get", "GET /.well-known/nothing",
		"GET /robots.txt", "GET /.keep", "GET /console/", "GET /console/gone-Xy9", "GET /console/gone-Xy9.js", "GET /console/index-Ab1.js.br",
		"GET /../console.go", "POST /sign-in", "POST /", "PUT /favicon.svg", "DELETE /console/index-Ab1.js", "OPTIONS /sign-in",
	} {
		method, target, _ := strings.Cut(request, " ")
		w := send(t, method, target, "br")
		if w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "<") || w.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: %d %s", request, w.Code, w.Body)
		}
	}
}

// TestAssets: they are kept for good, and travel compressed to who can read that.
func TestAssets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ target, accepts, encoding, content string }{
		{"/console/index-Ab1.js", "gzip, deflate, br, zstd", "br", "as br"},
		{"/console/index-Ab1.js", "gzip;q=1.0, br;q=0.1", "br", "as br"},
		{"/console/index-Ab1.js", "BR", "br", "as br"},
		{"/console/index-Ab1.js", "gzip", "gzip", "as gzip"},
		{"/console/index-Ab1.js", "br;q=0, gzip", "gzip", "as gzip"},
		{"/console/index-Ab1.js", "br; q=0.000, gzip;q=0", "", "plain"},
		{"/console/index-Ab1.js", "", "", "plain"},
		{"/console/index-Ab1.js", "zstd", "", "plain"},
		{"/console/only-gzip-Ef3.css", "br, gzip", "gzip", "as gzip"},
		{"/console/small-Cd2.css", "br, gzip", "", "a{}"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := send(t, method, test.target, test.accepts)
			h := w.Header()
			if w.Code != http.StatusOK || h.Get("Content-Encoding") != test.encoding || h.Get("Cache-Control") != "public, max-age=31536000, immutable" {
				t.Errorf("%s %s (%s): %d %v", method, test.target, test.accepts, w.Code, h)
			}
			if method == http.MethodGet && w.Body.String() != test.content || method == http.MethodHead && w.Body.Len() != 0 {
				t.Errorf("%s %s (%s): %s", method, test.target, test.accepts, w.Body)
			}
			if varies := test.target != "/console/small-Cd2.css"; (h.Get("Vary") == "Accept-Encoding") != varies {
				t.Errorf("%s (%s): Vary %q", test.target, test.accepts, h.Get("Vary"))
			}
			if want := "text/" + map[string]string{"js": "javascript", "css": "css"}[test.target[strings.LastIndex(test.target, ".")+1:]]; !strings.HasPrefix(h.Get("Content-Type"), want) {
				t.Errorf("%s: Content-Type %q", test.target, h.Get("Content-Type"))
			}
		}
	}
	if w := send(t, http.MethodGet, "/favicon.svg", "br"); w.Body.String() != "<svg/>" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "image/svg+xml" {
		t.Errorf("/favicon.svg: %v %s", w.Header(), w.Body)
	}
}

// TestHeaders: whatever is answered, scripts come from files of the server alone.
func TestHeaders(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
			"font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Set-Cookie":                   "",
	}
	for _, target := range []string{"/", "/sign-in", "/console/index-Ab1.js", "/favicon.svg", "/robots.txt"} {
		w := send(t, http.MethodGet, target, "br")
		for key, value := range want {
			if key == "Content-Security-Policy" && strings.HasPrefix(target, "/console/") {
				value = ""
			}
			if got := w.Header().Get(key); got != value {
				t.Errorf("%s: %s is %q", target, key, got)
			}
		}
	}
}

// TestCaptcha: where people solve one, the application is told of it, and its provider
// allowed what it needs.
func TestCaptcha(t *testing.T) {
	t.Parallel()
	const index = "<html><head></head></html>"
	h, err := console.Handler(fstest.MapFS{"index.html": {Data: []byte(index)}}, "t", &console.Captcha{
		Script: "https://captcha.example/api.js?a=1&b=2", Object: "captcha", SiteKey: `the"key`,
		Policy: func(own string) string { return own + "; frame-src https://captcha.example" },
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/sign-up", nil))
	want := `<html><head><title>t</title><meta name="application-name" content="t" /><meta name="captcha" content="the&#34;key" data-script="https://captcha.example/api.js?a=1&amp;b=2" data-object="captcha" /></head></html>`
	if w.Body.String() != want {
		t.Errorf("%s", w.Body)
	}
	if got := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'; ") || !strings.HasSuffix(got, "; frame-src https://captcha.example") {
		t.Errorf("the policy is %s", got)
	}
	if got := w.Header().Get("Referrer-Policy"); got != "strict-origin" {
		t.Errorf("Referrer-Policy is %s", got)
	}
}

// TestNotBuilt: without the application there is no handler, and the folder that is
// built into the program can always be read.
func TestNotBuilt(t *testing.T) {
	t.Parallel()
	if h, err := console.Handler(fstest.MapFS{".keep": {}}, "", nil); h != nil || err != nil {
		t.Errorf("%v, %v", h, err)
	}
	if h, err := console.Handler(console.Built(), "", nil); err != nil || (h != nil) != console.IsBuilt() {
		t.Errorf("%v, %v, built: %t", h, err, console.IsBuilt())
	}
}
