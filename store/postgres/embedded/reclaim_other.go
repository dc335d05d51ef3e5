//go:build !linux

package embedded

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// isServer reports whether a process is the main process of a server on a data
// folder.
func isServer(pid int, data string) bool {
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return false
	}
	command, args, _ := strings.Cut(strings.TrimSpace(string(out)), " -D ")
	return filepath.Base(command) == "postgres" && strings.HasPrefix(args, data+" ")
}

// orphans returns nothing: the system does not tell which folder a process
// works in. A new server waits until they have ended.
func orphans(string) []int { return nil }
