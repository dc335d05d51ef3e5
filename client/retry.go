package client

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
)

const (
	defaultAttempts = 4
	// The pause after the first try; each further one is twice as long.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
	// A server that asks for more patience than this is not asked again.
	longestWait = 5 * time.Second
)

// retries repeats calls that are safe to repeat.
type retries struct{ attempts int }

func (r retries) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if !repeatable(req) {
			return next(ctx, req)
		}
		for tried := 1; ; tried++ {
			res, err := next(ctx, req)
			if err == nil || tried >= r.attempts || !passing(ctx, err) || !rest(ctx, pause(tried, RetryAfter(err))) {
				return res, err
			}
		}
	}
}

func (retries) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (retries) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// repeatable reports whether a call that is repeated has its effect once. One whose
// message has a request_id without a value gets a new one; but CreateApiKey, whose answer
// holds the key the first time alone: the caller is to know that it was lost.
func repeatable(req connect.AnyRequest) bool {
	if req.Spec().IdempotencyLevel == connect.IdempotencyNoSideEffects {
		return true
	}
	message, ok := req.Any().(proto.Message)
	if !ok {
		return false
	}
	m := message.ProtoReflect()
	field := m.Descriptor().Fields().ByName("request_id")
	if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
		return false
	}
	if m.Get(field).String() != "" {
		return true
	}
	if req.Spec().Procedure == authv1connect.ApiKeyServiceCreateApiKeyProcedure {
		return false
	}
	// The message is the caller's, who may send it again and mean another call.
	own := m.New()
	if m.IsValid() {
		own = proto.Clone(message).ProtoReflect()
	}
	own.Set(field, protoreflect.ValueOfString(uuid.NewString()))
	// req is a *connect.Request[T], of which T is known to the generated code alone.
	reflect.ValueOf(req).Elem().FieldByName("Msg").Set(reflect.ValueOf(own.Interface()))
	return true
}

// passing reports whether a call failed for a reason that may be gone soon: the server
// cannot serve it now, or its answer was lost.
func passing(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	code := connect.CodeOf(err)
	if connect.IsWireError(err) {
		return code == connect.CodeUnavailable || Reason(err) == faultv1.Reason_REASON_OVERLOADED
	}
	switch code {
	case connect.CodeUnavailable, connect.CodeUnknown, connect.CodeInternal, connect.CodeDeadlineExceeded:
		return true
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}

// pause returns how long to wait after so many tries: at least as long as the server
// told, and for each client a little differently.
func pause(tried int, told time.Duration) time.Duration {
	backoff := min(firstPause<<(tried-1), longestPause)
	return max(told, backoff/2) + rand.N(backoff/2)
}

// rest waits, and reports whether there is time for another try.
func rest(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); d > longestWait || ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
