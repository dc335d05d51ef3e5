package token

import (
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/store"
)

// Keys is where the signing keys are.
type Keys interface {
	// SigningKeys returns the keys that are published.
	SigningKeys(context.Context) ([]store.SigningKey, error)
	// KeepSigningKeys makes sure that there is one to sign by.
	KeepSigningKeys(context.Context) error
}

const (
	// ringAge is how old the copy of the keys may be that is signed by and that is
	// published: a key is published a day before it is used, so that nobody meets a
	// token whose key is not published yet; a key that is revoked is used that much
	// longer at most.
	ringAge = 2 * time.Second
	// ringStale is how old the copy may be while the database does not answer.
	ringStale = time.Minute
)

// ring keeps a copy of the signing keys in memory, parsed.
type ring struct {
	keys    Keys
	clock   clock.Clock
	present atomic.Pointer[copied]
	mu      sync.Mutex // held by who makes a new copy
}

// copied is the keys as they were at a moment. It does not change.
type copied struct {
	time    time.Time
	keys    []store.SigningKey
	signers map[string]jose.Signer // by kid
}

// load returns a copy that is not too old. While one caller makes a new one, others
// go on with the old one.
func (r *ring) load(ctx context.Context) (*copied, error) {
	c, now := r.present.Load(), r.clock.Now()
	if c != nil && now.Sub(c.time) < ringAge {
		return c, nil
	}
	if c == nil || now.Sub(c.time) >= ringStale {
		r.mu.Lock()
	} else if !r.mu.TryLock() {
		return c, nil
	}
	defer r.mu.Unlock()
	if c, now = r.present.Load(), r.clock.Now(); c != nil && now.Sub(c.time) < ringAge {
		return c, nil // made by who was faster
	}
	fresh, err := r.read(ctx, c, now)
	if err != nil {
		if c != nil && now.Sub(c.time) < ringStale && !errors.Is(err, store.ErrSigningKey) {
			return c, nil
		}
		return nil, err
	}
	r.present.Store(fresh)
	return fresh, nil
}

// read makes a copy. The signers of the last one, which may be nil, are taken over.
func (r *ring) read(ctx context.Context, last *copied, now time.Time) (*copied, error) {
	keys, err := r.keys.SigningKeys(ctx)
	if err == nil && store.CurrentKey(keys, now) == nil { // the first start, or who keeps them is not there
		if err = r.keys.KeepSigningKeys(ctx); err == nil {
			keys, err = r.keys.SigningKeys(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	c := &copied{time: now, keys: keys, signers: make(map[string]jose.Signer, len(keys))}
	for _, k := range keys {
		kid := k.ID.String()
		if last != nil {
			c.signers[kid] = last.signers[kid]
		}
		if c.signers[kid] == nil {
			if c.signers[kid], err = newSigner(k); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

func newSigner(k store.SigningKey) (jose.Signer, error) {
	return jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: k.Private, KeyID: k.ID.String()}},
		(&jose.SignerOptions{}).WithType(tokenType))
}

// errNoKey is returned when the database has no key to sign by, which KeepSigningKeys
// rules out.
var errNoKey = errors.New("there is no signing key")

// signer returns the signer of the key that is used now.
func (r *ring) signer(ctx context.Context) (jose.Signer, error) {
	c, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	current := store.CurrentKey(c.keys, r.clock.Now())
	if current == nil {
		return nil, errNoKey
	}
	return c.signers[current.ID.String()], nil
}

// public returns the published key of a name, or nil.
func (r *ring) public(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	published, err := r.published(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range published {
		if k.ID.String() == kid {
			return k.Private.Public().(ed25519.PublicKey), nil
		}
	}
	return nil, nil
}

// published returns the keys that are published now.
func (r *ring) published(ctx context.Context) ([]store.SigningKey, error) {
	c, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	now := r.clock.Now()
	list := make([]store.SigningKey, 0, len(c.keys))
	for _, k := range c.keys {
		if k.StateAt(now) != store.KeyExpired {
			list = append(list, k)
		}
	}
	return list, nil
}
