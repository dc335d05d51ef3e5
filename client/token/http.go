package token

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"connectrpc.com/connect"
)

// bearerOf returns the token of a request's Authorization header; "" when there is
// none, or not exactly one.
func bearerOf(h http.Header) string {
	lines := h["Authorization"]
	if len(lines) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// Middleware lets requests through that come with a valid access token, with its
// claims in their context. Others are answered by 401 (RFC 6750, 3), or by 503 when
// the issuer's keys cannot be had.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := bearerOf(r.Header)
		if token == "" {
			unauthorized(w, "Bearer")
			return
		}
		claims, err := v.Verify(r.Context(), token)
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(With(r.Context(), claims)))
		case errors.Is(err, ErrInvalid):
			unauthorized(w, `Bearer error="invalid_token"`)
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "the access token cannot be verified now", http.StatusServiceUnavailable)
		}
	})
}

func unauthorized(w http.ResponseWriter, challenge string) {
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, "a valid access token is required", http.StatusUnauthorized)
}

// Require lets requests through whose token holds a permission in its workspace, and
// answers others by 403. It belongs inside of Middleware.
//
// It does not know which workspace a request is about: a handler must use that of the
// token (Claims.WorkspaceID), or compare it (Check).
func Require(permission string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch c := From(r.Context()); {
			case c == nil:
				unauthorized(w, "Bearer")
			case !c.Holds(permission):
				w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
				http.Error(w, "the permission "+permission+" is missing", http.StatusForbidden)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

func errUnauthenticated() error {
	return connect.NewError(connect.CodeUnauthenticated, errors.New("a valid access token is required"))
}

// Interceptor lets calls of Connect, gRPC and gRPC-Web through that come with a valid
// access token, with its claims in their context; others fail with `unauthenticated`,
// or with `unavailable` when the issuer's keys cannot be had. A stream is looked at
// when it begins. Clients that use it are left alone.
func (v *Verifier) Interceptor() connect.Interceptor { return interceptor{v} }

type interceptor struct{ verifier *Verifier }

func (i interceptor) admit(ctx context.Context, h http.Header) (context.Context, error) {
	token := bearerOf(h)
	if token == "" {
		return nil, errUnauthenticated()
	}
	claims, err := i.verifier.Verify(ctx, token)
	switch {
	case err == nil:
		return With(ctx, claims), nil
	case errors.Is(err, ErrInvalid):
		return nil, errUnauthenticated()
	}
	return nil, connect.NewError(connect.CodeUnavailable, errors.New("the access token cannot be verified now"))
}

// WrapUnary wraps a handler of one request.
func (i interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if req.Spec().IsClient {
			return next(ctx, req)
		}
		ctx, err := i.admit(ctx, req.Header())
		if err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// WrapStreamingClient leaves clients alone.
func (i interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler wraps a handler of streams.
func (i interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		ctx, err := i.admit(ctx, conn.RequestHeader())
		if err != nil {
			return err
		}
		return next(ctx, conn)
	}
}
