package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Exists reports whether a server was ever set up in the folder. What the current user
// may not see counts as there.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "data", "PG_VERSION"))
	return !errors.Is(err, fs.ErrNotExist)
}

// Running returns a connection string for a database of the server that another
// process runs on the folder, as [Superuser], and whether there is one. Only the
// account that the server runs as, and root, can use it.
func Running(dir, database string) (url string, running bool, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", false, err
	}
	if dir, err = filepath.EvalSymlinks(dir); errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	} else if err != nil {
		return "", false, err
	}
	data := filepath.Join(dir, "data")
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	// The lines of the file: process id, data folder, start time, port, socket's
	// folder, addresses, shared memory, state.
	const pidLine, socketLine, stateLine = 0, 4, 7
	lines := strings.Split(string(text), "\n")
	if len(lines) <= stateLine || strings.TrimSpace(lines[stateLine]) != "ready" {
		return "", false, nil // it starts, or ends
	}
	pid, err := strconv.Atoi(strings.TrimSpace(lines[pidLine]))
	if err != nil || pid <= 1 || !isServer(pid, data) {
		return "", false, nil // what a crash left
	}
	return socketURL(strings.TrimSpace(lines[socketLine]), port, database), true, nil
}
