package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/rpc"
)

// humans takes "a person" for one, and keeps what it was asked.
type humans struct{ asked []string }

func (h *humans) Human(_ context.Context, answer string) error {
	h.asked = append(h.asked, answer)
	switch answer {
	case "a person":
		return nil
	case "nobody knows":
		return fault.New(fault.Unavailable, fault.CaptchaUnavailable, "try again").WithCause(errors.New("the provider is away"))
	}
	return fault.New(fault.FailedPrecondition, fault.CaptchaRequired, "solve the CAPTCHA")
}

func TestMethodsForPeopleAskForACaptcha(t *testing.T) {
	h := new(humans)
	w := newWorld(t, func(o *rpc.Options) { o.Humans = h })
	everyTransport(t, func(t *testing.T, by *http.Client, o []connect.ClientOption) {
		h.asked = nil
		client := authv1connect.NewAuthenticationServiceClient(by, w.url, o...)
		call := func(answer string, request *authv1.SignInWithPasswordRequest) error {
			ctx, info := connect.NewClientContext(context.Background())
			if answer != "" {
				info.RequestHeader().Set(rpc.CaptchaHeader, answer)
			}
			_, err := client.SignInWithPassword(ctx, request)
			return err
		}
		good := &authv1.SignInWithPasswordRequest{Email: "a@b.c", Password: "p"}
		if err := call("a person", good); err != nil {
			t.Error(err)
		}
		for _, answer := range []string{"", "a program"} {
			if r := refusalOf(t, call(answer, good)); r.code != connect.CodeFailedPrecondition || r.reason != "CAPTCHA_REQUIRED" {
				t.Errorf("%q: %+v", answer, r)
			}
		}
		if r := refusalOf(t, call("nobody knows", good)); r.code != connect.CodeUnavailable || r.reason != "CAPTCHA_UNAVAILABLE" || strings.Contains(r.message, "provider") {
			t.Errorf("%+v", r)
		}
		// An answer can be given once: it is not wasted on a request that is refused anyway.
		before := len(h.asked)
		if r := refusalOf(t, call("a person", &authv1.SignInWithPasswordRequest{Email: "a@b.c"})); r.reason != "FIELD_INVALID" {
			t.Errorf("%+v", r)
		}
		w.limit = fault.New(fault.ResourceExhausted, fault.RateLimited, "later")
		if r := refusalOf(t, call("a person", good)); r.reason != "RATE_LIMITED" {
			t.Errorf("%+v", r)
		}
		w.limit = nil
		if len(h.asked) != before {
			t.Errorf("asked %d times more", len(h.asked)-before)
		}
		// Other methods ask for none.
		if _, err := authv1connect.NewSessionServiceClient(by, w.url, o...).GetSession(signedIn(), &authv1.GetSessionRequest{}); err != nil || len(h.asked) != before {
			t.Errorf("GetSession: %v, asked %v", err, h.asked)
		}
	})
	if strings.Contains(w.log.String(), "a person") || strings.Contains(w.log.String(), "a program") {
		t.Error("the log tells the answers")
	}
}

// TestTheDeviceOfACall is what its header, or else its cookie, says.
func TestTheDeviceOfACall(t *testing.T) {
	w := newWorld(t, nil)
	const good, other = "lsmd_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG", "lsmd_another"
	cookie := "__Host-manager_device="
	for _, test := range []struct {
		headers []string
		want    string
	}{
		{nil, ""},
		{[]string{"Device-Token", good}, good},
		{[]string{"Cookie", cookie + good}, good},
		{[]string{"Cookie", "a=b; " + cookie + good + "; c=d"}, good},
		{[]string{"Cookie", cookie + good + "; " + cookie + other}, good},
		{[]string{"Cookie", "x" + cookie + good}, ""},
		{[]string{"Device-Token", good, "Cookie", cookie + other}, good},
		{[]string{"Device-Token", "", "Cookie", cookie + other}, ""},
		{[]string{"Device-Token", "with a space", "Cookie", cookie + other}, ""},
		{[]string{"Device-Token", "\x7f"}, ""},
		{[]string{"Device-Token", strings.Repeat("x", 257)}, ""},
		{[]string{"Cookie", cookie}, ""},
	} {
		var got authz.Client
		w.handle = func(ctx context.Context) error { got = authz.ClientFrom(ctx); return errors.New("seen") }
		r, _ := http.NewRequest("POST", w.url+signIn, strings.NewReader(`{"email":"a@b.c","password":"p"}`))
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(test.headers); i += 2 {
			r.Header.Set(test.headers[i], test.headers[i+1])
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			if !strings.Contains(err.Error(), "invalid header") {
				t.Error(err)
			}
			continue
		}
		_ = response.Body.Close()
		if got.Device.Reveal() != test.want {
			t.Errorf("%q: %q", test.headers, got.Device.Reveal())
		}
		if printed := fmt.Sprintf("%v %+v %#v %s", got, got, got.Device, got.Device); test.want != "" && strings.Contains(printed, test.want) {
			t.Errorf("it prints as %s", printed)
		}
	}
	// Two headers are none.
	var got authz.Client
	w.handle = func(ctx context.Context) error { got = authz.ClientFrom(ctx); return errors.New("seen") }
	r, _ := http.NewRequest("POST", w.url+signIn, strings.NewReader(`{"email":"a@b.c","password":"p"}`))
	r.Header["Content-Type"], r.Header["Device-Token"] = []string{"application/json"}, []string{good, other}
	if response, err := http.DefaultClient.Do(r); err != nil {
		t.Error(err)
	} else if _ = response.Body.Close(); got.Device != "" {
		t.Errorf("two headers: %q", got.Device.Reveal())
	}
}
