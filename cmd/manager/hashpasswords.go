package main

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/logicspike/manager/server/auth/password"
)

// hashPasswords is the command that `manager serve` starts for itself.
const hashPasswords = "hash-passwords"

type hashPasswordsCmd struct{}

// Run hashes for the program that started it until that ends, which says so by its end
// of the pipe: a Ctrl-C is for both, but this one is needed until the last call is
// answered.
func (hashPasswordsCmd) Run() error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	password.Work(os.Stdin, os.Stdout)
	return nil
}

// newHashing returns the process that runs it.
//
// Errors: when the program does not know where it is.
func newHashing() (*password.Process, error) {
	if runtime.GOOS == "linux" {
		return password.NewProcess("/proc/self/exe", hashPasswords), nil // this very program, though its file be replaced
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return password.NewProcess(self, hashPasswords), nil
}
