package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
)

// Wrap wraps the handlers that were made with HandlerOptions: it names the call,
// tells who sent it, logs and counts it, and gives the errors that connect makes
// before any interceptor runs the form of all others.
func (s *Stack) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{ResponseWriter: w, start: time.Now(), method: s.rules.methods[r.URL.Path], client: s.clients.of(r), http1: r.ProtoMajor == 1}
		w.Header()["X-Request-Id"] = []string{c.client.RequestID}
		s.metrics.begin()
		defer s.finish(r.Context(), c) // also when a panic goes through
		ctx := authz.WithClient(context.WithValue(r.Context(), callKey{}, c), c.client)
		body := r.Body
		r = r.WithContext(ctx)
		switch {
		case c.method == nil:
		case c.method.streams && c.http1:
			r.Body = heldOpen{body}
		case c.method.maxBytes > MaxRequestBytes:
			r.Body = s.guard(r, c)
		}
		next.ServeHTTP(c, r)
		s.settle(c, r)
		if c.linger {
			c.lingerOn(body)
		}
	})
}

// finish counts and logs the call.
func (s *Stack) finish(ctx context.Context, c *call) {
	if c.state == undecided {
		c.code = connect.CodeUnknown // it was aborted
	}
	took := time.Since(c.start)
	s.metrics.end(c, took)
	s.log(ctx, c, took)
}

// settle sends what was held back: an error that connect made, in the form of
// this package's own, or an answer of HTTP itself such as 405.
func (s *Stack) settle(c *call, r *http.Request) {
	if c.written || c.state == refused {
		return
	}
	code, message, found := connectMade(c)
	switch {
	case !found && c.status == 0: // an empty answer, which HTTP sends by itself
	case !found:
		c.code = codeOfStatus(c.status)
		c.state = refused
		c.WriteHeader(c.status)
		_, _ = c.Write(c.body.Bytes())
	case c.state == answered:
		s.write(c, r, s.internal(c, errors.New("the answer cannot be sent: "+message)))
	case c.denied != nil:
		s.write(c, r, s.refuse(r.Context(), c, c.denied))
	default:
		s.write(c, r, s.unreadable(c, code, message))
	}
}

// write sends the error in the protocol of the request.
func (s *Stack) write(c *call, r *http.Request, err *connect.Error) {
	header := c.Header()
	for key := range header {
		if plain := strings.TrimPrefix(key, http.TrailerPrefix); plain != key || strings.HasPrefix(plain, "Grpc-") {
			delete(header, key)
		}
	}
	_ = errorWriter.Write(c, r, err)
}

var errorWriter = connect.NewErrorWriter()

// connectMade returns code and message of the error that connect was about to
// send, if what was held back is one.
func connectMade(c *call) (connect.Code, string, bool) {
	header := c.Header()
	for _, prefix := range [...]string{http.TrailerPrefix, ""} {
		if status := header[prefix+"Grpc-Status"]; len(status) == 1 && status[0] != "0" {
			number, _ := strconv.ParseUint(status[0], 10, 8)
			return connect.Code(number), strings.Join(header[prefix+"Grpc-Message"], " "), true
		}
	}
	if c.status >= http.StatusBadRequest && header.Get("Content-Type") == "application/json" {
		var wire struct {
			Code    connect.Code `json:"code"`
			Message string       `json:"message"`
		}
		if err := json.Unmarshal(c.body.Bytes(), &wire); err == nil {
			return wire.Code, wire.Message, true
		}
		if c.body.Len() == maxHeldBytes { // cut: only what quotes the request is that long
			return connect.CodeInvalidArgument, c.body.String(), true
		}
	}
	if body := c.body.Bytes(); strings.HasPrefix(header.Get("Content-Type"), "application/connect+") && len(body) > 5 && body[0] == 2 {
		// The end of a stream, which tells the error.
		var wire struct {
			Error *struct {
				Code    connect.Code `json:"code"`
				Message string       `json:"message"`
			} `json:"error"`
		}
		if err := json.Unmarshal(body[5:], &wire); err == nil && wire.Error != nil {
			return wire.Error.Code, wire.Error.Message, true
		}
	}
	if c.state == answered && c.body.Len() > 0 {
		return connect.CodeInternal, c.body.String(), true
	}
	return 0, "", false
}

// codeOfStatus tells logs and metrics what an answer of HTTP itself means.
func codeOfStatus(status int) connect.Code {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return connect.CodeUnimplemented
	case http.StatusUnsupportedMediaType:
		return connect.CodeInvalidArgument
	}
	return connect.CodeUnknown
}

// Refuse answers a request with a fault, in the protocol of the request, for
// what stands between Wrap and the handlers, or beside them.
func Refuse(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
	if c := callFrom(r.Context()); c != nil {
		c.state, c.code, c.reason = refused, codeOf(f.Kind), f.Reason
	}
	_ = errorWriter.Write(w, r, errorOf(f))
}
