package password_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/auth/password"
)

const leaked, good = "leaked horse battery staple", "correct horse battery staple"

func digest(s string) string {
	sum := sha1.Sum([]byte(s))
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// leakService answers as Have I Been Pwned does, and checks what it is asked.
func leakService(t *testing.T, handle http.HandlerFunc) (*password.Leaks, *bytes.Buffer) {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		prefix, ok := strings.CutPrefix(r.URL.Path, "/range/")
		if !ok || r.Method != http.MethodGet || r.URL.RawQuery != "" || prefix != digest(leaked)[:5] && prefix != digest(good)[:5] {
			t.Errorf("asked: %s %s", r.Method, r.URL)
		}
		if r.Header.Get("Add-Padding") != "true" || r.Header.Get("User-Agent") == "" {
			t.Errorf("asked with %v", r.Header)
		}
		handle(w, r)
	}))
	t.Cleanup(service.Close)
	var log bytes.Buffer
	return password.NewLeaks(service.URL+"/range/", slog.New(slog.NewTextHandler(&log, nil))), &log
}

func TestLeakedPasswordsAreRefused(t *testing.T) {
	t.Parallel()
	leaks, log := leakService(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s:0\r\n", digest(good)[5:]) // says nothing
		for i := range 900 {
			fmt.Fprintf(w, "%s:%d\r\n", digest(fmt.Sprint(i))[5:], i%3)
		}
		fmt.Fprintf(w, "%s:17", strings.ToLower(digest(leaked)[5:]))
	})
	if err := leaks.Check(t.Context(), "password", leaked); !fault.Has(err, fault.PasswordLeaked) || fault.As(err).Kind != fault.InvalidArgument || fault.As(err).Field != "password" {
		t.Errorf("a leaked one: %v", err)
	}
	if err := leaks.Check(t.Context(), "password", good); err != nil {
		t.Errorf("one that is not: %v", err)
	}
	if leaks.Failed() != 0 || log.Len() > 0 {
		t.Errorf("%d failures: %s", leaks.Failed(), log)
	}
	if err := password.NewLeaks("", nil).Check(t.Context(), "password", leaked); err != nil || password.NewLeaks("", nil).Failed() != 0 {
		t.Errorf("without a service: %v", err)
	}
}

func TestAServiceOfLeakedPasswordsThatFailsKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	var redirected atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { redirected.Store(true) }))
	t.Cleanup(elsewhere.Close)
	for what, handle := range map[string]http.HandlerFunc{
		"refuses":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"redirects":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"says else":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"is endless":  func(w http.ResponseWriter, _ *http.Request) { endless(w) },
		"hangs":       func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"breaks off":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a long line": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("A"), 200_000)) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			leaks, log := leakService(t, handle)
			began := time.Now()
			if err := leaks.Check(t.Context(), "password", leaked); err != nil {
				t.Errorf("Check: %v", err)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("it took %v", took)
			}
			if leaks.Failed() != 1 || !strings.Contains(log.String(), "level=WARN") {
				t.Errorf("%d failures: %s", leaks.Failed(), log)
			}
			if strings.Contains(log.String(), digest(leaked)[:5]) || strings.Contains(log.String(), leaked) {
				t.Errorf("the log tells of the password: %s", log)
			}
		})
	}
	if redirected.Load() {
		t.Error("a redirection was followed")
	}
	leaks, _ := leakService(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := leaks.Check(ctx, "password", leaked); err != context.DeadlineExceeded || leaks.Failed() != 0 {
		t.Errorf("a call that was given up: %v", err)
	}
}

// endless answers far more than there can be.
func endless(w http.ResponseWriter) {
	line := []byte(strings.Repeat("0123456789ABCDEF0123456789ABCDEF012:1\r\n", 1000))
	for range 1000 {
		if _, err := w.Write(line); err != nil {
			return
		}
	}
}
