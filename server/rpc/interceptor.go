package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
)

// interceptor decides each call: who is calling, the rule, validation, the
// handler.
type interceptor struct{ *Stack }

// errUnwrapped is the failure of a handler that was mounted without Wrap, or for
// which the stack has no rule: it serves nobody.
var errUnwrapped = errors.New("rpc: the handler is mounted without Wrap, or no rule covers it")

// WrapUnary wraps a method's handler.
func (i interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		c := callFrom(ctx)
		if c == nil {
			c = &call{} // nobody reads it, and nothing but the error is sent
			i.options.Logger.ErrorContext(ctx, errUnwrapped.Error(), "procedure", request.Spec().Procedure)
			return nil, i.internal(c, errUnwrapped)
		}
		c.protocol = request.Peer().Protocol
		var cancel context.CancelFunc
		ctx, cancel = i.limitTime(ctx)
		defer cancel()
		response, err := i.serve(ctx, c, request, next)
		if err != nil {
			return nil, i.refuse(ctx, c, err)
		}
		c.state = answered
		return response, nil
	}
}

// limitTime returns a context that ends when the server's limit is reached, if
// the client's own is not earlier.
func (i interceptor) limitTime(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= i.options.RequestTimeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, i.options.RequestTimeout)
}

// serve makes the call. A panic becomes an error.
func (i interceptor) serve(ctx context.Context, c *call, request connect.AnyRequest, next connect.UnaryFunc) (response connect.AnyResponse, err error) {
	defer func() {
		if value := recover(); value != nil {
			if value == http.ErrAbortHandler {
				panic(value)
			}
			response, err = nil, &panicked{value, debug.Stack()}
		}
	}()
	message, ok := request.Any().(proto.Message)
	if !ok || c.method == nil || c.method.procedure != request.Spec().Procedure {
		return nil, errUnwrapped
	}
	if c.method.caller == public {
		if err = i.options.Limiter.Take(ctx, c.client.Network()); err == nil && c.method.session {
			ctx, err = i.recognise(ctx, c, request.Header())
		}
	} else if token, ok := keyOf(request.Header()); ok {
		var key *authz.Key
		if key, err = i.authenticateKey(ctx, token); err == nil {
			c.user, c.key = key.User, key.ID
			ctx, err = i.authorizeKey(ctx, c.method, key, message)
		}
	} else {
		var session *authz.Session
		if session, err = i.authenticate(ctx, request.Header()); err == nil {
			c.user = session.User
			ctx, err = i.authorize(ctx, c.method, session, message)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := i.validator.validate(c.method, message); err != nil {
		return nil, err
	}
	if c.method.human && i.options.Humans != nil {
		// Last, since an answer can be checked only once.
		if err := i.options.Humans.Human(ctx, request.Header().Get(CaptchaHeader)); err != nil {
			return nil, err
		}
	}
	return next(ctx, request)
}

// recognise returns a context that carries the session which the request came
// with, if it is live: who calls a public method needs none. An API key is none.
func (i interceptor) recognise(ctx context.Context, c *call, header http.Header) (context.Context, error) {
	if _, ok := keyOf(header); ok {
		return ctx, nil
	}
	session, err := i.authenticate(ctx, header)
	if f := fault.As(err); f != nil && f.Kind == fault.Unauthenticated {
		return ctx, nil
	}
	if err != nil {
		return ctx, err
	}
	if session.SecondFactorPending && !c.method.pending {
		return ctx, nil
	}
	if !session.Impersonator.IsZero() && !c.method.impersonable {
		return ctx, nil // who calls does it as nobody
	}
	c.user = session.User
	i.judge(session)
	return authz.WithSession(ctx, session), nil
}

// WrapStreamingClient leaves clients alone.
func (i interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// panicked is a panic of a handler.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }
