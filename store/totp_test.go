package store

import (
	"encoding/base32"
	"testing"
	"time"
)

// TestTOTPVectors are those of RFC 6238, appendix B, for SHA-1. They have eight
// digits, the last six of which are the code of six (RFC 4226, 5.3: step 3).
func TestTOTPVectors(t *testing.T) {
	t.Parallel()
	secret := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59:          "94287082",
		1111111109:  "07081804",
		1111111111:  "14050471",
		1234567890:  "89005924",
		2000000000:  "69279037",
		20000000000: "65353130",
	} {
		got, err := totpCode(secret, totpStep(time.Unix(at, 0)))
		if err != nil || got != want[2:] {
			t.Errorf("at %d: %q, %v, want %q", at, got, err, want[2:])
		}
	}
	// RFC 4226, appendix D.
	for count, want := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} {
		if got, err := totpCode(secret, int64(count)); err != nil || got != want {
			t.Errorf("count %d: %q, %v, want %q", count, got, err, want)
		}
	}
}

func TestTOTPWindow(t *testing.T) {
	t.Parallel()
	secret, now := newTOTPSecret(), time.Unix(1_800_000_015, 0)
	for drift := int64(-4); drift <= 4; drift++ {
		code, err := totpCode(secret, totpStep(now)+drift)
		if err != nil {
			t.Fatal(err)
		}
		step, found, err := totpMatch(secret, code, now)
		if want := drift >= -1 && drift <= 1; err != nil || found != want || found && step != totpStep(now)+drift {
			t.Errorf("a clock that is %d steps off: %d, %v, %v", drift, step, found, err)
		}
	}
	for _, code := range []string{"", "00000", "0000000", "      ", "abcdef"} {
		if _, found, err := totpMatch(secret, code, now); found || err != nil {
			t.Errorf("the code %q: %v, %v", code, found, err)
		}
	}
}

func TestTOTPSecretsAreRandomAndLongEnough(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		secret := newTOTPSecret()
		written := base32Secret.EncodeToString(secret)
		if read, err := base32.StdEncoding.DecodeString(written); len(secret) != 20 || len(written) != 32 || err != nil || string(read) != string(secret) || seen[written] {
			t.Fatalf("the secret %q of %d bytes: %v", written, len(secret), err)
		}
		seen[written] = true
	}
}
