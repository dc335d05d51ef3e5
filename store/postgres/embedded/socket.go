package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// port is only part of the socket's file name: the server does not listen on
// the network.
const port = 5432

// maxSocketPath is the longest path that a unix socket can have on every system
// we run on (macOS: 103 bytes, Linux: 107).
const maxSocketPath = 103

// tempSocketPrefix begins the names of socket folders outside the data folder.
const tempSocketPrefix = "manager-pg-"

// socketDir is the folder of the server's socket. It belongs to the server's
// account with mode 0700, and that is all the protection the server needs.
type socketDir struct {
	path      string
	temporary bool
}

// makeSocketDir makes an empty folder for the socket: run below dir, or a folder
// with a random name in the system's temporary folder if the path would be too
// long for a socket or holds characters that mean something in a list of paths.
func makeSocketDir(dir string, acct account) (socketDir, error) {
	s := socketDir{path: filepath.Join(dir, "run")}
	if err := os.RemoveAll(s.path); err != nil {
		return socketDir{}, err
	}
	if fitsSocket(s.path) {
		if err := os.Mkdir(s.path, 0o700); err != nil {
			return socketDir{}, err
		}
	} else {
		path, err := os.MkdirTemp("", tempSocketPrefix)
		if err != nil {
			return socketDir{}, err
		}
		s = socketDir{path: path, temporary: true}
		if !fitsSocket(path) {
			s.remove()
			return socketDir{}, fmt.Errorf("no folder for the server's socket: both %s and the temporary folder %s have names that are too long",
				dir, os.TempDir())
		}
	}
	if err := acct.give(s.path); err != nil {
		s.remove()
		return socketDir{}, err
	}
	return s, nil
}

func fitsSocket(dir string) bool {
	return len(dir)+len("/.s.PGSQL.5432") <= maxSocketPath && !strings.ContainsAny(dir, ",\"'\\ \t\n")
}

func (s socketDir) url(database string) string { return socketURL(s.path, port, database) }

// remove removes a temporary folder; the one in the data folder stays.
func (s socketDir) remove() {
	if s.temporary {
		_ = os.RemoveAll(s.path)
	}
}
