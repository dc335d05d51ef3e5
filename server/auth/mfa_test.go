package auth

import (
	"testing"

	"github.com/pquerna/otp"
)

// TestOtpauthURIsSayWhoseTheyAre reads them with another parser.
func TestOtpauthURIsSayWhoseTheyAre(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ product, issuer, account string }{
		{"LogicSpike", "LogicSpike", "ann@example.com"},
		{"Acme & Co + Söhne?", "Acme & Co + Söhne?", "ann+otp&secret=AAAA@example.com"},
		{"Acme: the product", "Acme  the product", "o'neill/#%@example.com"},
		{"100% &issuer=Evil", "100% &issuer=Evil", "jürgen@bücher.example"},
	} {
		const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
		key, err := otp.NewKeyFromURL(otpauthURI(c.product, c.account, secret))
		if err != nil {
			t.Fatal(err)
		}
		if key.Type() != "totp" || key.Issuer() != c.issuer || key.AccountName() != c.account || key.Secret() != secret ||
			key.Period() != 30 || key.Digits() != otp.DigitsSix || key.Algorithm() != otp.AlgorithmSHA1 {
			t.Errorf("%s: issuer %q, account %q, secret %q", key.String(), key.Issuer(), key.AccountName(), key.Secret())
		}
	}
}
