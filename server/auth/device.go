package auth

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/store/auth"
)

// deviceAge is how many seconds a browser keeps the token of its device since the last
// sign-in: a year, as long as the server knows it.
const deviceAge = 365 * 24 * 60 * 60

// keepDevice has the client keep the token of the device that a session began on: a
// browser in a cookie, a program by a header of the answer. A browser keeps the token
// that it has for longer.
func keepDevice(ctx context.Context, s *auth.Session) {
	info, ok := connect.CallInfoForHandlerContext(ctx)
	if !ok {
		return
	}
	if s.Transport != authz.Cookie {
		if s.DeviceToken != "" {
			info.ResponseHeader().Set(authz.DeviceHeader, s.DeviceToken)
		}
		return
	}
	token := s.DeviceToken
	if token == "" && s.KnownDevice {
		token = client(ctx).Device.Reveal()
	}
	if token == "" {
		return
	}
	info.ResponseHeader().Add("Set-Cookie", (&http.Cookie{
		Name: authz.DeviceCookieName, Value: token, Path: "/", MaxAge: deviceAge, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode,
	}).String())
}
