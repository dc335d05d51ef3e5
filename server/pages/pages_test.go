package pages_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
	"github.com/logicspike/manager/server/pages"
)

var options = pages.Options{Product: "Example & <b>Sons</b>", PasswordMinLength: 15, Mailbox: true}

var paths = []string{"/", "/verify-registration", "/reset-password", "/confirm-email", "/accept-invitation", "/sign-in-by-email"}

// mounted is the handler as the server mounts it.
func mounted(o pages.Options) http.Handler {
	mux := http.NewServeMux()
	for _, pattern := range pages.Patterns() {
		mux.Handle(pattern, pages.Handler(o))
	}
	return mux
}

func send(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// assets returns the paths under which the files of the folder are served.
func assets(t *testing.T) []string {
	t.Helper()
	entries, err := fs.ReadDir(os.DirFS("assets"), ".")
	if err != nil || len(entries) == 0 {
		t.Fatalf("no assets: %v", err)
	}
	var found []string
	for _, entry := range entries {
		found = append(found, "/pages/"+entry.Name())
	}
	return found
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	h := mounted(options)
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
			"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Set-Cookie":                   "",
	}
	types := map[string]string{"": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
	for _, target := range append(assets(t), paths...) {
		w := send(h, http.MethodGet, target)
		want["Content-Type"] = types[path.Ext(target)]
		want["Cache-Control"] = "no-store"
		if path.Ext(target) != "" {
			want["Cache-Control"] = "no-cache"
		}
		if w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("%s: %d, %d bytes", target, w.Code, w.Body.Len())
		}
		for key, value := range want {
			if got := w.Header().Get(key); got != value {
				t.Errorf("%s: %s is %q", target, key, got)
			}
		}
	}
}

// TestCaptcha: the pages on which people sign in show the CAPTCHA, and allow its provider
// what it needs, and no more. Nothing else on the server does, nor do they without one.
func TestCaptcha(t *testing.T) {
	t.Parallel()
	const own = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
		"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	with := func(styles, scripts, calls, frames string) string {
		return "default-src 'none'; script-src 'self' " + scripts + "; style-src 'self'" + styles + "; connect-src 'self'" + calls +
			"; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; frame-src " + frames
	}
	const cloudflare, hcaptcha = "https://challenges.cloudflare.com", "https://hcaptcha.com https://*.hcaptcha.com"
	policies := map[string]string{
		"":          own,
		"turnstile": with("", cloudflare, "", cloudflare),
		"hcaptcha":  with(" "+hcaptcha, hcaptcha, " "+hcaptcha, hcaptcha),
		"recaptcha": with("", "https://www.google.com/recaptcha/ https://www.gstatic.com/recaptcha/", "",
			"https://www.google.com/recaptcha/ https://recaptcha.google.com/recaptcha/"),
	}
	scripts := map[string]string{
		"turnstile": "https://challenges.cloudflare.com/turnstile/v0/api.js",
		"hcaptcha":  "https://js.hcaptcha.com/1/api.js",
		"recaptcha": "https://www.google.com/recaptcha/api.js",
	}
	for provider, policy := range policies {
		o := options
		if provider != "" {
			o.Captcha = &pages.Captcha{Provider: provider, SiteKey: "the-key_1"}
		}
		h := mounted(o)
		for _, target := range append(assets(t), paths...) {
			w := send(h, http.MethodGet, target)
			want, referrer, boxes := own, "no-referrer", 0
			if provider != "" && (target == "/accept-invitation" || target == "/confirm-email") {
				want, referrer, boxes = policy, "strict-origin", 1
			}
			if got := w.Header().Get("Content-Security-Policy"); got != want {
				t.Errorf("%s of %s: %s", target, provider, got)
			}
			if got := w.Header().Get("Referrer-Policy"); got != referrer {
				t.Errorf("%s of %s: Referrer-Policy %s", target, provider, got)
			}
			if strings.Count(w.Body.String(), `id="captcha"`) != boxes || strings.Count(w.Body.String(), `data-site-key="the-key_1"`) != boxes {
				t.Errorf("%s of %s: %s", target, provider, w.Body)
			}
			if boxes == 0 {
				continue
			}
			script := `data-script="` + scripts[provider] + `?render=explicit&amp;onload=captchaLoaded"`
			if !strings.Contains(w.Body.String(), script) {
				t.Errorf("%s of %s: no %s in %s", target, provider, script, w.Body)
			}
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown provider is accepted")
		}
	}()
	o := options
	o.Captcha = &pages.Captcha{Provider: "other"}
	mounted(o)
}

// TestMethodsForPeopleAreCalledWithACaptcha: a page that calls a method which may need one
// calls it as a person.
func TestMethodsForPeopleAreCalledWithACaptcha(t *testing.T) {
	t.Parallel()
	methods := map[string]bool{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				rule, ok := proto.GetExtension(method.Options(), authzv1.E_Rule).(*authzv1.Rule)
				if ok && rule.GetPublic().GetHuman() {
					methods[strings.TrimPrefix(string(service.FullName()), "logicspike.")+"/"+string(method.Name())] = true
				}
			}
		}
		return true
	})
	if !methods["auth.v1.AuthenticationService/SignInWithPassword"] {
		t.Fatalf("%v", methods)
	}
	h := mounted(options)
	called := regexp.MustCompile(`\b(call|callAsPerson)\(\s*"([^"]+)"`)
	people := 0
	for _, target := range assets(t) {
		for _, match := range called.FindAllStringSubmatch(send(h, http.MethodGet, target).Body.String(), -1) {
			if methods[match[2]] != (match[1] == "callAsPerson") {
				t.Errorf("%s: %s", target, match[0])
			}
			if methods[match[2]] {
				people++
			}
		}
	}
	if people != 2 {
		t.Errorf("%d calls of methods for people", people)
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	h := mounted(options)
	for _, target := range append(assets(t), paths...) {
		get, head := send(h, http.MethodGet, target), send(h, http.MethodHead, target)
		if head.Code != http.StatusOK || head.Body.Len() != 0 || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") {
			t.Errorf("HEAD %s: %d, %d bytes, %v", target, head.Code, head.Body.Len(), head.Header())
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "OTHER"} {
			if w := send(h, method, target); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, %v", method, target, w.Code, w.Header())
			}
		}
	}
}

func TestUnknownPathsAreNotFound(t *testing.T) {
	t.Parallel()
	h := mounted(options)
	for _, target := range []string{
		"/other", "/index.html", "/pages/", "/pages/other.js", "/pages/../html/layout.html", "/pages/assets/page.js",
		"/verify-registration/", "/verify-registration.html",
	} {
		if w := send(h, http.MethodGet, "http://localhost"+target); w.Code == http.StatusOK {
			t.Errorf("%s: %d %.80s", target, w.Code, w.Body)
		}
	}
}

// TestAssetsAreAskedFor: a browser that has the present version gets no body.
func TestAssetsAreAskedFor(t *testing.T) {
	t.Parallel()
	h := mounted(options)
	seen := map[string]bool{}
	for _, target := range assets(t) {
		tag := send(h, http.MethodGet, target).Header().Get("ETag")
		if tag == "" || seen[tag] {
			t.Errorf("%s: ETag %q", target, tag)
		}
		seen[tag] = true
		if w := send(h, http.MethodGet, target, "If-None-Match", tag); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("%s: the same version: %d", target, w.Code)
		}
		if w := send(h, http.MethodGet, target, "If-None-Match", `"older"`); w.Code != http.StatusOK {
			t.Errorf("%s: another version: %d", target, w.Code)
		}
	}
}

var imported = regexp.MustCompile(`(?m)^(?:import|export)[^"']*["']([^"']+)["'];$`)

// TestPagesReferToWhatIsServed walks from the pages over all that they refer to:
// it is all there, all from this server, and no code stands in a page.
func TestPagesReferToWhatIsServed(t *testing.T) {
	t.Parallel()
	h := mounted(options)
	used := map[string]bool{}
	for _, target := range paths {
		document, err := html.Parse(send(h, http.MethodGet, target).Body)
		if err != nil {
			t.Fatal(err)
		}
		title := ""
		for node := range document.Descendants() {
			if node.Type != html.ElementNode {
				continue
			}
			attributes := map[string]string{}
			for _, a := range node.Attr {
				attributes[a.Key] = a.Val
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "action" || strings.Contains(a.Val, ":") && a.Key != "content" {
					t.Errorf("%s: <%s %s=%q>", target, node.Data, a.Key, a.Val)
				}
			}
			switch node.Data {
			case "title":
				title = node.FirstChild.Data
			case "script":
				used[attributes["src"]] = true
				if node.FirstChild != nil || attributes["type"] != "module" {
					t.Errorf("%s: a script that is in the page, or no module", target)
				}
			case "link":
				used[attributes["href"]] = true
			case "style", "base", "iframe", "object", "img":
				t.Errorf("%s: <%s>", target, node.Data)
			case "form": // nothing that is filled in goes into the URL, whatever becomes of the script
				if attributes["method"] != "post" {
					t.Errorf("%s: a form by %q", target, attributes["method"])
				}
			}
		}
		if !strings.HasSuffix(title, " · "+options.Product) {
			t.Errorf("%s: title %q", target, title)
		}
	}
	for again := true; again; {
		again = false
		for target := range used {
			w := send(h, http.MethodGet, target)
			if w.Code != http.StatusOK {
				t.Fatalf("%q: %d", target, w.Code)
			}
			for _, match := range imported.FindAllStringSubmatch(w.Body.String(), -1) {
				if next := path.Join("/pages", match[1]); !strings.HasPrefix(match[1], "./") {
					t.Errorf("%s imports %q", target, match[1])
				} else if !used[next] {
					used[next], again = true, true
				}
			}
		}
	}
	for _, target := range assets(t) {
		if !used[target] {
			t.Errorf("no page uses %s", target)
		}
	}
}

// TestFieldsHaveWhatTheirFormsNeed: a label, a place for what is wrong with it, and
// ids that are there once.
func TestFieldsHaveWhatTheirFormsNeed(t *testing.T) {
	t.Parallel()
	h := mounted(options)
	for _, target := range paths {
		document, err := html.Parse(send(h, http.MethodGet, target).Body)
		if err != nil {
			t.Fatal(err)
		}
		ids, labels := map[string]int{}, map[string]bool{}
		var references []string
		var inputs []map[string]string
		for node := range document.Descendants() {
			attributes := map[string]string{}
			for _, a := range node.Attr {
				attributes[a.Key] = a.Val
			}
			if id := attributes["id"]; id != "" {
				ids[id]++
			}
			references = slices.Concat(references, strings.Fields(attributes["aria-describedby"]), strings.Fields(attributes["aria-controls"]))
			switch node.Data {
			case "label":
				labels[attributes["for"]] = true
			case "input":
				inputs = append(inputs, attributes)
			}
		}
		for id, n := range ids {
			if n > 1 {
				t.Errorf("%s: %d elements with the id %s", target, n, id)
			}
		}
		for _, id := range references {
			if ids[id] == 0 {
				t.Errorf("%s: nothing has the id %s", target, id)
			}
		}
		for _, input := range inputs {
			if id := input["id"]; id == "" || !labels[id] || ids[id+"-error"] == 0 || input["name"] == "" || input["data-what"] == "" {
				t.Errorf("%s: an input with %v", target, input)
			}
		}
	}
}

// TestAssetsCallNobodyElse: no address of another server, no code from text.
func TestAssetsCallNobodyElse(t *testing.T) {
	t.Parallel()
	h := mounted(options)
	foreign := regexp.MustCompile(`(?i)https?://|["'(]//|data:|@import|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|localStorage|sessionStorage|document\.cookie`)
	for _, target := range assets(t) {
		if found := foreign.FindString(send(h, http.MethodGet, target).Body.String()); found != "" {
			t.Errorf("%s: %q", target, found)
		}
	}
}

func TestPagesShowTheSettings(t *testing.T) {
	t.Parallel()
	h := mounted(options)
	for _, target := range paths {
		body := send(h, http.MethodGet, target).Body.String()
		if !strings.Contains(body, "Example &amp; &lt;b&gt;Sons&lt;/b&gt;") || strings.Contains(body, "<b>") {
			t.Errorf("%s: %s", target, body)
		}
	}
	for _, target := range []string{"/reset-password", "/accept-invitation"} {
		if body := send(h, http.MethodGet, target).Body.String(); !strings.Contains(body, "At least 15 characters") {
			t.Errorf("%s: %s", target, body)
		}
	}
	for _, mailbox := range []bool{true, false} {
		o := options
		o.Mailbox = mailbox
		body := send(mounted(o), http.MethodGet, "/").Body.String()
		if strings.Contains(body, `href="/mailbox/"`) != mailbox || !strings.Contains(body, `href="/healthz"`) {
			t.Errorf("mailbox %v: %s", mailbox, body)
		}
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	got := pages.Patterns()
	slices.Sort(got)
	if want := []string{"/accept-invitation", "/confirm-email", "/pages/", "/reset-password", "/sign-in-by-email", "/verify-registration", "/{$}"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestGoOnToTheApplication(t *testing.T) {
	for _, there := range []bool{true, false} {
		o := options
		o.Application = there
		body := send(mounted(o), http.MethodGet, "/accept-invitation").Body.String()
		if got := strings.Contains(body, `id="go-on"`); got != there {
			t.Errorf("with an application %t: a link to it %t", there, got)
		}
	}
}
