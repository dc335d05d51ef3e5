// Package secret makes and keeps what nobody else may know: random tokens and
// codes, their hashes, and the server's key, by which page tokens and the
// content of mails in the job queue are sealed.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
)

// Hash is the SHA-256 of a secret: the only form in which one is stored.
type Hash [sha256.Size]byte

// HashOf returns the hash of a secret for one purpose. The purpose is part of
// the hash, so that a secret of one kind is never found among those of another.
func HashOf(purpose, secret string) Hash {
	h := sha256.New()
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write([]byte(secret))
	return Hash(h.Sum(nil))
}

// Equal compares with another stored hash in constant time.
func (h Hash) Equal(stored []byte) bool {
	return subtle.ConstantTimeCompare(h[:], stored) == 1
}

// NewToken returns a token of 256 random bits behind a prefix by which scanners
// for leaked secrets find it.
func NewToken(prefix string) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// NewCode returns six random digits.
func NewCode() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(err) // never fails: crypto/rand
	}
	return fmt.Sprintf("%06d", n)
}

// NewRecoveryCode returns a code of 128 random bits that a person can type: 26
// letters and digits (Crockford's base32 in small letters) in groups.
func NewRecoveryCode() string {
	const alphabet, size, group = "0123456789abcdefghjkmnpqrstvwxyz", 26, 5
	var b [size]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	out := make([]byte, 0, size+size/group)
	for i, v := range b {
		if i > 0 && i%group == 0 && i < size-1 {
			out = append(out, '-')
		}
		out = append(out, alphabet[v&31])
	}
	return string(out)
}

// KeySize is the size of a Key in bytes.
const KeySize = 32

// Key is the server's secret key. All replicas on one database share it. It
// prints redacted.
type Key struct{ bytes [KeySize]byte }

// NewKey returns a random key.
func NewKey() Key {
	var k Key
	_, _ = rand.Read(k.bytes[:]) // never fails: crypto/rand
	return k
}

// ParseKey reads a key written by Encode.
func ParseKey(s string) (Key, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != KeySize {
		return Key{}, fmt.Errorf("%d random bytes in base64 are expected", KeySize)
	}
	return Key{[KeySize]byte(b)}, nil
}

// Encode returns the key in base64, to be kept in a safe place.
func (k Key) Encode() string { return base64.StdEncoding.EncodeToString(k.bytes[:]) }

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k == Key{} }

// String returns "[redacted]".
func (Key) String() string { return "[redacted]" }

// GoString returns "[redacted]".
func (Key) GoString() string { return "[redacted]" }

// LogValue returns "[redacted]".
func (Key) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// Fingerprint names the key without telling it.
func (k Key) Fingerprint() []byte { return k.derive("fingerprint", 16) }

// Box returns the means to seal and open for one purpose.
func (k Key) Box(purpose string) *Box {
	block, err := aes.NewCipher(k.derive("seal "+purpose, 32))
	if err != nil {
		panic(err) // never fails: the size is right
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // never fails: the block is AES
	}
	return &Box{aead}
}

// derive follows RFC 5869 (HKDF-SHA-256).
func (k Key) derive(purpose string, size int) []byte {
	b, err := hkdf.Key(sha256.New, k.bytes[:], nil, "logicspike manager "+purpose, size)
	if err != nil {
		panic(err) // never fails: the size is small
	}
	return b
}

// ErrOpen is returned for what was not sealed by this box in this context.
var ErrOpen = errors.New("not sealed with this key in this context")

// Box seals data with AES-256-GCM under a random nonce.
type Box struct{ aead cipher.AEAD }

// Seal encrypts data and binds it to a context, which Open must name again.
func (b *Box) Seal(data []byte, context string) []byte {
	return b.aead.Seal(nil, nil, data, []byte(context))
}

// Open returns what was sealed in the context, or ErrOpen.
func (b *Box) Open(sealed []byte, context string) ([]byte, error) {
	data, err := b.aead.Open(nil, nil, sealed, []byte(context))
	if err != nil {
		return nil, ErrOpen
	}
	return data, nil
}
