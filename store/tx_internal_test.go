package store

import (
	"errors"
	"strings"
	"testing"
)

func TestAPanicOfAPartIsItsError(t *testing.T) {
	failure := errors.New("failure")
	if err := contained(func() error { return failure }); !errors.Is(err, failure) {
		t.Errorf("a failure: %v", err)
	}
	if err := contained(func() error { panic("no such thing") }); err == nil || !strings.Contains(err.Error(), "no such thing") || !strings.Contains(err.Error(), "tx_internal_test.go") {
		t.Errorf("a panic: %v", err)
	}
	if err := contained(func() error { return nil }); err != nil {
		t.Errorf("neither: %v", err)
	}
}
