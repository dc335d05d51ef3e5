package rpc

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
)

// call is what is known of one call while it runs, and the ResponseWriter that it
// is answered through.
//
// It holds back whatever is written before the interceptor has decided the call:
// that can only be an error that connect made on its own (a body that cannot be
// decoded, say), which settle then replaces by one of this package.
type call struct {
	http.ResponseWriter
	start    time.Time
	method   *method // nil when no rule covers the path
	client   authz.Client
	protocol string
	http1    bool // whether it came by HTTP/1
	linger   bool // whether the rest of the request is still to be read
	user     ids.User
	key      ids.APIKey // that calls, if it is one

	state  state
	code   connect.Code // 0 when the call went well
	reason fault.Reason
	cause  error // for the log alone
	denied error // why no more than MaxRequestBytes was read, if there was more

	written bool // whether anything has reached the client
	status  int  // what was held back
	body    bytes.Buffer
}

// maxBytes is how large the request may be.
func (c *call) maxBytes() int {
	if c.method == nil {
		return MaxRequestBytes
	}
	return c.method.maxBytes
}

type state int

const (
	undecided state = iota
	answered        // the handler returned an answer
	refused         // this package made an error
)

// maxHeldBytes is how much of an error that connect made is kept.
const maxHeldBytes = 4 << 10

type callKey struct{}

func callFrom(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// passes reports whether what is written now with the status may reach the
// client.
func (c *call) passes(status int) bool {
	if c.written || c.state == refused {
		return true
	}
	return c.state == answered && c.status == 0 && status < http.StatusBadRequest
}

// WriteHeader sends the status, or holds it back.
func (c *call) WriteHeader(status int) {
	if !c.passes(status) {
		c.status = status
		return
	}
	c.written = true
	c.ResponseWriter.WriteHeader(status)
}

// Write sends the bytes, or holds them back.
func (c *call) Write(p []byte) (int, error) {
	if !c.passes(http.StatusOK) || c.endsUnbegun(p) {
		c.status = cmp.Or(c.status, http.StatusOK) // what follows is held back too
		c.body.Write(p[:min(len(p), maxHeldBytes-c.body.Len())])
		return len(p), nil
	}
	c.written = true
	return c.ResponseWriter.Write(p)
}

// endsUnbegun reports whether the bytes are the trailers of gRPC-Web with no
// message before them: the handler's answer could not be encoded.
func (c *call) endsUnbegun(p []byte) bool {
	return !c.written && c.state == answered && c.protocol == connect.ProtocolGRPCWeb && len(p) > 0 && p[0]&0x80 != 0
}

// Flush sends what is buffered, unless it is held back.
func (c *call) Flush() {
	if c.written || c.state == refused {
		if f, ok := c.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (c *call) Unwrap() http.ResponseWriter { return c.ResponseWriter }
