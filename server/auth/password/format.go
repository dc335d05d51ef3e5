package password

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"strconv"
	"strings"

	"github.com/alexedwards/argon2id"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"

	"github.com/logicspike/manager/internal/fault"
)

// The ceilings of hashes that were made elsewhere: 256 MiB of memory, and about a
// second of work on the slowest machines that are in use. OWASP's Password Storage
// Cheat Sheet recommends far less for each of the algorithms.
const (
	maxMemoryKiB = 256 << 10
	// maxPasses bounds argon2's memory times its passes over it, in KiB.
	maxPasses = 1 << 20
	// maxBcryptCost is a second and a half; the usual costs are 10 to 12.
	maxBcryptCost = 14
	// maxScryptBlocks bounds scrypt's N·r·p, in blocks of 128 bytes: 256 MiB once.
	maxScryptBlocks = 1 << 21
	// maxPBKDF2Rounds bounds PBKDF2's iterations, each of its output's blocks
	// counted. OWASP: 1.4 million for SHA-1, 600 thousand for SHA-256, 220 thousand
	// for SHA-512.
	maxPBKDF2Rounds = 2_000_000

	maxHashBytes  = 512
	maxSaltBytes  = 128
	minKeyBytes   = 16 // of what is compared: 128 bits
	maxKeyBytes   = 128
	minArgon2Salt = 8 // as argon2's reference implementation; RFC 9106, 3.1 recommends 16
)

// The limits of the settings by which hashes of our own were made, perhaps years
// ago (see the settings argon2-memory, argon2-iterations and argon2-parallelism).
const (
	maxOwnMemoryKiB   = 4 << 20
	maxOwnIterations  = 100
	maxOwnParallelism = 64
)

// format is a password's hash that was read.
type format struct {
	memoryKiB uint32
	// matches reports whether a password has the hash, comparing in constant time.
	matches func(password []byte) (bool, error)
	// own is set for argon2id: the parameters.
	own *argon2Params
}

type argon2Params struct {
	memory, iterations uint32
	parallelism        uint8
	salt, key          int // lengths
}

var errUnsupported = errors.New("the hash is of no form that can be checked")

// CheckFormat reports whether a hash that was made elsewhere can be checked: it is
// of a known form, below the ceilings, and strict.
//
// Errors: fault PASSWORD_HASH_UNSUPPORTED.
func CheckFormat(field, hash string) error {
	f, err := parse(hash)
	if err == nil && f.own != nil {
		err = f.own.within(maxMemoryKiB, maxPasses)
	}
	if err != nil {
		return fault.New(fault.InvalidArgument, fault.PasswordHashUnsupported, field+": "+err.Error()).WithField(field)
	}
	return nil
}

func (p argon2Params) within(memory, passes uint64) error {
	if uint64(p.memory) > memory || uint64(p.memory)*uint64(p.iterations) > passes {
		return errTooMuch
	}
	return nil
}

var errTooMuch = errors.New("the hash needs more memory or work than is allowed")

// parse reads a hash. Those of our own, argon2id, may have all parameters that the
// settings allow; the others those below the ceilings. The error tells nothing of
// the hash.
func parse(hash string) (*format, error) {
	if len(hash) > maxHashBytes || len(hash) < 2 || hash[0] != '$' {
		return nil, errUnsupported
	}
	parts := strings.Split(hash[1:], "$")
	switch name := parts[0]; name {
	case "argon2id", "argon2i":
		return parseArgon2(name, parts[1:])
	case "2a", "2b", "2y":
		return parseBcrypt(hash)
	case "scrypt":
		return parseScrypt(parts[1:])
	case "firebase-scrypt":
		return parseFirebase(parts[1:])
	case "pbkdf2", "pbkdf2-sha1":
		return parsePBKDF2(sha1.New, sha1.Size, parts[1:])
	case "pbkdf2-sha256":
		return parsePBKDF2(sha256.New, sha256.Size, parts[1:])
	case "pbkdf2-sha512":
		return parsePBKDF2(sha512.New, sha512.Size, parts[1:])
	}
	return nil, errUnsupported
}

// derived is the format of an algorithm that derives a key: it is compared whole,
// whatever the password.
func derived(memoryKiB uint32, key []byte, derive func(password []byte) ([]byte, error)) *format {
	return &format{memoryKiB: memoryKiB, matches: func(password []byte) (bool, error) {
		got, err := derive(password)
		return err == nil && subtle.ConstantTimeCompare(got, key) == 1, err
	}}
}

// parseArgon2 reads `v=19`, parameters, salt and key (RFC 9106). Version 16, which is
// older than the RFC, is not supported.
func parseArgon2(name string, parts []string) (*format, error) {
	if len(parts) != 4 || parts[0] != "v=19" {
		return nil, errUnsupported
	}
	values, err := parameters(parts[1], "m", "t", "p")
	if err != nil {
		return nil, err
	}
	m, t, p := values["m"], values["t"], values["p"]
	salt, key, err := saltAndKey(parts[2], parts[3], decode)
	if err != nil {
		return nil, err
	}
	if t < 1 || p < 1 || m < 8*p || len(salt) < minArgon2Salt {
		return nil, errUnsupported
	}
	if m > maxOwnMemoryKiB || t > maxOwnIterations || p > maxOwnParallelism {
		return nil, errTooMuch
	}
	params := argon2Params{uint32(m), uint32(t), uint8(p), len(salt), len(key)}
	if name == "argon2i" {
		if err := params.within(maxMemoryKiB, maxPasses); err != nil {
			return nil, err
		}
		return derived(params.memory, key, func(password []byte) ([]byte, error) {
			return argon2.Key(password, salt, params.iterations, params.memory, params.parallelism, uint32(len(key))), nil
		}), nil
	}
	f := derived(params.memory, key, func(password []byte) ([]byte, error) {
		return argon2.IDKey(password, salt, params.iterations, params.memory, params.parallelism, uint32(len(key))), nil
	})
	f.own = &params
	return f, nil
}

var bcryptForm = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)

// parseBcrypt reads `$2b$12$` with salt and key. bcrypt looks at the first 72 bytes
// of a password, so of a longer one the rest is not checked, until the hash is made
// anew at the first sign-in.
func parseBcrypt(hash string) (*format, error) {
	found := bcryptForm.FindStringSubmatch(hash)
	if found == nil {
		return nil, errUnsupported
	}
	cost, _ := strconv.Atoi(found[1])
	if cost < bcrypt.MinCost {
		return nil, errUnsupported
	}
	if cost > maxBcryptCost {
		return nil, errTooMuch
	}
	return &format{memoryKiB: 8, matches: func(password []byte) (bool, error) {
		err := bcrypt.CompareHashAndPassword([]byte(hash), password)
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return false, nil
		}
		return err == nil, err
	}}, nil
}

// parseScrypt reads parameters, salt and key (RFC 7914).
func parseScrypt(parts []string) (*format, error) {
	if len(parts) != 3 {
		return nil, errUnsupported
	}
	values, err := parameters(parts[0], "ln", "r", "p")
	if err != nil {
		return nil, err
	}
	salt, key, err := saltAndKey(parts[1], parts[2], decode)
	if err != nil {
		return nil, err
	}
	n, r, p := values["ln"], values["r"], values["p"]
	memory, err := scryptMemory(n, r, p)
	if err != nil {
		return nil, err
	}
	return derived(memory, key, func(password []byte) ([]byte, error) {
		return scrypt.Key(password, salt, 1<<n, int(r), int(p), len(key))
	}), nil
}

// scryptMemory judges parameters, N by its logarithm, and returns what memory they
// need.
func scryptMemory(ln, r, p uint64) (kib uint32, err error) {
	if ln < 1 || r < 1 || p < 1 {
		return 0, errUnsupported
	}
	if ln > 21 || r > maxScryptBlocks || p > maxScryptBlocks || (r*p)<<ln > maxScryptBlocks {
		return 0, errTooMuch
	}
	return uint32((r<<ln + r*p + 7) / 8), nil
}

// parseFirebase reads parameters, salt and key of Firebase Authentication's own use
// of scrypt: what is kept is the project's signer key (sk), encrypted by AES-256 in
// counter mode with the key that scrypt derives from the password, the salt and the
// project's salt separator (ss). N is given as `ln`, Firebase's mem_cost; r is its
// rounds.
func parseFirebase(parts []string) (*format, error) {
	if len(parts) != 3 {
		return nil, errUnsupported
	}
	texts, err := pairs(parts[0], "ln", "r", "sk", "ss")
	if err != nil {
		return nil, err
	}
	ln, err1 := number(texts["ln"])
	r, err2 := number(texts["r"])
	signer, err3 := decodeAny(texts["sk"])
	separator, err4 := decodeAny(texts["ss"])
	salt, key, err5 := saltAndKey(parts[1], parts[2], decodeAny)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, errUnsupported
	}
	if len(signer) != len(key) || len(separator) > maxSaltBytes {
		return nil, errUnsupported
	}
	memory, err := scryptMemory(ln, r, 1)
	if err != nil {
		return nil, err
	}
	salt = append(salt[:len(salt):len(salt)], separator...)
	return derived(memory, key, func(password []byte) ([]byte, error) {
		derived, err := scrypt.Key(password, salt, 1<<ln, int(r), 1, 32)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(derived)
		if err != nil {
			return nil, err
		}
		encrypted := make([]byte, len(signer))
		cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(encrypted, signer)
		return encrypted, nil
	}), nil
}

// parsePBKDF2 reads iterations, salt and key (RFC 8018, 5.2): `i=29000`, or, as
// passlib writes it, `29000` with a `.` in the place of `+`.
func parsePBKDF2(of func() hash.Hash, size int, parts []string) (*format, error) {
	if len(parts) != 3 {
		return nil, errUnsupported
	}
	var rounds uint64
	var err error
	read := decode
	if strings.Contains(parts[0], "=") {
		var values map[string]uint64
		values, err = parameters(parts[0], "i")
		rounds = values["i"]
	} else {
		rounds, err = number(parts[0])
		read = func(s string) ([]byte, error) { return decode(strings.ReplaceAll(s, ".", "+")) }
	}
	if err != nil || rounds < 1 {
		return nil, errUnsupported
	}
	salt, key, err := saltAndKey(parts[1], parts[2], read)
	if err != nil {
		return nil, err
	}
	blocks := uint64((len(key) + size - 1) / size)
	if rounds > maxPBKDF2Rounds || rounds*blocks > maxPBKDF2Rounds {
		return nil, errTooMuch
	}
	return derived(1, key, func(password []byte) ([]byte, error) {
		return pbkdf2.Key(of, string(password), salt, int(rounds), len(key))
	}), nil
}

// parameters reads `a=1,b=2`: each of the names once, in their order, and no other.
func parameters(s string, names ...string) (map[string]uint64, error) {
	texts, err := pairs(s, names...)
	if err != nil {
		return nil, err
	}
	values := map[string]uint64{}
	for name, text := range texts {
		if values[name], err = number(text); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func pairs(s string, names ...string) (map[string]string, error) {
	list := strings.Split(s, ",")
	if len(list) != len(names) {
		return nil, errUnsupported
	}
	texts := map[string]string{}
	for i, name := range names {
		got, text, _ := strings.Cut(list[i], "=")
		if got != name || text == "" {
			return nil, errUnsupported
		}
		texts[name] = text
	}
	return texts, nil
}

// number reads a decimal number as PHC strings have it: no sign, no leading zero.
func number(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, errUnsupported
	}
	return n, nil
}

// saltAndKey reads the salt, and the key that passwords are compared by.
func saltAndKey(s, k string, read func(string) ([]byte, error)) (salt, key []byte, err error) {
	salt, err1 := read(s)
	key, err2 := read(k)
	if err1 != nil || err2 != nil || len(salt) == 0 || len(salt) > maxSaltBytes || len(key) < minKeyBytes || len(key) > maxKeyBytes {
		return nil, nil, errUnsupported
	}
	return salt, key, nil
}

// nobodys returns a hash with parameters whose salt and key are random: no password is
// known to have it.
func nobodys(p *argon2id.Params) string {
	salt, key := make([]byte, p.SaltLength), make([]byte, p.KeyLength)
	_, _ = rand.Read(salt) // never fails
	_, _ = rand.Read(key)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.Memory, p.Iterations, p.Parallelism,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// decode reads the base64 of PHC strings: without padding.
func decode(s string) ([]byte, error) { return base64.RawStdEncoding.Strict().DecodeString(s) }

// decodeAny reads base64 with and without padding, of both alphabets: exports of
// Firebase have each of them.
func decodeAny(s string) ([]byte, error) {
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(s)
	if trimmed := strings.TrimRight(plain, "="); len(plain) != len(trimmed) {
		if len(plain)%4 != 0 || len(plain)-len(trimmed) > 2 {
			return nil, errUnsupported
		}
		plain = trimmed
	}
	return decode(plain)
}
