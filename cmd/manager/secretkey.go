package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/secret"
)

// keyFile is the name of the key's file in the data folder.
const keyFile = "secret.key"

// secretKey returns the server's key: the setting, or that of the key's file,
// which is made when it is missing.
func secretKey(s config.Settings, log *slog.Logger) (secret.Key, error) {
	key, err := s.Key()
	if err != nil || !key.IsZero() {
		return key, err
	}
	path := filepath.Join(s.DataDir, keyFile)
	key, err = readKey(path, log)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(path); err != nil {
			return secret.Key{}, fmt.Errorf("make the secret key: %w", err)
		}
		log.Info("made a secret key; keep a copy in a safe place", "file", path)
		key, err = readKey(path, log)
	}
	if err == nil && !s.Private() {
		log.Info("servers that share the database need the same secret key", "file", path, "setting", config.Variable("secret-key"))
	}
	return key, err
}

// readKey reads a key's file. That others could read it too is only worth a
// warning: orchestrators often mount secrets like that.
func readKey(path string, log *slog.Logger) (secret.Key, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return secret.Key{}, fmt.Errorf("read the secret key: %w", err)
	}
	key, err := secret.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return secret.Key{}, fmt.Errorf("the secret key in %s is damaged: %w; bring back its copy", path, err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		log.Warn("other users of this machine can read the secret key; chmod 600 helps", "file", path)
	}
	return key, nil
}

// makeKey writes a new key so that its file is there whole, on the disk, or not
// at all. If another process was faster its key stays.
func makeKey(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".secret-*") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(secret.NewKey().Encode() + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
