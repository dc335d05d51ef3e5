package server

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	connectcors "connectrpc.com/cors"
	"github.com/rs/cors"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/rpc"
)

// preflightAge is how many seconds a browser may remember what it may send.
const preflightAge = 2 * 60 * 60

// origins decides which web pages may call the server.
type origins struct {
	cors       *cors.Cors // nil when no other origin is allowed
	protection *http.CrossOriginProtection
}

// newOrigins allows the origins beside the server's own. It fails when one is not
// an exact http or https origin.
func newOrigins(allowed []string) (*origins, error) {
	o := &origins{protection: http.NewCrossOriginProtection()}
	for _, origin := range allowed {
		if err := checkOrigin(origin); err != nil {
			return nil, err
		}
		if err := o.protection.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	o.protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rpc.Refuse(w, r, fault.New(fault.PermissionDenied, fault.OriginForbidden, "pages of this web origin may not call the API"))
	}))
	if len(allowed) > 0 {
		o.cors = cors.New(cors.Options{
			AllowedOrigins:   slices.Clone(allowed),
			AllowedMethods:   connectcors.AllowedMethods(),
			AllowedHeaders:   append(connectcors.AllowedHeaders(), "Authorization", "Traceparent", "Tracestate", authz.DeviceHeader, rpc.CaptchaHeader),
			ExposedHeaders:   append(connectcors.ExposedHeaders(), "X-Request-Id", "Retry-After", authz.DeviceHeader),
			AllowCredentials: true,
			MaxAge:           preflightAge,
		})
	}
	return o, nil
}

// checkOrigin accepts an origin only in the form in which browsers send it: they
// are compared byte for byte.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err == nil && u.Hostname() != "" && origin == u.Scheme+"://"+u.Host && !strings.ContainsFunc(u.Host, notOfHost) &&
		(u.Scheme == "https" && u.Port() != "443" || u.Scheme == "http" && u.Port() != "80") {
		return nil
	}
	return fmt.Errorf("%q is not an exact web origin such as https://app.example.com", origin)
}

// notOfHost reports whether the character cannot be in a browser's form of a host
// and port: in small letters, and in ASCII (Punycode).
func notOfHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-._:[]", r)
}

// allow answers the browser's question, before a page's request and with its
// answer, whether the page's origin may see it.
func (o *origins) allow(next http.Handler) http.Handler {
	if o.cors == nil {
		return next
	}
	return o.cors.Handler(next)
}

// protect refuses requests that may change something and that a page of a foreign
// origin made the browser send, with `permission_denied`, reason ORIGIN_FORBIDDEN.
func (o *origins) protect(next http.Handler) http.Handler {
	return o.protection.Handler(next)
}

// Values of headers that every answer has. Shared, so never appended to.
var (
	noSniff     = []string{"nosniff"}
	noFrames    = []string{"frame-ancestors 'none'"}
	noReferrer  = []string{"no-referrer"}
	sameOrigin  = []string{"same-origin"}
	neverStored = []string{"no-store"}
)

// secureHeaders sets what keeps browsers from misusing an answer. A handler may
// set other values.
func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["X-Content-Type-Options"] = noSniff
		h["Content-Security-Policy"] = noFrames
		h["Referrer-Policy"] = noReferrer
		h["Cross-Origin-Resource-Policy"] = sameOrigin
		next.ServeHTTP(w, r)
	})
}

// noStore keeps answers out of caches.
func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Cache-Control"] = neverStored
		next.ServeHTTP(w, r)
	})
}
