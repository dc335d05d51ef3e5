package secret

import (
	"crypto/rand"
	"hash/crc32"
	"math/big"
	"strings"
)

// The parts of a checked token behind its prefix. 43 digits in base 62 hold 256 bits,
// and 6 hold the 32 of the checksum.
const (
	checkedDigits  = 43
	checksumDigits = 6
)

// NewChecked returns a token of 256 random bits behind a prefix, with a checksum at
// its end, all of it letters and digits: by that a scanner for leaked secrets tells it
// from what only looks like one, and so does a server without asking its database.
//
// The token is the prefix, 43 digits in base 62 (0-9, a-z, A-Z in this order of their
// values), and in 6 such digits the CRC-32 (IEEE 802.3) of all characters before.
func NewChecked(prefix string) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	token := prefix + base62(new(big.Int).SetBytes(b[:]), checkedDigits)
	return token + checksum(token)
}

// IsChecked reports whether a string has the form of a token with the prefix, its
// checksum included.
func IsChecked(prefix, token string) bool {
	secret, ok := strings.CutPrefix(token, prefix)
	if !ok || len(secret) != checkedDigits+checksumDigits {
		return false
	}
	end := len(token) - checksumDigits
	return token[end:] == checksum(token[:end])
}

func checksum(token string) string {
	return base62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(token)))), checksumDigits)
}

// base62 writes a number in at least so many digits.
func base62(n *big.Int, digits int) string {
	s := n.Text(62)
	return strings.Repeat("0", max(0, digits-len(s))) + s
}
