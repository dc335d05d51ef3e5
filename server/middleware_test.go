package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/logicspike/manager/internal/authz"
)

// send makes a request with headers given in pairs, and returns the answer whose
// body is read.
func send(t *testing.T, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body = http.NoBody
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	response, err := client(t, false).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var b strings.Builder
	if _, err := copyTo(&b, response.Body); err != nil {
		t.Fatal(err)
	}
	return response, b.String()
}

func TestPreflightAnswersOnlyAllowedOrigins(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	ask := func(origin, method, headers string) http.Header {
		r, _ := send(t, http.MethodOptions, s.url+getSession, "",
			"Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers)
		return r.Header
	}
	const wanted = "authorization,connect-protocol-version,connect-timeout-ms,content-type"
	h := ask(appOrigin, "POST", wanted)
	if h.Get("Access-Control-Allow-Origin") != appOrigin || h.Get("Access-Control-Allow-Credentials") != "true" ||
		h.Get("Access-Control-Allow-Headers") != wanted || h.Get("Access-Control-Allow-Methods") != "POST" || h.Get("Access-Control-Max-Age") != "7200" {
		t.Errorf("%v", h)
	}
	for _, refused := range []http.Header{
		ask("https://evil.example.com", "POST", wanted), ask("http://app.example.com", "POST", wanted), ask("null", "POST", wanted),
		ask(appOrigin+".evil.com", "POST", wanted), ask(appOrigin, "DELETE", ""), ask(appOrigin, "POST", "x-other"),
	} {
		if refused.Get("Access-Control-Allow-Origin") != "" || refused.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%v", refused)
		}
	}
}

func TestPagesOfOtherOriginsAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	cookie := authz.CookieName + "=" + token
	for name, test := range map[string]struct {
		headers []string
		status  int
	}{
		"no browser":                      {nil, 200},
		"own page":                        {[]string{"Sec-Fetch-Site", "same-origin", "Origin", s.url}, 200},
		"own page, old browser":           {[]string{"Origin", s.url}, 200},
		"allowed page":                    {[]string{"Sec-Fetch-Site", "cross-site", "Origin", appOrigin}, 200},
		"other page":                      {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example.com"}, 403},
		"other page, old browser":         {[]string{"Origin", "https://evil.example.com"}, 403},
		"page of a sibling":               {[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://other.example.com"}, 403},
		"page without an origin":          {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "null"}, 403},
		"page that hides where it's from": {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
	} {
		for _, contentType := range []string{"application/json", "text/plain"} {
			headers := append([]string{"Content-Type", contentType, "Cookie", cookie}, test.headers...)
			r, body := send(t, http.MethodPost, s.url+revoke, "{}", headers...)
			want := test.status
			if contentType == "text/plain" && want == 200 { // what a form may send
				want = 415
			}
			if r.StatusCode != want || r.Header.Get("X-Request-Id") == "" {
				t.Errorf("%s: %s: %d %s", name, contentType, r.StatusCode, body)
			}
			if want == 403 {
				var e struct {
					Code    string
					Details []struct{ Debug struct{ Reason string } }
				}
				if err := json.Unmarshal([]byte(body), &e); err != nil || e.Code != "permission_denied" || e.Details[0].Debug.Reason != "ORIGIN_FORBIDDEN" {
					t.Errorf("%s: %s (%v)", name, body, err)
				}
			}
			mayRead := r.Header.Get("Access-Control-Allow-Origin")
			if (mayRead == appOrigin) != (name == "allowed page") || mayRead != "" && mayRead != appOrigin {
				t.Errorf("%s: may be read by %q", name, mayRead)
			}
			if name == "allowed page" && (!strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "X-Request-Id") || !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "Retry-After")) {
				t.Errorf("%s: %v", name, r.Header)
			}
		}
	}
	if !strings.Contains(s.log.String(), "reason=ORIGIN_FORBIDDEN") {
		t.Error("refusals are not logged")
	}
}

func TestWhatIsNoCall(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	for name, test := range map[string]struct {
		method, path, contentType string
		status                    int
	}{
		"GET of what changes things": {"GET", revoke + "?encoding=json&message={}", "", 405},
		"content type":               {"POST", getSession, "text/html", 415},
		"unknown method":             {"POST", "/" + "logicspike.auth.v1.SessionService/Nothing", "application/json", 404},
		"unknown service":            {"POST", "/logicspike.nothing.v1.Service/Method", "application/json", 404},
		"service not served":         {"POST", "/logicspike.auth.v1.PasswordService/ChangePassword", "application/json", 404},
		"profiles":                   {"GET", "/debug/pprof/", "", 404},
		"metrics":                    {"GET", "/metrics", "", 404},
		"path of another folder":     {"GET", "/../../etc/passwd", "", 404},
	} {
		r, body := send(t, test.method, s.url+test.path, "", "Content-Type", test.contentType)
		if r.StatusCode != test.status || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %s", name, r.StatusCode, body)
		}
	}
}
