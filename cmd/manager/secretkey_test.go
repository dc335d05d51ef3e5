package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/secret"
)

func TestSecretKey(t *testing.T) {
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	s := config.Defaults()
	s.DataDir = filepath.Join(t.TempDir(), "data")
	path := filepath.Join(s.DataDir, keyFile)

	first, err := secretKey(s, log)
	if err != nil || first.IsZero() {
		t.Fatalf("first start: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(s.DataDir); len(entries) != 1 {
		t.Errorf("more than the key is left: %v", entries)
	}
	second, err := secretKey(s, log)
	if err != nil || second != first {
		t.Errorf("second start: %v", err)
	}
	if strings.Contains(lines.String(), first.Encode()) {
		t.Error("the log holds the key")
	}

	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	lines.Reset()
	if key, err := secretKey(s, log); err != nil || key != first || !strings.Contains(lines.String(), "level=WARN") {
		t.Errorf("readable by others: %v, %s", err, &lines)
	}

	if err := os.WriteFile(path, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = secretKey(s, log)
	wantError(t, err, path, "is damaged")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error tells what is in the file: %v", err)
	}

	// A key that is set needs no folder.
	want := secret.NewKey()
	s.SecretKey = config.Secret(want.Encode())
	s.DataDir = filepath.Join(t.TempDir(), "none")
	if key, err := secretKey(s, log); err != nil || key != want {
		t.Errorf("from the setting: %v", err)
	}
	if _, err := os.Stat(s.DataDir); !os.IsNotExist(err) {
		t.Errorf("the data folder was made: %v", err)
	}
}

func TestSecretKeyIsMadeOnce(t *testing.T) {
	s := config.Defaults()
	s.DataDir = t.TempDir()
	keys := make([]secret.Key, 20)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = secretKey(s, slog.New(slog.DiscardHandler)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, key := range keys {
		if key != keys[0] {
			t.Fatal("there are two keys")
		}
	}
}
