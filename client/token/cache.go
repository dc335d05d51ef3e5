package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"sync"
	"time"
)

type hash = [sha256.Size]byte

func hashOf(token string) hash {
	return sha256.Sum256([]byte(token))
}

// entry is a token that was verified.
type entry struct {
	claims *Claims
	kid    string
	key    ed25519.PublicKey // that it was verified by
}

// cache remembers tokens that were verified. When it is full it forgets the oldest
// half.
type cache struct {
	half int

	mu         sync.RWMutex
	young, old map[hash]entry
}

func newCache(size int) *cache {
	half := max(1, size/2)
	return &cache{half: half, young: make(map[hash]entry)}
}

// get returns a token that expires after a time.
func (c *cache) get(sum hash, after time.Time) (entry, bool) {
	c.mu.RLock()
	e, ok := c.young[sum]
	if !ok {
		e, ok = c.old[sum]
	}
	c.mu.RUnlock()
	if !ok || !after.Before(e.claims.ExpireTime) {
		return entry{}, false
	}
	return e, true
}

func (c *cache) put(sum hash, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[hash]entry, c.half)
	}
	c.young[sum] = e
}

func (c *cache) remove(sum hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, sum)
	delete(c.old, sum)
}
