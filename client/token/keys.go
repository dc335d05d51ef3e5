package token

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// fetchTimeout bounds one request for the keys, and maxKeysBytes its answer.
	fetchTimeout = 5 * time.Second
	maxKeysBytes = 64 << 10
	maxKeys      = 32
	maxKeyID     = 128
	// fetchInterval is how long after a request for the keys the next one may be made,
	// whatever keys tokens name; retryInterval where that failed.
	fetchInterval = 10 * time.Second
	retryInterval = time.Second
)

// keys are the issuer's keys, as they were published a short time ago.
type keys struct {
	options Options
	http    *http.Client
	present atomic.Pointer[published]

	mu      sync.Mutex
	running chan struct{} // closed when the request that runs ends; nil for none
	tried   time.Time     // when the last request began
	failure error         // of the last request
}

// published is a set of keys. It does not change.
type published struct {
	time time.Time
	keys map[string]ed25519.PublicKey // by kid
}

func newKeys(o Options) *keys {
	client := http.Client{Transport: http.DefaultTransport}
	if o.HTTPClient != nil {
		client = *o.HTTPClient
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &keys{options: o, http: &client}
}

// get returns the key of a name.
//
// Errors: ErrInvalid when the issuer publishes no such key, ErrUnavailable, and the
// context's.
func (k *keys) get(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	p, now := k.present.Load(), k.options.Now()
	if p == nil || now.Sub(p.time) > k.options.KeysMaxStale {
		if err := k.fetch(ctx); err != nil {
			return nil, err
		}
		if p = k.present.Load(); p == nil || now.Sub(p.time) > k.options.KeysMaxStale {
			return nil, k.unavailable()
		}
	} else if now.Sub(p.time) > k.options.KeysMaxAge {
		k.begin() // and go on with what there is
	}
	if key, ok := p.keys[kid]; ok {
		return key, nil
	}
	// Perhaps it is published since.
	if err := k.fetch(ctx); err != nil {
		return nil, err
	}
	if key, ok := k.present.Load().keys[kid]; ok {
		return key, nil
	}
	return nil, refuse("no key of the issuer has the name that it gives")
}

func (k *keys) unavailable() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return errors.Join(ErrUnavailable, k.failure)
}

// fetch waits for a request for the keys, if one may be made or runs.
func (k *keys) fetch(ctx context.Context) error {
	running := k.begin()
	if running == nil {
		return nil
	}
	select {
	case <-running:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin makes a request for the keys unless one runs or was made a short time ago, and
// returns what is closed when it ends; nil for none.
func (k *keys) begin() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running != nil {
		return k.running
	}
	now, interval := k.options.Now(), fetchInterval
	if k.failure != nil {
		interval = retryInterval
	}
	if !k.tried.IsZero() && now.Sub(k.tried) < interval {
		return nil
	}
	done := make(chan struct{})
	k.running, k.tried = done, now
	go func() {
		p, err := k.request(now)
		if err == nil {
			k.present.Store(p)
		}
		k.mu.Lock()
		k.running, k.failure = nil, err
		k.mu.Unlock()
		close(done)
	}()
	return done
}

// request asks for the keys.
func (k *keys) request(now time.Time) (*published, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.options.KeysURL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := k.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", k.options.KeysURL, res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxKeysBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxKeysBytes {
		return nil, errors.New("the set of keys is too large")
	}
	found, err := readKeys(body)
	if err != nil {
		return nil, err
	}
	return &published{time: now, keys: found}, nil
}

// readKeys returns the keys of a set (RFC 7517, 5) that can sign access tokens; others
// in it are passed over.
func readKeys(body []byte) (map[string]ed25519.PublicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("the set of keys cannot be read: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, errors.New("there are too many keys")
	}
	found := make(map[string]ed25519.PublicKey, len(set.Keys))
	for _, raw := range set.Keys {
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON(raw) != nil {
			continue
		}
		key, ok := jwk.Key.(ed25519.PublicKey)
		if !ok || len(key) != ed25519.PublicKeySize || jwk.KeyID == "" || len(jwk.KeyID) > maxKeyID ||
			jwk.Use != "" && jwk.Use != "sig" || jwk.Algorithm != "" && jwk.Algorithm != string(jose.EdDSA) {
			continue
		}
		if _, twice := found[jwk.KeyID]; twice {
			return nil, errors.New("two keys have one name")
		}
		found[jwk.KeyID] = key
	}
	if len(found) == 0 {
		return nil, errors.New("there is no key of Ed25519")
	}
	return found, nil
}
