package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

var keyLine = regexp.MustCompile(`(?m)^(sgk_\w+)  (\w+) `)

// TestKeysAreListedAndRotated rotates keys in every way that there is.
func TestKeysAreListedAndRotated(t *testing.T) {
	server, _ := testkit.NewPostgres(t)
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "CREATE DATABASE keys"); err != nil {
		t.Fatal(err)
	}
	url, key := server.URL("keys"), secret.NewKey()
	run := func(want int, key secret.Key, args ...string) (states []string, ids map[string]string, output string) {
		t.Helper()
		t.Setenv("MANAGER_SECRET_KEY", key.Encode())
		t.Setenv("MANAGER_DATABASE_URL", url)
		var out, errOut bytes.Buffer
		if status := execute(append([]string{"keys"}, args...), &out, &errOut); status != want {
			t.Fatalf("keys %v: %d\n%s%s", args, status, &out, &errOut)
		}
		ids = map[string]string{}
		for _, line := range keyLine.FindAllStringSubmatch(out.String(), -1) {
			states = append(states, line[2])
			ids[line[2]] = line[1]
		}
		if text := out.String() + errOut.String(); strings.Contains(text, key.Encode()) {
			t.Error("the secret key is told")
		}
		return states, ids, out.String() + errOut.String()
	}
	if _, _, output := run(statusFailed, key, "list"); !strings.Contains(output, "manager migrate up") {
		t.Errorf("before the database is made: %s", output)
	}
	if err := store.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	if states, _, _ := run(statusDone, key, "list"); len(states) != 0 {
		t.Errorf("before the first start: %v", states)
	}
	states, first, _ := run(statusDone, key, "rotate")
	if !slices.Equal(states, []string{"current", "next"}) {
		t.Fatalf("the first keys: %v", states)
	}
	// The next key is not published long enough: it is used as soon as it is.
	states, again, output := run(statusDone, key, "rotate")
	if !slices.Equal(states, []string{"current", "next"}) || again["current"] != first["current"] {
		t.Errorf("a rotation soon after: %s", output)
	}
	if _, err := connectTo(t, url).Exec(t.Context(), "UPDATE auth.signing_keys SET create_time = create_time - interval '25 hours'"); err != nil {
		t.Fatal(err)
	}
	states, second, output := run(statusDone, key, "rotate")
	if !slices.Equal(states, []string{"retired", "current", "next"}) || second["current"] != first["next"] || second["retired"] != first["current"] {
		t.Errorf("a rotation a day later: %s", output)
	}
	states, third, output := run(statusDone, key, "rotate", "--revoke-current")
	if !slices.Equal(states, []string{"retired", "current", "next"}) || third["current"] != second["next"] || third["retired"] != second["retired"] {
		t.Errorf("a revocation: %s", output)
	}
	states, fourth, output := run(statusDone, key, "rotate", "--revoke-all")
	if !slices.Equal(states, []string{"current", "next"}) || strings.Contains(output, third["current"]) || strings.Contains(output, third["next"]) {
		t.Errorf("a revocation of all: %s", output)
	}
	if _, list, _ := run(statusDone, key, "list"); list["current"] != fourth["current"] {
		t.Errorf("the list differs: %v, %v", list, fourth)
	}
	run(statusUsage, key, "rotate", "--revoke-all", "--revoke-current")
	if _, _, output := run(statusFailed, secret.NewKey(), "rotate"); !strings.Contains(output, "secret key") {
		t.Errorf("with another key: %s", output)
	}
	t.Setenv("MANAGER_SECRET_KEY", "")
	t.Setenv("MANAGER_DATA_DIR", t.TempDir())
	var out, errOut bytes.Buffer
	if status := execute([]string{"keys", "list"}, &out, &errOut); status != statusFailed || !strings.Contains(errOut.String(), "there is no secret key in") {
		t.Errorf("without a key: %d %s", status, &errOut)
	}
}

func connectTo(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}
