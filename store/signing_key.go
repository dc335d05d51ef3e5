package store

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
)

const (
	// AccessTokenLifetime is how long an access token is valid at most.
	AccessTokenLifetime = 5 * time.Minute
	// KeyPublishAhead is how long a signing key is published before it is used: far
	// longer than anybody keeps a copy of the published keys.
	KeyPublishAhead = 24 * time.Hour
	// keyMargin is how much longer than the tokens that it signed a key is published:
	// replicas may notice late that it is not to be used any more, and clocks differ.
	keyMargin = 10 * time.Minute
)

// SigningKey is a key that signs access tokens.
type SigningKey struct {
	ID      ids.SigningKey
	Private ed25519.PrivateKey
	// CreateTime is when it was published, ActivateTime from when on it is used,
	// RetireTime until when, and ExpireTime until when it is published; the last two
	// are zero while that is not known.
	CreateTime, ActivateTime, RetireTime, ExpireTime time.Time
}

// KeyState is what a key is used for at a moment.
type KeyState string

// The states.
const (
	KeyNext    KeyState = "next"    // published, and not used yet
	KeyCurrent KeyState = "current" // signs new tokens
	KeyRetired KeyState = "retired" // published for the tokens that it signed
	KeyExpired KeyState = "expired" // published no more
)

// StateAt returns the key's own state. Of several current ones the last to be
// activated is used.
func (k SigningKey) StateAt(now time.Time) KeyState {
	switch {
	case !k.ExpireTime.IsZero() && !now.Before(k.ExpireTime):
		return KeyExpired
	case !k.RetireTime.IsZero() && !now.Before(k.RetireTime):
		return KeyRetired
	case now.Before(k.ActivateTime):
		return KeyNext
	}
	return KeyCurrent
}

// CurrentKey returns the key among some that signs new tokens, or nil.
func CurrentKey(keys []SigningKey, now time.Time) *SigningKey {
	var current *SigningKey
	for i := range keys {
		if keys[i].StateAt(now) == KeyCurrent && (current == nil || !keys[i].ActivateTime.Before(current.ActivateTime)) {
			current = &keys[i]
		}
	}
	return current
}

// ErrSigningKey is returned for a signing key in the database that this server's
// secret key does not open: nothing is signed and nothing published then.
var ErrSigningKey = errors.New("a signing key was not sealed with this server's secret key, or was altered")

// SigningKeys returns the keys that are published, the first to be used first.
// There are none before KeepSigningKeys was called.
//
// Errors: ErrSigningKey.
func (s *Store) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	rows, err := s.Auth.SigningKeys(ctx, s.options.Clock.Now())
	if err != nil {
		return nil, s.constraints.Fault(err)
	}
	return s.openKeys(rows)
}

// openKeys opens all of the keys, those too that are never used again: so nobody who
// can write to the database, and does not have the server's secret key, can have a
// key of theirs published.
func (s *Store) openKeys(rows []auth.SigningKey) ([]SigningKey, error) {
	keys := make([]SigningKey, len(rows))
	for i, row := range rows {
		seed, err := s.signingKeys.Open(row.PrivateKey, row.ID.String())
		if err != nil || len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("%w: %s", ErrSigningKey, row.ID)
		}
		private := ed25519.NewKeyFromSeed(seed)
		if subtle.ConstantTimeCompare(private.Public().(ed25519.PublicKey), row.PublicKey) != 1 {
			return nil, fmt.Errorf("%w: %s", ErrSigningKey, row.ID)
		}
		keys[i] = SigningKey{
			ID: row.ID, Private: private,
			CreateTime: row.CreateTime, ActivateTime: row.ActivateTime, RetireTime: row.RetireTime, ExpireTime: row.ExpireTime,
		}
	}
	return keys, nil
}

// KeepSigningKeys does with the signing keys what is due: there is always one that
// is used and a next one, which is published at least KeyPublishAhead before it is
// used; those that were used are published until the last token that they signed has
// expired. It may be called at any time, and by any number of servers at once.
//
// Errors: ErrSigningKey.
func (s *Store) KeepSigningKeys(ctx context.Context) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		keys, err := t.lockKeys(ctx)
		if err != nil {
			return err
		}
		return t.keepKeys(ctx, keys)
	})
}

// Revocation says which signing keys a rotation revokes.
type Revocation int

// The revocations.
const (
	RevokeNone    Revocation = iota // tokens that were issued stay valid
	RevokeCurrent                   // the one that is used now
	RevokeAll                       // every one
)

// RotateSigningKeys has the next key used: at once if it is published long enough,
// else as soon as it is. What is revoked is published no more from now on, and what
// takes its place is used at once.
//
// Errors: ErrSigningKey.
func (s *Store) RotateSigningKeys(ctx context.Context, revoke Revocation) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		keys, err := t.lockKeys(ctx)
		if err != nil {
			return err
		}
		current := currentRow(keys, t.now)
		var kept []*auth.SigningKey
		for _, k := range keys {
			if revoke == RevokeAll || revoke == RevokeCurrent && k == current {
				if err := t.revokeKey(ctx, k); err != nil {
					return err
				}
				continue
			}
			kept = append(kept, k)
		}
		for _, k := range kept {
			if !t.now.Before(k.ActivateTime) || current == nil {
				continue
			}
			from := later(k.CreateTime.Add(KeyPublishAhead), t.now)
			if revoke == RevokeCurrent {
				from = t.now
			}
			if from.Before(k.ActivateTime) {
				if err := t.activateKey(ctx, k, from); err != nil {
					return err
				}
			}
			break
		}
		return t.keepKeys(ctx, kept)
	})
}

// lockKeys returns the published keys, which nobody else changes until the
// transaction ends, the first to be used first.
func (t *tx) lockKeys(ctx context.Context) ([]*auth.SigningKey, error) {
	if err := t.auth.LockSigningKeys(ctx); err != nil {
		return nil, err
	}
	t.now = t.store.options.Clock.Now() // which the keys of who was waited for are not ahead of
	rows, err := t.auth.SigningKeys(ctx, t.now)
	if err != nil {
		return nil, err
	}
	if _, err := t.store.openKeys(rows); err != nil {
		return nil, err
	}
	keys := make([]*auth.SigningKey, len(rows))
	for i := range rows {
		keys[i] = &rows[i]
	}
	return keys, nil
}

// currentRow returns the key that is used, or nil.
func currentRow(keys []*auth.SigningKey, now time.Time) (current *auth.SigningKey) {
	for _, k := range keys {
		if !now.Before(k.ActivateTime) && k.RetireTime.IsZero() {
			current = k
		}
	}
	return current
}

func (t *tx) keepKeys(ctx context.Context, keys []*auth.SigningKey) error {
	if err := t.auth.DeleteExpiredSigningKeys(ctx, t.now); err != nil {
		return err
	}
	var coming []*auth.SigningKey
	for _, k := range keys {
		if t.now.Before(k.ActivateTime) {
			coming = append(coming, k)
		}
	}
	current := currentRow(keys, t.now)
	if current == nil { // at the first start, or after a revocation
		var err error
		if len(coming) > 0 {
			current, coming, err = coming[0], coming[1:], t.activateKey(ctx, coming[0], t.now)
		} else {
			current, err = t.addKey(ctx, t.now)
		}
		if err != nil {
			return err
		}
	}
	for _, k := range keys {
		if k != current && k.RetireTime.IsZero() && !t.now.Before(k.ActivateTime) {
			if err := t.retireKey(ctx, k, current.ActivateTime); err != nil {
				return err
			}
		}
	}
	due := current.ActivateTime.Add(t.store.options.SigningKeyLifetime)
	if len(coming) == 0 {
		_, err := t.addKey(ctx, later(due, t.now.Add(KeyPublishAhead)))
		return err
	}
	// The lifetime may have been made shorter.
	next := coming[0]
	if due = later(later(due, next.CreateTime.Add(KeyPublishAhead)), t.now); due.Before(next.ActivateTime) {
		return t.activateKey(ctx, next, due)
	}
	return nil
}

// addKey makes a key that is used from a time on.
func (t *tx) addKey(ctx context.Context, activate time.Time) (*auth.SigningKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	k := &auth.SigningKey{ID: ids.New[ids.SigningKey](), PublicKey: public, CreateTime: t.now, ActivateTime: activate}
	k.PrivateKey = t.store.signingKeys.Seal(private.Seed(), k.ID.String())
	if err := t.auth.InsertSigningKey(ctx, k); err != nil {
		return nil, err
	}
	return k, t.recordKey(ctx, k, "signing_key.created", "activate_time", activate)
}

// activateKey has a key used from a time on.
func (t *tx) activateKey(ctx context.Context, k *auth.SigningKey, from time.Time) error {
	k.ActivateTime = from
	if err := t.auth.UpdateSigningKey(ctx, k); err != nil {
		return err
	}
	return t.recordKey(ctx, k, "signing_key.scheduled", "activate_time", from)
}

// retireKey has a key used no more, and published until its tokens have expired.
func (t *tx) retireKey(ctx context.Context, k *auth.SigningKey, at time.Time) error {
	// Servers that did not notice in time signed by it until now.
	k.RetireTime, k.ExpireTime = at, t.now.Add(AccessTokenLifetime+keyMargin)
	if err := t.auth.UpdateSigningKey(ctx, k); err != nil {
		return err
	}
	return t.recordKey(ctx, k, "signing_key.retired", "expire_time", k.ExpireTime)
}

// revokeKey has a key published no more.
func (t *tx) revokeKey(ctx context.Context, k *auth.SigningKey) error {
	k.RetireTime, k.ExpireTime = t.now, t.now // and removed with those that have expired
	if err := t.auth.UpdateSigningKey(ctx, k); err != nil {
		return err
	}
	return t.recordKey(ctx, k, "signing_key.revoked", "revoke_time", t.now)
}

func (t *tx) recordKey(ctx context.Context, k *auth.SigningKey, action, name string, at time.Time) error {
	return t.record(ctx, audit.Event{
		ActorKind: audit.System, Action: action, TargetID: k.ID.String(), Details: map[string]any{name: at.Format(time.RFC3339)},
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
