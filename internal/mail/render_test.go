package mail

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
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
		"name":             "Ann O'Neill & Söhne",
		"workspace":        "Acme <Europe> & Co",
		"inviter":          "Björn \"B\" Lind",
		"role":             "Read & write",
		"message":          "It's me, from the 4th floor",
		"email":            "new@example.com",
		"address":          "192.0.2.7",
		"agent":            "Browser 12",
		"reason":           "Ticket 4711",
		"change":           string(TOTPFactorAdded),
		"code":             "042719",
		"token":            "lsr_AbC-123_xyz+/=",
		"expire_time":      "2026-03-01T15:04:05.5+01:00",
		"code_expire_time": "2026-02-23T15:04:05.5+01:00",
		"change_time":      "2026-03-01T14:04:05Z",
		"purge_time":       "2026-03-15T14:04:05Z",
		"plan":             "Team & more",
		"previous_plan":    "Free <for all>",
		"end_time":         "2026-03-15T14:04:05Z",
		"trial_end_time":   "2026-03-15T14:04:05Z",
		"pause_time":       "2026-03-15T14:04:05Z",
		"number":           "INV-004711",
		"total":            "EUR 1,234.50",
		"due_time":         "2026-03-15T14:04:05Z",
		"paid_time":        "2026-03-15T14:04:05Z",
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
	for template, s := range specs {
		data := testData()
		for _, key := range s.names {
			data[key] = hostile
		}
		t.Run(string(template), func(t *testing.T) {
			m, err := r.Render(Message{Template: template, To: "ann@example.com", Data: data})
			if err != nil {
				t.Fatal(err)
			}
			mustBeClean(t, m)
			for part, body := range map[string]string{"subject": m.Subject, "text": m.Text, "html": m.HTML} {
				for _, bad := range []string{"://evil", "www.evil", "evil.example", "@evil"} {
					if strings.Contains(body, bad) {
						t.Errorf("the %s contains %q, which becomes a link", part, bad)
					}
				}
			}
		})
		t.Run(string(template)+"/address", func(t *testing.T) {
			for _, key := range s.plain {
				data[key] = hostile
			}
			m, err := r.Render(Message{Template: template, To: "ann@example.com", Data: data})
			if err != nil {
				t.Fatal(err)
			}
			mustBeClean(t, m)
		})
	}
}

// mustBeClean fails when what stands in hostile does more in a mail than be read.
func mustBeClean(t *testing.T, m Rendered) {
	t.Helper()
	if strings.ContainsFunc(m.Subject, unicode.IsControl) {
		t.Errorf("control characters in the subject %q", m.Subject)
	}
	for part, body := range map[string]string{"subject": m.Subject, "text": m.Text, "html": m.HTML} {
		for _, bad := range []string{"\x00", "\r", "\u202E", "\u2066", "\u2028", "\nBcc:"} {
			if strings.Contains(body, bad) {
				t.Errorf("the %s contains %q", part, bad)
			}
		}
	}
	document, err := html.Parse(strings.NewReader(m.HTML))
	if err != nil {
		t.Fatal(err)
	}
	for node := range document.Descendants() {
		switch {
		case node.Type == html.TextNode && strings.Contains(node.Data, "alert(1)"):
			if in := node.Parent.Data; in != "bdi" && in != "title" {
				t.Errorf("a name stands in <%s>, not in <bdi>: %q", in, node.Data)
			}
		case node.Type != html.ElementNode:
		case node.Data == "script":
			t.Errorf("the html part contains a script:\n%s", m.HTML)
		case node.Data == "a":
			if link := node.Attr[0]; link.Key != "href" || !strings.HasPrefix(link.Val, "https://app.example.com/base") {
				t.Errorf("a link to %q", link.Val)
			}
		}
	}
}

func TestRenderLongNames(t *testing.T) {
	r := newTestRenderer(t)
	for template, s := range specs {
		data := testData()
		for _, key := range s.names {
			data[key] = strings.Repeat("Ä", 100_000)
		}
		m, err := r.Render(Message{Template: template, To: "ann@example.com", Data: data})
		if err != nil {
			t.Fatal(err)
		}
		if n := utf8.RuneCountInString(m.Subject); n > 250 {
			t.Errorf("%s: a subject of %d characters", template, n)
		}
		if len(m.Text) > 4000 || len(m.HTML) > 8000 {
			t.Errorf("%s: %d bytes of text and %d of html", template, len(m.Text), len(m.HTML))
		}
		if len(s.names) > 0 && !strings.Contains(m.Text, strings.Repeat("Ä", 99)+"…") {
			t.Errorf("%s: the name is not cut:\n%s", template, m.Text)
		}
	}
}

// TestRenderInvitation: an invitation says who invites whom to what, and what to
// do; also when the inviter is gone.
func TestRenderInvitation(t *testing.T) {
	data := testData()
	for _, inviter := range []string{"Björn Lind", ""} {
		data["inviter"] = inviter
		m, err := newTestRenderer(t).Render(Message{Template: Invitation, To: "ann@example.com", Data: data})
		if err != nil {
			t.Fatal(err)
		}
		who := "Björn Lind invites you"
		if inviter == "" {
			who = "ou are invited"
		}
		if want := who + ` to "Acme <Europe> & Co" at Example`; !strings.HasSuffix(m.Subject, want) {
			t.Errorf("subject %q", m.Subject)
		}
		for _, want := range []string{
			who + ` to join the workspace "Acme <Europe> & Co" at Example, with the role "Read & write".`,
			"Opening it uses nothing up", "until 1 March 2026, 14:04 UTC", "the code until 23 February 2026, 14:04 UTC", "If you did not expect this, ignore this mail", "decline",
		} {
			if !strings.Contains(m.Text, want) {
				t.Errorf("the text does not say %q:\n%s", want, m.Text)
			}
			if plain := textOf(t, m.HTML); !strings.Contains(plain, strings.NewReplacer(` "`, " “", `" `, "” ", `".`, "”.").Replace(want)) {
				t.Errorf("the html part does not say %q:\n%s", want, plain)
			}
		}
	}
}

// TestRenderWithoutWhatMayBeEmpty: a link has no address, and a request need not
// have a message.
func TestRenderWithoutWhatMayBeEmpty(t *testing.T) {
	for template, key := range map[Template]string{InvitationRenewal: "email", JoinRequested: "message"} {
		data := testData()
		data[key] = ""
		m, err := newTestRenderer(t).Render(Message{Template: template, To: "ann@example.com", Data: data})
		if err != nil {
			t.Fatal(err)
		}
		for part, body := range map[string]string{"text": m.Text, "html": m.HTML} {
			for _, bad := range []string{`""`, "“<bdi></bdi>”", "<bdi></bdi>", "\n asks", "They wrote"} {
				if strings.Contains(body, bad) {
					t.Errorf("%s: the %s contains %q:\n%s", template, part, bad, body)
				}
			}
		}
	}
}

// textOf returns what a person reads of an html part.
func textOf(t *testing.T, part string) string {
	t.Helper()
	document, err := html.Parse(strings.NewReader(part))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for node := range document.Descendants() {
		if node.Type == html.TextNode {
			text.WriteString(node.Data)
		}
	}
	return text.String()
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

func TestRenderDeletedWorkspace(t *testing.T) {
	for _, test := range []struct {
		template Template
		time     string
		says     []string
		not      []string
	}{
		{WorkspaceDeleted, "2026-03-15T14:04:05Z", []string{"15 March 2026, 14:04 UTC", "its owners can bring it back", "stays as long as"}, []string{"cannot"}},
		{WorkspaceDeleted, "", []string{"cannot be brought back", "Your account stays"}, []string{"Until then"}},
		{AccountEnding, "2026-03-15T14:04:05Z", []string{
			"15 March 2026, 14:04 UTC", "will be deleted", "join another workspace or create one", "Ask an owner to bring the workspace back",
		}, []string{"cannot", "was deleted with"}},
		{AccountEnding, "", []string{"your account was deleted with it", "cannot be brought back"}, []string{"will be", "Ask an owner"}},
	} {
		data := testData()
		data["purge_time"] = test.time
		m, err := newTestRenderer(t).Render(Message{Template: test.template, To: "ann@example.com", Data: data})
		if err != nil {
			t.Fatal(err)
		}
		for part, body := range map[string]string{"text": m.Text, "html part": textOf(t, m.HTML)} {
			for _, want := range test.says {
				if !strings.Contains(body, want) {
					t.Errorf("%s at %q: the %s does not say %q:\n%s", test.template, test.time, part, want, body)
				}
			}
			for _, bad := range test.not {
				if strings.Contains(body, bad) {
					t.Errorf("%s at %q: the %s says %q:\n%s", test.template, test.time, part, bad, body)
				}
			}
		}
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
