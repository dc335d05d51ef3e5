package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/server/auth/password"
)

// hashPasswords is the command that `manager serve` starts for itself.
const hashPasswords = "hash-passwords"

type hashPasswordsCmd struct {
	Memory int `help:"What all hashes that are made at once need, in KiB."`
}

// Run hashes for the program that started it until that ends, which says so by its end
// of the pipe: a Ctrl-C is for both, but this one is needed until the last call is
// answered.
func (h hashPasswordsCmd) Run() error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	password.Work(os.Stdin, os.Stdout, h.Memory)
	return nil
}

// newHashing returns the process that runs it.
//
// Errors: when the program does not know where it is.
func newHashing(s config.Settings, log *slog.Logger) (*password.Process, error) {
	program := "/proc/self/exe" // this very program, though its file be replaced
	if runtime.GOOS != "linux" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	return password.NewProcess(log, program, hashPasswords, fmt.Sprintf("--memory=%d", s.HashLimit()*int(s.Argon2Memory))), nil
}
