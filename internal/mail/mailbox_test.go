package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func newTestMailbox(t *testing.T) *Mailbox {
	t.Helper()
	box, err := NewMailbox(filepath.Join(t.TempDir(), "mail"))
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func send(t *testing.T, s Sender, m Rendered) {
	t.Helper()
	if err := s.Send(context.Background(), m); err != nil {
		t.Fatal(err)
	}
}

// get calls the handler as a program on the same machine would.
func get(box *Mailbox, target string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr, r.Host = "127.0.0.1:40000", "localhost:8080"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	box.Handler().ServeHTTP(w, r)
	return w
}

func TestMailboxKeepsMail(t *testing.T) {
	box := newTestMailbox(t)
	m := testMail(t)
	m.Subject = "Überraschung „Acme“"
	for _, to := range []string{"ann+tag@example.org", "bob@bücher.example", "ann+tag@example.org"} {
		m.To = to
		send(t, box, m)
	}
	list, err := box.List(10)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 || list[1].To != "bob@bücher.example" || !list[0].Time.After(list[1].Time) {
		t.Fatalf("got %+v", list)
	}
	got, err := box.Get(list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.To != "ann+tag@example.org" || got.Subject != m.Subject ||
		strings.TrimSpace(got.Text) != strings.TrimSpace(m.Text) || strings.TrimSpace(got.HTML) != strings.TrimSpace(m.HTML) {
		t.Errorf("got %+v, want %+v", got, m)
	}
	for _, id := range []string{"", "../x", "20260101T000000.000000000Z-AAAAAAAA"} {
		if _, err := box.Get(id); !errors.Is(err, ErrNoMessage) {
			t.Errorf("%q: got %v, want ErrNoMessage", id, err)
		}
	}
	entries, err := os.ReadDir(box.dir)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d files (%v), want 3", len(entries), err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 || filepath.Ext(entry.Name()) != ".eml" {
			t.Errorf("%s has mode %04o", entry.Name(), info.Mode().Perm())
		}
	}
}

func TestMailboxForgetsTheOldest(t *testing.T) {
	box := newTestMailbox(t)
	const sent = 18 * trimEvery // more than it keeps
	for i := range sent {
		if err := box.store(fmt.Appendf(nil, "Subject: %d\r\nTo: a@example.org\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n--x--\r\n", i)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := box.List(2 * mailboxSize)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != mailboxSize || list[0].Subject != fmt.Sprint(sent-1) || list[mailboxSize-1].Subject != fmt.Sprint(sent-mailboxSize) {
		t.Errorf("%d mails, from %s to %s", len(list), list[len(list)-1].Subject, list[0].Subject)
	}
}

func TestMailboxInParallel(t *testing.T) {
	box := newTestMailbox(t)
	m := testMail(t)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := box.Send(context.Background(), m); err != nil {
				t.Error(err)
			}
			if _, err := box.List(100); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if list, err := box.List(100); err != nil || len(list) != 50 {
		t.Errorf("%d mails (%v), want 50", len(list), err)
	}
}

func TestMailboxJSON(t *testing.T) {
	box := newTestMailbox(t)
	m := testMail(t)
	for _, to := range []string{"ann+1@example.org", "bob@example.org", "ann+1@example.org"} {
		m.To = to
		send(t, box, m)
	}
	for query, want := range map[string]int{"": 3, "?to=ANN%2B1@example.org": 2, "?to=ann%2B1@example.org&limit=1": 1, "?to=nobody@example.org": 0} {
		w := get(box, "/mailbox/messages"+query, nil)
		var list []map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
		if list == nil || len(list) != want {
			t.Errorf("%s: %d mails, want %d", query, len(list), want)
		}
		for _, m := range list {
			for _, key := range []string{"id", "to", "subject", "text", "time"} {
				if m[key] == "" || m[key] == nil {
					t.Errorf("%s: %s is missing in %v", query, key, m)
				}
			}
			one := get(box, "/mailbox/messages/"+m["id"].(string), nil)
			if one.Code != http.StatusOK || !strings.Contains(one.Body.String(), "042719") {
				t.Errorf("status %d: %s", one.Code, one.Body)
			}
		}
	}
	if w := get(box, "/mailbox/messages?limit=x", nil); w.Code != http.StatusBadRequest {
		t.Errorf("status %d for a bad limit", w.Code)
	}
	if w := get(box, "/mailbox/messages/nothing", nil); w.Code != http.StatusNotFound {
		t.Errorf("status %d for a mail that is not there", w.Code)
	}
}

func TestMailboxPages(t *testing.T) {
	box := newTestMailbox(t)
	if w := get(box, "/mailbox/", nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "No mail yet") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	m := testMail(t)
	m.Subject = `<script>alert("subject")</script>`
	m.Text = `<script>alert("text")</script>`
	send(t, box, m)
	list, err := box.List(1)
	if err != nil {
		t.Fatal(err)
	}
	index, page := get(box, "/mailbox/", nil), get(box, "/mailbox/"+list[0].ID, nil)
	if !strings.Contains(index.Body.String(), "/mailbox/"+list[0].ID) {
		t.Errorf("the list has no link to the mail:\n%s", index.Body)
	}
	for _, w := range []*httptest.ResponseRecorder{index, page} {
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "<script") {
			t.Errorf("status %d:\n%s", w.Code, w.Body)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("policy %q", csp)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Error("the page may be stored")
		}
	}
	_, frame, _ := strings.Cut(page.Body.String(), `srcdoc="`)
	frame, _, _ = strings.Cut(frame, `"`)
	shown := html.UnescapeString(frame)
	if !strings.Contains(shown, strings.TrimSpace(m.HTML)) {
		t.Errorf("the frame shows:\n%s", shown)
	}
	if !strings.Contains(page.Body.String(), html.EscapeString("<script>")) {
		t.Errorf("the text part is not shown:\n%s", page.Body)
	}
}

func TestMailboxAnswersOnlyLocally(t *testing.T) {
	box := newTestMailbox(t)
	send(t, box, testMail(t))
	for name, test := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"IPv4":                {nil, 200},
		"IPv6":                {func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:1", "[::1]:8080" }, 200},
		"mapped":              {func(r *http.Request) { r.RemoteAddr = "[::ffff:127.0.0.1]:1" }, 200},
		"by address":          {func(r *http.Request) { r.Host = "127.0.0.1:8080" }, 200},
		"without port":        {func(r *http.Request) { r.Host = "LOCALHOST" }, 200},
		"IPv6 without port":   {func(r *http.Request) { r.Host = "[::1]" }, 200},
		"other machine":       {func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }, 404},
		"private network":     {func(r *http.Request) { r.RemoteAddr = "10.0.0.1:1" }, 404},
		"no address":          {func(r *http.Request) { r.RemoteAddr = "@" }, 404},
		"proxy":               {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") }, 404},
		"empty proxy":         {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "") }, 404},
		"standard proxy":      {func(r *http.Request) { r.Header.Set("Forwarded", "for=127.0.0.1") }, 404},
		"rebinding":           {func(r *http.Request) { r.Host = "evil.example:8080" }, 404},
		"rebinding subdomain": {func(r *http.Request) { r.Host = "localhost.evil.example" }, 404},
		"other address":       {func(r *http.Request) { r.Host = "192.0.2.1:8080" }, 404},
		"no host":             {func(r *http.Request) { r.Host = "" }, 404},
	} {
		t.Run(name, func(t *testing.T) {
			for _, target := range []string{"/mailbox/", "/mailbox/messages"} {
				w := get(box, target, test.change)
				if w.Code != test.status {
					t.Errorf("%s: status %d, want %d", target, w.Code, test.status)
				}
				if w.Code == 404 && w.Body.String() != "404 page not found\n" {
					t.Errorf("%s: the refusal says %q", target, w.Body)
				}
			}
		})
	}
	w := get(box, "/mailbox/messages", func(r *http.Request) { r.Method = http.MethodPost })
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("status %d for POST", w.Code)
	}
}
