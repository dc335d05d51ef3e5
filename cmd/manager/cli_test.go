package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		status int
		out    []string // what standard output holds
		err    []string // what the error output holds
	}{
		{"nothing", nil, statusDone, []string{"Usage: manager <command>", "serve", "migrate up", "migrate status", "keys list", "keys rotate", "version"}, nil},
		{"help", []string{"--help"}, statusDone, []string{"Usage: manager <command>"}, nil},
		{"serve help", []string{"serve", "--help"}, statusDone, []string{"--public-url=URL", "($MANAGER_PUBLIC_URL)"}, nil},
		{"migrate help", []string{"migrate", "up", "--help"}, statusDone, []string{"--database-url=URL", "--data-dir=FOLDER"}, nil},
		{"version", []string{"version"}, statusDone, []string{"manager ", " (", "go1."}, nil},
		{"unknown command", []string{"destroy"}, statusUsage, nil, []string{"destroy"}},
		{"unknown flag", []string{"serve", "--publik-url=x"}, statusUsage, nil, []string{"--publik-url"}},
		{"unreadable value", []string{"serve", "--session-lifetime=soon"}, statusUsage, nil, []string{"--session-lifetime"}},
		{"refused values", []string{"serve", "--public-rate=0", "--smtp-from=a@example.com"}, statusUsage, nil,
			[]string{"--public-rate (MANAGER_PUBLIC_RATE): 0 is not between", "--smtp-from (MANAGER_SMTP_FROM): it is set, but smtp-host is not"}},
		{"refused database", []string{"migrate", "up", "--database-url=mysql://u:hunter2@h/d"}, statusUsage, nil, []string{"--database-url (MANAGER_DATABASE_URL)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			if got := execute(c.args, &out, &errOut); got != c.status {
				t.Errorf("status %d, not %d", got, c.status)
			}
			for _, want := range c.out {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in the output:\n%s", want, &out)
				}
			}
			for _, want := range c.err {
				if !strings.Contains(errOut.String(), want) {
					t.Errorf("no %q in the error output:\n%s", want, &errOut)
				}
			}
			if strings.Contains(out.String()+errOut.String(), "hunter2") {
				t.Error("a secret is told")
			}
		})
	}
}

func TestARefusedVariableIsNamed(t *testing.T) {
	t.Setenv("MANAGER_REQUEST_TIMEOUT", "15")
	var out, errOut bytes.Buffer
	if status := execute([]string{"serve"}, &out, &errOut); status != statusUsage || !strings.Contains(errOut.String(), "MANAGER_REQUEST_TIMEOUT") {
		t.Errorf("status %d: %s", status, &errOut)
	}
}
