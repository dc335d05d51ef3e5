package client

import (
	"errors"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"

	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
)

// Reason returns why a call failed, and REASON_UNSPECIFIED for an error that
// tells none or one that this client does not know.
func Reason(err error) faultv1.Reason {
	if info := detail[*errdetails.ErrorInfo](err); info != nil {
		return faultv1.Reason(faultv1.Reason_value["REASON_"+info.Reason])
	}
	return faultv1.Reason_REASON_UNSPECIFIED
}

// Metadata returns what the error tells beside its reason; nil for nothing.
func Metadata(err error) map[string]string {
	return detail[*errdetails.ErrorInfo](err).GetMetadata()
}

// InvalidFields returns the request fields that the error is about, with what is
// wrong with each.
func InvalidFields(err error) map[string]string {
	fields := map[string]string{}
	for _, v := range detail[*errdetails.BadRequest](err).GetFieldViolations() {
		fields[v.Field] = v.Description
	}
	return fields
}

// RetryAfter returns when a repeated call may succeed; 0 when the error does not
// tell.
func RetryAfter(err error) time.Duration {
	return detail[*errdetails.RetryInfo](err).GetRetryDelay().AsDuration()
}

// detail returns the first detail of a type, or nil.
func detail[M proto.Message](err error) (none M) {
	var c *connect.Error
	if !errors.As(err, &c) {
		return none
	}
	for _, d := range c.Details() {
		if value, err := d.Value(); err == nil {
			if m, ok := value.(M); ok {
				return m
			}
		}
	}
	return none
}
