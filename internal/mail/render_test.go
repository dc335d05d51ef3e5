package mail

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
)

const hostile = "Eve\r\nBcc: all@example.com\x00\u202Egnp.exe\u2066 <script>alert(1)</script> \"quoted\" https://evil.example/x www.evil.example\u2028 e@evil.example"

func newTestRenderer(t *testing.T) *Renderer {
	t.Helper()
	public, err := url.Parse("https://app.example.com/base")
	if err != nil {
		t.Fatal(err)
	}
	return NewRenderer(public, "Example")
}

// testData has a value for every key of every template.
func testData() map[string]string {
	return map[string]string{
		"name":        "Ann O'Neill & Söhne",
		"workspace":   "Acme <Europe> & Co",
		"email":       "new@example.com",
		"code":        "042719",
		"token":       "lsr_AbC-123_xyz+/=",
		"expire_time": "2026-03-01T15:04:05.5+01:00",
		"change_time": "2026-03-01T14:04:05Z",
		"purge_time":  "2026-03-15T14:04:05Z",
	}
}

func TestRender(t *testing.T) {
	r := newTestRenderer(t)
	for template, s := range specs {
		t.Run(string(template), func(t *testing.T) {
			m, err := r.Render(Message{Template: template, To: "ann@example.com", Data: testData()})
			if err != nil {
				t.Fatal(err)
			}
			if m.To != "ann@example.com" || m.Subject == "" {
				t.Errorf("to %q, subject %q", m.To, m.Subject)
			}
			for _, key := range append(slices.Clone(s.plain), s.names...) {
				if shown := testData()[key]; !strings.Contains(m.Text, shown) {
					t.Errorf("the text does not show the %s %q:\n%s", key, shown, m.Text)
				}
			}
			if slices.Contains(s.times, "expire_time") && !strings.Contains(m.Text, "1 March 2026, 14:04 UTC") {
				t.Errorf("the text does not show the time:\n%s", m.Text)
			}
			if s.link == "" {
				return
			}
			link := "https://app.example.com/base/" + s.link + "#token=lsr_AbC-123_xyz%2B%2F%3D"
			for part, body := range map[string]string{"text": m.Text, "html": strings.ReplaceAll(m.HTML, "&#43;", "+")} {
				if !strings.Contains(body, link) {
					t.Errorf("the %s part has no link %s:\n%s", part, link, body)
				}
			}
			if !strings.Contains(m.Text, "042719") || !strings.Contains(m.Text, "042 719") {
				t.Errorf("the text does not show the code in both ways:\n%s", m.Text)
			}
			if strings.Contains(m.Subject, "042719") {
				t.Errorf("the subject shows the code: %s", m.Subject)
			}
		})
	}
}

func TestRenderHostileNames(t *testing.T) {
	r := newTestRenderer(t)
	data := testData()
	for _, key := range []string{"name", "workspace", "email"} {
		data[key] = hostile
	}
	for template, s := range specs {
		t.Run(string(template), func(t *testing.T) {
			m, err := r.Render(Message{Template: template, To: "ann@example.com", Data: data})
			if err != nil {
				t.Fatal(err)
			}
			if strings.ContainsFunc(m.Subject, unicode.IsControl) {
				t.Errorf("control characters in the subject %q", m.Subject)
			}
			for part, body := range map[string]string{"subject": m.Subject, "text": m.Text, "html": m.HTML} {
				for _, bad := range []string{"\x00", "\r", "\u202E", "\u2066", "\u2028", "\nBcc:"} {
					if strings.Contains(body, bad) {
						t.Errorf("the %s contains %q", part, bad)
					}
				}
				if len(s.plain) == 0 {
					for _, bad := range []string{"://evil", "www.evil", "evil.example", "@evil"} {
						if strings.Contains(body, bad) {
							t.Errorf("the %s contains %q, which becomes a link", part, bad)
						}
					}
				}
			}
			if strings.Contains(m.HTML, "<script") {
				t.Errorf("the html part contains a script:\n%s", m.HTML)
			}
		})
	}
}

func TestRenderMissingValue(t *testing.T) {
	r := newTestRenderer(t)
	for template, s := range specs {
		needed := slices.Concat(s.names, s.plain, s.times)
		if s.link != "" {
			needed = append(needed, "code", "token")
		}
		for _, key := range needed {
			data := maps.Clone(testData())
			delete(data, key)
			_, err := r.Render(Message{Template: template, To: "ann@example.com", Data: data})
			if err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s without %s: got %v, want an error that names it", template, key, err)
			}
		}
	}
}

func TestRenderInvalidValue(t *testing.T) {
	r := newTestRenderer(t)
	for key, value := range map[string]string{"code": "12 <b>", "expire_time": "tomorrow"} {
		data := testData()
		data[key] = value
		_, err := r.Render(Message{Template: RegistrationCode, To: "ann@example.com", Data: data})
		if err == nil || strings.Contains(err.Error(), value) {
			t.Errorf("%s: got %v, want an error without the value", key, err)
		}
	}
	if _, err := r.Render(Message{Template: "unknown"}); err == nil {
		t.Error("no error for an unknown template")
	}
}

func TestRenderPurgedWorkspace(t *testing.T) {
	data := testData()
	data["purge_time"] = ""
	m, err := newTestRenderer(t).Render(Message{Template: WorkspaceDeleted, To: "ann@example.com", Data: data})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(m.Text, "cannot be brought back") || strings.Contains(m.Text, "Until then") {
		t.Errorf("wrong text:\n%s", m.Text)
	}
}

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		"  Acme \t Inc. ":        "Acme Inc.",
		"नि\u200Dक":              "नि\u200Dक",
		"a\u200Bb\uFEFF\u00ADc":  "abc",
		"\xff":                   "\uFFFD",
		strings.Repeat("é", 101): strings.Repeat("é", 99) + "…",
		"acme.io":                "acme.\u2060io",
	} {
		if got := cleanName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
