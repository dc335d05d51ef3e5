package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/logicspike/manager/internal/fault"
)

// domain is the domain of every ErrorInfo.
const domain = "manager.logicspike"

// refuse turns what went wrong into the error that the caller gets, and notes
// for the log what the caller does not.
func (s *Stack) refuse(ctx context.Context, c *call, err error) *connect.Error {
	if s.options.Fault != nil {
		err = s.options.Fault(err)
	}
	f := fault.As(err)
	if ended := ctx.Err(); ended != nil && (f == nil || f.Kind == fault.Internal || f.Kind == fault.Unavailable) {
		// The call was given up; what failed because of that is no news.
		return s.ended(c, ended)
	}
	var wrong violations
	var made *connect.Error
	switch {
	case errors.As(err, &wrong):
		return s.invalid(c, wrong)
	case f != nil && f.Kind != fault.Internal:
		c.state, c.code, c.reason = refused, codeOf(f.Kind), f.Reason
		if f.Kind == fault.Unavailable {
			c.cause = err
		}
		return errorOf(f)
	case f != nil:
		return s.internal(c, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return s.ended(c, err)
	case errors.As(err, &made) && made.Code() == connect.CodeUnimplemented:
		c.state, c.code = refused, connect.CodeUnimplemented
		return connect.NewError(connect.CodeUnimplemented, errors.New("the method is not implemented"))
	}
	return s.internal(c, err)
}

// ended returns the error of a call whose context ended.
func (s *Stack) ended(c *call, err error) *connect.Error {
	c.state, c.code = refused, connect.CodeCanceled
	message := "the call was canceled"
	if errors.Is(err, context.DeadlineExceeded) {
		c.code, message = connect.CodeDeadlineExceeded, "the call took too long"
	}
	return connect.NewError(c.code, errors.New(message))
}

// internal returns the error of a failure of the server. Its cause is for the log
// alone.
func (s *Stack) internal(c *call, cause error) *connect.Error {
	c.state, c.code, c.reason, c.cause = refused, connect.CodeInternal, fault.InternalFailure, cause
	err := connect.NewError(connect.CodeInternal, errors.New("internal error; request id "+c.client.RequestID))
	return detailed(err, &errdetails.ErrorInfo{
		Reason:   string(fault.InternalFailure),
		Domain:   domain,
		Metadata: map[string]string{"request_id": c.client.RequestID},
	})
}

func (s *Stack) invalid(c *call, wrong violations) *connect.Error {
	c.state, c.code, c.reason = refused, connect.CodeInvalidArgument, fault.FieldInvalid
	err := connect.NewError(connect.CodeInvalidArgument, wrong)
	return detailed(err,
		&errdetails.ErrorInfo{Reason: string(fault.FieldInvalid), Domain: domain},
		&errdetails.BadRequest{FieldViolations: wrong})
}

// unreadable returns the error of a request that connect could not read, given
// code and message of connect's own error. Whatever connect calls it, the fault
// is the caller's: `internal` is for failures of the server.
func (s *Stack) unreadable(c *call, code connect.Code, message string) *connect.Error {
	switch code {
	case connect.CodeResourceExhausted:
		f := fault.New(fault.ResourceExhausted, fault.RequestTooLarge, fmt.Sprintf("the request is larger than %d bytes", c.maxBytes()))
		c.state, c.code, c.reason = refused, code, f.Reason
		return errorOf(f)
	case connect.CodeCanceled:
		return s.ended(c, context.Canceled)
	case connect.CodeDeadlineExceeded:
		return s.ended(c, context.DeadlineExceeded)
	case connect.CodeUnimplemented:
		if strings.Contains(message, "unknown compression") { // else: none, or several, messages of gRPC
			c.state, c.code = refused, code
			return connect.NewError(code, errors.New("the request's compression is unknown; identity and gzip are supported"))
		}
	}
	return s.invalid(c, violations{undecodable(message)})
}

// undecodable tells what can be told of a body that could not be decoded. The
// decoder's message may quote values, secrets among them, so it takes from it no
// more than the name of the field.
func undecodable(message string) *errdetails.BadRequest_FieldViolation {
	// The JSON decoder varies its spaces, so that nobody relies on its messages.
	message = strings.ReplaceAll(message, "\u00a0", " ")
	if _, rest, ok := strings.Cut(message, "invalid value for "); ok {
		if _, rest, ok = strings.Cut(rest, " field "); ok {
			field, _, _ := strings.Cut(rest, ":")
			if isName(field) {
				return violation(field, "a value of another type is expected")
			}
		}
	}
	switch {
	case strings.Contains(message, "invalid UTF-8"):
		return violation("", "the request contains text that is not UTF-8")
	case strings.Contains(message, "parse timeout"), strings.Contains(message, "protocol error: invalid timeout"):
		return violation("", "the request's timeout is malformed")
	}
	return violation("", "the request cannot be decoded")
}

func isName(s string) bool {
	for i := range len(s) {
		b := s[i]
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '_' && b != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// errorOf returns the protocol's error of a fault.
func errorOf(f *fault.Fault) *connect.Error {
	err := connect.NewError(codeOf(f.Kind), errors.New(f.Message))
	details := make([]proto.Message, 1, 3)
	details[0] = &errdetails.ErrorInfo{Reason: string(f.Reason), Domain: domain, Metadata: f.Metadata}
	if f.Field != "" {
		description := strings.TrimPrefix(f.Message, f.Field+": ")
		details = append(details, &errdetails.BadRequest{FieldViolations: violations{violation(f.Field, description)}})
	}
	if f.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
		err.Meta()["Retry-After"] = []string{retryAfter(f.RetryAfter)}
	}
	return detailed(err, details...)
}

// retryAfter returns the duration in whole seconds, rounded up.
func retryAfter(d time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10)
}

func detailed(err *connect.Error, details ...proto.Message) *connect.Error {
	for _, d := range details {
		// Text of a fault that is no UTF-8 costs the detail, not the error.
		if detail, bad := connect.NewErrorDetail(d); bad == nil {
			err.AddDetail(detail)
		}
	}
	return err
}

func codeOf(k fault.Kind) connect.Code {
	switch k {
	case fault.InvalidArgument:
		return connect.CodeInvalidArgument
	case fault.NotFound:
		return connect.CodeNotFound
	case fault.AlreadyExists:
		return connect.CodeAlreadyExists
	case fault.FailedPrecondition:
		return connect.CodeFailedPrecondition
	case fault.Aborted:
		return connect.CodeAborted
	case fault.PermissionDenied:
		return connect.CodePermissionDenied
	case fault.Unauthenticated:
		return connect.CodeUnauthenticated
	case fault.ResourceExhausted:
		return connect.CodeResourceExhausted
	case fault.Unavailable:
		return connect.CodeUnavailable
	}
	return connect.CodeInternal
}
