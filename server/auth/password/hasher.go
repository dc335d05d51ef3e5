// Package password hashes passwords and judges new ones.
package password

import (
	"context"
	"fmt"
	"runtime/debug"
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

// Hasher hashes passwords with argon2id, and compares them with such hashes and with
// those of other products. It admits so many at once
// that memory stays bounded and the processor keeps time for other calls.
type Hasher struct {
	params  argon2id.Params
	slots   chan struct{}
	large   chan struct{} // one slot, for hashes that need more memory than new ones
	waiting atomic.Int64
	queue   int64
	dummy   string
	// reserve is memory that is never used, nor ever given by the system. But the
	// collector counts it as in use, and begins its work after that much garbage
	// more: without it nearly every hash, whose memory is garbage at once, would have
	// it begin, and the calls beside wait for it.
	reserve []byte
}

const (
	// reserved is how many hashes' memory becomes garbage before it is collected.
	reserved = 10
	// maxReserve bounds that, in bytes.
	maxReserve = 256 << 20
)

// NewHasher returns a hasher.
func NewHasher(o Options) (*Hasher, error) {
	h := &Hasher{
		params: argon2id.Params{
			Memory: o.MemoryKiB, Iterations: o.Iterations, Parallelism: o.Parallelism, SaltLength: 16, KeyLength: 32,
		},
		slots: make(chan struct{}, max(1, o.Concurrency)),
		large: make(chan struct{}, 1),
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
	h.reserve = make([]byte, min(reserved*int64(h.params.Memory)<<10, maxReserve))
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
// hash should be made anew, since it has other parameters than new ones or was made
// elsewhere (see CheckFormat). An empty hash is nobody's: comparing with it takes the
// same time and fails.
//
// A hash that was made elsewhere takes its own time, and that of one of our own
// besides: so it never takes less than that of nobody. How much more it takes can
// tell, until the first sign-in, that there is such an account.
//
// Errors: fault OVERLOADED when too many wait; the context's; another one for a hash
// that cannot be checked, which is nobody's.
func (h *Hasher) Verify(ctx context.Context, password, hash string) (match, stale bool, err error) {
	known := hash != ""
	if !known {
		hash = h.dummy
	}
	f, err := parse(hash)
	if err != nil {
		return false, false, err
	}
	given := []byte(password)
	stale = f.own == nil || f.own.memory != h.params.Memory || f.own.iterations != h.params.Iterations ||
		f.own.parallelism != h.params.Parallelism || f.own.salt != int(h.params.SaltLength) || f.own.key != int(h.params.KeyLength)
	check := func() error {
		ok, err := f.matches(given)
		match = ok && known && err == nil
		if err == nil && f.own == nil && !ok { // one that is right is hashed anew by the caller
			_, _, err = argon2id.CheckHash(password, h.dummy)
		}
		return err
	}
	if f.memoryKiB > h.params.Memory {
		err = h.admitLarge(ctx, check)
	} else {
		err = h.Admit(ctx, check)
	}
	return match && err == nil, stale, err
}

// admitLarge is Admit for work that needs more memory than a hash of our own: one at
// a time, so that the memory of all of them is that of one. It is given back at once.
func (h *Hasher) admitLarge(ctx context.Context, work func() error) error {
	if err := h.enter(ctx, h.large); err != nil {
		return err
	}
	defer func() { <-h.large }()
	return h.Admit(ctx, func() error {
		defer debug.FreeOSMemory()
		return work()
	})
}

// Waiting returns how many calls wait for their turn.
func (h *Hasher) Waiting() int32 { return int32(h.waiting.Load()) }

// Admit runs work when it is its turn, as one of the passwords that are hashed.
//
// Errors: the work's; fault OVERLOADED when too many wait; the context's.
func (h *Hasher) Admit(ctx context.Context, work func() error) error {
	if err := h.enter(ctx, h.slots); err != nil {
		return err
	}
	defer func() { <-h.slots }()
	return work()
}

// enter waits for one of the slots.
func (h *Hasher) enter(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
	}
	if h.waiting.Add(1) > h.queue {
		h.waiting.Add(-1)
		return fault.New(fault.ResourceExhausted, fault.Overloaded, "too many passwords are being checked; try again").
			WithRetryAfter(time.Second)
	}
	defer h.waiting.Add(-1)
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
