package testkit

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// ForMain stands for a test where there is none, in TestMain, so that New can be
// called for the examples of a package. It ends with Close.
type ForMain struct {
	testing.TB // for its private method alone
	undo       []func()
}

// Close undoes what was done for it.
func (m *ForMain) Close() {
	for i := len(m.undo) - 1; i >= 0; i-- {
		m.undo[i]()
	}
}

func (m *ForMain) Helper()                  {}
func (m *ForMain) Context() context.Context { return context.Background() }
func (m *ForMain) Cleanup(f func())         { m.undo = append(m.undo, f) }
func (m *ForMain) Fatal(args ...any)        { m.fail(fmt.Sprintln(args...)) }
func (m *ForMain) Fatalf(format string, args ...any) {
	m.fail(fmt.Sprintf(format+"\n", args...))
}

func (m *ForMain) Errorf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

func (m *ForMain) TempDir() string {
	dir, err := os.MkdirTemp("", "manager-test-")
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (m *ForMain) fail(message string) {
	fmt.Fprint(os.Stderr, message)
	m.Close()
	os.Exit(1)
}
