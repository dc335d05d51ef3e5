// Package password hashes passwords and judges new ones.
package password

import (
	"context"
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
	// Process hashes; nil: this process does.
	Process *Process
}

// Hasher hashes passwords with argon2id, and compares them with such hashes and with
// those of other products. It admits so many at once
// that memory stays bounded and the processor keeps time for other calls.
type Hasher struct {
	params  argon2id.Params
	process *Process
	slots   chan struct{}
	large   chan struct{} // one slot, for hashes that need more memory than new ones
	waiting atomic.Int64
	queue   int64
	nobody  string // a hash with our own parameters that no password has
}

// NewHasher returns a hasher.
func NewHasher(o Options) *Hasher {
	h := &Hasher{
		params: argon2id.Params{
			Memory: o.MemoryKiB, Iterations: o.Iterations, Parallelism: o.Parallelism, SaltLength: 16, KeyLength: 32,
		},
		process: o.Process,
		slots:   make(chan struct{}, max(1, o.Concurrency)),
		large:   make(chan struct{}, 1),
		queue:   int64(max(0, o.Queue)),
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
	h.nobody = nobodys(&h.params)
	return h
}

// Hash returns the PHC string of a password.
//
// Errors: fault OVERLOADED when too many wait; the context's.
func (h *Hasher) Hash(ctx context.Context, password string) (hash string, err error) {
	err = h.Admit(ctx, func() error {
		request := NewHash{password, h.params}
		if h.process != nil {
			return h.process.call("Hash", request, &hash)
		}
		return work{}.Hash(request, &hash)
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
		hash = h.nobody
	}
	f, err := parse(hash)
	if err != nil {
		return false, false, err
	}
	stale = f.own == nil || f.own.memory != h.params.Memory || f.own.iterations != h.params.Iterations ||
		f.own.parallelism != h.params.Parallelism || f.own.salt != int(h.params.SaltLength) || f.own.key != int(h.params.KeyLength)
	large := f.memoryKiB > h.params.Memory
	check := func() error {
		ok, err := h.check(Check{password, hash, large})
		match = ok && known && err == nil
		if err == nil && f.own == nil && !ok { // one that is right is hashed anew by the caller
			_, err = h.check(Check{Password: password, Hash: h.nobody})
		}
		return err
	}
	if large {
		err = h.admitLarge(ctx, check)
	} else {
		err = h.Admit(ctx, check)
	}
	return match && err == nil, stale, err
}

func (h *Hasher) check(c Check) (match bool, err error) {
	if h.process != nil {
		err = h.process.call("Check", c, &match)
	} else {
		err = work{}.Check(c, &match)
	}
	return match, err
}

// admitLarge is Admit for work that needs more memory than a hash of our own: one at
// a time, so that the memory of all of them is that of one.
func (h *Hasher) admitLarge(ctx context.Context, work func() error) error {
	if err := h.enter(ctx, h.large); err != nil {
		return err
	}
	defer func() { <-h.large }()
	return h.Admit(ctx, work)
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
