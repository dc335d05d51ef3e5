package mail

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

//go:embed mailbox
var mailboxFiles embed.FS

var mailboxPages = template.Must(template.ParseFS(mailboxFiles, "mailbox/*.html"))

// Handler shows the mailbox; it is to be mounted at /mailbox/.
//
//	GET /mailbox/                      the list, for people
//	GET /mailbox/{id}                  one mail, for people
//	GET /mailbox/messages?to=&limit=   the newest mails, to one address or to
//	                                   any, as JSON: [{id, to, subject, text, time}]
//	GET /mailbox/messages/{id}         one mail, as JSON
//
// The mails hold codes that sign people in. So only programs on the same machine
// get an answer: the connection must come from a loopback address, not through a
// proxy (no forwarding header), and be addressed to localhost (or a page
// elsewhere could have its own name point here). All others get 404.
func (b *Mailbox) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /mailbox/{$}", b.servePageOfAll)
	mux.HandleFunc("GET /mailbox/{id}", b.servePage)
	mux.HandleFunc("GET /mailbox/messages", b.serveAll)
	mux.HandleFunc("GET /mailbox/messages/{id}", b.serveOne)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r) {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", mailboxPolicy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// mailboxPolicy allows styles and nothing else. It also holds for the frame that
// shows a mail.
const mailboxPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// forwarded are the headers by which a proxy shows itself.
var forwarded = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}

func isLocal(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	for _, name := range forwarded {
		if len(r.Header.Values(name)) > 0 {
			return false
		}
	}
	return isLocalHost(r.Host)
}

func isLocalHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && address.Unmap().IsLoopback()
}

func (b *Mailbox) servePageOfAll(w http.ResponseWriter, _ *http.Request) {
	list, err := b.List(200)
	if err != nil {
		serveError(w, err)
		return
	}
	servePage(w, "list.html", list)
}

func (b *Mailbox) servePage(w http.ResponseWriter, r *http.Request) {
	m, err := b.Get(r.PathValue("id"))
	if err != nil {
		serveError(w, err)
		return
	}
	servePage(w, "message.html", m)
}

func (b *Mailbox) serveAll(w http.ResponseWriter, r *http.Request) {
	limit := 50
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mailboxSize {
			http.Error(w, "limit must be a number from 1 to 1000", http.StatusBadRequest)
			return
		}
		limit = n
	}
	list, err := b.list(limit, r.FormValue("to"))
	if err != nil {
		serveError(w, err)
		return
	}
	serveJSON(w, list)
}

func (b *Mailbox) serveOne(w http.ResponseWriter, r *http.Request) {
	m, err := b.Get(r.PathValue("id"))
	if err != nil {
		serveError(w, err)
		return
	}
	serveJSON(w, m)
}

func servePage(w http.ResponseWriter, name string, data any) {
	var page bytes.Buffer
	if err := mailboxPages.ExecuteTemplate(&page, name, data); err != nil {
		serveError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = page.WriteTo(w)
}

func serveJSON(w http.ResponseWriter, data any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(data) // fails only if nobody listens any more
}

// serveError may show what is wrong: whoever sees it is a developer.
func serveError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, ErrNoMessage) {
		status = http.StatusNotFound
	}
	http.Error(w, err.Error(), status)
}
