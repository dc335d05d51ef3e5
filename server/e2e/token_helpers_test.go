package e2e

import (
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
)

// refreshToken returns one of somebody.
func (w *world) refreshToken() string {
	w.t.Helper()
	res, err := newPerson(w.t, w.srv).Tokens.CreateRefreshToken(w.t.Context(), &authv1.CreateRefreshTokenRequest{})
	w.must(err)
	return res.RefreshToken
}
