package token

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/go-jose/go-jose/v4"
)

// Where the metadata is.
const (
	// KeysPath is the set of keys by which access tokens are verified (RFC 7517, 5).
	KeysPath = "/.well-known/jwks.json"
	// OpenIDPath and ServerPath are the same document, for programs that look at one or
	// the other (OpenID Connect Discovery 1.0, 4; RFC 8414, 3).
	OpenIDPath = "/.well-known/openid-configuration"
	ServerPath = "/.well-known/oauth-authorization-server"
)

// metadataAge is how many seconds others may keep a copy of the metadata: a key that
// is revoked is honoured that much longer by who does.
const metadataAge = 5 * 60

// Patterns returns where Handler is to be mounted, as patterns of http.ServeMux.
func Patterns() []string { return []string{KeysPath, OpenIDPath, ServerPath} }

// description says how tokens of this server are verified. It says nothing that is
// not so: there are no flows of OAuth here, by which clients get tokens, nor ID tokens.
type description struct {
	Issuer     string   `json:"issuer"`
	KeysURI    string   `json:"jwks_uri"`
	Subjects   []string `json:"subject_types_supported"`
	Algorithms []string `json:"id_token_signing_alg_values_supported"` // where libraries look for those of all tokens
	Responses  []string `json:"response_types_supported"`
	Grants     []string `json:"grant_types_supported"` // if it were not here, it would mean two
	Claims     []string `json:"claims_supported"`
}

var claimNames = []string{
	"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "sid", "auth_time", "amr", "workspace_id", "role", "permissions", "act",
}

// Handler serves the metadata to anybody, pages of any web origin among them: it is
// public. failed is told why the keys cannot be read.
func (i *Issuer) Handler(failed func(context.Context, error)) http.Handler {
	about, err := json.Marshal(description{
		Issuer: i.options.Issuer, KeysURI: i.options.Issuer + KeysPath, Subjects: []string{"public"}, Algorithms: []string{string(jose.EdDSA)},
		Responses: []string{}, Grants: []string{}, Claims: claimNames,
	})
	if err != nil {
		panic(err) // never fails: it is strings
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Del("Access-Control-Allow-Credentials")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "it can only be read", http.StatusMethodNotAllowed)
			return
		}
		body, contentType := about, "application/json"
		switch r.URL.Path {
		case KeysPath:
			contentType = "application/jwk-set+json"
			var err error
			if body, err = i.keySet(r.Context()); err != nil {
				failed(r.Context(), err)
				h.Set("Retry-After", "1")
				http.Error(w, "the keys cannot be read now; try again", http.StatusServiceUnavailable)
				return
			}
		case OpenIDPath, ServerPath:
		default:
			http.NotFound(w, r)
			return
		}
		sum := sha256.Sum256(body)
		tag := `"` + hex.EncodeToString(sum[:16]) + `"`
		h.Set("Content-Type", contentType)
		h.Set("Cache-Control", "public, max-age="+strconv.Itoa(metadataAge))
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Length", strconv.Itoa(len(body)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(body)
		}
	})
}

// keySet returns the published keys, the first to be used first.
func (i *Issuer) keySet(ctx context.Context) ([]byte, error) {
	keys, err := i.ring.published(ctx)
	if err != nil {
		return nil, err
	}
	set := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, len(keys))}
	for n, k := range keys {
		set.Keys[n] = jose.JSONWebKey{
			Key: k.Private.Public().(ed25519.PublicKey), KeyID: k.ID.String(), Algorithm: string(jose.EdDSA), Use: "sig",
		}
	}
	return json.Marshal(set)
}
