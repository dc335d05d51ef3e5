// Package pages serves the few pages that people meet without an application:
// those that the links in mails lead to, and the one at the root of a server without
// the console, which says what this server is.
//
// Their scripts are modules as they stand in the folder assets; nothing builds
// them. They call the API as any other page of the server's own origin does.
// Opening a page changes nothing: the token of a mailed link is in the URL's
// fragment, which no browser sends, and is used when a button is pressed.
package pages

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"time"
)

// Options are what the pages need to know of the server's settings.
type Options struct {
	// Product is what mails call the product.
	Product string
	// PasswordMinLength is how many characters a new password has at least.
	PasswordMinLength int
	// Mailbox tells whether there is a development mailbox under /mailbox/.
	Mailbox bool
	// Captcha is what people solve before they sign in; nil for none.
	Captcha *Captcha
}

// Index is the pattern of the page at the root, which the console takes the place of.
const Index = "/{$}"

// assetsPath is where the scripts and the style are.
const assetsPath = "/pages/"

// templates are the pages' files by their path.
var templates = map[string]string{
	"/":                    "index.html",
	"/verify-registration": "verify-registration.html",
	"/reset-password":      "reset-password.html",
	"/confirm-email":       "confirm-email.html",
	"/accept-invitation":   "accept-invitation.html",
	"/sign-in-by-email":    "sign-in-by-email.html",
}

// signIns are the pages on which people may sign in by a password, and on which they
// solve a CAPTCHA if there is one.
var signIns = map[string]bool{"/confirm-email": true, "/accept-invitation": true}

// policy allows what the server itself serves, from files, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// A page without a CAPTCHA tells nobody where the reader came from; one with it tells its
// provider the server's origin, and no more.
const (
	referrer            = "no-referrer"
	referrerWithCaptcha = "strict-origin"
)

var (
	//go:embed html
	htmlFiles embed.FS
	//go:embed assets
	assetFiles embed.FS
)

// Patterns returns where Handler is to be mounted, as patterns of http.ServeMux.
func Patterns() []string {
	patterns := []string{assetsPath}
	for at := range templates {
		if at == "/" {
			at = Index
		}
		patterns = append(patterns, at)
	}
	return patterns
}

// file is what is served at a path.
type file struct {
	contentType string
	caching     string
	tag         string // ETag; empty for none
	content     []byte
	policy      string // Content-Security-Policy
	referrer    string // Referrer-Policy
}

// Handler serves the pages and what belongs to them. It panics if a file is
// broken, which a test rules out, and if the provider of the CAPTCHA is unknown.
func Handler(o Options) http.Handler {
	files := make(map[string]file)
	addPages(files, o)
	addAssets(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		f, ok := files[r.URL.Path]
		h.Set("Content-Security-Policy", cmp.Or(f.policy, policy))
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", cmp.Or(f.referrer, referrer))
		h.Set("X-Content-Type-Options", "nosniff")
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "a page can only be read", http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", f.contentType)
		h.Set("Cache-Control", f.caching)
		if f.tag != "" {
			h.Set("ETag", f.tag)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})
}

// addPages adds the pages, which no cache keeps.
func addPages(files map[string]file, o Options) {
	layout := template.Must(template.ParseFS(htmlFiles, "html/layout.html", "html/second-factor.html", "html/captcha.html"))
	for at, name := range templates {
		page := template.Must(template.Must(layout.Clone()).ParseFS(htmlFiles, "html/"+name))
		var content bytes.Buffer
		if err := page.ExecuteTemplate(&content, "layout.html", o); err != nil {
			panic(fmt.Errorf("page %s: %w", name, err))
		}
		f := file{contentType: "text/html; charset=utf-8", caching: "no-store", content: content.Bytes()}
		if o.Captcha != nil && signIns[at] {
			f.policy, f.referrer = o.Captcha.Policy(policy), referrerWithCaptcha
		}
		files[at] = f
	}
}

// addAssets adds scripts and styles. A browser asks each time whether its copy is
// the present one, so that a page never meets the script of another version.
func addAssets(files map[string]file) {
	contentTypes := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
	entries, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		panic(err)
	}
	for _, entry := range entries {
		content, err := fs.ReadFile(assetFiles, "assets/"+entry.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		files[assetsPath+entry.Name()] = file{
			contentType: contentTypes[path.Ext(entry.Name())],
			caching:     "no-cache",
			tag:         `"` + hex.EncodeToString(sum[:16]) + `"`,
			content:     content,
		}
	}
}
