// Package console serves the browser application of this folder, as `npm run build`
// leaves it in dist. What is there is built into the program, unless the build tag
// noconsole leaves it out; a program that was built without it still serves the API.
package console

import (
	"bytes"
	"fmt"
	"html"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	index = "index.html"
	// assetsPath is where the files are whose names change with their content.
	assetsPath = "/console/"
	// policy allows what the server itself serves. Styles may stand in the page, since
	// the components set their sizes so; scripts may not.
	policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
		"font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

// Built returns the application that is built into the program.
func Built() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // not with a constant path
	}
	return files
}

// IsBuilt reports whether there is an application in what Built returns.
func IsBuilt() bool {
	_, err := fs.Stat(Built(), index)
	return err == nil
}

// A console without a CAPTCHA tells nobody where the reader came from; one with it tells its
// provider the server's origin, and no more.
const (
	referrer            = "no-referrer"
	referrerWithCaptcha = "strict-origin"
)

// Captcha is what people solve before they sign in, register or ask for a new password. The
// application loads it once the server asks for one.
type Captcha struct {
	// Script is the address of the provider's script, which calls captchaLoaded once it can
	// be used, and Object the global object that it makes.
	Script, Object string
	// SiteKey is the public key of the site at the provider.
	SiteKey string
	// Policy returns a Content-Security-Policy that allows the provider, too.
	Policy func(own string) string
}

// meta tells the application of it.
func (c *Captcha) meta() string {
	return fmt.Sprintf("<meta name=\"captcha\" content=\"%s\" data-script=\"%s\" data-object=\"%s\" />",
		html.EscapeString(c.SiteKey), html.EscapeString(c.Script), html.EscapeString(c.Object))
}

// named tells the application what it is called, and the browser until it runs.
func named(product string) string {
	name := html.EscapeString(product)
	return fmt.Sprintf("<title>%s</title><meta name=\"application-name\" content=\"%s\" />", name, name)
}

// encodings are the compressed forms that the build leaves beside a file, the best first.
var encodings = []struct{ name, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

// file is what is served at a path.
type file struct {
	contentType, caching string
	content              []byte
	encoded              map[string][]byte // by the encoding's name
}

// Handler serves a built application; it is nil when there is none. It is to be mounted
// at "/": the path of any page, which only the application knows, gets its index. What
// cannot be a page is not found: paths with a dot, which those of the API's services
// have, and whatever is not read. The CAPTCHA is nil where nobody has to solve one.
//
// The product is what people call the application, in all titles and headers.
//
// Errors: when a file cannot be read.
func Handler(built fs.FS, product string, captcha *Captcha) (http.Handler, error) {
	if _, err := fs.Stat(built, index); err != nil {
		return nil, nil
	}
	files, err := read(built)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	policy, referrer := policy, referrer
	told := named(product)
	if captcha != nil {
		policy, referrer = captcha.Policy(policy), referrerWithCaptcha
		told += captcha.meta()
	}
	page := files["/"+index]
	page.content = bytes.Replace(page.content, []byte("</head>"), []byte(told+"</head>"), 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if strings.HasPrefix(r.URL.Path, assetsPath) {
			h.Del("Content-Security-Policy") // scripts and styles are under the policy of their page
		} else {
			h.Set("Content-Security-Policy", policy)
		}
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", referrer)
		h.Set("X-Content-Type-Options", "nosniff")
		f, ok := files[r.URL.Path]
		if !ok && !strings.Contains(r.URL.Path, ".") && !strings.HasPrefix(r.URL.Path, assetsPath) {
			f, ok = files["/"+index]
		}
		if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.NotFound(w, r)
			return
		}
		f.serve(w, r)
	}), nil
}

func read(built fs.FS) (map[string]*file, error) {
	files := map[string]*file{}
	err := fs.WalkDir(built, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		for _, e := range encodings {
			if strings.HasSuffix(name, e.suffix) {
				return nil
			}
		}
		f := &file{contentType: mime.TypeByExtension(path.Ext(name)), caching: "no-store", encoded: map[string][]byte{}}
		if strings.HasPrefix("/"+name, assetsPath) {
			f.caching = "public, max-age=31536000, immutable"
		}
		if f.content, err = fs.ReadFile(built, name); err != nil {
			return err
		}
		for _, e := range encodings {
			if content, err := fs.ReadFile(built, name+e.suffix); err == nil {
				f.encoded[e.name] = content
			}
		}
		files["/"+name] = f
		return nil
	})
	return files, err
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", f.caching)
	if len(f.encoded) > 0 {
		h.Set("Vary", "Accept-Encoding")
	}
	accepted := acceptedEncodings(r.Header.Get("Accept-Encoding"))
	for _, e := range encodings {
		content, ok := f.encoded[e.name]
		if !ok || !accepted[e.name] {
			continue
		}
		h.Set("Content-Encoding", e.name)
		h.Set("Content-Length", strconv.Itoa(len(content)))
		if r.Method == http.MethodGet {
			w.Write(content) //nolint:errcheck // the client has gone
		}
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}

// acceptedEncodings returns the encodings that a header names and does not rule out.
func acceptedEncodings(header string) map[string]bool {
	accepted := map[string]bool{}
	for one := range strings.SplitSeq(header, ",") {
		name, parameter, _ := strings.Cut(strings.ToLower(strings.TrimSpace(one)), ";")
		weight, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(parameter), "q="), 64)
		accepted[strings.TrimSpace(name)] = err != nil || weight > 0
	}
	return accepted
}
