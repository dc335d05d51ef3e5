package password_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/auth/password"
)

var policy = password.Policy{Context: []string{"LogicSpike Manager"}}

// ann is what is known about a user.
var ann = []string{"ann.bertrand@acme-anvils.example", "Ann Bertrand", "Acme Anvils"}

func TestPasswordsThatAreEasilyGuessedAreRefused(t *testing.T) {
	t.Parallel()
	for what, list := range map[string][]string{
		"common": {
			"123456789012", "qwerty123456", "1q2w3e4r5t6y", "Password1234", "passwordpassword", "1QAZ2WSX3EDC", "iloveyou1234",
			"administrator", "unbelievable", "qwertyuiopasdf", "counterstrike", "Welcome12345", "aaaaaaaaaaaaaaaa", "abcdefghijkl",
		},
		"the product's name": {
			"LogicSpike Manager", "logicspikemanager", "LogicSpikeManager1", "L0gicSp1ke2026!", "Logicspike-2026", "manager-logicspike!", "!!Log1cSpik3!!",
		},
		"the address": {
			"ann.bertrand@acme-anvils.example", "annbertrand@acme", "Ann.Bertrand.1", "acme-anvils.example", "acme-anvils-1", "bertrand2026!",
		},
		"the names": {
			"Ann Bertrand", "bertrandann1990", "AcmeAnvils2026", "acme anvils ann", "4cme4nv1ls2026", "ann-bertrand-acme-anvils",
		},
	} {
		for _, given := range list {
			err := policy.CheckStrength("password", given, ann...)
			if f := fault.As(err); f == nil || f.Reason != fault.PasswordCommon || f.Kind != fault.InvalidArgument || f.Field != "password" {
				t.Errorf("%s: %q: %v", what, given, err)
			}
		}
	}
}

func TestGoodPasswordsAreTaken(t *testing.T) {
	t.Parallel()
	for _, given := range []string{
		"correct horse battery staple", "tortoise-kettle-marble", "planning canals near feet", "Xk4!qPz9vR2m", "пароль из четырёх слов",
		"我的密码是一个很长的句子不容易猜", "acme loves tortoises by night", "my manager rides a penny farthing",
	} {
		if err := policy.CheckStrength("password", given, ann...); err != nil {
			t.Errorf("%q: %v", given, err)
		}
	}
	// What is known about somebody else is of no concern.
	if err := policy.CheckStrength("password", "AcmeAnvils/Bertrand", "x@example.com", "X"); err != nil {
		t.Error(err)
	}
}

// TestWhatIsKnownOfAUserIsBounded has names that fill all the room: the product's name
// is looked at nevertheless.
func TestWhatIsKnownOfAUserIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("many words in a long name ", 40)
	if err := policy.CheckStrength("password", "LogicSpikeManager1", long, long, long); !fault.Has(err, fault.PasswordCommon) {
		t.Errorf("the product's name behind long ones: %v", err)
	}
	if err := policy.CheckStrength("password", "correct horse battery staple", strings.Repeat("ü", 500)); err != nil {
		t.Error(err)
	}
	if err := (password.Policy{}).CheckStrength("password", "correct horse battery staple", "", " ", "@"); err != nil {
		t.Error(err)
	}
}

// TestTheCommonestPasswordsAreRefused asks for what OWASP ASVS 5.0, 6.2.4 does: at least
// the 3000 commonest that the default policy of lengths allows.
func TestTheCommonestPasswordsAreRefused(t *testing.T) {
	t.Parallel()
	list := password.Common()
	if len(list) != 10_000 {
		t.Fatalf("%d passwords in the list", len(list))
	}
	for _, given := range list {
		if n := utf8.RuneCountInString(given); n < 12 || n > 128 || given != strings.ToLower(given) || strings.TrimSpace(given) != given || strings.Contains(given, "@") {
			t.Errorf("in the list: %q", given)
		}
	}
	for _, given := range list[:3000] {
		for _, spelled := range []string{given, strings.ToUpper(given)} {
			if err := policy.CheckStrength("password", spelled); !fault.Has(err, fault.PasswordCommon) {
				t.Errorf("%q: %v", spelled, err)
			}
		}
	}
}

func TestLength(t *testing.T) {
	t.Parallel()
	for given, ok := range map[string]bool{
		strings.Repeat("x", 11): false, strings.Repeat("x", 12): true, strings.Repeat("ü", 12): true, strings.Repeat("🐢", 12): true,
		strings.Repeat("ü", 128): true, strings.Repeat("x", 129): false, "": false,
	} {
		if err := policy.CheckLength("password", given); (err == nil) != ok || err != nil && !fault.Has(err, fault.PasswordLength) {
			t.Errorf("%d characters: %v", utf8.RuneCountInString(given), err)
		}
	}
}
