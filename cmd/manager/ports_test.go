package main

import (
	"net"
	"strings"
	"testing"

	"github.com/logicspike/manager/internal/config"
)

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()

	s := config.Defaults()
	s.Listen, s.AdminListen = address, ""
	_, err = openPorts(s)
	wantError(t, err, address+" is in use by another program", "--listen (MANAGER_LISTEN)")

	s.Listen, s.AdminListen = "localhost:0", address
	_, err = openPorts(s)
	wantError(t, err, address+" is in use by another program", "--admin-listen (MANAGER_ADMIN_LISTEN)")

	s.Listen = "no-such-host.invalid:1"
	_, err = openPorts(s)
	wantError(t, err, "cannot listen on no-such-host.invalid:1", "--listen (MANAGER_LISTEN)")
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in the error: %v", part, err)
		}
	}
}

func TestReachable(t *testing.T) {
	for setting, want := range map[string]string{
		"localhost:0": "localhost:",
		"127.0.0.1:0": "127.0.0.1:",
		":0":          "localhost:",
		"0.0.0.0:0":   "localhost:",
	} {
		l, err := net.Listen("tcp", setting)
		if err != nil {
			t.Fatal(err)
		}
		got := reachable(l, setting)
		l.Close()
		if !strings.HasPrefix(got, want) || strings.HasSuffix(got, ":0") {
			t.Errorf("%s is reachable at %s", setting, got)
		}
	}
}
