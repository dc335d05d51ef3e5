package secret_test

import (
	"fmt"
	"hash/crc32"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/logicspike/manager/internal/secret"
)

func TestACheckedTokenTellsByItselfWhetherItIsOne(t *testing.T) {
	form := regexp.MustCompile(`^test_[0-9A-Za-z]{49}$`)
	seen := map[string]bool{}
	for range 1000 {
		token := secret.NewChecked("test_")
		if !form.MatchString(token) || !secret.IsChecked("test_", token) || seen[token] {
			t.Fatalf("%q", token)
		}
		seen[token] = true
		// As others write a scanner, by what is documented.
		sum, ok := new(big.Int).SetString(token[48:], 62)
		if !ok || sum.Uint64() != uint64(crc32.ChecksumIEEE([]byte(token[:48]))) {
			t.Fatalf("%q: checksum %v", token, sum)
		}
		if n, ok := new(big.Int).SetString(token[5:48], 62); !ok || n.BitLen() > 256 {
			t.Fatalf("%q holds %v", token, n)
		}
	}
	token := secret.NewChecked("test_")
	for at := range token {
		for _, other := range "0aZ_-" {
			if wrong := token[:at] + string(other) + token[at+1:]; wrong != token && secret.IsChecked("test_", wrong) {
				t.Errorf("%q passes for %q", wrong, token)
			}
		}
	}
	for _, wrong := range []string{"", "test_", token[1:], token[:len(token)-1], token + "0", "best_" + token[5:], " " + token, token + " ", strings.ToLower(token)} {
		if wrong != token && secret.IsChecked("test_", wrong) {
			t.Errorf("%q is none", wrong)
		}
	}
	if secret.IsChecked("lsmk_", token) || !secret.IsChecked("", secret.NewChecked("")) {
		t.Error("the prefix counts")
	}
}

func TestCheckedTokensHaveEveryDigitEverywhere(t *testing.T) {
	digits := make([]map[byte]bool, 49)
	for range 5000 {
		token := secret.NewChecked("")
		for i := range token {
			if digits[i] == nil {
				digits[i] = map[byte]bool{}
			}
			digits[i][token[i]] = true
		}
	}
	for i, seen := range digits {
		least := 62
		switch i {
		case 0:
			least = 61 // 2^256 < 61 * 62^42
		case 43:
			least = 5 // 2^32 < 5 * 62^5
		}
		if len(seen) != least {
			t.Errorf("digit %d has %d values of %d: %s", i, len(seen), least, fmt.Sprint(seen))
		}
	}
}
