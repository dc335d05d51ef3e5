package token_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/logicspike/manager/client/token"
)

func TestTheMiddlewareAnswersAsRFC6750Says(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := i.key("one")
	good := sign(key, head("one"), i.body(nil))
	v := i.verifier(t, nil)
	served := 0
	handler := v.Middleware(token.Require("a.read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served++
		_, _ = io.WriteString(w, token.From(r.Context()).UserID)
	})))
	call := func(handler http.Handler, authorization ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = authorization
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	if w := call(handler, "bearer "+good); w.Code != http.StatusOK || w.Body.String() != "usr_1" {
		t.Errorf("a good token: %d %s", w.Code, w.Body)
	}
	for name, c := range map[string]struct {
		authorization []string
		challenge     string
	}{
		"none":            {nil, "Bearer"},
		"another scheme":  {[]string{"Basic " + good}, "Bearer"},
		"two":             {[]string{"Bearer " + good, "Bearer " + good}, "Bearer"},
		"no scheme":       {[]string{good}, "Bearer"},
		"a wrong one":     {[]string{"Bearer x"}, `Bearer error="invalid_token"`},
		"two in one line": {[]string{"Bearer " + good + ", Bearer " + good}, `Bearer error="invalid_token"`},
	} {
		if w := call(handler, c.authorization...); w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != c.challenge {
			t.Errorf("%s: %d %q", name, w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
	if w := call(handler, "Bearer "+sign(key, head("one"), i.body(object{"permissions": []string{"b"}}))); w.Code != http.StatusForbidden ||
		w.Header().Get("WWW-Authenticate") != `Bearer error="insufficient_scope"` {
		t.Errorf("without the permission: %d", w.Code)
	}
	if w := call(handler, "Bearer "+sign(key, head("one"), i.body(object{"workspace_id": nil}))); w.Code != http.StatusForbidden {
		t.Errorf("without a workspace: %d", w.Code)
	}
	if w := call(token.Require("a.read")(handler), "Bearer "+good); w.Code != http.StatusUnauthorized {
		t.Errorf("without the middleware: %d", w.Code)
	}
	i.locked(func() {
		i.broke = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }
	})
	if w := call(i.verifier(t, nil).Middleware(handler), "Bearer "+good); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("without keys: %d", w.Code)
	}
	if served != 1 {
		t.Errorf("the handler was called %d times", served)
	}
}

// TestTheInterceptorGuardsCallsAndStreams calls a handler of one request and one of
// streams, each by all protocols that Connect speaks.
func TestTheInterceptorGuardsCallsAndStreams(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := i.key("one")
	good := sign(key, head("one"), i.body(nil))
	guard := connect.WithInterceptors(i.verifier(t, nil).Interceptor())
	mux := http.NewServeMux()
	mux.Handle("/s/Unary", connect.NewUnaryHandler("/s/Unary", func(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[emptypb.Empty], error) {
		return connect.NewResponse(&emptypb.Empty{}), token.Check(ctx, "wsp_1", "a.read")
	}, guard))
	mux.Handle("/s/Stream", connect.NewServerStreamHandler("/s/Stream",
		func(ctx context.Context, _ *connect.Request[emptypb.Empty], s *connect.ServerStream[emptypb.Empty]) error {
			if err := token.Check(ctx, "wsp_1", "a.read"); err != nil {
				return err
			}
			return s.Send(&emptypb.Empty{})
		}, guard))
	srv := httptest.NewUnstartedServer(mux)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()

	for name, o := range map[string][]connect.ClientOption{"connect": nil, "grpc": {connect.WithGRPC()}, "grpc-web": {connect.WithGRPCWeb()}} {
		unary := connect.NewClient[emptypb.Empty, emptypb.Empty](srv.Client(), srv.URL+"/s/Unary", append(o, guard)...) // which leaves clients alone
		stream := connect.NewClient[emptypb.Empty, emptypb.Empty](srv.Client(), srv.URL+"/s/Stream", append(o, guard)...)
		for what, c := range map[string]struct {
			bearer string
			want   connect.Code // 0 for success
		}{
			"good":                   {good, 0},
			"none":                   {"", connect.CodeUnauthenticated},
			"wrong":                  {good + "x", connect.CodeUnauthenticated},
			"of another workspace":   {sign(key, head("one"), i.body(object{"workspace_id": "wsp_2"})), connect.CodeNotFound},
			"of no workspace":        {sign(key, head("one"), i.body(object{"workspace_id": nil})), connect.CodeNotFound},
			"without the permission": {sign(key, head("one"), i.body(object{"permissions": []string{}})), connect.CodePermissionDenied},
		} {
			request := func() *connect.Request[emptypb.Empty] {
				r := connect.NewRequest(&emptypb.Empty{})
				if c.bearer != "" {
					r.Header().Set("Authorization", "Bearer "+c.bearer)
				}
				return r
			}
			_, err := unary.CallUnary(t.Context(), request())
			check := func(kind string, err error) {
				t.Helper()
				if c.want == 0 && err != nil || c.want != 0 && connect.CodeOf(err) != c.want {
					t.Errorf("%s, %s, %s: %v", name, kind, what, err)
				}
			}
			check("unary", err)
			s, err := stream.CallServerStream(t.Context(), request())
			if err == nil {
				for s.Receive() {
				}
				err = s.Err()
				_ = s.Close()
			}
			check("stream", err)
		}
	}
	if err := token.Check(t.Context(), "wsp_1", "a.read"); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("without claims: %v", err)
	}
	if err := token.Check(token.With(t.Context(), &token.Claims{}), "", ""); err == nil {
		t.Error("a token without a workspace holds nothing in no workspace")
	}
}
