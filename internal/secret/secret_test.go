package secret_test

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/logicspike/manager/internal/secret"
)

func TestABoxOpensOnlyWhatItSealedInThatContext(t *testing.T) {
	key := secret.NewKey()
	box := key.Box("mail")
	sealed := box.Seal([]byte("data"), "here")
	if got, err := box.Open(sealed, "here"); err != nil || string(got) != "data" {
		t.Fatalf("Open = %q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another context": func() ([]byte, error) { return box.Open(sealed, "there") },
		"another purpose": func() ([]byte, error) { return key.Box("page").Open(sealed, "here") },
		"another key":     func() ([]byte, error) { return secret.NewKey().Box("mail").Open(sealed, "here") },
		"truncated":       func() ([]byte, error) { return box.Open(sealed[:len(sealed)-1], "here") },
		"changed":         func() ([]byte, error) { sealed[len(sealed)-1] ^= 1; return box.Open(sealed, "here") },
		"empty":           func() ([]byte, error) { return box.Open(nil, "here") },
	} {
		if got, err := open(); !errors.Is(err, secret.ErrOpen) {
			t.Errorf("%s: Open = %q, %v, want ErrOpen", name, got, err)
		}
	}
}

func TestAKeyReadsBackAndPrintsRedacted(t *testing.T) {
	key := secret.NewKey()
	back, err := secret.ParseKey(key.Encode())
	if err != nil || back != key {
		t.Fatalf("ParseKey = %v, %v", back, err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", key, "in", struct{ K secret.Key }{key})
	for _, printed := range []string{
		fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %s", key, key, key, key), fmt.Sprintf("%+v", struct{ K secret.Key }{key}), log.String(),
	} {
		if !strings.Contains(printed, "[redacted]") || strings.Contains(printed, key.Encode()) {
			t.Errorf("a key printed as %q", printed)
		}
	}
	for _, bad := range []string{"", "short", key.Encode()[:40], key.Encode() + "AAAA"} {
		if _, err := secret.ParseKey(bad); err == nil {
			t.Errorf("ParseKey(%q) succeeded", bad)
		}
	}
}

func TestTokensAndCodes(t *testing.T) {
	if a, b := secret.NewToken("x_"), secret.NewToken("x_"); a == b || !regexp.MustCompile(`^x_[A-Za-z0-9_-]{43}$`).MatchString(a) {
		t.Errorf("tokens %q, %q", a, b)
	}
	if code := secret.NewCode(); !regexp.MustCompile(`^[0-9]{6}$`).MatchString(code) {
		t.Errorf("code %q", code)
	}
	h := secret.HashOf("session", "a")
	if other := secret.HashOf("reset", "a"); h.Equal(other[:]) {
		t.Error("the purpose is not part of the hash")
	}
	if !h.Equal(h[:]) || h.Equal(nil) {
		t.Error("Equal is wrong")
	}
}
