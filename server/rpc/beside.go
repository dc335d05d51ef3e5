package rpc

import (
	"net/http"
	"strconv"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
)

// Beside wraps a handler of plain HTTP that stands beside the services and that anybody
// may call, a page of another origin included: it tells the handler who sent the request
// (authz.ClientFrom), and counts it against the limit of public methods.
func (s *Stack) Beside(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := s.clients.of(r)
		w.Header()["X-Request-Id"] = []string{client.RequestID}
		ctx := authz.WithClient(r.Context(), client)
		if err := s.options.Limiter.Take(ctx, client.Network()); err != nil {
			s.refuseBeside(w, r, client, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// refuseBeside answers a request that its network may not send now, or that cannot be
// counted.
func (s *Stack) refuseBeside(w http.ResponseWriter, r *http.Request, client authz.Client, err error) {
	f := fault.As(err)
	if f == nil || f.Kind != fault.ResourceExhausted {
		s.options.Logger.ErrorContext(r.Context(), "a request cannot be counted", "request_id", client.RequestID, "path", r.URL.Path, "cause", err)
		http.Error(w, "the server cannot answer at the moment; try again", http.StatusServiceUnavailable)
		return
	}
	if seconds := int(f.RetryAfter.Seconds()) + 1; f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	http.Error(w, "too many requests; try again later", http.StatusTooManyRequests)
}
