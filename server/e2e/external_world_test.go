package e2e

import (
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/auth"

	"github.com/google/uuid"
)

// externalSignIn makes a sign-in of somebody new, for whose address GitHub vouches, and
// returns what completes it.
func (w *world) externalSignIn(email string) *authv1.CompleteExternalSignInRequest {
	w.t.Helper()
	ctx, binding, state := w.t.Context(), store.NewExternalBinding(), store.NewExternalState()
	row, err := w.srv.Store.StartExternalSignIn(ctx, store.ExternalStart{
		Provider: "github", Purpose: auth.ExternalToSignIn, Transport: "bearer", State: state, Binding: binding, ReturnURL: w.srv.URL + "/",
	})
	w.must(err)
	_, err = w.srv.Store.ReturnExternalSignIn(ctx, "github", state)
	w.must(err)
	token, err := w.srv.Store.SetExternalResult(ctx, row.ID, store.ExternalClaims{
		Issuer: "https://github.com", Subject: uuid.NewString(), Email: email, EmailVerified: true,
	})
	w.must(err)
	return &authv1.CompleteExternalSignInRequest{
		ExternalSignInId: row.ID.String(), ResultToken: token, BindingToken: binding, WorkspaceName: "Acme",
	}
}

// identity links an identity to somebody who has proven their address.
func (w *world) identity(p *testkit.Person) (id string) {
	w.t.Helper()
	w.prove(p)
	res, err := w.srv.Client("").ExternalIdentities.CompleteExternalSignIn(w.t.Context(), w.externalSignIn(p.Email))
	w.must(err)
	return res.ExternalIdentity.Id
}
