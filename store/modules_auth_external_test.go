package store_test

import (
	"testing"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/auth"
)

// exerciseExternalIdentities calls what is about identity providers.
func exerciseExternalIdentities(t *testing.T, e *exercise, user ids.User) {
	t.Helper()
	state, result := secret.HashOf("test", "state"), secret.HashOf("test", "result")
	s := &auth.ExternalSignIn{
		ID: ids.New[ids.ExternalSignIn](), Provider: "acme", Purpose: auth.ExternalToSignIn, Transport: authz.Bearer, StateHash: state[:],
		BindingHash: []byte{1}, Sealed: []byte{2}, ReturnURL: "/", CreateTime: now, ExpireTime: now.Add(time.Minute),
	}
	none := (*auth.ExternalSignIn)(nil)
	e.call("InsertExternalSignIn", s)
	e.want(s, "ExternalSignIn", s.ID, now)
	e.want(none, "ExternalSignIn", s.ID, now.Add(time.Minute))
	e.call("SetExternalResult", s.ID, result, []byte{3}) // not before it is back
	e.want(none, "ReturnExternalSignIn", state, "other", now)
	e.want(none, "ReturnExternalSignIn", result, "acme", now)
	e.want(none, "ReturnExternalSignIn", state, "acme", now.Add(time.Minute))
	s.ReturnTime = now
	e.want(s, "ReturnExternalSignIn", state, "acme", now)
	e.want(none, "ReturnExternalSignIn", state, "acme", now)
	e.call("SetExternalResult", s.ID, result, []byte{3})
	e.call("SetExternalResult", s.ID, state, []byte{4}) // only the first counts
	s.ResultHash, s.Result = result[:], []byte{3}
	e.want(s, "ExternalSignIn", s.ID, now)
	e.want(true, "DeleteExternalSignIn", s.ID)
	e.want(false, "DeleteExternalSignIn", s.ID)
	e.call("InsertExternalSignIn", &auth.ExternalSignIn{
		ID: s.ID, Provider: "acme", Purpose: auth.ExternalToSignIn, Transport: authz.Cookie, StateHash: state[:], BindingHash: []byte{1},
		Sealed: []byte{2}, ReturnURL: "/", CreateTime: now, ExpireTime: now,
	})
	e.call("DeleteExpiredExternalSignIns", now.Add(time.Second))
	e.want(false, "DeleteExternalSignIn", s.ID)

	x := &auth.ExternalIdentity{
		ID: ids.New[ids.ExternalIdentity](), UserID: user, Provider: "acme", Issuer: "https://id.example", Subject: "ann", CreateTime: now,
	}
	e.want(auth.SignInWays{Email: true, Passkeys: 1}, "SignInWays", user)
	e.call("InsertExternalIdentity", x)
	e.want(auth.SignInWays{Email: true, Passkeys: 1, Identities: 1}, "SignInWays", user)
	x.Provider, x.Email, x.LastUseTime = "renamed", "ann@example.com", now
	e.want(true, "UseExternalIdentity", x)
	e.want(x, "ExternalIdentityOf", x.Issuer, x.Subject)
	e.want((*auth.ExternalIdentity)(nil), "ExternalIdentityOf", "https://other.example", x.Subject)
	e.want(x, "ExternalIdentity", user, x.ID)
	e.want((*auth.ExternalIdentity)(nil), "ExternalIdentity", ids.New[ids.User](), x.ID)
	e.want([]auth.ExternalIdentity{*x}, "ExternalIdentities", user)
	e.call("DeleteExternalIdentity", user, x.ID)
	e.want(false, "UseExternalIdentity", x)
	e.call("InsertExternalIdentity", x) // goes with the user
}
