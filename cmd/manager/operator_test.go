package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestOperatorsOnTheCommandLine: while the server runs on its private database, and
// when it does not.
func TestOperatorsOnTheCommandLine(t *testing.T) {
	dir := dataDir(t)
	run := func(want int, args ...string) (out, errOut string) {
		t.Helper()
		var o, e bytes.Buffer
		if status := execute(append(args, "--data-dir="+dir), &o, &e); status != want {
			t.Fatalf("%q: status %d\n%s%s", args, status, &o, &e)
		}
		return o.String(), e.String()
	}
	for _, args := range []string{"operator list", "user find", "invoice list", "plans list", "keys list", "keys rotate", "migrate status"} {
		if _, errOut := run(statusFailed, strings.Fields(args)...); !strings.Contains(errOut, "there is no data folder of a server at "+dir+"; name the server's by --data-dir") {
			t.Errorf("%s before the first start: %s", args, errOut)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}

	program, log, ended := startProgram(t, "--admin-listen=", "--data-dir="+dir)
	until(t, log, "the banner", func() bool { return strings.Contains(log.String(), "Ctrl-C ends it.") })
	api := "http://" + apiAddress(t, &running{out: log})

	call := func(method, token, request string) (int, map[string]any) {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, api+"/logicspike.auth.v1."+method, strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := http.DefaultClient.Do(r)
		status, body := answer(t, response, err)
		var m map[string]any
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatalf("%s: %s", method, body)
		}
		return status, m
	}
	register := func(email string) (token string) {
		t.Helper()
		_, res := call("RegistrationService/Register", "", `{"email":"`+email+`","password":"maple-lantern-quartz","workspace_name":"Acme"}`)
		id := res["registration"].(map[string]any)["id"].(string)
		var code string
		until(t, log, "the code", func() bool {
			response, err := http.Get(api + "/mailbox/messages?to=" + email)
			_, body := answer(t, response, err)
			code = regexp.MustCompile(`\b[0-9]{6}\b`).FindString(body)
			return code != ""
		})
		status, res := call("RegistrationService/VerifyRegistration", "", `{"registration_id":"`+id+`","code":"`+code+`"}`)
		if status != http.StatusOK {
			t.Fatalf("VerifyRegistration: %v", res)
		}
		return res["account"].(map[string]any)["sessionToken"].(string)
	}
	ann, ben := register("ann@example.com"), register("ben@example.com")

	if status, res := call("OperatorService/FindUsers", ann, "{}"); status != http.StatusForbidden {
		t.Errorf("before: %d %v", status, res)
	}
	if out, _ := run(statusDone, "operator", "add", "Ann@example.com"); out != "ann@example.com is an operator now\n" {
		t.Errorf("%q", out)
	}
	if out, _ := run(statusDone, "operator", "add", "ann@example.com"); out != "ann@example.com is an operator already\n" {
		t.Errorf("%q", out)
	}
	if status, res := call("OperatorService/FindUsers", ann, `{"query":"ben@"}`); status != http.StatusOK || len(res["users"].([]any)) != 1 {
		t.Errorf("then: %d %v", status, res)
	}
	if out, _ := run(statusDone, "operator", "list"); !strings.Contains(out, "ann@example.com  since ") || !strings.Contains(out, "\n1 operator\n") {
		t.Errorf("%s", out)
	}
	out, _ := run(statusDone, "user", "find", "@example")
	if !strings.Contains(out, "2 users\n") || !strings.Contains(out, "operator") || strings.Index(out, "ben@") > strings.Index(out, "ann@") {
		t.Errorf("%s", out)
	}
	if out, _ := run(statusDone, "user", "find", "--limit=1"); !strings.Contains(out, "\n1 user, and more\n") {
		t.Errorf("%s", out)
	}
	if out, _ := run(statusDone, "migrate", "status"); !strings.Contains(out, " migrations, 0 pending\n") {
		t.Errorf("%s", out)
	}
	list, _ := run(statusDone, "keys", "list")
	rotated, _ := run(statusDone, "keys", "rotate", "--revoke-current")
	was, is := keyLine.FindStringSubmatch(list), keyLine.FindStringSubmatch(rotated)
	if was == nil || is == nil || was[2] != "current" || is[2] != "current" || was[1] == is[1] {
		t.Fatalf("before\n%safter\n%s", list, rotated)
	}
	until(t, log, "the server's new key", func() bool {
		response, err := http.Get(api + "/.well-known/jwks.json")
		_, body := answer(t, response, err)
		return strings.Contains(body, is[1]) && !strings.Contains(body, was[1])
	})
	id := regexp.MustCompile(`usr_\w+`).FindString(out) // Ben's

	for _, wrong := range []struct{ want, args string }{
		{"nobody has the address eve@example.com", "user disable eve@example.com --reason=x"},
		{"neither a user's id (usr_…) nor an e-mail address", "user disable eve --reason=x"},
		{"there is no user usr_01h455vb4pex5vsknk084sn02q", "user disable usr_01h455vb4pex5vsknk084sn02q --reason=x"},
		{"--reason must be a line of 1 to 500 characters", "user disable ben@example.com --reason="},
		{"you cannot act in your own name", "user impersonate ann@example.com --reason=x --as=ann@example.com"},
		{"must be an operator", "user impersonate ann@example.com --reason=x --as=ben@example.com"},
		{"must have at least 3 characters", "user find ab"},
		{"ben@example.com is no operator", "operator remove ben@example.com"},
	} {
		if _, errOut := run(statusFailed, strings.Fields(wrong.args)...); !strings.Contains(errOut, wrong.want) || strings.Contains(errOut, "_INVALID") {
			t.Errorf("%s: %s", wrong.args, errOut)
		}
	}
	for _, args := range []string{"user disable ben@example.com", "user impersonate ben@example.com --reason=x", "user enable --reason=x", "operator add"} {
		run(statusUsage, strings.Fields(args)...)
	}

	token, notice := run(statusDone, "user", "impersonate", id, "--reason=A question of theirs", "--as=ann@example.com")
	token = strings.TrimSpace(token)
	if status, res := call("SessionService/GetSession", token, "{}"); status != http.StatusOK || res["session"].(map[string]any)["impersonatorUserId"] == "" {
		t.Errorf("%d %v", status, res)
	}
	if !strings.Contains(notice, "session of ben@example.com until ") {
		t.Errorf("%s", notice)
	}
	run(statusDone, "user", "sign-out", "ben@example.com", "--reason=A laptop was stolen")
	for _, ended := range []string{token, ben} {
		if status, res := call("SessionService/GetSession", ended, "{}"); status != http.StatusUnauthorized {
			t.Errorf("after sign-out: %d %v", status, res)
		}
	}
	run(statusDone, "user", "reset-factors", "ben@example.com", "--reason=Lost the phone")
	run(statusDone, "user", "disable", "ben@example.com", "--reason=Sends spam")
	signIn := `{"email":"ben@example.com","password":"maple-lantern-quartz"}`
	if status, res := call("AuthenticationService/SignInWithPassword", "", signIn); status != http.StatusForbidden {
		t.Errorf("disabled: %d %v", status, res)
	}
	until(t, log, "the mail", func() bool {
		response, err := http.Get(api + "/mailbox/messages?to=ben@example.com")
		_, body := answer(t, response, err)
		return strings.Contains(body, "Sends spam")
	})
	if err := program.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended by %v:\n%s", err, log)
		}
	case <-time.After(time.Minute):
		t.Fatalf("it did not end:\n%s", log)
	}

	// And without the server.
	if out, _ := run(statusDone, "user", "find", id); !strings.Contains(out, "disabled: Sends spam") {
		t.Errorf("%s", out)
	}
	run(statusDone, "user", "enable", id, "--reason=It was a mistake")
	run(statusDone, "operator", "remove", "ann@example.com")
	if out, _ := run(statusDone, "operator", "list"); out != "0 operators\n" {
		t.Errorf("%s", out)
	}
	if strings.Contains(log.String(), "FATAL") {
		t.Errorf("%s", log)
	}
}
