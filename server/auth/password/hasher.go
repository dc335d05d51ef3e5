// Package password hashes passwords and judges new ones.
package password

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/logicspike/manager/internal/fault"
)

// Options are the settings of a Hasher.
type Options struct {
	// MemoryKiB, Iterations and Parallelism are argon2id's parameters (RFC 9106).
	// Defaults: 19456 (19 MiB), 2 and 1, as OWASP recommends.
	MemoryKiB   uint32
	Iterations  uint32
	Parallelism uint8
	// Concurrency is how many passwords are hashed at once. Default: 1.
	Concurrency int
	// Queue is how many calls may wait for that before further ones are refused.
	Queue int
}

// Hasher hashes and compares passwords with argon2id. It admits so many at once
// that memory stays bounded and the processor keeps time for other calls.
type Hasher struct {
	params  argon2id.Params
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
	dummy   string
}

// NewHasher returns a hasher.
func NewHasher(o Options) (*Hasher, error) {
	h := &Hasher{
		params: argon2id.Params{
			Memory: o.MemoryKiB, Iterations: o.Iterations, Parallelism: o.Parallelism, SaltLength: 16, KeyLength: 32,
		},
		slots: make(chan struct{}, max(1, o.Concurrency)),
		queue: int64(max(0, o.Queue)),
	}
	if h.params.Memory == 0 {
		h.params.Memory = 19456
	}
	if h.params.Iterations == 0 {
		h.params.Iterations = 2
	}
	if h.params.Parallelism == 0 {
		h.params.Parallelism = 1
	}
	var err error
	if h.dummy, err = argon2id.CreateHash("nobody's password", &h.params); err != nil {
		return nil, fmt.Errorf("password hasher: %w", err)
	}
	return h, nil
}

// Hash returns the PHC string of a password.
//
// Errors: fault OVERLOADED when too many wait; the context's.
func (h *Hasher) Hash(ctx context.Context, password string) (hash string, err error) {
	err = h.Admit(ctx, func() error {
		hash, err = argon2id.CreateHash(password, &h.params)
		return err
	})
	return hash, err
}

// Verify reports whether a password is the one with the hash, and whether that
// hash should be made anew, since it has other parameters than new ones. An empty
// hash is nobody's: comparing with it takes the same time and fails.
//
// Errors: fault OVERLOADED when too many wait; the context's.
func (h *Hasher) Verify(ctx context.Context, password, hash string) (match, stale bool, err error) {
	known := hash != ""
	if !known {
		hash = h.dummy
	}
	err = h.Admit(ctx, func() error {
		ok, params, err := argon2id.CheckHash(password, hash)
		if err != nil {
			return err
		}
		match = ok && known
		stale = params.Memory != h.params.Memory || params.Iterations != h.params.Iterations || params.Parallelism != h.params.Parallelism
		return nil
	})
	return match, stale, err
}

// Waiting returns how many calls wait for their turn.
func (h *Hasher) Waiting() int32 { return int32(h.waiting.Load()) }

// Admit runs work when it is its turn, as one of the passwords that are hashed.
//
// Errors: the work's; fault OVERLOADED when too many wait; the context's.
func (h *Hasher) Admit(ctx context.Context, work func() error) error {
	select {
	case h.slots <- struct{}{}:
	default:
		if h.waiting.Add(1) > h.queue {
			h.waiting.Add(-1)
			return fault.New(fault.ResourceExhausted, fault.Overloaded, "too many passwords are being checked; try again").
				WithRetryAfter(time.Second)
		}
		select {
		case h.slots <- struct{}{}:
			h.waiting.Add(-1)
		case <-ctx.Done():
			h.waiting.Add(-1)
			return ctx.Err()
		}
	}
	defer func() { <-h.slots }()
	return work()
}
